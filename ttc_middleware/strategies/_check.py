"""Checks of arguments that several strategies share."""

from __future__ import annotations


def count(strategy: object, **values: object) -> None:
    """Raise unless each value is a whole number from 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{type(strategy).__name__}({name}=) must be a whole number from 1, got {value!r}")
