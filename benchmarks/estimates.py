"""Figures from recorded samples: what N samples would have brought, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2_000


def pass_at(k: int, right: int, of: int) -> float:
    """How probably one of k samples is right, unbiased: drawn without replacement from `of`, so many of them right.

    Chen et al. 2021 (arXiv:2107.03374), section 2.1.

    Raises:
        ValueError: there are fewer than k samples.
    """
    if not 1 <= k <= of:
        raise ValueError(f"pass@{k} needs at least {k} samples, not {of}")
    return 1 - math.comb(of - right, k) / math.comb(of, k)


def tokens_until(k: int, right: int, of: int, each: float) -> float:
    """Tokens of drawing one after the other until one is right, k at most, where a sample takes so many.

    The expected number of draws is the sum over j < k of the probability that none of j is right.
    """
    return each * (1 + sum(1 - pass_at(j, right, of) for j in range(1, k)))


@dataclass(frozen=True)
class Share:
    """A mean over problems, and a 95 % interval of it."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:5.1f} % ({100 * self.low:.0f} to {100 * self.high:.0f})"

    @property
    def points(self) -> str:
        """As a difference, in percentage points."""
        return f"{100 * self.mean:+.1f} ({100 * self.low:+.0f} to {100 * self.high:+.0f})"

    @property
    def fine(self) -> str:
        """As a difference, in tenths of percentage points."""
        return f"{100 * self.mean:+.1f} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


def share(values: Sequence[float]) -> Share:
    """The mean of one value a problem; the interval is a bootstrap of problems, the same ones for every row."""
    array = np.asarray(values, dtype=float)
    count = len(array)
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = np.percentile(weights @ array / count, [2.5, 97.5])
    return Share(float(array.mean()), float(low), float(high))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Share:
    """The difference on the same problems."""
    return share([a - b for a, b in zip(ours, theirs, strict=True)])


def mixed(strata: Sequence[tuple[float, Sequence[float]]]) -> tuple[float, np.ndarray]:
    """The mean of a mix, and what it is in each resample.

    Problems are resampled within their stratum, the same ones for every row; weights are the shares of the mix.
    """
    mean, resampled = 0.0, np.zeros(RESAMPLES)
    for seed, (weight, values) in enumerate(strata):
        array = np.asarray(values, dtype=float)
        count = len(array)
        draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
        mean += weight * float(array.mean())
        resampled += weight * (draws @ array) / count
    return mean, resampled


def interval(mean: float, resampled: np.ndarray) -> Share:
    """A figure with the 95 % interval of its resamples."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Share(mean, float(low), float(high))
