"""One event loop for all synchronous functions of the process, in a thread of its own.

A loop per call would close under clients that live longer than a call (a module's `AsyncOpenAI` then fails with "Event
loop is closed"); one loop also lets a sync function be called where a loop is running already, as in a notebook.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.lowlevel
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ._context import warn_once

R = TypeVar("R")

_lock = threading.Lock()
_stack = contextlib.ExitStack()
_portal: BlockingPortal | None = None


def run(work: Callable[[], Awaitable[R]], name: str) -> R:
    """Run async work to its end from sync code; the caller's context variables go along."""
    _warn_if_it_blocks_a_loop(name)
    ended = threading.Event()

    async def job() -> R:
        try:
            return await work()
        finally:
            ended.set()

    future = _running().start_task_soon(job)
    try:
        return future.result()
    except BaseException:
        if not future.done():  # Ctrl-C here, not an error there: cancel, and let everything be released
            future.cancel()
            ended.wait(5)
        raise


def _running() -> BlockingPortal:
    global _portal  # noqa: PLW0603  # one a process is the point
    with _lock:
        if _portal is None:
            _portal = _stack.enter_context(start_blocking_portal("asyncio", name="ttc-portal"))
        return _portal


def _stop() -> None:
    global _portal  # noqa: PLW0603  # as above
    with _lock:
        portal, _portal = _portal, None
    if portal is not None:
        with contextlib.suppress(RuntimeError):
            portal.call(portal.stop, True)  # noqa: FBT003  # cancel what is left


def _forget() -> None:
    """A forked child has the portal's object without its thread."""
    global _portal, _stack, _lock  # noqa: PLW0603  # as above
    _portal, _stack, _lock = None, contextlib.ExitStack(), threading.Lock()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _warn_if_it_blocks_a_loop(name: str) -> None:
    try:
        anyio.lowlevel.current_token()
    except Exception:  # noqa: BLE001  # no loop here: what one hopes for
        return
    warn_once(
        "blocking",
        name,
        f"{name} is synchronous and was called inside a running event loop, which stands still until it returns: make it"
        " async, or call it with anyio.to_thread.run_sync()",
    )
