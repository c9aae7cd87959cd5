"""A question for a model, as verifiers that ask one take it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any


def ask(model: str, **params: Any) -> Callable[[list[dict[str, str]]], Awaitable[str]]:
    """A function of messages that returns what the model says, for `ttc.verifiers.Judge` and `judge_steps`.

        judge = ttc.verifiers.Judge(ttc_litellm.ask("openai/gpt-5-mini"), "The reply must be polite.")

    On asyncio only, as litellm is.

    Args:
        model: as litellm names it.
        params: more parameters of `litellm.acompletion()`, such as `temperature` or `api_base`.

    Returns:
        An async function; a refusal gives an empty text.
    """

    async def asked(messages: list[dict[str, str]]) -> str:
        import litellm  # noqa: PLC0415  # slow to import

        call: Any = litellm.acompletion
        reply: Any = await call(**{**params, "model": model, "messages": messages})
        return reply.choices[0].message.content or ""

    return asked
