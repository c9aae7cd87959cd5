"""Adaptive: as much search as the call is hard."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ttc_middleware import _strategy
from ttc_middleware._brief import Brief
from ttc_middleware._search import NoSamples, best
from ttc_middleware._types import Call, Capability, Sample, Search, Strategy, T

from ._arrivals import check_by
from ._lanes import Lanes
from ._lanes import Part as Inner
from ._paces import Paces
from .difficulty import Agreement, Difficulty, FirstScore, Told, share

PACES = Paces()
"""What tiers have taken in this process, by call site."""


@dataclass(frozen=True, repr=False)
class Adaptive(Brief):
    """One draw for an easy call, a search for a hard one.

        ttc.Adaptive(ttc.strategies.Classify(), {"easy": ttc.Single(temperature=0), "medium": ttc.BestOfN(4), …})

    Compute-optimal scaling (Snell et al. 2024, arXiv:2408.03314): what pays depends on how hard the question is. As in
    Damani et al. 2024 (arXiv:2410.04707) that is predicted, here by whatever `difficulty` is. Where the prediction was
    wrong, the search goes on: a tier that ends without an accepted sample, or without a verifier with no answer that
    more than half of its own answers give, hands over to the next heavier one. All that was drawn is kept: with a
    verifier the best of it wins, without one the last tier's winner.

    A tier that asks for what the call site cannot do (to continue a partial answer, say) is replaced by the nearest one
    that can run, the lighter of two, and a warning says so once.

    Under a deadline (`Budget(seconds=)`) it takes the heaviest tier that can finish, up to the one that fits the
    difficulty, and escalates only to tiers that can. What tiers take is learnt by call site in this process, from their
    last 64 runs: one can finish that does so 9 times in 10. Before it has been seen 9 times, its draws in turn
    (`in_turn`) times what the first draw of this call took; where there is none yet either, the first tier begins, and
    tells. So a deadline is the one thing that makes the same samples lead elsewhere.

    Where it fails: a difficulty that is guessed costs tokens and is often wrong: too easy pays for a tier in vain, too
    hard for a search that nobody needed; on the hardest questions no tier helps, and they pay for all of them
    (`escalate=False` for one only); tiers must really grow in what they reach, or escalation is waste.

    Args:
        difficulty: `strategies.Classify()` asks a model; `strategies.Agreement()` looks whether two draws agree;
            `strategies.FirstScore([…])` goes by the verifier's first score; or a function of any arguments of the call,
            by name, that returns a tier's name, sync or async (billed as routing). Where it fails or returns anything
            else, the call counts as medium: the lighter one of the tiers in the middle.
        tiers: strategies by their names, the lightest first; at least two.
        escalate: whether the next heavier tier runs where one has found nothing good.
        by: the answer that an output stands for where none is verified, as in `SelfConsistency(by=)`.

    Raises:
        ValueError: there are fewer than two tiers, or thresholds that do not match them.
        TypeError: a tier is no strategy, `difficulty` is none, or its function takes an argument that has no name.
    """

    difficulty: Difficulty | Callable[..., Any]
    tiers: Mapping[str, Strategy] = field(hash=False)
    escalate: bool = field(default=True, kw_only=True)
    by: Callable[[Any], Hashable | None] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.tiers, Mapping):
            raise TypeError(f'Adaptive(tiers) must be strategies by their names, {{"easy": …}}; got {self.tiers!r}')
        object.__setattr__(self, "tiers", dict(self.tiers))
        names = [each for each in cast("Mapping[object, object]", self.tiers) if isinstance(each, str) and each.strip()]
        if len(names) != len(self.tiers) or len({each.casefold() for each in names}) < max(len(self.tiers), 2):
            raise ValueError(f"Adaptive(tiers) must have at least two names that differ, got {list(self.tiers)!r}")
        for each in self.tiers.values():
            _strategy.check_strategy(each)
        if not callable(self.difficulty) and not callable(getattr(self.difficulty, "route", None)):
            raise TypeError(
                "Adaptive(difficulty) must be a function of the call's arguments, or like ttc.strategies.Classify();"
                f" got {self.difficulty!r}"
            )
        if isinstance(self.difficulty, type):
            raise TypeError(f"a difficulty is an object, not a class: write {self.difficulty.__name__}(…)")
        if isinstance(self.difficulty, FirstScore) and len(self.difficulty.thresholds) != len(self.tiers) - 1:
            raise ValueError(
                f"FirstScore(thresholds) must be one fewer than the {len(self.tiers)} tiers,"
                f" got {self.difficulty.thresholds!r}"
            )
        check_by(self, self.by)
        _ = self.parameters  # a function that cannot be called by name

    @property
    def _difficulty(self) -> Difficulty:
        own = self.difficulty
        return cast("Difficulty", own) if hasattr(own, "route") else Told(cast("Any", own))

    @property
    def _parts(self) -> list[Any]:
        return [self._difficulty, *self.tiers.values()]

    @property
    def needs_verifier(self) -> bool:
        """Whether a tier does, or the difficulty."""
        return any(_strategy.needs_verifier(each) for each in self._parts)

    @property
    def needs(self) -> frozenset[Capability]:
        """What the difficulty and all tiers do."""
        return frozenset[Capability]().union(*(_strategy.needs(each) for each in self._parts))

    @property
    def judges(self) -> tuple[Any, ...]:
        """The tiers' own."""
        return tuple(judge for each in self._parts for judge in _strategy.judges(each))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments that the difficulty and the tiers read."""
        return frozenset[str]().union(*(_strategy.asks(each) for each in self._parts))

    @property
    def wants_all(self) -> bool:
        """Whether all tiers do."""
        return all(_strategy.needs_all(each) for each in self.tiers.values())

    def suited(self, can: frozenset[Capability]) -> Adaptive:
        """The same with the nearest tier that can run in place of each that cannot."""
        tiers = [_strategy.suited(each, can) for each in self.tiers.values()]
        fit = [place for place, each in enumerate(tiers) if _strategy.needs(each) <= can]
        if not fit:
            return self
        nearest = [tiers[min(fit, key=lambda other: (abs(other - place), other))] for place in range(len(tiers))]
        if all(new is old for new, old in zip(nearest, self.tiers.values(), strict=True)):
            return self
        return replace(self, tiers=dict(zip(self.tiers, nearest, strict=True)))

    def search(self, call: Call) -> Search[T]:
        """Choose a tier, and go on from there."""
        lanes, pace = Lanes(), _Pace(call)
        tiers: list[Strategy] = list(self.tiers.values())
        place: int | None
        place, kept = yield from pace.watched(self._difficulty.route(call, list(self.tiers), lanes))
        winners: list[Sample[Any]] = []
        if place is not None:
            lightest = 1 if isinstance(self.difficulty, Agreement) else 0  # its draws were the first tier
            fit = [each for each in range(lightest, place + 1) if pace.can_finish(tiers[each], lanes.samples)]
            place = max(fit, default=None if kept else 0)
        ran: Strategy | None = None
        while place is not None and place < len(tiers) and not pace.over:
            if tiers[place] is not ran:  # else two names of one tier, where another cannot run
                ran, first = tiers[place], len(lanes.samples)
                winner = yield from pace.timed(ran, lanes)
                own = [each for each in lanes.samples[first:] if each.whole]
                winners += [] if winner is None else [winner]
                if winner is not None and self._good(winner, own):
                    break
            place += 1
            if not self.escalate or (place < len(tiers) and not pace.can_finish(tiers[place], lanes.samples)):
                break
        return _chosen(kept, winners, [each for each in lanes.samples if each.whole])

    def _good(self, winner: Sample[Any], own: list[Sample[Any]]) -> bool:
        """Whether no heavier tier is needed."""
        if winner.verdict is not None and not winner.verdict.failed:
            return winner.accepted
        return share(winner, own, self.by) > 1 / 2


def _chosen(kept: list[Sample[Any]], winners: list[Sample[Any]], drawn: list[Sample[Any]]) -> Sample[Any]:
    """The verifier's best of what was kept and what tiers have chosen; where nothing was judged, the last tier's."""
    found = [*kept, *winners] or drawn
    answers = [each for each in winners if each.status == "answer"]
    if answers and all(each.verdict is None or each.verdict.failed for each in found):
        return answers[-1]
    return best(found)


class _Pace:
    """How long tiers take, and how much time there is."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.over = False
        """The engine has said that no more samples come."""

    def watched(self, steps: Inner) -> Inner:
        """The same search, with an ear for the end of the budget."""
        sample = None
        try:
            asked = next(steps)
            while True:
                sample = yield asked
                self.over |= sample is None
                asked = steps.send(sample)
        except StopIteration as end:
            return end.value

    def timed(self, tier: Strategy, lanes: Lanes) -> Inner:
        """Run a tier and learn what it takes; None where it finds nothing."""
        began = _now(lanes.samples)
        try:
            winner = yield from self.watched(lanes.run(_strategy.begin(tier, self._call)))
        except NoSamples:
            winner = None
        # What another limit than time has ended says nothing of how long it takes.
        if not self.over or self._call.seconds is not None:
            took = max(_now(lanes.samples) - began, 0.0)
            left = 0.0 if self._call.seconds is None else self._call.seconds - began
            PACES.observe(self._call.name, repr(tier), max(took, left) if self.over else took, cut=self.over)
        return winner

    def can_finish(self, tier: Strategy, samples: list[Sample[Any]]) -> bool:
        """Whether a tier is expected to end before the deadline."""
        if self._call.seconds is None:
            return True
        left = self._call.seconds - _now(samples)
        known = PACES.keeps_to(self._call.name, repr(tier), left)
        if known is not None:
            return known
        began = 0.0
        for sample in sorted(samples, key=lambda each: each.after):
            if sample.whole:
                return (sample.after - began) * _strategy.in_turn(tier) <= left
            began = sample.after
        return False


def _now(samples: list[Sample[Any]]) -> float:
    """Seconds from the start of the search to the last sample."""
    return max((each.after for each in samples), default=0.0)
