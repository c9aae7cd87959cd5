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
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal

from ._context import SCOPE, on_a_loop, warn_once

R = TypeVar("R")

_lock = threading.Lock()
_portal: BlockingPortal | None = None
_thread: threading.Thread | None = None


def run(work: Callable[[], Awaitable[R]], name: str) -> R:
    """Run async work to its end from sync code; the caller's context variables go along."""
    blocks = on_a_loop()
    if blocks:
        warn_once(
            "blocking",
            name,
            f"{name} is synchronous and was called inside a running event loop, which stands still until it returns:"
            " make it async, or call it with anyio.to_thread.run_sync()",
        )
    job, portal = _Job(work, waits=not blocks), _running()
    try:
        future = portal.start_task_soon(job.run)
        while not (job.ended.wait(1) or future.done()):
            pass  # Ctrl-C can strike just before a wait, which would then sit it out to its end
        output: R = future.result()
    except BaseException:
        # Ctrl-C here, wherever it struck, and not an error there: cancel, and let everything be released.
        if not job.ended.is_set():
            portal.start_task_soon(job.cancel)
            job.ended.wait(30)
        raise
    if job.raised is not None:
        raise job.raised
    return output


class _Job(Generic[R]):
    """Work on the loop, and how to stop it from another thread."""

    def __init__(self, work: Callable[[], Awaitable[R]], *, waits: bool) -> None:
        self.ended = threading.Event()
        self.raised: BaseException | None = None
        """What is no `Exception`, like `SystemExit`: it is for the caller, and would end the loop."""
        self._work = work
        self._waits = waits
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False

    async def run(self) -> Any:
        try:
            if not self._waits:
                SCOPE.set(replace(SCOPE.get(), waits=False))
            with anyio.CancelScope() as self._scope:
                return None if self._cancelled else await self._work()
        except (Exception, anyio.get_cancelled_exc_class()):
            raise
        except BaseException as error:  # noqa: BLE001  # raised in run()
            self.raised = error
        finally:
            self.ended.set()

    async def cancel(self) -> None:
        self._cancelled = True
        if self._scope is None:  # interrupted before it was even sent here
            self.ended.set()
        else:
            self._scope.cancel()


async def in_thread(work: Callable[..., R], *args: Any) -> R:
    """Run what blocks in a thread; without a limit, since draws in a full pool would wait for each other."""
    return await anyio.to_thread.run_sync(work, *args, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


def _running() -> BlockingPortal:
    global _portal, _thread  # noqa: PLW0603  # one a process is the point
    with _lock:
        if _portal is None or _thread is None or not _thread.is_alive():
            # Not start_blocking_portal(): dropped in a forked child, that would wait for a loop that is not there.
            started: Future[BlockingPortal] = Future()
            _thread = threading.Thread(target=anyio.run, args=(_serve, started), name="ttc-portal", daemon=True)
            _thread.start()
            _portal = started.result()
        return _portal


async def _serve(started: Future[BlockingPortal]) -> None:
    async with BlockingPortal() as portal:
        started.set_result(portal)
        await portal.sleep_until_stopped()


def _stop() -> None:
    global _portal, _thread  # as above
    with _lock:
        portal, thread, _portal, _thread = _portal, _thread, None, None
    if portal is not None and thread is not None:
        with contextlib.suppress(RuntimeError):
            portal.call(portal.stop, True)  # cancel what is left
        thread.join(5)


def _forget() -> None:
    """A forked child has the portal's object without its thread."""
    global _portal, _thread, _lock  # as above
    _portal, _thread, _lock = None, None, threading.Lock()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
