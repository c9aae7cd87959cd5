"""Best-of-N."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ttc_middleware._brief import Brief
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Draw, Search, T

from ._check import count


@dataclass(frozen=True, repr=False)
class BestOfN(Brief):
    """Draw N samples and return the one that the verifier likes best.

    Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems" (arXiv:2110.14168). With `stop="first accepted"`
    this is resampling until acceptance, with a cap.

    Where it fails: no better than its verifier. Against a verifier that cannot tell, the best of N is worse than a
    majority vote, and precision at acceptance does not improve with N (Stroebl et al., arXiv:2411.17501); on questions
    that the model never gets right, N answers cost N times as much and none is right.

    Args:
        n: samples at most, from 1.
        stop: "first accepted" returns the first accepted sample to *arrive*, and cancels the rest: the cheapest and
            the fastest, for verifiers that say yes or no. "all" waits for every sample and returns the highest score;
            equal draws then share one request where the endpoint has `n`.
        at_once: draws under way at a time, from 1; None: all n. Lower is cheaper and slower: a draw that is not
            started costs nothing.

    Raises:
        ValueError: `n` or `at_once` is below 1, or `stop` is neither word.
    """

    n: int = 8
    stop: Literal["first accepted", "all"] = field(default="first accepted", kw_only=True)
    at_once: int | None = field(default=None, kw_only=True)

    needs_verifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        count(self, n=self.n, at_once=self.n if self.at_once is None else self.at_once)
        if self.stop not in ("first accepted", "all"):
            raise ValueError(f'BestOfN(stop=) must be "first accepted" or "all", got {self.stop!r}')

    @property
    def wants_all(self) -> bool:
        """Whether every draw is waited for."""
        return self.stop == "all" and self.at_once is None

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw until one is accepted, or all n."""
        until = None if self.stop == "all" else _accepted
        return best((yield from gather([Draw()] * self.n, until=until, at_once=self.at_once)))


def _accepted(sample: object) -> bool:
    return bool(getattr(sample, "accepted", False))
