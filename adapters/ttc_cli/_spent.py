"""What was spent, as far as anybody knows: sums that stay exact, and say so where they are only a lower bound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

EXACT = Context(prec=100)
"""Digits enough for a sum of anything that a line may hold."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent, as far as anybody knows; adds up exactly."""

    calls: int = 0
    input: int = 0
    output: int = 0
    usd: Decimal = Decimal(0)
    """Of the calls that have a price."""
    unpriced: int = 0
    """Calls without a price, and what nobody saw: where this is not 0, dollars are a lower bound."""
    unseen: int = 0
    """What nobody reported: where this is not 0, everything is a lower bound."""
    seconds: Decimal = Decimal(0)
    """Inside the calls, those in parallel each counted."""

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.input + self.output

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls,
            self.input + other.input,
            self.output + other.output,
            EXACT.add(self.usd, other.usd),
            self.unpriced + other.unpriced,
            self.unseen + other.unseen,
            EXACT.add(self.seconds, other.seconds),
        )

    def __sub__(self, other: Spent) -> Spent:
        return Spent(
            self.calls - other.calls,
            self.input - other.input,
            self.output - other.output,
            EXACT.subtract(self.usd, other.usd),
            self.unpriced - other.unpriced,
            self.unseen - other.unseen,
            EXACT.subtract(self.seconds, other.seconds),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON types: dollars as a string, None where no price is known; `exact` is False for a lower bound."""
        return {
            "calls": self.calls,
            "input_tokens": self.input,
            "output_tokens": self.output,
            "tokens": None if self.unseen and not self.tokens else self.tokens,
            "tokens_exact": not self.unseen,
            "usd": None if self.unpriced and not self.usd else format(self.usd, "f"),
            "usd_exact": not self.unpriced,
            "seconds": float(self.seconds),
        }


NOTHING = Spent()


def add_up(parts: Iterable[Spent]) -> Spent:
    """The sum."""
    total = NOTHING
    for part in parts:
        total += part
    return total


def said_tokens(spent: Spent) -> str:
    """For a table: "1,234", "≥ 1,234" or "unknown"."""
    if spent.unseen:
        return f"≥ {spent.tokens:,}" if spent.tokens else "unknown"
    return f"{spent.tokens:,}"


def said_usd(spent: Spent) -> str:
    """For a table: "$0.0123", "≥ $0.0123" or "unknown", never 0 for what has no price."""
    if spent.unpriced:
        return f"≥ {dollars(spent.usd)}" if spent.usd else "unknown"
    return dollars(spent.usd)


def dollars(usd: Decimal) -> str:
    """Four digits that say something; all of them are in the JSON."""
    if not usd:
        return "$0"
    digits = 2 if abs(usd) >= 100 else min(12, max(2, 3 - usd.adjusted()))  # noqa: PLR2004  # cents are enough
    return f"${usd:,.{digits}f}"
