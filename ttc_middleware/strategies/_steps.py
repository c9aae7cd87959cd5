"""Answers step by step: how they are cut, gone on with and scored. What step searches are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, Union

from ttc_middleware._brief import Brief
from ttc_middleware._search import NoSamples, best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T, Verifier

from ._check import count
from ._lanes import Lanes, Part
from ._pool import pooled
from .monte_carlo_value import MonteCarloValue

Value: TypeAlias = Union[Verifier, MonteCarloValue]
"""What says what a prefix is worth."""

STEPPING = frozenset({Capability.EXTEND, Capability.MAX_TOKENS, Capability.STOP})
"""What a call site must be able to do: go on with a partial answer, up to a stop word or a limit."""

_LETTERS = 4  # of a token, where nobody reports how many an answer took


@dataclass(frozen=True, repr=False)
class Steps(Brief):
    r"""How an answer is cut into steps, and how its end is told.

    Where the server says whether the model ended by itself or at the separator (llama.cpp and vLLM do), nothing else is
    needed. Elsewhere a step that adds nothing to the text is taken for the end, and the answer is drawn to its end from
    there.

    What is proven wrong is not gone on with: a part of an answer in which a strong verifier names a step, by a
    `Verdict.first_bad` before its end (a proven loss, Winands et al. 2008, "Monte-Carlo Tree Search Solver"); a step
    that `max_tokens` has cut may become right. A learned reward is no proof: `ttc.verifiers.ProcessReward` never is.

    Where it fails: thinking that a server keeps out of the text is not gone on with, so a model that thinks should not
    here. A `grammar` in the request binds each step on its own, as servers do it; a `response_format` is refused. And
    where the server does not say at which word it stopped, the caller's own stop words are taken for separators.

    Args:
        separator: the text between two steps, a blank line by default; "\n" for answers of one step a line.
        max_tokens: of one step, from 1; what is cut there is gone on with as it is. The call's own limit holds for the
            whole answer: what its steps have taken is not there for the next ones.
        ends: when a text is a whole answer, whatever the server says: a regular expression that is searched for, such
            as `r"\\boxed\\{.*\\}"`, or a function of the text.

    Raises:
        ValueError: the separator is empty, `max_tokens` below 1, or the expression does not compile.
        TypeError: `ends` is neither.
    """

    separator: str = "\n\n"
    max_tokens: int = 256
    ends: str | Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.separator, str) or not self.separator:
            raise ValueError(f"Steps(separator=) must be the text between two steps, got {self.separator!r}")
        count(self, max_tokens=self.max_tokens)
        if isinstance(self.ends, str):
            try:
                re.compile(self.ends)
            except re.error as error:
                raise ValueError(f"Steps(ends=) must be a regular expression, got {self.ends!r}: {error}") from error
        elif self.ends is not None and not callable(self.ends):
            raise TypeError(f"Steps(ends=) must be a regular expression or a function of the text, got {self.ends!r}")

    def step(
        self,
        parent: Sample[Any] | None = None,
        *,
        judge: Verifier | Literal[False] | None = None,
        limit: int | None = None,
    ) -> Draw:
        """The draw of one more step.

        Args:
            parent: the step that it comes after; None: the first.
            judge: scores what there is then; None: the call site's verifier does; False: nobody.
            limit: tokens that the answer may still take, the last of which is left for `rest()`; None: any number.
        """
        extend = None if parent is None else self.text(parent)
        most = self.max_tokens if limit is None else max(1, min(self.max_tokens, limit - 1))
        return Draw(
            kind="step", parent=parent, extend=extend, stop=(self.separator,), max_tokens=most, ends=self._ends(),
            judge=judge,
        )  # fmt: skip

    def rest(self, parent: Sample[Any], *, limit: int | None = None) -> Draw:
        """The draw of all that is still missing of an answer, in so many tokens; None: the call's own limit."""
        return Draw(parent=parent, extend=self.text(parent), max_tokens=limit)

    def text(self, sample: Sample[Any]) -> str:
        """What there is so far, ready to be gone on with."""
        text = sample.text or ""
        cut = sample.status == "truncated" or sample.ended or sample.draw.kind != "step"
        return text if cut or self.stuck(sample) else text + self.separator

    def stuck(self, sample: Sample[Any]) -> bool:
        """Whether a step has added nothing: the model had already ended."""
        before = sample.draw.extend
        return before is not None and (sample.text or "").strip() == before.strip()

    def _ends(self) -> Callable[[str], bool] | None:
        return _Searched(self.ends) if isinstance(self.ends, str) else self.ends


@dataclass(frozen=True)
class _Searched:
    """Whether an expression is found; equal where the expression is, so that equal draws are."""

    pattern: str

    def __call__(self, text: str) -> bool:
        return re.search(self.pattern, text) is not None


class Walk:
    """One search over steps under way.

    Args:
        steps: how answers are cut.
        value: what prefixes are worth: a verifier of them, or roll-outs; None: the call site's verifier says.
        limit: tokens that the caller allows an answer; None: nobody says.
    """

    def __init__(self, steps: Steps, value: Value | None, limit: int | None) -> None:
        self.steps = steps
        self.value = value
        self.limit = limit
        self.lanes: Lanes = Lanes()
        self._estimates: dict[str, float] = {}
        """By prefix."""
        self._won: Sample[Any] | None = None
        self._seen = 0
        """Samples among which the winner was looked for."""

    def draw(self, parents: Sequence[Sample[Any] | None]) -> Part:
        """One more step after each of these, None for a first one; ends early where an answer is accepted.

        Returns:
            The samples in launch order; fewer where the budget or the time ran out.
        """
        return self.take([self.step(parent) for parent in parents])

    def step(self, parent: Sample[Any] | None) -> Draw:
        """The draw of one more step, for a search inside of this one."""
        judge: Verifier | Literal[False] | None = False if isinstance(self.value, MonteCarloValue) else self.value
        return self.steps.step(parent, judge=judge, limit=self._left(parent))

    def rest(self, parent: Sample[Any]) -> Draw:
        """The draw of all that is still missing of an answer, for a search inside of this one."""
        left = self._left(parent)
        return self.steps.rest(parent, limit=None if left is None else max(1, left))

    def over(self, sample: Sample[Any]) -> bool:
        """Whether there is no further step: the model had already ended, or its tokens are used up."""
        left = self._left(sample)
        return self.steps.stuck(sample) or (left is not None and left <= 1)

    def _left(self, sample: Sample[Any] | None) -> int | None:
        """The tokens that an answer may still take after this; None: any number."""
        left = self.limit
        while left is not None and sample is not None:
            left -= tokens_of(sample)
            sample = sample.draw.parent
        return left

    def finish(self, parents: Sequence[Sample[Any]]) -> Part:
        """Draw these to their ends, as they are; ends early where an answer is accepted."""
        return self.take([self.rest(parent) for parent in parents])

    def take(self, draws: Sequence[Draw]) -> Part:
        """Draw these; ends early where an answer is accepted."""
        return self.lanes.run(gather(draws, until=self.decides))

    def open(self, samples: Iterable[Sample[Any]]) -> list[Sample[Any]]:
        """Those that can be gone on with: each text once, the earliest of equals."""
        texts: dict[str, Sample[Any]] = {}
        for sample in samples:
            if can_go_on(sample):
                texts.setdefault(self.steps.text(sample), sample)
        return list(texts.values())

    def values(self, samples: Sequence[Sample[Any]]) -> Part:
        """What each is worth, from 0 to 1: its score, or what its roll-outs say; 0 where nobody says anything.

        Ends early where a roll-out ends the search.
        """
        if isinstance(self.value, MonteCarloValue):
            new = {self.steps.text(sample): sample for sample in reversed(samples) if self._rolls_out(sample)}
            parts = iter([self.value_of(sample) for sample in reversed(new.values())])
            yield from self.lanes.run(pooled(lambda: next(parts, None), at_once=None, until=self.decides))
        return [self._known(sample) for sample in samples]

    def value_of(self, sample: Sample[Any]) -> Part:
        """What one is worth, for a search inside of this one."""
        if isinstance(self.value, MonteCarloValue) and self._rolls_out(sample):
            self._estimates[self.steps.text(sample)] = yield from self.value.estimate(self.rest(sample))
        return self._known(sample)

    def ranked(self, samples: Sequence[Sample[Any]]) -> Part:
        """The highest value first; ties go to the earliest launched."""
        values: list[float] = yield from self.values(samples)
        order = sorted(zip(samples, values, strict=True), key=lambda each: (-each[1], each[0].index))
        return [sample for sample, _ in order]

    def _rolls_out(self, sample: Sample[Any]) -> bool:
        """Whether its roll-outs say what it is worth, and have not been drawn."""
        return can_go_on(sample) and self.steps.text(sample) not in self._estimates

    def _known(self, sample: Sample[Any]) -> float:
        if isinstance(self.value, MonteCarloValue) and not sample.whole:
            return self._estimates.get(self.steps.text(sample), 0.0)
        return value_of(sample)

    def decides(self, sample: Sample[Any]) -> bool:
        """Whether this ends the search: an accepted answer, but for roll-outs that are all asked for."""
        every = isinstance(self.value, MonteCarloValue) and self.value.stop == "all"
        return sample.accepted and not (every and sample.draw.kind == "answer")

    @property
    def won(self) -> Sample[Any] | None:
        """The first answer that ended the search."""
        samples = self.lanes.samples
        while self._won is None and self._seen < len(samples):
            self._won = samples[self._seen] if self.decides(samples[self._seen]) else None
            self._seen += 1
        return self._won

    @property
    def answers(self) -> list[Sample[Any]]:
        """What has been drawn to its end."""
        return [sample for sample in self.lanes.samples if sample.whole and sample.status == "answer"]

    def best(self) -> Sample[Any]:
        """The best answer; where there is none, the best of what there is of one, and the longest where several are.

        Raises:
            NoSamples: nothing was drawn.
        """
        samples = self.lanes.samples
        whole = [sample for sample in samples if sample.whole and sample.status != "failed"]
        parts = [sample for sample in samples if sample.status != "failed"]
        found = best(whole or parts or samples)
        if found.whole or found.status == "failed":
            return found
        return max((each for each in parts if each.score == found.score), key=lambda each: len(each.text or ""))


def can_go_on(sample: Sample[Any]) -> bool:
    """Whether there is a part of an answer to go on with."""
    return sample.status in ("answer", "truncated") and not sample.whole and not wrong(sample)


def wrong(sample: Sample[Any]) -> bool:
    """Whether a strong verifier names a step of it as wrong, which nothing that comes after can mend."""
    verdict = sample.verdict
    if verdict is None or verdict.failed or verdict.trust != "strong" or verdict.first_bad is None:
        return False
    done = sample.text or ""
    if sample.status == "truncated":  # its last step was cut, and may become right
        done = done.rpartition(sample.draw.stop[0])[0] if sample.draw.stop else ""
    return verdict.first_bad < len(done.rstrip())


def value_of(sample: Sample[Any]) -> float:
    """The score of what there is so far; 0 where nobody gave one."""
    return sample.score or 0.0


def tokens_of(sample: Sample[Any]) -> int:
    """What it wrote, beyond what it was given to go on with."""
    return sample.usage.output_tokens or math.ceil(len((sample.text or "")[len(sample.draw.extend or "") :]) / _LETTERS)


def limit_of(call: Call) -> int | None:
    """The caller's own limit of tokens, where the call is a request that has one."""
    for name in ("max_completion_tokens", "max_tokens"):
        given = call.arguments.get(name)
        if isinstance(given, int) and not isinstance(given, bool) and given > 0:
            return given
    return None


def by_score(samples: Iterable[Sample[Any]]) -> list[Sample[Any]]:
    """The highest score first; ties go to the earliest launched."""
    return sorted(samples, key=lambda sample: (-value_of(sample), sample.index))


class StepSearch(Brief):
    """What searches over steps have in common."""

    needs_verifier: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = STEPPING
    steps: Steps
    value: Value | None

    @property
    def judges(self) -> tuple[Verifier, ...]:
        """The verifier of prefixes, where it is not the call site's own."""
        return () if self.value is None or isinstance(self.value, MonteCarloValue) else (self.value,)

    def search(self, call: Call) -> Search[T]:
        """Walk until an answer is accepted, or to the end."""
        walk = Walk(self.steps, self.value, limit_of(call))
        with suppress(NoSamples):  # of an inner search: the budget ran out
            yield from self.walk(walk)
        return walk.won or walk.best()

    def walk(self, walk: Walk) -> Part:
        """The search itself; its answers are kept in the walk."""
        raise NotImplementedError


def check_steps(strategy: object, steps: object, value: object) -> None:
    """Raise unless these are what a search over steps takes."""
    if not isinstance(steps, Steps):
        raise TypeError(f"{type(strategy).__name__}(steps=) must be a Steps, got {steps!r}")
    if value is None or isinstance(value, MonteCarloValue):
        return
    if not callable(value) and not callable(getattr(value, "check", None)):
        raise TypeError(f"{type(strategy).__name__}(value=) must be a verifier or a MonteCarloValue, got {value!r}")


def check_scores(strategy: object, steps: object, value: object) -> None:
    """Raise unless these are what a search takes that rejects by scores."""
    if isinstance(value, MonteCarloValue):
        name = type(strategy).__name__
        raise TypeError(f"{name}(value=) must be a verifier: roll-outs cost more than it could save, got {value!r}")
    check_steps(strategy, steps, value)
