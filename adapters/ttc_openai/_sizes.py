"""Bounds on what a server may send: an answer that never ends, or a line, must not fill the memory.

All SDKs here speak through httpx or httpx2, litellm over aiohttp included, and both read a response through its
`iter_bytes()`, which for a response to a request of ours counts. So `send` is replaced in their classes, once; it does
nothing to requests outside of draws and budgets. What a redirect says beside its address is not counted.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from typing import Any

from typing_extensions import Self

from ttc_middleware import BadResponse
from ttc_middleware.seam import BODY, largest

_MODULES = ("httpx", "httpx2")
_EVENT_ENDS = (b"\n\n", b"\r\r", b"\r\n\r\n")
_LINES = 1_000
"""Lines that one event may have: the SDKs copy all of it for each."""
_put: set[str] = set()


def bound_sizes() -> None:
    """Count what comes, from now on; once for each of the modules that is there."""
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is None or name in _put:
            continue
        _put.add(name)
        module.Client.send = _bounded_sync(module.Client.send)
        module.AsyncClient.send = _bounded(module.AsyncClient.send)


class _Size:
    """What has come of one response.

    Args:
        most: bytes that may come.
        events: they are server-sent events, which no reader can take in parts.
    """

    __slots__ = ("_events", "_left", "_lines", "_most", "_since", "_tail")

    def __init__(self, most: int, *, events: bool) -> None:
        self._most = most
        self._left = most
        self._events = events
        self._since = self._lines = 0  # in the event that has not ended
        self._tail = b""

    def add(self, chunk: bytes) -> None:
        """Count a piece.

        Raises:
            BadResponse: it is more than may come.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise BadResponse(f"a response of more than {self._most:,} bytes is cut", fault="cut")
        if self._events:
            seen = self._tail + chunk
            end = max(seen.rfind(blank) + len(blank) if blank in seen else 0 for blank in _EVENT_ENDS)
            if end:
                chunk, self._since, self._lines = seen[end:], 0, 0
            self._since += len(chunk)
            self._lines += max(chunk.count(b"\n"), chunk.count(b"\r"))
            self._tail = seen[-3:]
            if self._since > BODY or self._lines > _LINES:
                raise BadResponse(
                    f"a stream with an event of more than {BODY:,} bytes or {_LINES:,} lines is cut", fault="cut"
                )


class _AsyncPieces:
    """The pieces of a response, counted. No generator: one that is dropped half way would have to be closed."""

    def __init__(self, response: Any, pieces: AsyncGenerator[bytes, None], size: _Size) -> None:
        self._response = response
        self._pieces = pieces
        self._size = size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._pieces.__anext__()
        try:
            self._size.add(piece)
        except BadResponse:
            await self._response.aclose()
            raise
        return piece

    async def aclose(self) -> None:
        """As generators have it: httpx2 closes what it reads a body from."""
        await self._pieces.aclose()


class _Pieces:
    """The pieces of a response to a client that blocks."""

    def __init__(self, response: Any, pieces: Generator[bytes, None, None], size: _Size) -> None:
        self._response = response
        self._pieces = pieces
        self._size = size

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        try:
            self._size.add(piece)
        except BadResponse:
            self._response.close()
            raise
        return piece

    def close(self) -> None:
        """As above."""
        self._pieces.close()


def _bounded(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def send(self: Any, request: Any, *, stream: bool = False, **how: Any) -> Any:
        most = largest()
        if most is None:
            return await original(self, request, stream=stream, **how)
        response = await original(self, request, stream=True, **how)
        size, pieces = _Size(most, events=_events(response)), response.aiter_bytes

        def counted(*args: Any, **kwargs: Any) -> _AsyncPieces:
            return _AsyncPieces(response, pieces(*args, **kwargs), size)

        response.aiter_bytes = counted
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
            finally:
                del response.aiter_bytes  # which would keep the response in a ring
        return response

    return send


def _bounded_sync(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def send(self: Any, request: Any, *, stream: bool = False, **how: Any) -> Any:
        most = largest()
        if most is None:
            return original(self, request, stream=stream, **how)
        response = original(self, request, stream=True, **how)
        size, pieces = _Size(most, events=_events(response)), response.iter_bytes

        def counted(*args: Any, **kwargs: Any) -> _Pieces:
            return _Pieces(response, pieces(*args, **kwargs), size)

        response.iter_bytes = counted
        if not stream:
            try:
                response.read()
            except BaseException:
                response.close()
                raise
            finally:
                del response.iter_bytes  # as above
        return response

    return send


def _events(response: Any) -> bool:
    return str(response.headers.get("content-type", "")).startswith("text/event-stream")
