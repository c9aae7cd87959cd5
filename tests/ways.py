"""Every way to a model over the wire: which SDK, whether it blocks, whether it streams."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial

import anyio.to_thread
import litellm_calls
import openai_clients

import ttc_litellm
import ttc_middleware as ttc
import ttc_openai


@dataclass(frozen=True)
class Way:
    """One of them; `open()` gives an async function that makes a call and returns the answer's text."""

    sdk: str
    blocking: bool
    streamed: bool

    def __str__(self):
        return f"{self.sdk} {'blocking' if self.blocking else 'async'}{' stream' if self.streamed else ''}"

    @contextlib.asynccontextmanager
    async def open(self, provider, strategy=None, **options):
        """The way to this provider, scaled where there is a strategy."""
        if self.sdk == "litellm":
            call = litellm_calls.litellm.completion if self.blocking else litellm_calls.litellm.acompletion
            given = litellm_calls.asked(
                provider, **{"num_retries": options.pop("max_retries")} if "max_retries" in options else {}
            )
            call = ttc_litellm.wrap(call, strategy, **options) if strategy else call
            try:
                yield partial(self._asked, partial(call, **given))
            finally:
                await litellm_calls.close_clients()
            return
        retries = {"max_retries": options.pop("max_retries")} if "max_retries" in options else {}
        kind = openai_clients.blocking_client if self.blocking else openai_clients.async_client
        client = kind(provider, **retries)
        scaled = ttc_openai.wrap(client, strategy, **options) if strategy else client
        try:
            yield partial(self._asked, partial(scaled.chat.completions.create, **openai_clients.CHAT))
        finally:
            closed = client.close()
            if closed is not None:
                await closed

    async def _asked(self, create, **more):
        if self.streamed:
            more["stream"] = True
        if self.blocking:
            return await anyio.to_thread.run_sync(lambda: self._read(create(**more)), abandon_on_cancel=True)
        response = await create(**more)
        if not self.streamed:
            return _text(response)
        return "".join([_delta(chunk) async for chunk in response])

    def _read(self, response):
        return "".join(map(_delta, response)) if self.streamed else _text(response)


def _text(response):
    return response.choices[0].message.content


def _delta(chunk):
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


WAYS = [
    Way(sdk, blocking, streamed)
    for sdk in ("openai", "litellm")
    for blocking in (False, True)
    for streamed in (False, True)
]


class Kept:
    """A strategy that lets a test see the samples."""

    def __init__(self, strategy: ttc.Strategy) -> None:
        self.strategy = strategy
        self.seen: list[ttc.Sample] = []

    def search(self, call):
        steps = self.strategy.search(call)
        sample = None
        try:
            while True:
                sample = yield steps.send(sample)
                if sample is not None:
                    self.seen.append(sample)
        except StopIteration as end:
            return end.value
