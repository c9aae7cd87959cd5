"""Model calls that are nobody's business but a watcher's: sent as they are, with no span, no budget and no bill."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

from . import _watch
from ._context import OWNED, Entry, Scope
from ._faults import Failure, classify
from ._leaf import Leaf
from ._types import Adapter, Call, Reading, Request
from ._usage import Usage
from .prices._price import Cost

R = TypeVar("R")


class Onlooker(Leaf):
    """A leaf of no tree: it tells the watcher and changes nothing.

    Nothing in here may fail: the program whose call this is has not asked for it.
    """

    __slots__ = ()

    def __init__(self, adapter: Adapter, call: Call) -> None:
        try:
            super().__init__(adapter.describe(call) or _UNKNOWN, None, Scope())
        except Exception as error:  # noqa: BLE001  # a request that is wrong is for the SDK to refuse
            _watch.failed("a request", error)
            super().__init__(_UNKNOWN, None, Scope())
        self.show(call)
        self._started = time.perf_counter()

    def finish(self, reading: Reading, *, answered: bool = True) -> None:
        """Tell of a response that has arrived whole."""
        try:
            super().finish(reading, answered=answered)
        except Exception as error:  # noqa: BLE001  # as above
            _watch.failed("a response", error)

    def _end(  # noqa: PLR0917  # the base's
        self,
        reading: Reading | None,
        usage: Usage | None,  # noqa: ARG002  # as above
        cost: Cost | None,  # noqa: ARG002  # as above
        seconds: float,
        entry: Entry,
        failure: Failure | None = None,  # noqa: ARG002  # as above
    ) -> None:
        """No span, no metric, no bill: the program's own telemetry says what it said before."""
        if not self._done:
            self._done = True
            self._tell(reading, seconds, entry)


_UNKNOWN = Request(provider="unknown", model="unknown")


async def onlook(adapter: Adapter, call: Call, send: Callable[[Call, Leaf], Awaitable[R]]) -> R:
    """Make a model call as it is, and tell the watcher."""
    leaf = Onlooker(adapter, call)
    with _sent(leaf):
        response = await send(call, leaf)
    _answered(adapter, leaf, response)
    return response


def onlook_sync(adapter: Adapter, call: Call, send: Callable[[Call, Leaf], R]) -> R:
    """`onlook()` for a client that blocks."""
    leaf = Onlooker(adapter, call)
    with _sent(leaf):
        response = send(call, leaf)
    _answered(adapter, leaf, response)
    return response


@contextmanager
def _sent(leaf: Leaf) -> Generator[None, None, None]:
    token = OWNED.set(True)  # what this SDK does by means of another is one call
    try:
        yield
    except BaseException as error:
        leaf.fail(classify(error), seen=leaf.seen)
        raise
    finally:
        OWNED.reset(token)


def _answered(adapter: Adapter, leaf: Leaf, response: object) -> None:
    if leaf.deferred:
        return
    reading: Reading | None = None
    with suppress(Exception):  # what a server sent can be anything at all
        reading = adapter.read(response)
    if reading is None:
        leaf.fail(Failure("malformed", billed=True, retry=False))
    else:
        leaf.finish(reading)
