"""One request of the SDK: what it asks, and how it is sent when something is to change."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, cast

from ttc_middleware import Call, Reading
from ttc_middleware.seam import Leaf, deadline, retried

from ._chat import Chat
from ._meter import Adapter, Meter
from ._patience import patience, unhurried
from ._responses import Responses
from ._unscratch import has_scratchpad, unscratched, unscratched_events
from ._usage import get

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
LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104  # compared with, never bound to
_RAW = "x-stainless-raw-response"
_BAD_REQUEST = (400, 422)
_UNKNOWN = re.compile(r"un(supported|recogni[sz]ed|known|expected)|not (supported|permitted|allowed)|forbidden|extra")
_COUNTS = "continuous_usage_stats"
COUNTS: Mapping[str, Any] = {"timings_per_token": True}
"""What makes llama.cpp count along."""
_OTHER_NAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_refused: set[tuple[str | None, str, str | None]] = set()
"""(server, model, parameter): what servers have turned down of what we add to requests."""


@lru_cache(maxsize=256)
def _adapters(host: str, port: int | None, *, azure: bool) -> dict[str, Adapter]:
    """By the end of the path: how requests to this host are read."""
    named = next((name for ending, name in _PROVIDERS.items() if host.endswith(ending)), "openai")
    provider = "azure.ai.openai" if azure else "local" if host in LOCAL else named
    return {"/chat/completions": Chat(provider, host, port=port), "/responses": Responses(provider, host, port=port)}


@lru_cache(maxsize=8)
def _sync_client(package: str) -> type[Any]:
    """The base of all clients that block; whoever is here has imported the package."""
    kind: type[Any] = importlib.import_module(f"{package}._base_client").SyncAPIClient
    return kind


def hosted(client: Any) -> bool:
    """Whether a client asks a provider that we know: they all begin anew after an assistant's message."""
    host = str(client.base_url.host)
    return host.endswith("openai.com") or hasattr(client, "_azure_deployment") or any(map(host.endswith, _PROVIDERS))


@dataclass(frozen=True)
class Request:
    """One request of the SDK, as `request()` gets it."""

    package: ClassVar[str] = "openai"

    client: Any
    original: Callable[..., Any]
    cast_to: Any
    options: Any
    stream: bool
    stream_cls: Any
    thinks: int | None = None
    """Tokens that a stream of it may think, where they show; None: nobody counts them."""

    @property
    def adapter(self) -> Adapter | None:
        """How it is read and changed; None where it is no model call that we know."""
        if not isinstance(self.options.json_data, dict) or str(self.options.method).lower() != "post":
            return None
        azure = hasattr(self.client, "_azure_deployment")
        url = self.client.base_url
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        known = _adapters(str(url.host), port, azure=azure)
        adapter = known.get("/" + str(self.options.url).split("?")[0].strip("/"))
        return replace(adapter, choices=False) if isinstance(adapter, Chat) and not self.divisible else adapter

    @property
    def divisible(self) -> bool:
        """Whether a response with several choices can be taken apart.

        Not a raw one, and not where the SDK parses all choices, so that one that does not parse fails them all.
        """
        headers: Any = self.options.headers
        raw = isinstance(headers, Mapping) and any(
            name.lower() == _RAW for name in cast("Mapping[str, Any]", headers)
        )  # or not given
        return not raw and not callable(self.options.post_parser)

    @cached_property
    def body(self) -> dict[str, Any]:
        """What is sent, with the caller's `extra_body`: apart, it would overrule what we change."""
        return {**self.options.json_data, **(self.options.extra_json or {})}

    @property
    def call(self) -> Call:
        """The request's keywords."""
        return Call(name=f"openai:{str(self.options.url).strip('/')}", arguments=self.body)

    @property
    def asks_usage(self) -> bool:
        """Whether the caller of a stream wants the chunk with the usage."""
        return bool(get(self.body.get("stream_options"), "include_usage"))

    @property
    def retries(self) -> int:
        """How often the caller lets the SDK try again."""
        allowed: int = self.options.get_max_retries(self.client.max_retries)
        return allowed

    @property
    def silence(self) -> dict[str, Any]:
        """The options by which the SDK makes no span of its own for a model call that has ours."""
        return {}

    def meter(self, adapter: Adapter, leaf: Leaf, *, usage_comes: bool) -> Meter:
        """What adds up the stream that it brings."""
        return Meter(adapter, leaf, usage_comes=usage_comes, hide_usage=not self.asks_usage)

    def in_time(self, needed: float | None = None) -> dict[str, Any]:
        """The changes by which thinking gets its time, and a client that blocks keeps the deadline.

        An async one is cancelled at it.

        Args:
            needed: seconds that the answer may take; None: as long as the client waits.
        """
        ends = deadline() if isinstance(self.client, _sync_client(self.package)) else None
        if ends is None and needed is None:
            return {}
        of_sdk = importlib.import_module(self.package)
        given = unhurried(self.options.timeout, self.client.timeout, needed, of_sdk)
        if ends is not None:
            return {"timeout": patience(given, self.client.timeout, ends, of_sdk.Timeout)}
        return {} if given is self.options.timeout else {"timeout": given}

    def untouched(self) -> Any:
        """Send it as it is; where an outer layer accounts for a model call, it owns retries and deadline too."""
        options = self.options
        if retried() and self.adapter is not None:
            options = options.model_copy(update={"max_retries": 0, **self.in_time()})
        return self.original(self.cast_to, options, stream=self.stream, stream_cls=self.stream_cls)


class Attempt:
    """One way to send a request: as the engine wants it, but for what this server has turned down.

    Args:
        request: what the caller sends.
        adapter: how it is read.
        call: what the engine makes of it.
        leaf: where it is accounted for.
    """

    def __init__(self, request: Request, adapter: Adapter, call: Call, leaf: Leaf) -> None:
        self._request = request
        self._adapter = adapter
        self._leaf = leaf
        self._arrived: Any = None
        asked, body = request.body, dict(call.arguments)
        self._key = (adapter.server, str(body.get("model")))
        for name, other in _OTHER_NAME.items():
            if name in body and name not in asked and (*self._key, name) in _refused:
                body[other] = body.pop(name)
                break
        self._added = [name for name in _OTHER_NAME if name in body and name not in asked]
        self.usage_comes = request.stream and isinstance(adapter, Chat)
        """A stream will end with its usage."""
        if self.usage_comes and not request.asks_usage:
            self.usage_comes = (*self._key, "stream_options") not in _refused
            if self.usage_comes:
                # vLLM and SGLang count along where they are asked to; others of one's own take no notice.
                wanted = leaf.leased or request.thinks is not None
                counts = wanted and leaf.request.provider == "local" and (*self._key, _COUNTS) not in _refused
                more = {_COUNTS: True} if counts else {}
                body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True, **more}
                self._added += more
                self._added.append("stream_options")
        if request.thinks is not None and leaf.request.provider == "local":
            for name in [each for each in COUNTS if each not in body and (*self._key, each) not in _refused]:
                body[name] = COUNTS[name]
                self._added.append(name)
        self._body = body
        self._scratchpad = has_scratchpad(body) and not has_scratchpad(asked)

    def send(self) -> Any:
        """Send it; gives an awaitable where the client is async."""
        request = self._request
        # An empty extra_json makes the SDK drop what the caller marked as omitted.
        changes: dict[str, Any] = {**request.silence, "json_data": self._body, "extra_json": {}}
        if self._leaf.retried:
            self._leaf.retries = min(self._leaf.retries, request.retries)
            changes["max_retries"] = 0  # the engine retries
        if callable(request.options.post_parser):
            changes["post_parser"] = self._parsed
        options = request.options.model_copy(update={**changes, **request.in_time(self._leaf.patience)})
        return request.original(request.cast_to, options, stream=request.stream, stream_cls=request.stream_cls)

    def _parsed(self, response: Any) -> Any:
        """Let the SDK parse a response, noting that it has arrived: it has its price even if it does not parse."""
        self._arrived = response
        return self._request.options.post_parser(response)

    def answer(self, response: Any) -> Any:
        """The response as its caller gets it: without a scratchpad of ours."""
        return unscratched(response) if self._scratchpad else response

    def events(self, meter: Meter) -> tuple[Iterable[Any], Reading]:
        """The events of a stream that was read, as its caller gets them, and what they say."""
        if not self._scratchpad:
            return meter.ready, meter.reading
        return unscratched_events(meter.ready, meter.reading)

    def again(self, error: Exception) -> bool:
        """After an error: whether to send the request once more, without what was turned down of ours."""
        if self._arrived is not None:
            self._leaf.finish(self._adapter.read(self._arrived), answered=False)
            return False
        said = str(error).lower()
        if getattr(error, "status_code", None) not in _BAD_REQUEST or not _UNKNOWN.search(said):
            return False
        news = {(*self._key, name) for name in self._added if name in said}
        _refused.update(news)
        return any((*self._key, _OTHER_NAME.get(name)) not in _refused for *_, name in news)
