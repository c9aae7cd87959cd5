"""One request of the SDK: what it asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, cast

from ttc_middleware import Call
from ttc_middleware.seam import Leaf, owned
from ttc_openai import stainless

from ._messages import Messages
from ._meter import MessageMeter

_PLATFORMS = (("Bedrock", "aws.bedrock"), ("Vertex", "gcp.vertex_ai"))
_PATH = "v1/messages"


@dataclass(frozen=True)
class Request(stainless.Request):
    """One request of the SDK, as `request()` gets it."""

    package: ClassVar[str] = "anthropic"

    @property
    def adapter(self) -> Messages | None:
        """How it is read and changed; None where it is no model call that we know."""
        sent = self.options.json_data
        if not isinstance(sent, Mapping) or str(self.options.method).lower() != "post":
            return None
        if self._path != _PATH:  # counting tokens, batches, files
            return None
        url = self.client.base_url
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        return _adapter(type(self.client).__name__, str(url.host), port)

    @property
    def _path(self) -> str:
        return str(self.options.url).split("?")[0].strip("/")

    @cached_property
    def body(self) -> dict[str, Any]:
        """What is sent, once and for all: what can be gone through only once has to serve several draws."""
        given: dict[str, Any] = {**self.options.json_data, **(self.options.extra_json or {})}
        settled: dict[str, Any] = _settled(given)
        return settled

    @property
    def call(self) -> Call:
        """The request's keywords."""
        return Call(name=f"anthropic:{self._path}", arguments=self.body)

    @property
    def silence(self) -> dict[str, Any]:
        """The options by which the SDK (from 2.0 on) makes no span of its own for a model call that has ours."""
        return {"span_name": None} if getattr(self.options, "span_name", None) else {}

    def meter(self, adapter: stainless.Adapter, leaf: Leaf, *, usage_comes: bool) -> MessageMeter:  # noqa: ARG002  # every stream has its usage
        """What adds up the stream that it brings."""
        return MessageMeter(adapter, leaf)

    def untouched(self) -> Any:
        """Send it as it is; where an outer layer accounts for a model call, it owns retries and span too."""
        if not (owned() and self.silence and self.adapter is not None):
            return super().untouched()
        silent = replace(self, options=self.options.model_copy(update=self.silence))
        return super(Request, silent).untouched()


@lru_cache(maxsize=256)
def _adapter(client: str, host: str, port: int | None) -> Messages:
    """How requests of this kind of client to this host are read."""
    named = "local" if host in stainless.LOCAL else "anthropic"
    provider = next((name for word, name in _PLATFORMS if word in client), named)
    return Messages(provider, host, port=port)


def _settled(value: Any) -> Any:
    """JSON in plain dicts and lists, without what the caller left out; everything else as it is."""
    if isinstance(value, Mapping):
        given = cast("Mapping[str, Any]", value)
        return {name: _settled(each) for name, each in given.items() if type(each).__name__ not in ("Omit", "NotGiven")}
    if isinstance(value, (str, bytes, bytearray)) or hasattr(value, "read"):
        return cast("Any", value)
    if isinstance(value, (Sequence, AbstractSet, Iterator)):
        return [_settled(each) for each in cast("Sequence[Any]", value)]
    return value
