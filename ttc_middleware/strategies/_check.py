"""Checks of arguments that several strategies share."""

from __future__ import annotations

import math
import sys

LARGEST = sys.float_info.max
"""What can be reckoned with: a whole number may lie beyond it."""


def count(strategy: object, **values: object) -> None:
    """Raise unless each value is a whole number from 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{type(strategy).__name__}({name}=) must be a whole number from 1, got {value!r}")


def number(strategy: object, least: float, most: float, **values: object) -> None:
    """Raise unless each value is a finite number in this range, ends included."""
    for name, value in values.items():
        real = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
        if not least <= real <= min(most, LARGEST):
            wanted = f"from {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise ValueError(f"{type(strategy).__name__}({name}=) must be a number {wanted}, got {value!r}")


def model_name(strategy: object, name: object) -> None:
    """Raise unless it is the name of a model, or None."""
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(f"{type(strategy).__name__}(model) must be the name of a model, or None; got {name!r}")


def whole(strategy: object, **values: object) -> None:
    """Raise unless each value is a whole number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(  # noqa: TRY004  # as for a number that is out of its range
                f"{type(strategy).__name__}({name}=) must be a whole number, got {value!r}"
            )
