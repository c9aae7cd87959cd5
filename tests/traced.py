"""A tracing tool at the end of the real SDK."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ttc_middleware.telemetry import _metrics, _spans

INSTRUMENTS = (
    _metrics._token_usage,
    _metrics._call_seconds,
    _metrics._search_seconds,
    _metrics._reasoning,
    _metrics._tokens,
    _metrics._dollars,
    _metrics._requests,
)


class Counting(SpanProcessor):
    """Knows which spans were started and not ended."""

    def __init__(self):
        self.open = {}

    def on_start(self, span, parent_context=None):
        self.open[span.context.span_id] = span.name

    def on_end(self, span):
        del self.open[span.context.span_id]


class Traced:
    """A tracing tool at the end of the real SDK."""

    def __init__(self, monkeypatch, *processors, sampler=None):
        self.exporter = InMemorySpanExporter()
        self.counting = Counting()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        for processor in (self.counting, SimpleSpanProcessor(self.exporter), *processors):
            self.provider.add_span_processor(processor)
        monkeypatch.setattr(_spans, "_tracer", self.provider.get_tracer("ttc_middleware"))
        self.reader = InMemoryMetricReader()
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        for instrument in INSTRUMENTS:  # as they become real once a program sets a provider
            monkeypatch.setattr(instrument, "_real_instrument", None)
            instrument.on_meter_set(meters.get_meter("ttc_middleware"))
        self.elsewhere = self.provider.get_tracer("somebody.else")

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def named(self, start):
        return [span for span in self.spans if span.name.startswith(start)]

    def one(self, start):
        (span,) = self.named(start)
        return span

    def below(self, parent):
        return [
            span for span in self.spans if span.parent is not None and span.parent.span_id == parent.context.span_id
        ]

    def total(self, key):
        return sum(span.attributes.get(key, 0) for span in self.spans)

    def metrics(self):
        data = self.reader.get_metrics_data()
        found = {}
        for metric in (m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics) if data else ():
            for point in metric.data.data_points:
                found[metric.name, tuple(sorted(point.attributes.items()))] = point
        return found

    def everything(self):
        points = "".join(point.to_json() for point in self.metrics().values())
        return "".join(span.to_json() for span in self.spans) + points + str(self.metrics().keys())
