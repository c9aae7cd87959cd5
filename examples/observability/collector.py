"""Spans to an OpenTelemetry collector, or to anything else that takes OTLP: Jaeger, Tempo, Phoenix, MLflow.

Run: against Arize Phoenix 20.26, MLflow 3.17 (with the header x-mlflow-experiment-id) and a small receiver in Python.
Only read: OpenTelemetry's own collector, which takes the same requests; Jaeger and Tempo.
"""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from searching import search

endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318") + "/v1/traces"
provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
# A second and a half for a collector that is down, and room for a burst: docs/observability.md has the figures.
exporter = OTLPSpanExporter(endpoint, timeout=1.5)
room = {"max_queue_size": 4096, "max_export_batch_size": 4096, "schedule_delay_millis": 1_000}
provider.add_span_processor(BatchSpanProcessor(exporter, **room))
trace.set_tracer_provider(provider)

print(search())
provider.shutdown()
