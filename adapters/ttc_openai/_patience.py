"""How long a client that blocks waits for the server: nothing else can stop it."""

from __future__ import annotations

import math
import time
from typing import Any, cast


class Remaining:
    """A read time-out that shrinks: seconds until a deadline, or what the caller allows between two bytes.

    A number would start anew with each byte, so that a server which sends one now and then could hold the thread for
    ever. httpx passes what it is given down to the socket before each read, which asks an object for its index. That
    is whole seconds: a server that falls silent is left up to one second after the deadline.

    Args:
        deadline: on `time.monotonic()`'s clock.
        most: the caller's own time-out in seconds; None: there is none.
    """

    def __init__(self, deadline: float, most: float | None) -> None:
        self._deadline = deadline
        self._most = math.inf if most is None else most

    def __index__(self) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return math.ceil(min(left, self._most))

    def __str__(self) -> str:
        """For the header in which the SDK tells the server of it."""
        return str(max(0.0, min(self._deadline - time.monotonic(), self._most)))


def unhurried(given: Any, default: Any, needed: float | None, of_sdk: Any) -> Any:
    """The SDK's own time-outs, made as long as the thinking takes that was asked for; those of a caller stay.

    Args:
        given: of the request, as in `patience()`.
        default: of the client.
        needed: seconds for a whole answer; None: nobody asked to think.
        of_sdk: the SDK's own module: its class of time-outs, and what it waits for unless it is told otherwise.
    """
    own: Any = getattr(of_sdk, "DEFAULT_TIMEOUT", None)
    asked = isinstance(given, (int, float, type(None))) or hasattr(given, "read")
    current = given if asked else default
    if needed is None or own is None or current not in (own, own.read) or needed <= own.read:
        return given
    return of_sdk.Timeout(needed, connect=own.connect)


def patience(given: Any, default: Any, deadline: float, of_sdk: type[Any]) -> Any:
    """The caller's time-outs, cut short by a deadline.

    Args:
        given: of the request: seconds, an `httpx.Timeout`, None for none, or something else for "not given".
        default: of the client, an `httpx.Timeout` or seconds.
        deadline: on `time.monotonic()`'s clock.
        of_sdk: the SDK's own class of time-outs.
    """
    if not isinstance(given, (int, float, type(None))) and not hasattr(given, "read"):  # not given
        given = default
    if isinstance(getattr(given, "read", None), Remaining):  # cut short already: a wrapped client, instrumented
        return given
    names = ("connect", "read", "write", "pool")
    parts = {name: getattr(given, name, given) for name in names}
    left = max(0.001, deadline - time.monotonic())
    kind = cast("type[Any]", type(given) if hasattr(given, "read") else of_sdk)
    shorter: dict[str, Any] = {name: left if part is None else min(part, left) for name, part in parts.items()}
    return kind(**{**shorter, "read": Remaining(deadline, parts["read"])})
