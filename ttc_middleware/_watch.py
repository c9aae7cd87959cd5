"""Somebody who only looks on: told of every model call of the process, and free to fail without harm."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, Protocol

from ._context import Entry, Role
from ._types import Call, Reading, Request


@dataclass(frozen=True)
class Seen:
    """A model call that has ended."""

    request: Request
    entry: Entry
    reading: Reading | None
    """What the response said; None where none came."""
    seconds: float
    role: Role | None
    """What it was for, inside a search; None outside of any."""
    draw: int | None
    """Which draw it was part of, from 0."""


class Watcher(Protocol):
    """Told of model calls, in whatever thread they are made. What it raises is dropped."""

    def begun(self, call: Call, caller: object) -> Callable[[Seen], None]:
        """A call is about to be sent, below the frames of whoever makes it.

        Args:
            call: the request, as the caller made it or as a draw has had it changed.
            caller: what `caller()` has said of the search around it; None where there is none.

        Returns:
            What to tell of its end: once, from any thread, maybe in a finalizer.
        """
        ...

    def caller(self) -> object:
        """Note who is calling: a search is about to start, whose draws run elsewhere."""
        ...

    def failed(self, what: str, error: Exception) -> None:
        """Something could not be watched."""
        ...


_watcher: Watcher | None = None
_caller: ContextVar[object] = ContextVar("ttc_caller", default=None)


def set_watcher(watcher: Watcher | None) -> None:
    """Tell this one from now on; None: nobody."""
    global _watcher  # noqa: PLW0603  # patches are the process's, and so is whoever looks on
    _watcher = watcher


def watching() -> bool:
    """Whether somebody is to be told of every model call."""
    return _watcher is not None


def begun(call: Call) -> Callable[[Seen], None] | None:
    """Tell that a call is about to be sent; gives whom to tell of its end."""
    watcher = _watcher
    if watcher is None:
        return None
    try:
        return watcher.begun(call, _caller.get())
    except Exception as error:  # noqa: BLE001  # the program goes on, whatever becomes of its watcher
        failed("a call", error)
        return None


def ended(tell: Callable[[Seen], None] | None, **told: Any) -> None:
    """Tell that a call has ended; `told` are the fields of `Seen`."""
    if tell is None:
        return
    try:
        tell(Seen(**told))
    except Exception as error:  # noqa: BLE001  # as above
        failed("the end of a call", error)


def failed(what: str, error: Exception) -> None:
    """Tell of what could not be watched."""
    watcher = _watcher
    if watcher is not None:
        with suppress(Exception):  # it could not even be told that
            watcher.failed(what, error)


class calling:  # noqa: N801  # read as `with calling():`
    """Remember who calls, for the draws of the search that is started inside.

    A class, because a generator could not let every exception pass as it is: some allow nothing to be set on them.
    """

    __slots__ = ("_token",)

    def __init__(self) -> None:
        self._token: Token[object] | None = None

    def __enter__(self) -> None:
        watcher = _watcher
        if watcher is None or _caller.get() is not None:
            return
        try:
            self._token = _caller.set(watcher.caller())
        except Exception as error:  # noqa: BLE001  # as above
            failed("a caller", error)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _caller.reset(self._token)
