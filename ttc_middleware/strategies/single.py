"""One draw."""

from __future__ import annotations

from dataclasses import dataclass

from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Draw, Search, T


@dataclass(frozen=True)
class Single:
    """One draw: the plain call, verified, billed and under the budget.

    The baseline that every other strategy is measured against, and the way to switch scaling off for a block.
    """

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw once."""
        return best((yield from gather([Draw()])))
