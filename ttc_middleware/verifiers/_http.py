"""One JSON request to a server of the user's own: the standard library, in a thread that a cancellation ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import anyio
import anyio.to_thread

from ttc_middleware._errors import VerifierFailed

from ._feedback import bounded

_LARGEST = 1 << 20
_OK = 200


def address(url: str) -> SplitResult:
    """Check an address.

    Raises:
        ValueError: it is none that can be asked.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"an endpoint is an http:// or https:// address with a host, not {url!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an endpoint's address has no user, query or fragment; give a key in headers=")
    parts.port  # noqa: B018  # raises ValueError where it is none
    return parts


async def post(parts: SplitResult, body: Mapping[str, Any], headers: Mapping[str, str], timeout: float) -> Any:  # noqa: ASYNC109  # of the whole exchange, and its own error
    """Send JSON, and return the JSON that comes back. Follows no redirects.

    Raises:
        VerifierFailed: no answer in time, another status than 200, more than 1 MiB, or no JSON.
    """
    exchange = _Exchange(parts, json.dumps(body).encode(), headers, time.monotonic() + timeout)
    try:
        with anyio.fail_after(timeout):
            return await anyio.to_thread.run_sync(
                exchange.run, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
    except TimeoutError as error:
        raise VerifierFailed(f"no answer from {parts.netloc} within {timeout:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise VerifierFailed(f"no answer from {parts.netloc}: {type(error).__name__}: {error!s:.200}") from error
    finally:
        exchange.end()


class _Exchange:
    """A request and its response, on a connection of their own."""

    def __init__(self, parts: SplitResult, body: bytes, headers: Mapping[str, str], ends: float) -> None:
        self._parts = parts
        self._body = body
        self._headers = {**headers, "content-type": "application/json", "connection": "close"}
        self._ends = ends
        self._socket: socket.socket | None = None
        self._ended = False

    def run(self) -> Any:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        left = max(0.001, self._ends - time.monotonic())
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=left)
        try:
            connection.connect()
            self._socket = connection.sock  # the connection itself forgets it with the response's head
            if self._ended:
                raise TimeoutError
            connection.request("POST", self._parts.path or "/", self._body, self._headers)
            with connection.getresponse() as response:
                content = self._read(response)
                if response.status != _OK:
                    said = bounded(content[:400].decode(errors="replace"), 200)
                    raise VerifierFailed(f"{self._parts.netloc} answers with status {response.status}: {said}")
        finally:
            connection.close()
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise VerifierFailed(f"{self._parts.netloc} must answer in JSON") from None

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > _LARGEST:
                raise VerifierFailed(f"{self._parts.netloc} must answer in at most {_LARGEST:,} bytes")
            if self._ended:
                raise TimeoutError
        return b"".join(parts)

    def end(self) -> None:
        """Wake the thread, wherever it waits for the server."""
        self._ended = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the usual end: it is closed
                self._socket.shutdown(socket.SHUT_RDWR)


def number(value: Any, what: str) -> float:
    """A finite number out of a response.

    Raises:
        VerifierFailed: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise VerifierFailed(f"{what} must be a finite number, got {value!r:.100}")
    return float(value)
