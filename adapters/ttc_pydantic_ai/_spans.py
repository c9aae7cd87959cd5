"""Keeping usage on one span a model call, where Pydantic AI traces its requests too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span

_TOLD = ("gen_ai.usage.", "operation.cost")


def told_below(span: Span) -> None:
    """Keep the framework's own span around a whole search from telling the winner's usage again.

    Pydantic AI puts what a request has used on its `chat` span when that ends. In a search each sample has a span of
    its own that tells it, so this one span is made to leave those attributes out; a span cannot forget them later.
    """
    said: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None)
    if not span.is_recording() or scope != "pydantic-ai" or said.get("gen_ai.operation.name") != "chat":
        return
    tell = span.set_attributes

    def tell_others(attributes: Mapping[str, Any]) -> None:
        tell({name: value for name, value in attributes.items() if not name.startswith(_TOLD)})

    if getattr(tell, "__name__", "") != tell_others.__name__:
        span.set_attributes = tell_others  # type: ignore[method-assign]
