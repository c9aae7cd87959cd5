"""Decompose: independent parts, each scaled on a share of its own, composed and verified as a whole."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from ttc_middleware import _strategy
from ttc_middleware._brief import Brief
from ttc_middleware._inspect import label
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Cancel, Capability, Draw, Sample, Search, Strategy, T

from ._arguments import asked, given, is_async
from ._check import count
from ._lanes import Lanes
from ._lanes import Part as Inner
from .self_consistency import SelfConsistency

_LONGEST = 2_000  # characters of a part
_RESULT = 4_000  # characters of a part's result that the composing draw is shown: its end, where results stand
_PLAN_TOKENS = 600
_HARDEST = 10.0
_QUESTION = (
    "Do not solve the task above. Divide it into at most {parts} parts that can be solved independently of one another,"
    ' as a JSON list and nothing else: [{{"part": "what is to be found", "complexity": 1}}, …], with complexity from 1'
    " to 10. Where it cannot be divided, answer []."
)
_PART = "Of the task above, solve only this part, and end with its result:\n\n{part}"
_COMPOSE = "The task above was divided, and each part was solved. Answer the whole task from these results."


class Part(NamedTuple):
    """A part of a task."""

    problem: str
    """What is to be found."""
    complexity: float = 1.0
    """What share of the draws it gets, beside the others."""


class Solved(NamedTuple):
    """A part with its result."""

    problem: str
    result: str


@dataclass(frozen=True, repr=False)
class Decompose(Brief):
    """Divide the task into independent parts, solve each by a strategy of its own, and compose an answer.

    Least-to-most prompting (Zhou et al. 2022, arXiv:2205.10625) divides and composes so, though there each part is told
    of the ones before it; here they are solved side by side and know nothing of one another. What each may spend
    follows its stated complexity, as in Plan-and-Budget (Lin et al. 2025, arXiv:2505.16122).

    Parts are drafts: nobody verifies them, so their strategy is one that votes. The composed answer is drawn as an
    answer and verified as a whole. Where a part has no result, or the composed answer fails or is rejected, the plain
    call is drawn too, and the better one is returned. What cannot be divided (fewer than two parts, or a plan that
    makes no sense) is solved as a whole by the same strategy.

    Shares are caps that hold: a part starts no more than its share of `draws`, at least one, and with `tokens` each of
    its draws may generate its share of the part's share. Prompts are not counted in that; a `Budget` counts everything.
    Leave it two draws beyond `draws`, for the composed answer and the plain one. On the bill the plan is *routing*, and
    the parts are *discarded*: nobody reads them.

    Where it fails: parts that need one another; a plan that loses what the task was about; small models, which divide
    badly and are better off with several whole answers; anything that is one step.

    Args:
        planner: a function of any arguments of the call, by name, that returns the parts: texts, or pairs of a text and
            its complexity. None: the model is asked for them, in JSON. A reply, or a function, that gives anything else
            counts as "not to be divided"; the function's with a warning.
        solver: how to solve each part; it must do without a verifier.
        composer: how the composing draw is asked, in place of "Answer the whole task …" (the results are added); or a
            function of a list of `Solved(problem, result)` that returns all that it is told. One that fails, or returns
            no text, composes nothing, with a warning: the plain call is drawn.
        parts: at most so many, from 2.
        draws: for all parts together, not below `parts`.
        tokens: that all parts may generate together; None: no cap.

    Raises:
        ValueError: a number is out of its range, or the solver needs a verifier.
        TypeError: the planner or the composer cannot be used, or the solver is no strategy.
    """

    planner: Callable[..., Sequence[Any]] | None = None
    solver: Strategy = field(default_factory=lambda: SelfConsistency(3))
    composer: str | Callable[[list[Solved]], str] | None = None
    parts: int = field(default=6, kw_only=True)
    draws: int = field(default=24, kw_only=True)
    tokens: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, parts=self.parts, draws=self.draws, tokens=self.draws if self.tokens is None else self.tokens)
        if self.parts < 2:  # noqa: PLR2004  # one is the whole
            raise ValueError(f"Decompose(parts=) must be a whole number from 2, got {self.parts!r}")
        if self.draws < self.parts or (self.tokens is not None and self.tokens < self.draws):
            raise ValueError(
                "Decompose(draws=) must not be below parts=, nor tokens= below draws=;"
                f" got parts={self.parts}, draws={self.draws}, tokens={self.tokens}"
            )
        if self.planner is not None:
            if not callable(self.planner) or is_async(self.planner):
                raise TypeError(f"Decompose(planner) must be a plain function, or None; got {self.planner!r}")
            asked(self.planner)
        if self.composer is not None and not isinstance(self.composer, str) and not callable(self.composer):
            raise TypeError(f"Decompose(composer=) must be a text or a function of the results, got {self.composer!r}")
        _strategy.check_strategy(self.solver)
        if _strategy.needs_verifier(self.solver):
            raise ValueError(
                f"Decompose(solver) must choose without a verifier, which judges whole answers: a vote, like"
                f" ttc.SelfConsistency(3); got {self.solver!r}"
            )

    @property
    def needs(self) -> frozenset[Capability]:
        """Instructions; limits, for a plan or for shares; and what the solver does."""
        limits = self.planner is None or self.tokens is not None
        own = {Capability.INSTRUCTION} | ({Capability.MAX_TOKENS} if limits else set[Capability]())
        return _strategy.needs(self.solver) | own

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments that the planner and the solver read."""
        return _strategy.asks(self.solver) | (frozenset[str]() if self.planner is None else asked(self.planner))

    @property
    def judges(self) -> tuple[Any, ...]:
        """The solver's own."""
        return _strategy.judges(self.solver)

    @property
    def in_turn(self) -> int:
        """The plan, where the model makes it; a part; the composed answer; and the plain one where that is not good."""
        return (self.planner is None) + _strategy.in_turn(self.solver) + 2

    def suited(self, can: frozenset[Capability]) -> Decompose:
        """The same with what its solver gives to use."""
        fit = _strategy.suited(self.solver, can)
        return self if fit is self.solver else replace(self, solver=fit)

    def search(self, call: Call) -> Search[T]:
        """Divide, solve and compose."""
        lanes = Lanes()
        plan = yield from self._plan(call, lanes)
        if len(plan) < 2:  # noqa: PLR2004  # one is the whole
            answer: Sample[T] = yield from lanes.run(_strategy.begin(self.solver, call))
            return answer
        allowed = shares(self.draws, [each.complexity for each in plan])
        tokens = [None] * len(plan) if self.tokens is None else shares(self.tokens, [each.complexity for each in plan])
        found: list[Sample[Any] | None] = yield from lanes.together(
            [
                _part(_strategy.begin(self.solver, call), part.problem, most, limit)
                for part, most, limit in zip(plan, allowed, tokens, strict=True)
            ]
        )
        whole: list[Sample[Any]] = []
        if all(each is not None and each.status == "answer" for each in found):
            solved = [Solved(part.problem, _text(each)) for part, each in zip(plan, found, strict=True)]
            asked = self._composed(solved)
            if asked is not None:
                whole += yield from lanes.run(gather([Draw(instruction=asked)]))
        if not any(_good(each) for each in whole):
            whole += yield from lanes.run(gather([Draw()]))
        return best(whole)

    def _plan(self, call: Call, lanes: Lanes) -> Generator[Any, Any, list[Part]]:
        if self.planner is None:
            question = Draw(
                kind="routing",
                instruction=_QUESTION.format(parts=self.parts),
                temperature=0.0,
                max_tokens=_PLAN_TOKENS,
            )
            samples: list[Sample[Any]] = yield from lanes.run(gather([question]))
            return self._read(_listed(samples[0].text or "")) or [] if samples else []
        said: object = None
        told = given(self.planner, call.arguments)
        try:
            said = self.planner(**told)
            plan = self._read(said)
        except Exception as error:  # noqa: BLE001  # whoever says how to search does not sink the call
            said, plan = error, None
        if plan is None:
            warnings.warn(
                f"{label(self.planner)} must return up to {self.parts} texts, or pairs of a text and a complexity; got"
                f" {said!r:.200}, so the task is not divided",
                stacklevel=2,
            )
        return plan or []

    def _read(self, said: object) -> list[Part] | None:
        """The parts that somebody names; None where that is no such list."""
        if isinstance(said, (str, bytes)) or not isinstance(said, Sequence):
            return None
        items = list(cast("Sequence[object]", said))
        plan = [_read_part(each) for each in items]
        known = [each for each in plan if each is not None]
        return known if len(known) == len(items) <= self.parts else None

    def _composed(self, solved: list[Solved]) -> str | None:
        """How the composing draw is asked; None where the caller's own function does not say."""
        if callable(self.composer):
            told: object = None
            try:
                told = self.composer(solved)
            except Exception as error:  # noqa: BLE001  # the parts are paid for: the plain call is left
                told = error
            if isinstance(told, str):
                return told
            warnings.warn(
                f"{label(self.composer)} must return a text; got {told!r:.200}, so nothing is composed", stacklevel=2
            )
            return None
        listed = "\n\n".join(
            f"Part {number}: {each.problem}\nResult: {each.result[-_RESULT:]}" for number, each in enumerate(solved, 1)
        )
        return f"{self.composer or _COMPOSE}\n\n{listed}"


def shares(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers that add up to the total, at least one each, as near to the weights as that allows."""
    spare = total - len(weights)
    exact = [spare * each / math.fsum(weights) for each in weights]
    whole = [math.floor(each) for each in exact]
    # The largest remainders get what is left; ties go to the first.
    order = sorted(range(len(weights)), key=lambda place: (whole[place] - exact[place], place))
    for place in order[: spare - sum(whole)]:
        whole[place] += 1
    return [1 + each for each in whole]


def _part(steps: Inner, problem: str, draws: int, tokens: int | None) -> Inner:
    """A search that is told to solve one part, and that starts no more draws than its share."""
    limit = None if tokens is None else tokens // draws or 1
    told = _PART.format(part=problem)
    asked: list[Draw] = []  # by launch order, as the search has
    sent: dict[int, Sample[Any]] = {}
    own: Sample[Any] | None = None
    try:
        while True:
            step: list[Draw | Cancel] = []
            for item in steps.send(own):
                if isinstance(item, Cancel):
                    step.append(item)
                elif len(asked) < draws:
                    asked.append(item)
                    instruction = told if item.instruction is None else f"{told}\n\n{item.instruction}"
                    capped = [each for each in (item.max_tokens, limit) if each is not None]
                    most = min(capped, default=None)
                    kind = item.kind if item.kind == "routing" else "draft"
                    parent = None if item.parent is None else sent[item.parent.index]
                    step.append(replace(item, parent=parent, kind=kind, instruction=instruction, max_tokens=most))
            sample = yield step
            if sample is not None:
                sent[sample.index] = sample
                # It knows its own questions again, and takes for answers what it drew as such.
                sample = replace(sample, draw=asked[sample.index])
            own = sample
    except StopIteration as end:
        return sent[end.value.index]
    finally:
        steps.close()


def _listed(text: str) -> object:
    """The JSON list that a reply holds; None where there is none."""
    start, end = text.find("["), text.rfind("]")
    try:
        return json.loads(text[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None


def _read_part(said: object) -> Part | None:
    problem, complexity = said, cast("object", 1.0)
    if isinstance(said, dict):
        named = cast("dict[str, object]", said)
        problem, complexity = named.get("part"), named.get("complexity", 1.0)
    elif isinstance(said, (tuple, list)) and len(cast("Sequence[object]", said)) == 2:  # noqa: PLR2004  # a pair
        problem, complexity = cast("Sequence[object]", said)
    if not isinstance(problem, str) or not 0 < len(problem.strip()) <= _LONGEST:
        return None
    number = isinstance(complexity, (int, float)) and not isinstance(complexity, bool) and complexity == complexity  # noqa: PLR0124  # NaN is not
    # Nobody can leave the others without a share by a large number.
    return Part(problem.strip(), float(min(max(cast("float", complexity), 1.0), _HARDEST)) if number else 1.0)


def _good(sample: Sample[Any]) -> bool:
    """Whether a composed answer needs no other beside it."""
    unjudged = sample.verdict is None or sample.verdict.failed
    return sample.status == "answer" and (unjudged or sample.accepted)


def _text(sample: Sample[Any] | None) -> str:
    assert sample is not None
    return repr(sample.output) if sample.text is None else sample.text
