"""How much one figure differs between the calls of a call site: two similar prompts can differ tenfold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ._searches import Search


@dataclass(frozen=True)
class Spread:
    """How one figure differs from call to call of a call site."""

    known: int
    """Calls whose figure is known to the last; others are left out."""
    p50: float
    p95: float
    least: float
    most: float

    @property
    def times(self) -> float | None:
        """The most over the least; None where the least is 0."""
        return self.most / self.least if self.least else None


def spreads(searches: Sequence[Search]) -> dict[str, Spread]:
    """How tokens, dollars and seconds differ between the calls of one call site; what is not known is left out."""
    values = {
        "tokens": [float(each.total.tokens) for each in searches if not each.total.unseen],
        "usd": [float(each.total.usd) for each in searches if not each.total.unpriced],
        "seconds": [float(each.seconds) for each in searches],
    }
    return {
        kind: Spread(len(known), quantile(known, 0.5), quantile(known, 0.95), min(known), max(known))
        for kind, known in values.items()
        if known
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that so large a share of them does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
