"""Sequential Monte Carlo: weights, their effective number, and systematic resampling. Pure arithmetic."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


class Weights:
    """The log-weights of n particles, accumulated since the last resampling.

    Del Moral, Doucet and Jasra 2006, "Sequential Monte Carlo samplers". Each step multiplies every weight by an
    *increment*, what the particle is worth now over what it was worth before; resampling draws particles in proportion
    to their weights and makes these equal again. Then `exp(log_evidence)` is an unbiased estimate of the normalising
    constant, whenever and however often the effective number calls for resampling.

    Args:
        n: particles, from 1.
    """

    def __init__(self, n: int) -> None:
        self.logs = [0.0] * n
        self._resampled = 0.0

    def add(self, increments: Sequence[float]) -> None:
        """Multiply the weights; takes logarithms, -inf for a particle that is dead."""
        self.logs = [log + increment for log, increment in zip(self.logs, increments, strict=True)]

    @property
    def shares(self) -> list[float]:
        """The weights, made to add up to 1; not to be asked of dead ones."""
        top = max(self.logs)
        weights = [math.exp(log - top) for log in self.logs]
        total = math.fsum(weights)
        return [weight / total for weight in weights]

    @property
    def effective(self) -> float:
        """The effective sample size, from 1 to n: 1 over the sum of the squared shares (Kong 1992)."""
        return 1 / math.fsum(share**2 for share in self.shares)

    @property
    def log_evidence(self) -> float:
        """The logarithm of the estimated normalising constant."""
        return self._resampled + self._log_mean

    @property
    def _log_mean(self) -> float:
        top = max(self.logs)
        if top == -math.inf:
            return top
        return top + math.log(math.fsum(math.exp(log - top) for log in self.logs) / len(self.logs))

    def resampled(self, chance: random.Random, *, below: float) -> list[int] | None:
        """Where the effective number is under `below` · n: the particle that each place goes on with, else None."""
        if self.effective >= below * len(self.logs):
            return None
        chosen = systematic(self.shares, chance.random())
        self._resampled += self._log_mean
        self.logs = [0.0] * len(self.logs)
        return chosen


def systematic(shares: Sequence[float], start: float) -> list[int]:
    """Systematic resampling (Carpenter et al. 1999): n equidistant places on the shares laid end to end.

    Each particle is chosen n · share times, rounded up or down, and exactly so on average over `start`.

    Args:
        shares: of each particle, adding up to 1.
        start: where the first place is, in units of 1 / n: from 0, below 1.
    """
    n = len(shares)
    chosen: list[int] = []
    particle, upto = 0, shares[0] * n
    last = max(range(n), key=lambda each: (shares[each] > 0, each))  # sums of floats may end just short of 1
    for place in range(n):
        while place + start >= upto and particle < last:
            particle += 1
            upto += shares[particle] * n
        chosen.append(particle)
    return chosen
