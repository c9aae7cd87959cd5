"""Spans to Langfuse, through its OTLP endpoint: no SDK of its own is needed.

Run: against a small receiver in Python, which has seen the path, the authorization and the spans.
Only read: Langfuse itself, https://langfuse.com/integrations/native/opentelemetry (October 2026). It takes tokens and
cost from the `chat` spans, and the session and the user from the tags.
"""

import base64
import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from searching import search

host = os.environ.get("LANGFUSE_HOST", "https://cloud.langfuse.com")
keys = f"{os.environ['LANGFUSE_PUBLIC_KEY']}:{os.environ['LANGFUSE_SECRET_KEY']}"
authorization = f"Basic {base64.b64encode(keys.encode()).decode()}"
exporter = OTLPSpanExporter(f"{host}/api/public/otel/v1/traces", headers={"authorization": authorization}, timeout=1.5)
provider = TracerProvider()
room = {"max_queue_size": 4096, "max_export_batch_size": 4096, "schedule_delay_millis": 1_000}
provider.add_span_processor(BatchSpanProcessor(exporter, **room))
trace.set_tracer_provider(provider)

print(search())
provider.shutdown()
