"""Leaving it to another instrumentation to tell a model call's usage (`adopt`), and seeing whether it does."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import Span

from ._spans import foreign, has_usage, is_inference

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span as Started

_KEY = context.create_key("ttc-below")
_watched: weakref.WeakSet[trace.TracerProvider] = weakref.WeakSet()


class Below:
    """The spans that others start below one model call of ours."""

    __slots__ = ("_spans", "noting")

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.noting: Mapping[str, object] = {_KEY: self}
        """What has to be in the context of the call."""

    def see(self, span: Span) -> None:
        """Note a span that starts."""
        self._spans.append(span)

    def tells(self, *, usage: bool) -> bool:
        """Whether one of them is that of the same model call, and has told what it used or still may.

        Some see a call and not its usage: that of a stream, where a layer in between reads the raw response.

        Args:
            usage: whether there is any to tell.
        """
        theirs = [
            span for span in self._spans if foreign(span) and is_inference(getattr(span, "attributes", None) or {})
        ]
        return any(span.is_recording() or has_usage(span) for span in theirs) if usage else bool(theirs)


def watch() -> Below | None:
    """Look out for the spans of others; None where there is no SDK that would show them."""
    provider = trace.get_tracer_provider()
    if provider not in _watched:
        add = getattr(provider, "add_span_processor", None)
        if add is None:
            return None
        from opentelemetry.sdk.trace import SpanProcessor  # noqa: PLC0415  # slow to import

        class Watcher(SpanProcessor):
            """Notes spans where they start; exports nothing."""

            def on_start(self, span: Started, parent_context: context.Context | None = None) -> None:
                below = context.get_value(_KEY, parent_context)
                if isinstance(below, Below):
                    below.see(span)

        add(Watcher())
        _watched.add(provider)
    return Below()
