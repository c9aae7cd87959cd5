"""How many verifications run at once in this process: more would only make each other late.

A counter, and for each waiter a bell. So nothing here belongs to one event loop: waiter and releaser may run in
different loops, threads and frameworks. First come, first served.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ttc_middleware._bell import TaskBell

_lock = threading.Lock()
_waiting: deque[TaskBell] = deque()
_taken = 0


def capacity() -> int:
    """As many as there are CPUs for this process, and at least two."""
    try:
        return max(2, len(os.sched_getaffinity(0)))
    except AttributeError:  # no such call on this system
        return max(2, os.cpu_count() or 0)


@asynccontextmanager
async def slot() -> AsyncGenerator[None]:
    """Wait for a turn, and give it back at the end."""
    await _acquire()
    try:
        yield
    finally:
        _release()


async def _acquire() -> None:
    global _taken  # noqa: PLW0603  # one machine, one count
    with _lock:
        if _taken < capacity() and not _waiting:
            _taken += 1
            return
        bell = TaskBell()
        _waiting.append(bell)
    try:
        await bell.wait()
    except BaseException:
        with _lock:
            queued = bell in _waiting
            if queued:
                _waiting.remove(bell)
        if not queued:  # the turn was ours already
            _release()
        raise


def _release() -> None:
    global _taken  # noqa: PLW0603
    with _lock:
        while _waiting:
            if _waiting.popleft().ring():  # the turn goes straight to the next
                return
        _taken -= 1


def _forget() -> None:
    """A forked child starts anew: the turns and waiters are its parent's."""
    global _lock, _taken
    _lock, _taken = threading.Lock(), 0
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
