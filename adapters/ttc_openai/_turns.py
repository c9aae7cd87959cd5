"""One request after the other into a connection pool.

httpcore 1.0 gives an idle connection to every request that asks before the first of them has really taken it, which is
some steps of the event loop later. All but that first then start over, and each start looks at every connection: eight
draws that leave in the same step make dozens of attempts, and calls by the dozen make thousands. Let in a few steps
apart, each finds a connection that is its own.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio
from anyio.lowlevel import RunVar, current_token

_STEPS = 3
"""Steps of the loop from a request's start until its connection counts as taken: two locks and an event."""


class Turns:
    """Who may start a request next, on one event loop."""

    def __init__(self) -> None:
        native: Any = current_token().native_token
        # asyncio's loop and trio's token each run a callback in the next step, by different names.
        self._soon: Any = getattr(native, "call_soon", None) or native.run_sync_soon
        self._waiting: deque[anyio.Event] = deque()
        self._left = 0

    async def mine(self) -> None:
        """Wait for one's turn, first come first served; at once where nobody has started in the last few steps."""
        if not self._left:
            self._left = _STEPS
            self._soon(self._step)
            return
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if not turn.is_set():
                self._waiting.remove(turn)
            raise

    def _step(self) -> None:
        self._left -= 1
        if not self._left and self._waiting:
            self._waiting.popleft().set()
            self._left = _STEPS
        if self._left:
            self._soon(self._step)


_TURNS: RunVar[Turns] = RunVar("ttc_openai_turns")


async def my_turn() -> None:
    """Wait until a request may start on this event loop."""
    try:
        turns = _TURNS.get()
    except LookupError:
        turns = Turns()
        _TURNS.set(turns)
    await turns.mine()
