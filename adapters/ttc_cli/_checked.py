"""Values of a file that anybody may have written, each checked for its type and its range, and cut to size."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, cast

from ._spent import EXACT

_LARGEST = 10**12  # of anything that is counted
_FINEST = 30  # decimal places of a dollar
_PICOSECOND = Decimal("1e-12")
_NONE = Decimal(0)
_WIDTH = 200  # characters of a name


def a_dict(value: Any) -> dict[str, Any]:
    """The object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [a_dict(each) for each in cast("Sequence[Any]", value)] if isinstance(value, list) else []


def a_text(value: Any) -> str:
    """A text that drives no terminal: one line of what can be printed."""
    said = value if isinstance(value, str) else ""
    if len(said) <= _WIDTH and said.isprintable():
        return sys.intern(said)  # a record says the same names again and again
    line = "".join(each if each.isprintable() else "?" for each in said[: _WIDTH + 1])
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def a_number(value: Any) -> int | None:
    """A whole number from 0 on; None for anything else."""
    counted = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST
    return cast("int", value) if counted else None


def a_count(value: Any) -> int:
    """A whole number from 0 on; 0 for anything else."""
    return a_number(value) or 0


def some_usd(value: Any) -> Decimal | None:
    """Dollars, as a text that keeps every digit; None for anything else."""
    return _usd(value) if isinstance(value, str) and len(value) <= 2 * _FINEST else None


@lru_cache(maxsize=1 << 14)
def _usd(said: str) -> Decimal | None:
    try:
        usd = Decimal(said)
    except InvalidOperation:
        return None
    exponent = usd.as_tuple().exponent
    fine = isinstance(exponent, int) and -_FINEST <= exponent <= _FINEST
    return usd if fine and 0 <= usd < _LARGEST else None


def some_seconds(value: Any) -> Decimal:
    """Seconds from 0 on, to the picosecond; 0 for anything else."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < _LARGEST
    return Decimal(repr(value)).quantize(_PICOSECOND, context=EXACT) if number else _NONE


def a_time(value: Any) -> datetime | None:
    """A time in UTC, where it says no other; None for anything else."""
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else _utc(at)


def _utc(at: datetime) -> datetime | None:
    try:
        return at.astimezone(timezone.utc)
    except OverflowError:
        return None
