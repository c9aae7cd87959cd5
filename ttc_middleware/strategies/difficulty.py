"""How hard a call is: what `Adaptive` chooses its first tier by."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Awaitable, Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Optional, Protocol, TypeAlias, cast

from ttc_middleware._answers import answer_key
from ttc_middleware._brief import Brief
from ttc_middleware._inspect import label
from ttc_middleware._search import gather
from ttc_middleware._types import Call, Capability, Draw, Sample

from ._arguments import asked, given, is_async
from ._arrivals import check_by
from ._check import count, model_name
from ._lanes import Lanes

_READ = 200  # characters of a reply in which a tier is looked for: it was asked for one word

Route: TypeAlias = tuple[Optional[int], list[Sample[Any]]]
"""The place of the tier to begin with, from 0, and the samples to keep; a place of None: these are all it takes."""


class Difficulty(Protocol):
    """Says where to begin; what it draws as an answer is kept. May say of itself what a strategy may."""

    def route(self, call: Call, tiers: Sequence[str], lanes: Lanes) -> Generator[Any, Any, Route]:
        """Choose among the names of tiers, the lightest first."""
        ...


def middle(tiers: Sequence[object]) -> int:
    """The tier for calls of which nothing is known: the lighter one of two in the middle."""
    return (len(tiers) - 1) // 2


@dataclass(frozen=True, repr=False)
class Classify(Brief):
    """Ask a model how hard the call is: one short draw, *routing* on the bill, that is never an answer.

    The reply only ever selects one of the tiers' own names; where it fails, says none of them or several, the call
    counts as medium (the lighter one of the tiers in the middle).

    Where it fails: models judge difficulty badly, their own weaknesses least of all (`escalate=` is there for that);
    and whoever writes the prompt can ask to be called hard, which costs at most what the heaviest tier does. In a
    function of several model calls, or one that parses its reply, the question runs through all of that: give a
    function of the arguments instead.

    Args:
        model: whom to ask; None: the call's own model.
        instruction: how to ask, in place of "How hard is …"; the names of the tiers are added.
        max_tokens: of the reply, from 1; models that think first need more.

    Raises:
        ValueError: `max_tokens` is below 1.
        TypeError: `model` is no name, or `instruction` no text.
    """

    model: str | None = None
    instruction: str | None = field(default=None, kw_only=True)
    max_tokens: int = field(default=16, kw_only=True)

    def __post_init__(self) -> None:
        count(self, max_tokens=self.max_tokens)
        model_name(self, self.model)
        if self.instruction is not None and not isinstance(self.instruction, str):
            raise TypeError(f"Classify(instruction=) must be a text, or None; got {self.instruction!r}")

    @property
    def needs(self) -> frozenset[Capability]:
        """An instruction and a limit, and another model where it names one."""
        return frozenset(
            {Capability.INSTRUCTION, Capability.MAX_TOKENS} | ({Capability.MODEL} if self.model else set())
        )

    def route(self, call: Call, tiers: Sequence[str], lanes: Lanes) -> Generator[Any, Any, Route]:  # noqa: ARG002
        """One draw, and its reply."""
        question = self.instruction or "How hard is the task above for you? Do not solve it."
        draw = Draw(
            kind="routing",
            model=self.model,
            instruction=f"{question}\nAnswer with one of these and nothing else: {', '.join(tiers)}",
            temperature=0.0,
            max_tokens=self.max_tokens,
        )
        samples: list[Sample[Any]] = yield from lanes.run(gather([draw]))
        said = named(samples[0].text or "", tiers) if samples else None
        return (middle(tiers) if said is None else said), []


def named(text: str, tiers: Sequence[str]) -> int | None:
    """The one tier that a text names, by its place; None where it names none or several."""
    # The longest first: "very hard" is not "hard".
    names = sorted(tiers, key=len, reverse=True)
    found = re.findall(
        "|".join(rf"(?<!\w){re.escape(each.casefold())}(?!\w)" for each in names), text[:_READ].casefold()
    )
    places = {[each.casefold() for each in tiers].index(each) for each in found}
    return places.pop() if len(places) == 1 else None


@dataclass(frozen=True, repr=False)
class Agreement(Brief):
    """Draw a few answers: where they agree, the first tier is done with them; else the second one begins.

    They are kept as samples, and can win. So the first tier's own strategy is never run, and its name stands for these
    draws. With a verifier an accepted one is enough, and agreement on rejected ones is not.

    Where it fails: a model that is wrong in the same way every time; free-form text, where nothing ever agrees.

    Args:
        draws: how many, from 2.
        model: whom to ask; None: the call's own model.
        by: the answer that an output stands for, as in `SelfConsistency(by=)`.

    Raises:
        ValueError: `draws` is below 2.
        TypeError: `by` cannot be called, or `model` is no name.
    """

    draws: int = 2
    model: str | None = field(default=None, kw_only=True)
    by: Callable[[Any], Hashable | None] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, draws=self.draws)
        model_name(self, self.model)
        if self.draws < 2:  # noqa: PLR2004  # one agrees with itself
            raise ValueError(f"Agreement(draws=) must be a whole number from 2, got {self.draws!r}")
        check_by(self, self.by)

    @property
    def needs(self) -> frozenset[Capability]:
        """Another model, where it names one."""
        return frozenset({Capability.MODEL} if self.model else ())

    def route(self, call: Call, tiers: Sequence[str], lanes: Lanes) -> Generator[Any, Any, Route]:  # noqa: ARG002
        """Draw, until one is accepted or all are there."""
        draws = [Draw(model=self.model)] * self.draws
        samples: list[Sample[Any]] = yield from lanes.run(gather(draws, until=lambda sample: sample.accepted))
        if any(each.accepted for each in samples):
            return None, samples
        judged = any(each.verdict is not None and not each.verdict.failed for each in samples)
        agreed = not judged and len(samples) == self.draws and share(samples[0], samples, self.by) == 1
        return (None if agreed else 1), samples


def share(sample: Sample[Any], samples: Sequence[Sample[Any]], by: Callable[[Any], Hashable | None] | None) -> float:
    """How many of the samples give the same answer as this one, from 0 to 1; 0 where it gives none."""
    key = answer_key(by)

    def answer(each: Sample[Any]) -> Hashable | None:
        try:
            return key(each) if each.status == "answer" else None
        except Exception:  # noqa: BLE001  # `by` cannot read this output
            return None

    own = answer(sample)
    return 0.0 if own is None or not samples else sum(answer(each) == own for each in samples) / len(samples)


@dataclass(frozen=True, repr=False)
class FirstScore(Brief):
    """Draw once, and go by the verifier's score. That sample is kept, and can win; accepted, it is the answer.

    Where it fails: a verifier that says only yes or no has nothing to tell apart what it rejects, so all of that goes
    to the last tier.

    Args:
        thresholds: one for each tier but the last: from this score on, the tier is enough. From 0 to 1, falling:
            `FirstScore([0.8, 0.4])` begins with the second of three tiers at a score of 0.5.

    Raises:
        ValueError: they are no falling scores.
    """

    thresholds: Sequence[float]

    needs: ClassVar[frozenset[Capability]] = frozenset()
    needs_verifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.thresholds, str) or not isinstance(self.thresholds, Sequence):
            raise TypeError(f"FirstScore(thresholds) must be a list of scores, got {self.thresholds!r}")
        scores = tuple(self.thresholds)
        object.__setattr__(self, "thresholds", scores)
        numbers = [each for each in scores if isinstance(each, (int, float)) and not isinstance(each, bool)]
        ranged = len(numbers) == len(scores) and all(0 <= each <= 1 for each in numbers)
        if not scores or not ranged or sorted(set(numbers), reverse=True) != numbers:
            raise ValueError(f"FirstScore(thresholds) must be scores from 0 to 1, falling; got {self.thresholds!r}")

    def route(self, call: Call, tiers: Sequence[str], lanes: Lanes) -> Generator[Any, Any, Route]:  # noqa: ARG002
        """One draw, and its score."""
        samples: list[Sample[Any]] = yield from lanes.run(gather([Draw()]))
        if not samples:
            return middle(tiers), []
        first = samples[0]
        if first.accepted:
            return None, samples
        score = first.score
        if score is None:
            return middle(tiers), samples
        return sum(score < each for each in self.thresholds), samples


@dataclass(frozen=True, repr=False)
class Told(Brief):
    """What a function of the call's arguments says; anything but a tier's name counts as medium, with a warning."""

    by: Callable[..., Any]

    needs: ClassVar[frozenset[Capability]] = frozenset()

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments that it cannot do without."""
        return asked(self.by)

    def route(self, call: Call, tiers: Sequence[str], lanes: Lanes) -> Generator[Any, Any, Route]:
        """Call it; what it waits for is waited for beside the search, and billed as routing."""
        ask = partial(self.by, **given(self.by, call.arguments))
        said: object
        problem: Exception | None = None
        try:
            said = ask if is_async(self.by) else ask()
        except Exception as error:  # noqa: BLE001  # whoever says how to search does not sink the call
            said, problem = None, error
        if said is ask or isinstance(said, Awaitable):
            waited = cast("Any", said)
            run: Callable[[], Any] = ask if said is ask else lambda: waited
            samples: list[Sample[Any]] = yield from lanes.run(gather([Draw(kind="routing", run=run)]))
            if not samples:  # the budget or the time has ended
                if said is not ask and inspect.iscoroutine(waited):
                    waited.close()  # nobody waits for it any more: it would complain when it is thrown away
                return middle(tiers), []
            said, problem = samples[0].output, samples[0].error
        if isinstance(said, str) and said in tiers:
            return tiers.index(said), []
        what = f"raised {problem!r:.200}" if problem is not None else f"returned {said!r:.200}"
        warnings.warn(
            f"{label(self.by)} must return one of {', '.join(tiers)}; it {what}, so the call counts as"
            f" {tiers[middle(tiers)]}",
            stacklevel=2,
        )
        return middle(tiers), []
