"""Checks of arguments that several strategies share."""

from __future__ import annotations

import math


def count(strategy: object, **values: object) -> None:
    """Raise unless each value is a whole number from 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{type(strategy).__name__}({name}=) must be a whole number from 1, got {value!r}")


def number(strategy: object, least: float, most: float, **values: object) -> None:
    """Raise unless each value is a finite number in this range, ends included."""
    for name, value in values.items():
        real = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
        if not (math.isfinite(real) and least <= real <= most):
            wanted = f"from {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise ValueError(f"{type(strategy).__name__}({name}=) must be a number {wanted}, got {value!r}")


def whole(strategy: object, **values: object) -> None:
    """Raise unless each value is a whole number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(  # noqa: TRY004  # as for a number that is out of its range
                f"{type(strategy).__name__}({name}=) must be a whole number, got {value!r}"
            )
