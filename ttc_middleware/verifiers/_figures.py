"""Figures with intervals: shares, areas under curves, and what selection makes of scored samples. Pure, no numpy."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

_STEPS = 100  # of a bisection: beyond a double's precision
_TERMS = 10_000  # of a continued fraction, which needs some sqrt(a + b)
_TINY = 1e-300


@dataclass(frozen=True)
class Estimate:
    """A figure, and between what bounds it lies at the confidence that was asked for."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def to_dict(self) -> dict[str, float]:
        """The three numbers by their names."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Estimate | None:
        """What `to_dict` gave; None of None."""
        return None if data is None else cls(float(data["value"]), float(data["low"]), float(data["high"]))


def share(count: int, of: int, confidence: float) -> Estimate | None:
    """A share with its exact interval (Clopper and Pearson 1934), for independent trials; None of nothing."""
    if not of:
        return None
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else _root(lambda x: incomplete_beta(count, of - count + 1, x), tail)
    high = 1.0 if count == of else _root(lambda x: incomplete_beta(count + 1, of - count, x), 1 - tail)
    return Estimate(count / of, low, high)


def _root(rising: Callable[[float], float], level: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if rising(middle) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0.

    By Lentz's evaluation of its continued fraction (DLMF 8.17.22), on the side where that converges fast.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, _inverse(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = _inverse(1 + term * d)
            c = 1 + term / c or _TINY
            step = c * d
            fraction *= step
        if abs(step - 1) < 1e-15:  # noqa: PLR2004  # a double's precision
            break
    return math.exp(front) * fraction / a


def _inverse(x: float) -> float:
    return 1 / (x or _TINY)


def area(scored: Sequence[tuple[int, float, bool]], confidence: float) -> Estimate | None:
    """How often a right sample scores above a wrong one, ties counted half: the area under the ROC curve.

    The interval goes by the placement values of DeLong et al. 1988, summed up by question as in Obuchowski 1997
    ("Nonparametric analysis of clustered ROC curve data"), on the logit scale so that it stays within 0 and 1. Where
    every pair is in order its variance would be 0: the bound then is the exact one of as many independent pairs as
    there are.

    Args:
        scored: the question, the score and whether it is right, of each sample.
        confidence: of the interval.
    """
    sides = [sorted(score for _, score, each in scored if each is right) for right in (True, False)]
    m, n = map(len, sides)
    if not m or not n:
        return None
    sums: dict[int, list[float]] = {}
    counts: dict[int, list[int]] = {}
    for question, score, right in scored:
        others = sides[1 if right else 0]
        below, equal = bisect_left(others, score), bisect_right(others, score)
        placement = (below + equal) / 2 / len(others)
        side = 0 if right else 1
        sums.setdefault(question, [0.0, 0.0])[side] += placement if right else 1 - placement
        counts.setdefault(question, [0, 0])[side] += 1
    value = min(1.0, sum(each[0] for each in sums.values()) / m)
    clusters = [sum(bool(each[side]) for each in counts.values()) for side in (0, 1)]
    tail = (1 - confidence) / 2
    if value in (0.0, 1.0):
        bound = tail ** (1 / min(clusters))
        return Estimate(value, bound, 1.0) if value else Estimate(value, 0.0, 1 - bound)
    if min(clusters) < 2:  # noqa: PLR2004  # nothing to see a spread by
        return Estimate(value, 0.0, 1.0)
    left = {q: [sums[q][side] - counts[q][side] * value for side in (0, 1)] for q in sums}
    own = [
        clusters[side] / (clusters[side] - 1) * sum(each[side] ** 2 for each in left.values()) / (m, n)[side] ** 2
        for side in (0, 1)
    ]
    shared = 2 * len(left) / (len(left) - 1) * sum(a * b for a, b in left.values()) / (m * n)
    spread = NormalDist().inv_cdf(1 - tail) * math.sqrt(max(0.0, sum(own) + shared)) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return Estimate(value, _logistic(middle - spread), _logistic(middle + spread))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0  # noqa: PLR2004  # where exp overflows


def best_of(ranked: Sequence[tuple[float, bool]], largest: int) -> list[float]:
    """How often the best-ranked of k samples is right, for k from 1 to `largest`: exact, over all subsets.

    The estimator Σ q_(i) C(i-1, k-1) / C(n, k) over samples in order of rank, unbiased in k draws; of equal ranks
    each is chosen equally often, as the earliest of them in a random order is.

    Args:
        ranked: each sample's rank (higher is better) and whether it is right.
        largest: at most as many as there are samples.
    """
    groups: dict[float, list[int]] = {}
    for rank, is_right in ranked:
        tally = groups.setdefault(rank, [0, 0])
        tally[0] += 1
        tally[1] += is_right
    curve = [0.0] * largest
    below = 0
    for _, (count, right) in sorted(groups.items()):
        under, within = 1.0, 1.0  # that all k rank below the group; that none ranks above it
        for k in range(largest):
            under *= max(0, below - k) / (len(ranked) - k)
            within *= max(0, below + count - k) / (len(ranked) - k)
            curve[k] += (within - under) * right / count
        below += count
    return curve


@lru_cache(maxsize=4096)
def first_accepted(accepted: int, of: int, largest: int) -> tuple[float, ...]:
    """How likely the first accepted of `of` samples in a random order is the k-th, for k from 1 to `largest`."""
    chances: list[float] = []
    none = 1.0
    for k in range(largest):
        chance = accepted / (of - k) if none else 0.0
        chances.append(none * chance)
        none *= max(0.0, 1 - chance)
    return tuple(chances)


def voted(answers: Sequence[tuple[Any, bool]], sizes: Sequence[int], rng: random.Random, rounds: int) -> list[float]:
    """How often the most frequent answer of k samples is right, for each k of `sizes`.

    Has no closed form: averaged over random orders without replacement. Ties go to the class with the earliest
    sample, a class is as right as its earliest sample, None abstains; where nobody votes, the first sample counts.
    """
    wins = [0] * len(sizes)
    order = list(answers)
    for _ in range(rounds):
        rng.shuffle(order)
        for at, k in enumerate(sizes):
            votes: dict[Any, int] = {}
            for answer, _ in order[:k]:
                if answer is not None:
                    votes[answer] = votes.get(answer, 0) + 1
            winner = max(votes, key=votes.__getitem__) if votes else order[0][0]  # max keeps the earliest
            wins[at] += next(right for answer, right in order if answer == winner)
    return [won / rounds for won in wins]


def mean_of(rows: Sequence[float], confidence: float, rng: random.Random, rounds: int = 1000) -> Estimate:
    """A mean over questions, with the percentile interval of its bootstrap."""
    means = sorted(_mean(rng.choices(rows, k=len(rows))) for _ in range(rounds))
    cut = int((1 - confidence) / 2 * rounds)
    return Estimate(_mean(rows), means[cut], means[rounds - 1 - cut])


def _mean(rows: Iterable[float]) -> float:
    values = list(rows)
    return math.fsum(values) / len(values)
