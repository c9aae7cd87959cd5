"""A tool that is down or slow: it costs spans, and neither results nor time."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest
from fake_model import Model, fresh  # noqa: F401  # a fixture
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import ttc_middleware as ttc
from ttc_middleware.telemetry import _spans

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]


class Stuck(SpanExporter):
    """An exporter that does not come back until it is let go."""

    def __init__(self):
        self.entered, self.let_go, self.spans = threading.Event(), threading.Event(), 0

    def export(self, spans):
        self.spans += len(spans)
        self.entered.set()
        assert self.let_go.wait(60)
        return SpanExportResult.SUCCESS


async def test_searches_end_while_an_exporter_is_stuck_and_a_full_queue_loses_spans_alone(monkeypatch):
    exporter, provider = Stuck(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=16, max_export_batch_size=4, schedule_delay_millis=1)
    )
    monkeypatch.setattr(_spans, "_tracer", provider.get_tracer("ttc_middleware"))
    model = Model(lambda body, number: "bad" if number % 3 else "good")

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: output == "good")
    async def ask() -> str | None:
        return await model()

    try:
        await ask()
        assert exporter.entered.wait(60)  # from here on nothing gets out
        for _ in range(20):
            result = await ask.run()
            assert result.accepted
            assert result.bill.status == "exact"
            assert result.bill.total.calls == 3
        assert exporter.spans <= 4, "somebody has waited for the exporter"
        assert model.in_flight == 0
    finally:
        exporter.let_go.set()
        provider.shutdown()
    assert exporter.spans < 21 * 10, "the queue was full: spans were dropped, and nothing else"


EXAMPLES = """
import sys, time
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
exporter = OTLPSpanExporter(sys.argv[1] + "/v1/traces", timeout=1.5)
provider = TracerProvider()
room = {"max_queue_size": 4096, "max_export_batch_size": 4096, "schedule_delay_millis": 1_000}
provider.add_span_processor(BatchSpanProcessor(exporter, **room))
tracer = provider.get_tracer("shop")
for _ in range(9_000):
    tracer.start_span("chat").end()
began = time.monotonic()
provider.shutdown()
print(time.monotonic() - began)
"""


DEMO = """
import sys, time
from opentelemetry import trace
from ttc_cli._trace import traced
with traced(sys.argv[1], keep=False):
    tracer = trace.get_tracer("shop")
    for _ in range(9_000):
        tracer.start_span("chat").end()
    began = time.monotonic()
print(time.monotonic() - began)
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [EXAMPLES, DEMO], ids=["examples", "demo"])
def test_with_our_settings_a_program_ends_within_5_seconds_of_a_tool_that_never_answers(program):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as hole:
        address = f"http://127.0.0.1:{hole.getsockname()[1]}"
        ran = subprocess.run(
            [sys.executable, "-c", program, address], capture_output=True, text=True, timeout=380, check=True
        )
    assert float(ran.stdout) <= 5, "one export under way and one batch, of 1.5 s each"
