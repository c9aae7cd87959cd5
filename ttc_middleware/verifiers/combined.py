"""Verifiers made of verifiers: `All`, `Any`, `Chain` and `Weighted`.

Members are whatever `scale()` takes as a verifier: functions of the output and, by name, of the call's arguments, and
objects with `check()`. Each takes its members in the given order, except that checks come first and opinions (`Judge`,
`RewardModel`, `ProcessReward`: whatever has `soft = True`) last, and it asks no more of them than it needs.

One rule holds in all four, and in whatever is nested in them: an opinion can turn a yes of the checks into a no, never
their no into a yes. A composition of opinions alone is an opinion.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ttc_middleware._inspect import label
from ttc_middleware._types import Sample, Verdict

from ._members import Combined, Member, Tally, weights_of

_Any = typing.Any  # the module has an Any of its own


@dataclass(frozen=True, eq=False, init=False, repr=False)
class All(Combined):
    """Accepts what all of its members accept.

    They are asked in turn until one rejects. The score is the lowest of those asked, with its feedback; a rejection
    comes with the feedback of who rejected. Where a member breaks before any has rejected, the verdict is a failed one.
    The verdict's usage is the sum of the members', its trust that of the least trusted one asked.

    Args:
        verifiers: the members.
        accept: the score from which a member accepts that leaves it open.

    Raises:
        ValueError: no members, or `accept` out of range.
        TypeError: a member is no verifier.
    """

    verifiers: tuple[_Any, ...]
    accept: float

    def __init__(self, *verifiers: _Any, accept: float = 1.0) -> None:
        object.__setattr__(self, "verifiers", verifiers)
        self._hold(verifiers, accept)

    async def _judge(self, sample: Sample[_Any], arguments: Mapping[str, _Any], tally: Tally) -> Verdict:
        lowest: Verdict | None = None
        for member in self.members:
            verdict = tally.add(member, await member.decided(sample, arguments, self.accept))
            if verdict.failed:
                return tally.failed(verdict)
            if lowest is None or verdict.score < lowest.score:
                lowest = verdict
            if not verdict.accepted:
                return tally.verdict(lowest.score, verdict, accepted=False)
        assert lowest is not None  # there is a member
        return tally.verdict(lowest.score, lowest, accepted=True)

    def __repr__(self) -> str:
        return _shown(self, self.verifiers)


def _of_all(tally: Tally, highest: Verdict) -> int | None:
    """Where an answer is wrong to every member; None where one has not said so, and may still accept it."""
    if tally.trust == "weak":  # advice, and no proof
        return highest.first_bad
    places = [verdict.first_bad for _, verdict in tally.said]
    return None if None in places else max(place for place in places if place is not None)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Any(Combined):
    """Accepts what one of its members accepts.

    They are asked in turn until one accepts. The score is the highest of those asked, with its feedback. Where none
    accepts and one broke, the verdict is a failed one. Usage and trust are as in `All`.

    Beside checks, opinions are never asked: they could only overrule these. They decide where all members are opinions;
    to have a judge look at what a check has accepted, take `All` or `Chain`.

    Args:
        verifiers: the members.
        accept: the score from which a member accepts that leaves it open.

    Raises:
        ValueError: no members, or `accept` out of range.
        TypeError: a member is no verifier.
    """

    verifiers: tuple[_Any, ...]
    accept: float

    def __init__(self, *verifiers: _Any, accept: float = 1.0) -> None:
        object.__setattr__(self, "verifiers", verifiers)
        self._hold(verifiers, accept)

    async def _judge(self, sample: Sample[_Any], arguments: Mapping[str, _Any], tally: Tally) -> Verdict:
        highest: Verdict | None = None
        broken: Verdict | None = None
        for member in self.members:
            if member.kind == "soft" and not self.soft:
                break
            verdict = tally.add(member, await member.decided(sample, arguments, self.accept))
            if verdict.failed:
                broken = broken or verdict
                continue
            if highest is None or verdict.score > highest.score:
                highest = verdict
            if verdict.accepted:
                return tally.verdict(highest.score, verdict, accepted=True)
        if broken is not None:
            return tally.failed(broken)
        assert highest is not None  # somebody was asked, and none broke
        return tally.verdict(highest.score, replace(highest, first_bad=_of_all(tally, highest)), accepted=False)

    def __repr__(self) -> str:
        return _shown(self, self.verifiers)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Chain(Combined):
    """Accepts what all of its members accept, and grades by how far an answer comes: for stages that get dearer.

    The members are stages, asked in turn until one rejects. With k stages, the score is (i + s) / k, where i is the
    number of stages before the one that decided (the first to reject, else the last) and s the score that it gave. So
    what fails an early stage scores below all that passes it, and what passes all is graded by the last stage alone, in
    the top k-th of the scale. The feedback is that of the stage that decided. Where a stage breaks, the verdict is a
    failed one. Usage and trust are as in `All`.

    Args:
        verifiers: the stages.
        accept: the score from which a stage accepts that leaves it open.

    Raises:
        ValueError: no stages, or `accept` out of range.
        TypeError: a stage is no verifier.
    """

    verifiers: tuple[_Any, ...]
    accept: float

    def __init__(self, *verifiers: _Any, accept: float = 1.0) -> None:
        object.__setattr__(self, "verifiers", verifiers)
        self._hold(verifiers, accept)

    async def _judge(self, sample: Sample[_Any], arguments: Mapping[str, _Any], tally: Tally) -> Verdict:
        verdict, before = Verdict(0.0), 0
        for place, member in enumerate(self.members):
            verdict, before = tally.add(member, await member.decided(sample, arguments, self.accept)), place
            if verdict.failed:
                return tally.failed(verdict)
            if not verdict.accepted:
                break
        score = (before + verdict.score) / len(self.members)
        return tally.verdict(score, verdict, accepted=bool(verdict.accepted))

    def __repr__(self) -> str:
        return _shown(self, self.verifiers)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Weighted(Combined):
    """Accepts what scores high enough on the whole: the mean of the members' scores by their weights.

    Among checks alone only the mean counts, so one that rejects can be outweighed by others. Where there are opinions
    too, every check that rejects has a veto, and so have the checks together if their own mean is too low: then the
    answer is rejected, the opinions are not asked, and count as 0 in the score. The feedback is that of the member with
    the lowest score. Where a member breaks and nobody has a veto, the verdict is a failed one. Usage and trust are as
    in `All`.

    Args:
        weighted: the weight of each verifier, as a mapping or as pairs; positive, of any sum.
        accept: the mean from which an answer is accepted, and the score from which a check does not reject.

    Raises:
        ValueError: no members, a weight that is not positive, or `accept` out of range.
        TypeError: a member is no verifier.
    """

    weighted: tuple[tuple[_Any, float], ...]
    accept: float

    def __init__(self, weighted: Mapping[_Any, float] | Sequence[tuple[_Any, float]], *, accept: float = 1.0) -> None:
        pairs = weights_of(weighted)
        object.__setattr__(self, "weighted", tuple(pairs))
        self._hold([verifier for verifier, _ in pairs], accept)

    async def _judge(self, sample: Sample[_Any], arguments: Mapping[str, _Any], tally: Tally) -> Verdict:
        opinions = [member for member in self.members if member.kind == "soft"]
        checks = [member for member in self.members if member.kind != "soft"]
        broken = await self._asked(checks, sample, arguments, tally)
        veto = False
        if opinions and checks:
            rejected = any(not verdict.accepted and not verdict.failed for _, verdict in tally.said)
            veto = rejected or (broken is None and self._mean(tally, checks) < self.accept)
        if not veto and broken is None:
            broken = await self._asked(opinions, sample, arguments, tally)
        if broken is not None and not veto:
            return tally.failed(broken)
        score = self._mean(tally, self.members)
        worst = min((verdict for _, verdict in tally.said if not verdict.failed), key=lambda each: each.score)
        if not veto and tally.trust == "strong" and len(self.members) > 1:  # others may outweigh it in the end
            worst = replace(worst, first_bad=None)
        return tally.verdict(score, worst, accepted=score >= self.accept and not veto)

    async def _asked(
        self, members: Sequence[Member], sample: Sample[_Any], arguments: Mapping[str, _Any], tally: Tally
    ) -> Verdict | None:
        """Ask all of these; the verdict of the first that broke, if any did."""
        said = [tally.add(each, await each.decided(sample, arguments, self.accept)) for each in members]
        return next((verdict for verdict in said if verdict.failed), None)

    def _mean(self, tally: Tally, members: Sequence[Member]) -> float:
        """The weighted mean over these; who has not been asked counts as 0."""
        weights = {id(verifier): weight for verifier, weight in self.weighted}
        parts = [weights[id(member.verifier)] * verdict.score for member, verdict in tally.said]
        return min(1.0, math.fsum(parts) / math.fsum(weights[id(member.verifier)] for member in members))

    def __repr__(self) -> str:
        shown = ", ".join(f"({_name(verifier)}, {weight:g})" for verifier, weight in self.weighted)
        return f"Weighted([{shown}], accept={self.accept:g})"


def _shown(combined: Combined, verifiers: Sequence[_Any]) -> str:
    return f"{type(combined).__name__}({', '.join(map(_name, verifiers))}, accept={combined.accept:g})"


def _name(verifier: _Any) -> str:
    """A verifier as itself, a function by its name: its address would make every process's spans differ."""
    return repr(verifier) if hasattr(verifier, "check") else label(verifier)
