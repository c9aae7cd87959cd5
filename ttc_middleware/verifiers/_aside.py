"""Calculations that may hang: asked of a process of ours, which is killed and replaced when it takes too long.

For mathematics, logic and regular expressions on text that a model wrote. The text is data to the worker and never
code, so this is no sandbox: what it stops is hanging, and eating memory. It works from any event loop, thread and
program: the worker is an interpreter of its own that runs nothing of the program's.
"""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import dataclass
from typing import Any

from ttc_middleware.sandbox._slots import capacity, slot

from ._aside_process import Exhausted, Process

__all__ = ["Aside", "Exhausted"]

_EXIT_S = 1.0


@dataclass(frozen=True)
class Aside:
    """Where to ask questions of one kind.

    Workers start when first needed. They are kept for later questions, at most as many as there are CPUs and at least
    two, and end with the program.
    """

    worker: str
    """A file in this folder, with `answer(question)` and maybe `prepare()`; it imports nothing of ttc_middleware."""
    cpu_s: float = 5.0
    """Seconds of CPU for a question."""
    memory: int = 768 << 20
    """Bytes of address space, the interpreter and its packages included."""

    async def ask(self, question: Any) -> Any:
        """Ask one question, both it and its answer JSON.

        Raises:
            Exhausted: it needs more than the limits allow.
            VerifierFailed: the worker does not start, breaks, or gets no CPU on a busy machine.
        """
        async with slot():
            process = _taken(self) or _started(self)
            try:
                answer = await process.ask(question)
            except BaseException:
                await _end(process)
                raise
            surplus = _kept(self, process)
            if surplus is not None:
                await _end(surplus)
            return answer


_lock = threading.Lock()
_idle: list[tuple[Aside, Process]] = []
"""The one used last at the end."""
_all: set[Process] = set()


def _taken(aside: Aside) -> Process | None:
    """An idle worker for these questions."""
    while True:
        with _lock:
            found = next((each for each in reversed(_idle) if each[0] == aside), None)
            if found is None:
                return None
            _idle.remove(found)
        if found[1].at_hand:
            return found[1]
        found[1].close(_EXIT_S)  # somebody else has killed it
        with _lock:
            _all.discard(found[1])


def _started(aside: Aside) -> Process:
    process = Process(aside.worker, aside.cpu_s, aside.memory)
    with _lock:
        _all.add(process)
    return process


def _kept(aside: Aside, process: Process) -> Process | None:
    """Keep a worker for the next question; returns the one to end, if that is one too many."""
    with _lock:
        _idle.append((aside, process))
        return _idle.pop(0)[1] if len(_idle) > capacity() else None


async def _end(process: Process) -> None:
    await process.end()
    if process.gone:
        with _lock:
            _all.discard(process)


def _close() -> None:
    """At the program's end: no process is left, and no zombie."""
    with _lock:
        left = list(_all)
        _idle.clear()
    for process in left:
        process.close()
    for process in left:
        process.close(_EXIT_S)


def _forget() -> None:
    """A forked child starts anew: the workers are its parent's."""
    global _lock  # noqa: PLW0603  # one pool a process
    _lock = threading.Lock()
    for process in _all:
        process.forget()
    _idle.clear()
    _all.clear()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
