"""What the tests of the LiteLLM adapter share."""

from __future__ import annotations

import inspect
import os
import time

import anyio
import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import would ask the network for prices
litellm = pytest.importorskip("litellm")
litellm.suppress_debug_info = True

_READ_ONLY = r".*`ReadOnly` qualifier"
_FIELDS = r"Accessing the .model_(computed_)?fields. attribute on the instance"
# A call that is cancelled before litellm's thread has begun it leaves a coroutine that nobody has awaited.
_LEFT = r"Exception ignored in. <(socket|function (BaseEventLoop|_SelectorTransport)|coroutine object OpenAIChatC)"
_LEAK = rf"{_LEFT}:pytest.PytestUnraisableExceptionWarning"
# litellm's own, whoever calls it; of clients made at once in several threads it forgets all but one.
its_warnings = [pytest.mark.filterwarnings(rf"ignore:{text}") for text in (_READ_ONLY, _FIELDS, _LEAK)]
its_tests = [*its_warnings, pytest.mark.usefixtures("litellm_as_it_was")]  # in adapters/

MESSAGES = [{"role": "user", "content": "how many?"}]
# Through the OpenAI SDK, and through HTTP of litellm's own in two protocols.
MODELS = ["openai/mock", "hosted_vllm/mock", "anthropic/claude-sonnet-4-5"]


def asked(provider, model="openai/mock", **more):
    """The keywords of a call to the provider."""
    return {"model": model, "messages": MESSAGES, "api_base": provider.url, "api_key": "x", **more}


def text_of(response):
    return response.choices[0].message.content


def joined(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def exact(bill, provider):
    """The bill is the provider's own, to the token."""
    billed, total = provider.settled(), bill.total
    known = (total.calls, total.input_tokens, total.output_tokens, total.reasoning_tokens)
    assert known == (billed.requests, billed.prompt, billed.completion, billed.reasoning)
    assert bill.status == "exact"


async def close_clients():
    """Close the connections that litellm keeps; left to the garbage collector, they warn in somebody else's test.

    For so long only: those of a loop that has ended may never say that they are closed.
    """
    with anyio.move_on_after(20):
        await litellm.close_litellm_async_clients()
    for client in list(litellm.in_memory_llm_clients_cache.cache_dict.values()):
        close = getattr(getattr(client, "client", client), "close", None) or getattr(client, "close", None)
        done = None if close is None else close()
        if inspect.isawaitable(done):
            with anyio.move_on_after(20):
                await done
    litellm.in_memory_llm_clients_cache.flush_cache()


def until(condition):
    """Wait for what other threads do."""
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.01)
