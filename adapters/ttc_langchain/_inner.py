"""What middleware inside of ours writes to the agent's state: the winner's writes, once.

LangChain hands a middleware one `handler`, which collects the `Command`s of all that run inside it in one list, made
for one call at a time. With several calls at once it would end up with those of every sample, losers included. So each
sample calls a copy of the handler that has a list of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

_LIST = "accumulated_commands"  # LangChain's name for it


def has_inner(handler: Callable[..., Any]) -> bool:
    """Whether other middleware runs inside: this is LangChain's name for what stands between two."""
    return getattr(handler, "__name__", "") == "inner_handler"


def with_commands(handler: Callable[..., Any]) -> tuple[Callable[..., Any], list[Any] | None]:
    """The handler and a list, both for one sample; None where the handler has no such list."""
    place = _place(handler)
    if place is None:
        return handler, None
    assert isinstance(handler, FunctionType)
    own: list[Any] = []
    cells = list(handler.__closure__ or ())
    cells[place] = CellType(own)
    copy = FunctionType(handler.__code__, handler.__globals__, handler.__name__, handler.__defaults__, tuple(cells))
    return copy, own


def apply_commands(handler: Callable[..., Any], commands: list[Any]) -> None:
    """Let the agent have these."""
    place = _place(handler)
    if place is not None:
        assert isinstance(handler, FunctionType)
        shared: list[Any] = (handler.__closure__ or ())[place].cell_contents
        shared[:] = commands


def _place(handler: Callable[..., Any]) -> int | None:
    names = handler.__code__.co_freevars if isinstance(handler, FunctionType) else ()
    return names.index(_LIST) if _LIST in names else None
