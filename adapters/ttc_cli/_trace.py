"""Spans for the eye (`--trace`) and for a collector (`--otlp`)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from rich.console import Console
    from rich.tree import Tree


class Traces:
    """The spans of a run."""

    def __init__(self) -> None:
        self.exporter: Any = None

    def show(self, console: Console) -> None:
        """Print every search as a tree: what was drawn, what was called, what it cost, what won."""
        from rich.tree import Tree  # noqa: PLC0415  # an extra

        spans: list[ReadableSpan] = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        known = {_id(span) for span in spans}
        below: dict[int | None, list[ReadableSpan]] = {}
        for span in spans:
            parent = None if span.parent is None or span.parent.span_id not in known else span.parent.span_id
            below.setdefault(parent, []).append(span)
        for root in below.get(None, []):
            tree = Tree(_line(root))
            _grow(tree, root, below)
            console.print(tree)


def _grow(tree: Tree, span: ReadableSpan, below: dict[int | None, list[ReadableSpan]]) -> None:
    for child in below.get(_id(span), []):
        _grow(tree.add(_line(child)), child, below)


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return 0 if context is None else context.span_id


_SHOWN = {
    "ttc.stop_reason": "",
    "ttc.sample.outcome": "",
    "ttc.sample.score": "score ",
    "gen_ai.evaluation.score.label": "",
    "gen_ai.usage.input_tokens": "in ",
    "gen_ai.usage.output_tokens": "out ",
    "ttc.usage.total_tokens": "tokens ",
    "ttc.multiplier": "x ",
}


def _line(span: ReadableSpan) -> str:
    from rich.markup import escape  # noqa: PLC0415  # an extra

    attributes = span.attributes or {}
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    said = [f"{word}{_short(attributes[key])}" for key, word in _SHOWN.items() if key in attributes]
    name = f"[bold]{escape(span.name)}[/]" if span.parent is None else escape(span.name)
    return f"{name} [dim]{took:.2f} s[/] {escape(', '.join(said))}"


def _short(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


@contextmanager
def traced(otlp: str | None, *, keep: bool) -> Generator[Traces, None, None]:
    """Collect spans for showing, send them to a collector, or neither."""
    traces = Traces()
    if otlp is None and not keep:
        yield traces
        return
    from opentelemetry import trace  # noqa: PLC0415  # only for whoever asks
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415  # as above

    provider = TracerProvider(resource=Resource.create({"service.name": "ttc"}))
    if keep:
        traces.exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(traces.exporter))
    if otlp is not None:
        # One export under way and one batch, of 1.5 s each, are all that a tool which is down can hold up the end.
        queue: Any = {"max_queue_size": 4096, "max_export_batch_size": 4096, "schedule_delay_millis": 1_000}
        provider.add_span_processor(BatchSpanProcessor(_exporter(otlp), **queue))
    trace.set_tracer_provider(provider)
    try:
        yield traces
    finally:
        provider.shutdown()


def _exporter(url: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  # an extra
            OTLPSpanExporter,
        )
    except ImportError as error:
        raise ImportError('--otlp sends with the OTLP exporter: pip install "ttc-middleware[local]"') from error
    endpoint = url if url.rstrip("/").endswith("/v1/traces") else f"{url.rstrip('/')}/v1/traces"
    return OTLPSpanExporter(endpoint=endpoint, timeout=1.5)
