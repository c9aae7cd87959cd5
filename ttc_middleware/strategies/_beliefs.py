"""What Thompson sampling believes of a score, and one draw from it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

BeliefName: TypeAlias = Literal["gaussian", "beta"]


class Belief(Protocol):
    """A posterior of the mean of some scores, from 0 to 1 each."""

    def see(self, score: float) -> None:
        """Take one more score into account; constant time."""
        ...

    def draw(self, chance: random.Random) -> float:
        """One value of the mean, as likely as the posterior says; constant time."""
        ...

    @staticmethod
    def draws(beliefs: Sequence[Any], chance: random.Random) -> list[float]:
        """One value from each of many beliefs of this kind: most of the time that a search takes is spent here."""
        ...


_FEW = 3.0
"""Of the sum of both parameters of a beta belief, up to which it has seen so little that most tries are kept."""


class Gaussian:
    """Normal scores of unknown mean and variance: a normal-inverse-gamma posterior.

    Murphy 2023, "Probabilistic Machine Learning: Advanced Topics", section 3.4.3.3. With the prior of AB-MCTS: `mean`
    0, `kappa` 1, `nu` 1, `tau_square` 0.1, so that a branch without any score is thought bad, but not surely.
    """

    __slots__ = ("kappa", "mean", "nu", "power", "spread", "squares")

    def __init__(self) -> None:
        self.mean = 0.0
        self.kappa = self.nu = 1.0
        """What the mean and the variance are worth, in scores."""
        self.squares = 0.1
        """`nu` times `tau_square`: a sum of squares, so it grows by addition alone."""
        self._derive()

    @property
    def tau_square(self) -> float:
        """What the variance is thought to be."""
        return self.squares / self.nu

    def see(self, score: float) -> None:
        """Take one more score into account; score by score it comes to the same as all at once."""
        off = score - self.mean
        self.squares += off * off * self.kappa / (self.kappa + 1)
        self.kappa += 1
        self.nu += 1
        self.mean += off / self.kappa
        self._derive()

    def _derive(self) -> None:
        self.power = -2 / self.nu
        self.spread = math.sqrt(self.squares / self.kappa)

    def draw(self, chance: random.Random) -> float:
        """One value of the mean."""
        return self.draws((self,), chance)[0]

    @staticmethod
    def draws(beliefs: Sequence[Gaussian], chance: random.Random) -> list[float]:
        """One value of each mean, whose posterior is a Student t with `nu` degrees of freedom.

        By Bailey's polar method (1994), which is exact and takes two uniform numbers whatever `nu` is.
        """
        uniform, root, cos, turn = chance.random, math.sqrt, math.cos, math.tau
        return [
            each.mean + each.spread * root((1 - uniform()) ** each.power - 1) * cos(turn * uniform())
            for each in beliefs
        ]


class Beta:
    """Scores as shares of a success: a beta posterior, from Jeffreys' prior, `a` = `b` = 0.5."""

    __slots__ = ("a", "b", "powers")

    def __init__(self) -> None:
        self.a = 0.5
        self.b = 0.5
        self._derive()

    def see(self, score: float) -> None:
        """Take one more score into account."""
        self.a += score
        self.b += 1 - score
        self._derive()

    def _derive(self) -> None:
        few = self.a + self.b <= _FEW
        self.powers = (1 / self.a, 1 / self.b) if few else None

    def draw(self, chance: random.Random) -> float:
        """One value of the mean."""
        return self.draws((self,), chance)[0]

    @staticmethod
    def draws(beliefs: Sequence[Beta], chance: random.Random) -> list[float]:
        """One value of each mean.

        Of those that have seen little, which are most of a wide tree, by Jöhnk's method (1964): exact for all, and the
        quickest where both parameters are small.
        """
        uniform, drawn = chance.random, list[float]()
        for each in beliefs:
            if each.powers is None:
                drawn.append(chance.betavariate(each.a, each.b))
                continue
            first, second = each.powers
            one = total = 0.0
            while not 0 < total <= 1:
                one = uniform() ** first
                total = one + uniform() ** second
            drawn.append(one / total)
        return drawn


BELIEFS: dict[BeliefName, Callable[[], Belief]] = {"gaussian": Gaussian, "beta": Beta}
