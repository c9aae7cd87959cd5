"""Hard limits: what a `Budget` may say, and the whole numbers that a ledger keeps of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Union

from ._brief import Brief

NANO = 10**9
"""Nano-dollars in a dollar."""

_EXACT = Context(prec=50)
"""Whatever a program's own decimals are rounded to."""

Resource = str  # "samples", "tokens", "usd" (in nano-dollars) or "seats"


@dataclass(frozen=True, kw_only=True, repr=False)
class Budget(Brief):
    """Limits that hold; None is no limit.

    Args:
        samples: draws launched, from 1.
        tokens: input and output of all model calls, hidden ones included, from 1.
        usd: dollars, above 0; a string or `Decimal` is exact. Needs known prices (`PriceUnknown` otherwise).
        seconds: from the start of the call or block, above 0. Running draws are cancelled and the best answer so far
            is returned.
        concurrency: draws in flight at once, from 1.

    Raises:
        ValueError: a limit is zero, negative or not a number.
    """

    samples: int | None = None
    tokens: int | None = None
    usd: Union[Decimal, str, float, None] = None
    seconds: float | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "tokens", "concurrency"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"Budget({name}=) must be a whole number from 1, or None; got {value!r}")
        if self.usd is not None:
            object.__setattr__(self, "usd", _dollars(self.usd))
        seconds: object = self.seconds
        if seconds is not None and (
            isinstance(seconds, bool)
            or not isinstance(seconds, (int, float))
            or not math.isfinite(seconds)
            or seconds <= 0
        ):
            raise ValueError(f"Budget(seconds=) must be a positive number, or None; got {self.seconds!r}")

    @property
    def limits(self) -> dict[Resource, int]:
        """The limits that a ledger keeps, in its integers; time is kept by the engine."""
        limits: dict[Resource, int] = {}
        if self.samples is not None:
            limits["samples"] = self.samples
        if self.tokens is not None:
            limits["tokens"] = self.tokens
        if isinstance(self.usd, Decimal):
            limits["usd"] = int(self.usd.scaleb(9, _EXACT))
        if self.concurrency is not None:
            limits["seats"] = self.concurrency
        return limits


def _dollars(value: Decimal | str | float) -> Decimal:
    try:
        # A float goes through its shortest text: 0.05 means five cents, not 0.05000000000000000277.
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
        if amount.is_finite() and amount > 0:
            return amount
    except (InvalidOperation, ValueError):
        pass
    raise ValueError(f"Budget(usd=) must be a positive number of dollars, or None; got {value!r}")


def scaled(resource: Resource, amount: float) -> float:
    """An amount of a ledger in the unit that people use: dollars, not nano-dollars."""
    return amount / NANO if resource == "usd" else amount
