"""Whether answers, in the order in which they were asked for, show which one is the model's most frequent."""

from __future__ import annotations

import math
from collections.abc import Hashable
from fractions import Fraction

_FIRST_SHARE = 0.9  # of the allowed error, for the first answer that is seen; the others share the rest
_SQUARES = math.pi**2 / 6 - 1  # 1/4 + 1/9 + 1/16 + …


class Certificate:
    """Answers by launch order, whenever they arrive: an anytime-valid test of who leads, among unknown answers.

    Each answer that turns up is compared with its strongest rival, from the sample after its discovery on, by the
    mixture of likelihood ratios over shares above a half. Where the rival is at least as frequent that is a
    non-negative supermartingale, so by Ville's inequality it ever exceeds 1 / x with a chance of at most x; the k-th
    discovered answer has its own part x of the allowed error, and the parts add up to it.

    Args:
        error: the allowed chance of ever naming an answer that is not the most frequent one.
    """

    def __init__(self, error: float) -> None:
        self._error = Fraction(error)
        self._counts: dict[Hashable, int] = {}
        self._early: dict[int, Hashable | None] = {}
        self._next = 0
        self.answer: Hashable | None = None
        """The certified answer; None as long as there is none."""

    def add(self, index: int, answer: Hashable | None) -> None:
        """What the sample launched as number `index` has answered; None abstains."""
        self._early[index] = answer
        while self._next in self._early:
            self._count(self._early.pop(self._next))
            self._next += 1

    def could_end(self, agreeing: int) -> bool:
        """Whether so many more votes for the leader, besides those that wait for their turn, would certify it."""
        votes = dict(self._counts)
        for answer in self._early.values():
            if answer is not None:
                votes[answer] = votes.get(answer, 0) + 1
        first, second = sorted([0, 0, *votes.values()])[:-3:-1]
        return evidence(first + agreeing - 1, second) * self._error * Fraction(_FIRST_SHARE) >= 1

    def _count(self, answer: Hashable | None) -> None:
        if answer is None or self.answer is not None:
            return
        counts = self._counts
        counts[answer] = counts.get(answer, 0) + 1
        rank = list(counts).index(answer) + 1
        part = _FIRST_SHARE if rank == 1 else (1 - _FIRST_SHARE) / _SQUARES / rank**2
        rival = max((count for each, count in counts.items() if each != answer), default=0)
        if evidence(counts[answer] - 1, rival) * self._error * Fraction(part) >= 1:
            self.answer = answer


def evidence(ahead: int, behind: int) -> Fraction:
    """The mean of (2x)^ahead (2 - 2x)^behind over x uniform in (1/2, 1), exactly; below 1 where nothing is ahead."""
    if ahead < 1:
        return Fraction(0)
    total = ahead + behind + 1
    # 2^total · B(ahead + 1, behind + 1) · P(Binomial(total, 1/2) <= ahead)
    return Fraction(sum(math.comb(total, k) for k in range(ahead + 1)), math.comb(total - 1, ahead) * total)
