"""A question for the embedded model, as verifiers that ask one take it."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio.to_thread

from ._server import Server, serve


def ask(server: Server | None = None, **params: Any) -> Callable[[list[dict[str, str]]], Awaitable[str]]:
    """A function of messages that returns what a local model says, for `ttc.verifiers.Judge` and `judge_steps`.

    The embedded model is small: good enough to try things out, not to judge.

    Args:
        server: one that runs. None: one of the embedded model starts with the first question (about a second, and a
            download the first time), and ends with this process.
        params: more parameters of the chat completion, such as `temperature` or `max_tokens` (256 unless told).

    Returns:
        An async function, on any event loop. It raises what `serve` raises.
    """
    asking = _Asking(server, {"max_tokens": 256, **params})

    async def asked(messages: list[dict[str, str]]) -> str:
        # A limiter of its own: in a full pool, draws would wait for each other.
        limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(asking.said, messages, abandon_on_cancel=True, limiter=limiter)

    return asked


class _Asking:
    """A server, and a client of it that any thread may use: both are made when they are first needed."""

    def __init__(self, server: Server | None, params: dict[str, Any]) -> None:
        self._server = server
        self._params = params
        self._client: Any = None
        self._lock = threading.Lock()

    def said(self, messages: list[dict[str, str]]) -> str:
        with self._lock:
            if self._client is None:
                import openai  # noqa: PLC0415  # slow to import

                self._server = self._server or serve()
                ends = {"Connection": "close"}  # nobody closes the client, so it keeps no connection
                self._client = openai.OpenAI(base_url=self._server.base_url, api_key="none", default_headers=ends)
        assert self._server is not None  # made above
        reply = self._client.chat.completions.create(**self._params, model=self._server.model, messages=messages)
        return reply.choices[0].message.content or ""
