"""A question for a model, as verifiers that ask one take it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI


def ask(client: AsyncOpenAI | OpenAI, model: str, **params: Any) -> Callable[[list[dict[str, str]]], Awaitable[str]]:
    """A function of messages that returns what the model says, for `ttc.verifiers.Judge` and `judge_steps`.

        judge = ttc.verifiers.Judge(ttc_openai.ask(client, "gpt-5-mini"), "The reply must be polite.")

    Args:
        client: async or blocking; a blocking one is asked in a thread.
        model: sent with every request.
        params: more parameters of the chat completion, such as `temperature` or `response_format`.

    Returns:
        An async function; a refusal gives an empty text.

    Raises:
        TypeError: the client is no OpenAI client.
    """
    import openai  # noqa: PLC0415  # an extra

    if not isinstance(client, (openai.AsyncOpenAI, openai.OpenAI)):
        raise TypeError(f"client must be an OpenAI client, got {client!r}")

    async def asked(messages: list[dict[str, str]]) -> str:
        create: Any = partial(client.chat.completions.create, **{**params, "model": model, "messages": messages})
        if isinstance(client, openai.AsyncOpenAI):
            return _text(await create())
        limiter = anyio.CapacityLimiter(1)  # its own: in a full pool, draws would wait for each other
        return _text(await anyio.to_thread.run_sync(create, abandon_on_cancel=True, limiter=limiter))

    return asked


def _text(reply: Any) -> str:
    return reply.choices[0].message.content or ""
