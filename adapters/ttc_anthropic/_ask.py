"""A question for a model, as verifiers that ask one take it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from ttc_middleware.seam import get

from ._wrap import sdk

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic


def ask(
    client: AsyncAnthropic | Anthropic, model: str, *, max_tokens: int = 4_096, **params: Any
) -> Callable[[list[dict[str, str]]], Awaitable[str]]:
    """A function of messages that returns what the model says, for `ttc.verifiers.Judge` and `judge_steps`.

        judge = ttc.verifiers.Judge(ttc_anthropic.ask(client, "claude-haiku-4-5"), "The reply must be polite.")

    Args:
        client: async or blocking, of any platform; a blocking one is asked in a thread.
        model: sent with every request.
        max_tokens: of each reply, thinking included; the API insists on a limit.
        params: more parameters of `messages.create()`, such as `thinking` or `output_config`.

    Returns:
        An async function; a refusal gives an empty text.

    Raises:
        TypeError: the client is no Anthropic client.
    """
    clients = sdk()._base_client  # noqa: SLF001  # the classes that clients of all platforms share
    if not isinstance(client, (clients.AsyncAPIClient, clients.SyncAPIClient)):
        raise TypeError(f"client must be an Anthropic client, got {client!r}")

    async def asked(messages: list[dict[str, str]]) -> str:
        system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
        turns = [each for each in messages if each["role"] != "system"]
        given = {**params, "model": model, "max_tokens": max_tokens, "messages": turns}
        create: Any = partial(client.messages.create, **given, **({"system": system} if system else {}))
        if isinstance(client, clients.AsyncAPIClient):
            return _text(await create())
        limiter = anyio.CapacityLimiter(1)  # its own: in a full pool, draws would wait for each other
        return _text(await anyio.to_thread.run_sync(create, abandon_on_cancel=True, limiter=limiter))

    return asked


def _text(message: Any) -> str:
    return "".join(get(block, "text") or "" for block in message.content if get(block, "type") == "text")
