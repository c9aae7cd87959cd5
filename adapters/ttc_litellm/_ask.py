"""A question for a model, as verifiers that ask one take it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import to_thread

from ._calls import need_asyncio


def ask(model: str, **params: Any) -> Callable[[list[dict[str, str]]], Awaitable[str]]:
    """A function of messages that returns what the model says, for `ttc.verifiers.Judge` and `judge_steps`.

        judge = ttc.verifiers.Judge(ttc_litellm.ask("openai/gpt-5-mini"), "The reply must be polite.")

    On asyncio only, as litellm is. The first question imports litellm in a thread, where no other has: that takes
    seconds, and asks the network for its table of prices unless `LITELLM_LOCAL_MODEL_COST_MAP=True` is set.

    Args:
        model: as litellm names it.
        params: more parameters of `litellm.acompletion()`, such as `temperature` or `api_base`.

    Returns:
        An async function; a refusal gives an empty text.
    """

    async def asked(messages: list[dict[str, str]]) -> str:
        need_asyncio()
        package: Any = sys.modules.get("litellm")
        if package is None or getattr(package.__spec__, "_initializing", False):  # importing would hold the event loop
            package = await to_thread.run_sync(importlib.import_module, "litellm")
        call: Any = package.acompletion
        reply: Any = await call(**{**params, "model": model, "messages": messages})
        return reply.choices[0].message.content or ""

    return asked
