"""Waking a task from whatever thread."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.lowlevel


class TaskBell:
    """Wakes a task from whatever thread frees the room it waits for."""

    __slots__ = ("_event", "_native", "_thread", "patient")

    def __init__(self) -> None:
        self.patient: bool = True
        self._event = anyio.Event()
        self._native: Any = anyio.lowlevel.current_token().native_token
        self._thread = threading.get_ident()

    def ring(self) -> bool:
        """Wake who waits; False where its loop has ended, and nobody waits any more."""
        if threading.get_ident() == self._thread:
            self._event.set()
            return True
        # asyncio's loop and trio's token each have a way in from outside, by different names.
        soon = getattr(self._native, "call_soon_threadsafe", None) or self._native.run_sync_soon
        try:
            soon(self._event.set)
        except RuntimeError:  # RunFinishedError of trio's is one too
            return False
        return True

    async def wait(self) -> None:
        await self._event.wait()
