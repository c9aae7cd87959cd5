"""The one method of the SDK through which every request goes: seen, steered or scaled there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar, Union

from ttc_middleware import Call
from ttc_middleware.seam import (
    Leaf,
    Site,
    call_model,
    call_model_sync,
    disabled,
    in_draw,
    observed,
    scale_call,
    scale_call_sync,
)

from ._chat import Chat
from ._responses import Responses
from ._streams import Meter, Metered, Raw, Replayed

Adapter = Union[Chat, Responses]
C = TypeVar("C")

# Host names by their endings; whoever is not here speaks OpenAI's protocol under OpenAI's name.
_PROVIDERS = {
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "dashscope.aliyuncs.com": "alibaba_cloud",
    "dashscope-intl.aliyuncs.com": "alibaba_cloud",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "openrouter.ai": "openrouter",
}
_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104  # compared with, never bound to


@lru_cache(maxsize=256)
def _adapters(host: str) -> dict[str, Adapter]:
    """By the end of the path: how requests to this host are read."""
    named = next((name for ending, name in _PROVIDERS.items() if host.endswith(ending)), "openai")
    provider = "local" if host in _LOCAL else named
    return {"/chat/completions": Chat(provider, host), "/responses": Responses(provider, host)}


def adapter_for(client: Any, options: Any) -> Adapter | None:
    """The adapter of a request; None where it is no model call that we know."""
    if not isinstance(options.json_data, dict) or str(options.method).lower() != "post":
        return None
    return _adapters(str(client.base_url.host)).get("/" + str(options.url).split("?")[0].strip("/"))


@dataclass(frozen=True)
class Request:
    """One request of the SDK, as `request()` gets it."""

    original: Callable[..., Any]
    cast_to: Any
    options: Any
    stream: bool
    stream_cls: Any

    @property
    def call(self) -> Call:
        """The request's keywords."""
        return Call(name=f"openai:{str(self.options.url).strip('/')}", arguments=self.options.json_data)

    @property
    def hide_usage(self) -> bool:
        """Whether we, not the caller, ask a stream for its usage."""
        body = self.options.json_data
        asked = (body.get("stream_options") or {}).get("include_usage")
        return self.stream and not asked and str(self.options.url).endswith("chat/completions")

    def untouched(self) -> Any:
        """Send it as it is; inside a draw, an outer layer owns the retries."""
        options = self.options.model_copy(update={"max_retries": 0}) if in_draw() else self.options
        return self.original(self.cast_to, options, stream=self.stream, stream_cls=self.stream_cls)

    def send(self, call: Call, leaf: Leaf) -> Any:
        """Send it as the engine wants it."""
        body = dict(call.arguments)
        if self.hide_usage:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        changes: dict[str, Any] = {"json_data": body}
        if leaf.in_draw:
            # The engine retries; and a caller's idempotency key would make every draw the same answer.
            changes |= {"max_retries": 0, "idempotency_key": None}
        options = self.options.model_copy(update=changes)
        return self.original(self.cast_to, options, stream=self.stream, stream_cls=self.stream_cls)


async def send(adapter: Adapter, request: Request, call: Call, leaf: Leaf) -> Any:
    """Send, and see to what comes back."""
    response = await request.send(call, leaf)
    if not request.stream:
        if _unread(response):
            await response.read()
        return response
    stream = response.parse() if _raw(response) else response
    if inspect.isawaitable(stream):
        stream = await stream
    meter = Meter(adapter, leaf, hide_usage=request.hide_usage)
    if leaf.whole:
        try:
            events = [event async for event in stream if meter.see(event)]
        finally:
            await stream.close()
        return _answered(response, Replayed(stream, events, meter.reading))
    leaf.defer()
    return _answered(response, Metered(stream, meter))


def send_sync(adapter: Adapter, request: Request, call: Call, leaf: Leaf) -> Any:
    """`send()` for a client that blocks."""
    response = request.send(call, leaf)
    if not request.stream:
        if _unread(response):
            response.read()
        return response
    stream = response.parse() if _raw(response) else response
    meter = Meter(adapter, leaf, hide_usage=request.hide_usage)
    if leaf.whole:
        try:
            events = [event for event in stream if meter.see(event)]
        finally:
            stream.close()
        return _answered(response, Replayed(stream, events, meter.reading))
    leaf.defer()
    return _answered(response, Metered(stream, meter))


def _raw(response: Any) -> bool:
    return hasattr(response, "http_response")


def _unread(response: Any) -> bool:
    """A response of `with_streaming_response`, whose body has yet to be read."""
    return _raw(response) and hasattr(response, "read") and not response.http_response.is_stream_consumed


def _answered(response: Any, stream: Any) -> Any:
    return Raw(response, stream) if _raw(response) else stream


async def passing(client: Any, request: Request) -> Any:
    """A request of any client, while `instrument()` holds."""
    adapter = adapter_for(client, request.options)
    if adapter is None or not observed():
        return await request.untouched()
    return await call_model(adapter, request.call, lambda call, leaf: send(adapter, request, call, leaf))


def passing_sync(client: Any, request: Request) -> Any:
    """`passing()` for a client that blocks."""
    adapter = adapter_for(client, request.options)
    if adapter is None or not observed():
        return request.untouched()
    return call_model_sync(adapter, request.call, lambda call, leaf: send_sync(adapter, request, call, leaf))


def wrapped(client: C, site: Site, *, asynchronous: bool) -> C:
    """A copy of a client whose requests are scaled, and whose own copies are too."""
    copied: Any = client.copy()  # type: ignore[attr-defined]
    original, copy = copied.request, copied.copy

    async def request(cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        made = Request(original, cast_to, options, stream, stream_cls)
        adapter = adapter_for(copied, options)
        if adapter is None or disabled():
            return await original(cast_to, options, stream=stream, stream_cls=stream_cls)
        here = site_for(site, adapter)
        return await scale_call(here, made.call, lambda call, leaf: send(adapter, made, call, leaf))

    def request_sync(cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        made = Request(original, cast_to, options, stream, stream_cls)
        adapter = adapter_for(copied, options)
        if adapter is None or disabled():
            return original(cast_to, options, stream=stream, stream_cls=stream_cls)
        here = site_for(site, adapter)
        return scale_call_sync(here, made.call, lambda call, leaf: send_sync(adapter, made, call, leaf))

    def again(*args: Any, **kwargs: Any) -> Any:
        return wrapped(copy(*args, **kwargs), site, asynchronous=asynchronous)

    copied.request = request if asynchronous else request_sync
    copied.copy = copied.with_options = again
    return copied  # type: ignore[no-any-return]


def site_for(site: Site, adapter: Adapter) -> Site:
    """The site with the adapter of this very request; a strategy that it cannot serve is refused here."""
    return _site_for(site, replace(adapter, slots=site.adapter.slots))


@lru_cache(maxsize=256)
def _site_for(site: Site, adapter: Adapter) -> Site:
    return replace(site, adapter=adapter)
