"""Best-of-N."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ttc_middleware._answers import answer_key
from ttc_middleware._brief import Brief
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Draw, Sample, Search, T

from ._arrivals import check_by
from ._check import count
from ._scored import likeliest, weightiest

_SELECT = ("highest score", "weighted", "votes and likelihood")


@dataclass(frozen=True, repr=False)
class BestOfN(Brief):
    """Draw N samples and return the one that the verifier likes best.

    Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems" (arXiv:2110.14168). With `stop="first accepted"`
    this is resampling until acceptance, with a cap. `stop` says when drawing ends, `select` what is chosen then, if
    nothing was accepted or all were waited for: an accepted sample comes before any other, whatever is selected by.

    Where it fails: no better than its verifier. Against a verifier that cannot tell, the best of N is worse than a
    majority vote, and precision at acceptance does not improve with N (Stroebl et al., arXiv:2411.17501); on questions
    that the model never gets right, N answers cost N times as much and none is right. The selections by answer class
    mend the first of these, for verifiers that score and answers that can be compared; no selection mends a verifier
    that likes one wrong answer every time it sees it. `poe bench-votes` has the figures.

    Args:
        n: samples at most, from 1.
        stop: "first accepted" returns the first accepted sample to *arrive*, and cancels the rest: the cheapest and
            the fastest, for verifiers that say yes or no. "all" waits for every sample; equal draws then share one
            request where the endpoint has `n`.
        select: "highest score" chooses one sample. The others choose an answer, and return its best sample:
            "weighted" the one whose samples' scores add up to most (weighted best-of-N: Li et al. 2022,
            arXiv:2206.02336; Snell et al. 2024, arXiv:2408.03314), "votes and likelihood" the one with the highest
            log of its votes plus mean of log(score / (1 - score)) over its samples, which takes scores for calibrated
            probabilities (`ttc.verifiers.Platt`, `Isotonic`), clipped to 0.001 and 0.999. For scores that tell right
            from wrong poorly, these two are the better choices.
        by: the answer that an output stands for, as in `SelfConsistency(by=)`; for the selections by answer.
        at_once: draws under way at a time, from 1; None: all n. Lower is cheaper and slower: a draw that is not
            started costs nothing.

    Raises:
        ValueError: `n` or `at_once` is below 1, `stop` or `select` is no such word, or `by` is given where no answers
            are compared.
        TypeError: `by` cannot be called.
    """

    n: int = 8
    stop: Literal["first accepted", "all"] = field(default="first accepted", kw_only=True)
    select: Literal["highest score", "weighted", "votes and likelihood"] = field(default="highest score", kw_only=True)
    by: Callable[[Any], Hashable | None] | None = field(default=None, kw_only=True)
    at_once: int | None = field(default=None, kw_only=True)

    needs_verifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        count(self, n=self.n, at_once=self.n if self.at_once is None else self.at_once)
        if self.stop not in ("first accepted", "all"):
            raise ValueError(f'BestOfN(stop=) must be "first accepted" or "all", got {self.stop!r}')
        if self.select not in _SELECT:
            raise ValueError(f"BestOfN(select=) must be one of {', '.join(map(repr, _SELECT))}, got {self.select!r}")
        check_by(self, self.by)
        if self.by is not None and self.select == "highest score":
            raise ValueError('BestOfN(by=) compares answers: it goes with select="weighted" or "votes and likelihood"')

    @property
    def in_turn(self) -> int:
        """Its draws, so many at once."""
        return -(-self.n // (self.at_once or self.n))

    @property
    def wants_all(self) -> bool:
        """Whether every draw is waited for."""
        return self.stop == "all" and self.at_once is None

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw until one is accepted, or all n."""
        first = self.stop == "first accepted"
        until = _accepted if first else None
        samples = yield from gather([Draw()] * self.n, until=until, at_once=self.at_once)
        if self.select == "highest score" or (first and any(map(_accepted, samples))):
            return best(samples)
        choose = weightiest if self.select == "weighted" else likeliest
        return best(choose(samples, answer_key(self.by)) or samples)


def _accepted(sample: Sample[Any]) -> bool:
    return sample.accepted
