"""Threads that do not take context variables along, made to do so: an opt-in, since it patches the standard library.

`asyncio.to_thread()` and anyio's threads copy the context; `threading.Thread` (before Python 3.14's free-threaded
builds) and executors do not, and `loop.run_in_executor()` does not either. Without the context a model call in there
belongs to no draw, no budget and no bill.
"""

from __future__ import annotations

import concurrent.futures.thread as pools
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

from ._context import SCOPE, TAB, Scope

_NOTHING = Scope()
_undo: list[Callable[[], None]] = []


def patch() -> None:
    """Let threads that start inside a draw or a block run in its context, and what is submitted to thread pools."""
    if _undo:
        return
    start: Any = threading.Thread.start
    submit: Any = pools.ThreadPoolExecutor.submit

    @functools.wraps(start)
    def start_in_context(self: threading.Thread) -> None:
        # A pool's worker serves everybody: what is submitted to it brings its own context.
        if _ours() and getattr(self, "_target", None) is not getattr(pools, "_worker", None):
            self.run = functools.partial(contextvars.copy_context().run, self.run)  # type: ignore[method-assign]
        start(self)

    @functools.wraps(submit)
    def submit_in_context(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if _ours():
            return submit(self, contextvars.copy_context().run, fn, *args, **kwargs)
        return submit(self, fn, *args, **kwargs)

    threading.Thread.start = start_in_context  # type: ignore[method-assign]
    pools.ThreadPoolExecutor.submit = submit_in_context  # type: ignore[method-assign]
    _undo.append(functools.partial(_restore, threading.Thread, "start", start_in_context, start))
    _undo.append(functools.partial(_restore, pools.ThreadPoolExecutor, "submit", submit_in_context, submit))


def unpatch() -> None:
    """Put the standard library back as it was; where somebody has wrapped what we put there, ours stays below."""
    while _undo:
        _undo.pop()()


def _restore(owner: Any, name: str, ours: object, original: object) -> None:
    if vars(owner)[name] is ours:
        setattr(owner, name, original)


def _ours() -> bool:
    """Whether the code here is part of a draw, or of a block that limits or counts."""
    return bool(_undo) and (TAB.get() is not None or SCOPE.get() != _NOTHING)
