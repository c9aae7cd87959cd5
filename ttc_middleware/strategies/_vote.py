"""A count of answer classes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from ttc_middleware._types import Sample

from ._equivalence import Equivalence
from ._weights import Weigher, equal


class Ballot(NamedTuple):
    """One sample that votes."""

    sample: Sample[Any]
    said: float | None
    """What it weighs by; None where it does not say."""


class Polls:
    """What has been cast so far, by a key: what a verifier rejected counts only if it let nothing through.

    Args:
        weigher: what each vote weighs.
    """

    def __init__(self, weigher: Weigher) -> None:
        self.weigher = weigher
        self._polls: dict[bool, dict[Hashable, list[Ballot]]] = {True: {}, False: {}}

    def cast(self, sample: Sample[Any], key: Hashable) -> None:
        """Add a sample; raises TypeError for a key that cannot be compared."""
        rejected = sample.verdict is not None and not sample.verdict.failed and not sample.accepted
        poll = self._polls[not rejected].setdefault(key, [])
        poll.append(Ballot(sample, self.weigher.read(sample)))

    def counted(self, *, sure: bool = False) -> dict[Hashable, list[Ballot]]:
        """The votes that count, by key; with `sure`, only those that will count whatever else comes."""
        return self._polls[True] or ({} if sure else self._polls[False])

    @property
    def unweighed(self) -> bool:
        """Whether there are votes and not one says what it weighs."""
        ballots = [each for poll in self.counted().values() for each in poll]
        return bool(ballots) and all(each.said is None for each in ballots)

    def weights(self, classes: Sequence[Sequence[Ballot]]) -> list[float]:
        """What each class weighs; who does not say weighs the mean of what the others say."""
        said = [each.said for votes in classes for each in votes if each.said is not None]
        mean = min(max(math.fsum(said) / len(said), min(said)), max(said)) if said else 0.0
        if not said:
            return [float(len(votes)) for votes in classes]
        turned = self.weigher.turned
        # fsum rounds once: the order of arrival leaves no trace.
        return [math.fsum(turned(mean if each.said is None else each.said) for each in votes) for votes in classes]

    def out_of_reach(self, classes: Sequence[Sequence[Ballot]], left: int, *, joining: bool) -> int | None:
        """The place of the class that will weigh most, however `left` further samples vote; None: not decided.

        Args:
            classes: of the votes that will count.
            left: samples to come.
            joining: classes may still turn out to be one.
        """
        least, most = self.weigher.bounds
        if not classes or most == math.inf:
            return None
        if least == most:  # one vote each
            return _ahead([[len(votes)] for votes in classes], [[len(votes)] for votes in classes], [left], joining)
        turned = self.weigher.turned
        low = [[least if each.said is None else turned(each.said) for each in votes] for votes in classes]
        high = [[most if each.said is None else turned(each.said) for each in votes] for votes in classes]
        return _ahead(low, high, [most] * left, joining)


def _ahead(low: list[list[float]], high: list[list[float]], to_come: list[float], joining: bool) -> int | None:
    """The place of the class that weighs more, at the least, than each other at the most with all that is to come."""
    sums = [math.fsum(votes) for votes in low]
    leader = max(range(len(sums)), key=sums.__getitem__)
    others = [votes for place, votes in enumerate(high) if place != leader]
    if joining:  # one more answer that is like two others makes them one
        others = [[weight for votes in others for weight in votes]]
    # At worst all that is to come votes for a rival, and wins the tie by having been launched earlier.
    rival = max(others, key=math.fsum, default=list[float]())
    return leader if sums[leader] > math.fsum([*rival, *to_come]) else None


class Vote:
    """A running count of answer classes over `n` ballots, whatever their order.

    Args:
        n: how many samples will have been cast at the end.
        weigher: what each vote weighs; None: one vote each.
        same: which answers are one; None: equal ones.
    """

    def __init__(self, n: int, weigher: Weigher | None = None, same: Equivalence | None = None) -> None:
        self._left = n
        self._same = same
        self.polls = Polls(weigher or equal())

    def add(self, sample: Sample[Any], answer: Hashable | None, shown: Any = None) -> None:
        """Count a sample; None abstains. What cannot be compared with the other answers is not counted, and raises.

        Args:
            sample: what has finished.
            answer: its answer.
            shown: the answer as `same` is to see it.
        """
        if answer is not None and sample.status == "answer":
            self.polls.cast(sample, answer)
            if self._same is not None:
                self._same.add(answer, shown)
        self._left -= 1

    @property
    def winner(self) -> Sample[Any] | None:
        """The earliest launched sample of the leading class; None if nobody voted."""
        classes = self._classes(self.polls.counted())
        ranked = sorted(zip(self.polls.weights(classes), classes, strict=True), key=_standing)
        return min((each.sample for each in ranked[0][1]), key=lambda sample: sample.index) if ranked else None

    @property
    def decided(self) -> bool:
        """Whether no remaining sample can change the winning class."""
        return not self._left or self.certain

    @property
    def certain(self) -> bool:
        """Whether the winning class stays, whichever further samples come and whichever answers turn out to be one."""
        sure = self._classes(self.polls.counted(sure=True))
        return self.polls.out_of_reach(sure, self._left, joining=self._same is not None) is not None

    def answers(self, samples: Sequence[Sample[Any]]) -> list[Hashable | None]:
        """The class of each sample by launch order; None for one whose vote does not count, or may yet not count."""
        counted: dict[int, Hashable] = {}
        for answer, votes in self.polls.counted(sure=True).items():
            own = answer if self._same is None else self._same.of(answer)
            counted |= {each.sample.index: own for each in votes}
        return [counted.get(sample.index) for sample in samples]

    def _classes(self, poll: dict[Hashable, list[Ballot]]) -> list[list[Ballot]]:
        if self._same is None:
            return list(poll.values())
        classes: dict[Hashable, list[Ballot]] = {}
        for answer, votes in poll.items():
            classes.setdefault(self._same.of(answer), []).extend(votes)
        return list(classes.values())


def _standing(ranked: tuple[float, list[Ballot]]) -> tuple[float, int, int]:
    """Sorts the leading class first: the heaviest, then most votes, then the earliest launched."""
    weight, votes = ranked
    return -weight, -len(votes), min(each.sample.index for each in votes)
