"""Best-of-N for as many tokens as a search took, on the same problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from estimates import Share, paired, pass_at, tokens_until


@dataclass(frozen=True)
class Pooled:
    """Recorded whole answers of a problem: how many, how many of them right, and what one costs."""

    right: int
    of: int
    each: float


@dataclass(frozen=True)
class Beside:
    """A search minus best-of-N, drawn one after the other until one is right, at the same mean tokens a problem."""

    n: float
    """Between two whole numbers, it is the one or the other, in such shares that the tokens are the same."""
    right: float
    difference: Share
    least: int | None = None
    """The pool is too small, and `n` all of it: so many samples would be needed, or more."""

    @property
    def said(self) -> str:
        """As a table has it."""
        if self.least is None:
            return f"{self.difference.points}; N = {self.n:.1f}: {100 * self.right:.1f} %"
        return (
            f"{self.difference.points}; pool too small: at least {self.least} samples;"
            f" all {self.n:.0f}: {100 * self.right:.1f} %"
        )

    @property
    def holds(self) -> bool:
        """Whether it is beside as many tokens as the search took; else at least beside fewer, so that a loss is one."""
        return self.least is None


def beside(right: Sequence[float], pools: Sequence[Pooled], spent: float) -> Beside:
    """Compare.

    Args:
        right: of each problem, whether the search was right.
        pools: of the same problems.
        spent: mean tokens a problem.
    """

    def cost(n: int) -> float:
        return fmean(tokens_until(n, each.right, each.of, each.each) for each in pools)

    def found(n: int) -> list[float]:
        return [pass_at(n, each.right, each.of) for each in pools]

    most, n = min(each.of for each in pools), 1
    while n < most and cost(n + 1) <= spent:
        n += 1
    theirs = found(n)
    if n < most:
        part = max(0.0, (spent - cost(n)) / (cost(n + 1) - cost(n)))  # below 0 where one draw takes more already
        theirs = [(1 - part) * a + part * b for a, b in zip(theirs, found(n + 1), strict=True)]
        return Beside(n + part, fmean(theirs), paired(right, theirs))
    # Each further sample takes no more tokens than the last one did, since fewer problems still want one.
    least = n + math.ceil((spent - cost(n)) / (cost(n) - cost(n - 1)))
    return Beside(n, fmean(theirs), paired(right, theirs), least if least > n else None)


def note(compared: dict[str, dict[str, Beside]], tokens: str) -> list[str]:
    """What the comparisons, by search and family, say of each search."""
    lines = [f"Not below best-of-N at equal {tokens} on at least one family:"]
    for name, families in compared.items():
        fair = {family: each for family, each in families.items() if each.holds}
        point = [f"{family} {each.difference.points}" for family, each in fair.items() if each.difference.mean >= 0]
        sure = [family for family, each in fair.items() if each.difference.low >= 0]
        unknown = [family for family, each in families.items() if not each.holds and each.difference.mean >= 0]
        said = f"as a point estimate on {', '.join(point)}" if point else "on none"
        said += f"; by its interval on {', '.join(sure)}" if sure else "; by its interval on none"
        said += f"; not known on {', '.join(unknown)}: pool too small" if unknown else ""
        lines.append(f"- {name}: {said}")
    return lines
