"""First finished: the answers that come first decide."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from ttc_middleware._brief import Brief
from ttc_middleware._types import Call, Draw, Search, T

from ._arrivals import Arrivals, check_by
from ._check import count


@dataclass(frozen=True, repr=False)
class FirstFinished(Brief):
    """Draw k at once, stop when m have finished with an answer, and let these vote.

    short-m@k, Hassid et al. 2025, "Don't Overthink it" (arXiv:2505.17813); with m = 1 it is First-Finish Search
    (Agarwal et al. 2025, arXiv:2505.18149). Samples that abstain, are truncated or fail are no finishes. Ties go to the
    class that finished first. A verifier decides among the m: those that it rejected vote only if it accepted none; a
    rejected one is a finish all the same (`BestOfN` is what waits for an accepted one).

    It acts on the order in which samples arrive, which is the order of their lengths: what takes the model long is cut
    off, and billed up to there.

    Where it fails: everywhere but in the contest mathematics that it was found in, shorter answers are hardly better
    (`poe bench-races`): m = 1 loses to a full vote from k of about 9, and questions whose easy wrong answer is short
    lose most. It is a way to answer sooner, at a price in accuracy. It also counts on samples that begin together:
    where the service makes some wait, those count as slow.

    Args:
        m: finished answers that are enough, from 1.
        k: samples that start at once, from m.
        by: the answer that an output stands for, as in `SelfConsistency(by=)`.

    Raises:
        ValueError: `m` is below 1, or `k` below `m`.
        TypeError: `by` cannot be called.
    """

    m: int = 3
    k: int = 9
    by: Callable[[Any], Hashable | None] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, m=self.m, k=self.k)
        if self.k < self.m:
            raise ValueError(f"FirstFinished(k=) must not be below m, which is {self.m}; got {self.k}")
        check_by(self, self.by)

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw k, and stop at the m-th answer."""
        arrived = Arrivals(self.by)
        sample = yield [Draw()] * self.k
        while sample is not None:
            arrived.add(sample)
            if arrived.voted == self.m or len(arrived.samples) == self.k:
                break
            sample = yield []
        return arrived.winner()
