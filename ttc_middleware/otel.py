"""What other people's OpenTelemetry instrumentation says of model calls that no adapter of ours sees.

    provider.add_span_processor(UsageProcessor())        # beside the exporters of `opentelemetry.sdk.trace`

A fallback: it tells what was spent, after it was spent. It cannot steer a draw, and a budget notices what it tells but
could not have prevented it. Calls that an adapter sees are counted there, and here not again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from ._context import OWNED, SCOPE, SETTINGS, TAB, Entry, Scope, Tab
from ._leaf import report
from ._usage import Usage
from .prices._find import find
from .telemetry import _spans

__all__ = ["UsageProcessor"]

_MOST_OPEN = 65_536  # spans that never end would pile up
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
# OpenTelemetry's, OpenInference's, OpenLLMetry's and Pydantic AI's names.
_REASONING = (
    "gen_ai.usage.reasoning.output_tokens",
    "llm.token_count.completion_details.reasoning",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
)
_CACHED = ("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read")
_WRITTEN = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "llm.token_count.prompt_details.cache_write",
)


@dataclass
class _Open:
    """A span that somebody else has started."""

    parent: int
    tab: Tab | None
    scope: Scope
    counted: bool
    """The call is on a bill already: an adapter of ours has seen it, or a span below this one has told it."""


class UsageProcessor(SpanProcessor):
    """Bills the model calls that spans of other instrumentations tell of.

    A span is a model call where its `gen_ai.operation.name` is `chat`, `generate_content` or `text_completion`, or its
    `openinference.span.kind` is `LLM`. Of several such spans in each other the innermost counts. One that ends without
    usage is on the bill as a call of unknown cost. Dollars come from `ttc.configure(prices=)` and the tables behind it.
    Attributes are those of OpenTelemetry's GenAI conventions, OpenInference, OpenLLMetry and Pydantic AI.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._lock = threading.Lock()
        _spans.on_counted.append(self._counted)

    def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
        """Note in whose draw it started."""
        tab, scope = TAB.get(), SCOPE.get()
        if not _spans.foreign(span) or (tab is None and not scope.trackers and scope.charged is None):
            return
        parent = trace.get_current_span(parent_context).get_span_context().span_id
        with self._lock:
            self._open[span.get_span_context().span_id] = _Open(parent, tab, scope, OWNED.get())
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)

    def on_end(self, span: ReadableSpan) -> None:
        """Bill it, if it is a model call and nobody has."""
        own = span.get_span_context()
        with self._lock:
            opened = None if own is None else self._open.pop(own.span_id, None)
        if opened is None or opened.counted or not _spans.is_inference(span.attributes or {}):
            return
        self._counted(opened.parent)
        report(_entry(span), opened.tab, opened.scope)

    def shutdown(self) -> None:
        """Count no more."""
        if self._counted in _spans.on_counted:
            _spans.on_counted.remove(self._counted)
        self._open.clear()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  # the protocol's
        """Nothing waits."""
        return True

    def _counted(self, span: int) -> None:
        """The call below this span is on a bill: the spans around it tell of the same one."""
        with self._lock:
            opened = self._open.get(span)
            while opened is not None and not opened.counted:
                opened.counted = True
                opened = self._open.get(opened.parent)


def _entry(span: ReadableSpan) -> Entry:
    said: Mapping[str, Any] = span.attributes or {}
    model = _text(said, "gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
    provider = _text(said, "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
    started, ended = span.start_time, span.end_time
    seconds = 0.0 if started is None or ended is None else max(0.0, (ended - started) / 1e9)
    given, output = _count(said, *_INPUT), _count(said, *_OUTPUT)
    if given is None and output is None:
        return Entry(
            Usage(seconds=seconds),
            answered=span.status.status_code is not trace.StatusCode.ERROR,
            gap="no usage reported",
            model=model,
            provider=provider,
            ended=time.monotonic(),
        )
    given, output = given or 0, output or 0
    thinking, cached, written = (_count(said, *names) for names in (_REASONING, _CACHED, _WRITTEN))
    usage = Usage(
        input_tokens=given,
        output_tokens=output,
        reasoning_tokens=None if thinking is None else min(thinking, output),
        cached_tokens=None if cached is None else min(cached, given),
        seconds=seconds,
        cache_write_tokens=None if written is None else min(written, given - min(cached or 0, given)),
    )
    prices = find(provider or "unknown", model or "unknown", SETTINGS.prices)
    cost = None if prices is None else prices.cost(usage)
    return Entry(
        usage if cost is None else replace(usage, usd=cost.total),
        answered=span.status.status_code is not trace.StatusCode.ERROR,
        reasoning_usd=None if cost is None else cost.reasoning,
        priced=None if cost is None else "local",
        model=model,
        provider=provider,
        ended=time.monotonic(),
    )


def _count(said: Mapping[str, Any], *names: str) -> int | None:
    found = (said.get(name) for name in names)
    return next((each for each in found if isinstance(each, int) and not isinstance(each, bool) and each >= 0), None)


def _text(said: Mapping[str, Any], *names: str) -> str | None:
    return next((each for name in names if isinstance(each := said.get(name), str) and each), None)
