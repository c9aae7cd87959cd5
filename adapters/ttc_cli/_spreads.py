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
    """Calls of which something is known; others are left out."""
    bounds: int
    """Of these, the calls whose figure is a lower bound: a search that stops early cancels samples whose cost nobody
    reports, and to leave those searches out would leave the hard questions."""
    p50: float
    p95: float
    least: float
    most: float

    @property
    def times(self) -> float | None:
        """The most over the least; None where the least is 0."""
        return self.most / self.least if self.least else None


def spreads(searches: Sequence[Search]) -> dict[str, Spread]:
    """How tokens, dollars and seconds differ between the calls of one call site; what is unknown is left out."""
    tokens = [(float(each.total.tokens), each.total.unseen > 0) for each in searches]
    usd = [(float(each.total.usd), each.total.unpriced > 0) for each in searches]
    seconds = [(float(each.seconds), False) for each in searches]
    return {
        kind: found
        for kind, values in {"tokens": tokens, "usd": usd, "seconds": seconds}.items()
        if (found := _spread([(value, least) for value, least in values if value or not least])) is not None
    }


def _spread(values: Sequence[tuple[float, bool]]) -> Spread | None:
    known = [value for value, _ in values]
    if not known:
        return None
    bounds = sum(least for _, least in values)
    return Spread(len(known), bounds, quantile(known, 0.5), quantile(known, 0.95), min(known), max(known))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that so large a share of them does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
