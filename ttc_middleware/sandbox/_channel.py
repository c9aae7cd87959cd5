"""The socket between host and guest: whole frames, on asyncio and trio alike, from whichever loop asks."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable

import anyio

from ._base import GuestFailed

_HAS_CREDENTIALS = hasattr(socket, "SO_PASSCRED")
_TICK_S = 0.1


class Hangup(Exception):
    """Raised when nobody holds the other end any more, or ours is closed."""


class Channel:
    """Our end of a socket pair.

    Args:
        watch: called now and then while an answer is awaited, and after each; may raise.
    """

    def __init__(self, watch: Callable[[], None] | None = None) -> None:
        self._watch = watch
        self._buffer = bytearray()
        self._socket, self.theirs = socket.socketpair()
        self._socket.setblocking(False)
        if _HAS_CREDENTIALS:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    async def peer(self) -> int | None:
        """Wait for the first bytes, and learn their sender's process id from the kernel; None where it does not say.

        A launcher may stand between us and the sender, and number processes anew.
        """
        await self._until(anyio.wait_readable)
        if not _HAS_CREDENTIALS:
            return None
        data, extra, *_ = self._socket.recvmsg(4, socket.CMSG_SPACE(12))
        if not data:
            raise Hangup
        self._buffer += data
        return int.from_bytes(extra[0][2][:4], sys.byteorder)  # struct ucred

    def send_some(self, data: bytes) -> bytes:
        """Send what can be sent without waiting; returns the rest."""
        try:
            return data[self._socket.send(data) :]
        except OSError:  # nobody is there: who waits for an answer will hear of it
            return data

    async def send(self, data: bytes) -> None:
        """Send everything.

        Raises:
            Hangup: nobody is there.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:  # noqa: PERF203  # once a wait
                await self._until(anyio.wait_writable)
            except OSError:
                raise Hangup from None

    async def frame(self, largest: int) -> bytes:
        """The next frame; its length is checked before it is read, so a flood stays in the kernel.

        Raises:
            GuestFailed: it is larger than it may be.
            Hangup: nobody is there.
        """
        await self._fill(4)
        size = int.from_bytes(self._buffer[:4], "big")
        if size > largest:
            raise GuestFailed(f"answered with {size} bytes, where {largest} are allowed")
        await self._fill(4 + size)
        body = bytes(self._buffer[4:])
        self._buffer.clear()
        if self._watch:
            self._watch()
        return body

    def has_more(self) -> bool:
        """Whether something has come that nobody has read, the end included."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return False
        return True

    def shut(self) -> None:
        """Let the other end read an end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close our end; whoever waits here is woken by a `Hangup`."""
        anyio.notify_closing(self._socket)
        self.drop()

    def drop(self) -> None:
        """Close our end where no event loop runs, and nobody waits."""
        self._socket.close()

    async def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            try:
                data = self._socket.recv(min(count - len(self._buffer), 1 << 16))
            except BlockingIOError:  # noqa: PERF203  # once a wait
                await self._until(anyio.wait_readable)
            except OSError:
                raise Hangup from None
            else:
                if not data:
                    raise Hangup
                self._buffer += data

    async def _until(self, ready: Callable[[socket.socket], Awaitable[None]]) -> None:
        with contextlib.suppress(anyio.ClosedResourceError):  # the next look at the socket says so
            while self._watch is not None:
                with anyio.move_on_after(_TICK_S) as tick:
                    await ready(self._socket)
                if not tick.cancelled_caught:
                    return
                self._watch()
            await ready(self._socket)
