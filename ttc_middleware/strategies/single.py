"""One draw."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ttc_middleware._brief import Brief
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Draw, Search, T


@dataclass(frozen=True, repr=False)
class Single(Brief):
    """One draw: the plain call, verified, billed and under the budget.

    The baseline that every other strategy is measured against, and the way to switch scaling off for a block.

    Args:
        temperature: asked of the model, from 0; None: the call's own.

    Raises:
        ValueError: `temperature` is negative or no number.
    """

    temperature: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        asked: object = self.temperature
        number = isinstance(asked, (int, float)) and not isinstance(asked, bool) and math.isfinite(asked)
        if asked is not None and (not number or self.temperature < 0):  # type: ignore[operator]
            raise ValueError(f"Single(temperature=) must be a number from 0, or None; got {asked!r}")

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw once."""
        return best((yield from gather([Draw(temperature=self.temperature)])))
