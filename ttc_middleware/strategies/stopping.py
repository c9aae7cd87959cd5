"""When a vote has gone on for long enough: for `SelfConsistency(stop=)`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from ttc_middleware._brief import Brief

from ._check import count


class Stop(Protocol):
    """When to end a vote. Any frozen object with this method will do."""

    def more(self, answers: Sequence[Hashable | None], /) -> int:
        """How many more samples to draw before asking again: the fewest that could end the vote; 0 ends it.

        Args:
            answers: so far, in launch order; None for a sample that does not vote. At first there are none.
        """
        ...


@dataclass(frozen=True, repr=False)
class AdaptiveConsistency(Brief):
    """End when the leading answer is probably the most frequent one: for `SelfConsistency(stop=)`.

    Aggarwal et al. 2023, "Let's Sample Step by Step" (arXiv:2305.11860), its Beta criterion: with n1 votes for the
    leader and n2 for the next, the posterior P(p1 > p2) = 1 - I_1/2(n1 + 1, n2 + 1) has to exceed `confidence`. That is
    P(Binomial(n1 + n2 + 1, 1/2) <= n1), and is reckoned exactly.

    Samples are asked for in look-ahead batches, the fewest that could end the vote: the decisions of the paper's one at
    a time, from the same samples, in a quarter of the rounds. Four that agree end it at 0.95.

    Where it fails: `confidence` is no error rate. Looking after every sample, at near ties it names the wrong answer
    in 9 to 26 % of the questions at 0.95; `Race(certify=0.05)` keeps to what it promises. Rounds are drawn one after
    the other, which takes longer than drawing all at once. Hard questions take more, and longer, samples: savings in
    tokens are smaller than those in samples that papers report.

    Args:
        confidence: from 0.5, below 1.

    Raises:
        ValueError: the confidence is out of its range.
    """

    confidence: float = 0.95

    def __post_init__(self) -> None:
        given = self.confidence
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0.5 <= given < 1:  # noqa: PLR2004
            raise ValueError(f"AdaptiveConsistency(confidence=) must be from 0.5 and below 1, got {given!r}")

    def more(self, answers: Sequence[Hashable | None], /) -> int:
        """The votes for the leader, without one for another, that would end it; 0: it has ended."""
        first, second = leaders(answers)
        tosses = first + second + 1
        # Of 2^tosses equally likely ones, those with at most `first` heads; by Pascal's rule from one to the next.
        below, among = sum(math.comb(tosses, heads) for heads in range(first + 1)), 1 << tosses
        needed, more = Fraction(self.confidence), 0
        while below <= needed * among:
            first, tosses, more = first + 1, tosses + 1, more + 1
            below, among = 2 * below + math.comb(tosses - 1, first), 2 * among
        return more


@dataclass(frozen=True, repr=False)
class ESC(Brief):
    """End with the first window of samples that all agree: for `SelfConsistency(stop=)`.

    Early-stopping self-consistency, Li et al., ICLR 2024 (arXiv:2401.10480). Draws a window at a time, and votes over
    all that were drawn. A sample that does not vote, or that a verifier rejected, makes a window disagree.

    Where it fails: easy answers only; a question on which one in ten answers differs mostly runs on, and an answer
    that is not the most frequent may fill a window of its own. In replays `AdaptiveConsistency` saves more.

    Args:
        window: samples in a window, from 1; the paper's 5, and 8 for harder mathematics.

    Raises:
        ValueError: the window is no whole number from 1.
    """

    window: int = 5

    def __post_init__(self) -> None:
        count(self, window=self.window)

    def more(self, answers: Sequence[Hashable | None], /) -> int:
        """What is left of the window; 0 where the one that has ended agrees."""
        over = len(answers) % self.window
        last = answers[len(answers) - self.window :] if answers and not over else ()
        agreed = bool(last) and last[0] is not None and len(set(last)) == 1
        return 0 if agreed else self.window - over


def leaders(answers: Sequence[Hashable | None]) -> tuple[int, int]:
    """The votes of the leading answer and of the next."""
    votes = Counter(each for each in answers if each is not None)
    first, second = [*(number for _, number in votes.most_common(2)), 0, 0][:2]
    return first, second
