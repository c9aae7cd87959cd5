"""Real searches in real tools: what they add up has to be the bill.

`--quick` exports to a collector of ours instead, decodes what comes, and needs neither Phoenix, MLflow nor a browser.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from collector import Collector, attributes
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from searches import PRICE, Truth, models, run
from tools import MLflow, Phoenix, Seen

import ttc_local

ROOT = Path(__file__).resolve().parents[2]
PLAYWRIGHT = "playwright==1.65.2"
CENT = 1e-9  # dollars: the bill is decimal, and the tools reckon in binary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="to a collector of ours instead of Phoenix and MLflow")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "images", metavar="DIR")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    return quick() if given.quick else full(given.pictures)


def quick() -> int:
    with Collector() as collector, ttc_local.serve(parallel=8) as server:
        truths, spans = traced([(f"{collector.url}/v1/traces", {})], server)
        return compared(truths, spans, [("OTLP", lambda truth: _collected(collector, truth))])


def _collected(collector: Collector, truth: Truth) -> Seen:
    spans = [span for span in collector.spans if span.trace_id.hex() == truth.trace_id]
    said = [attributes(span) for span in spans]

    def total(name: str) -> int:
        return sum(each.get(name, 0) for each in said)

    reasoning = total("gen_ai.usage.reasoning.output_tokens") or None
    usd = total("gen_ai.usage.cost")
    return Seen(len(spans), total("gen_ai.usage.input_tokens"), total("gen_ai.usage.output_tokens"), reasoning, usd)


def full(pictures: Path) -> int:
    if shutil.which("chromium") is None:
        raise SystemExit("the pictures take chromium: apt-get install chromium (or use --quick)")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        phoenix, mlflow = Phoenix(folder), MLflow(folder)
        for tool in (phoenix, mlflow):
            print(f"starting {tool.name}", flush=True)
            stack.enter_context(tool.running())
        server = stack.enter_context(ttc_local.serve(parallel=8))
        for model in models(server):
            phoenix.learn(model, float(PRICE.input), float(PRICE.output))
        tools = (phoenix, mlflow)
        truths, spans = traced([(tool.endpoint, tool.headers) for tool in tools], server)
        asked = [(tool.name, lambda truth, tool=tool: tool.seen(truth.trace_id, spans[truth.trace_id])) for tool in tools]
        failed = compared(truths, spans, asked)
        pictures.mkdir(parents=True, exist_ok=True)
        for tool in tools:
            file = pictures / f"{tool.name.lower()}.png"
            picture(tool.page(truths[0].trace_id), file)
            print(f"{file}: {file.stat().st_size:,} bytes")
        return failed


def traced(endpoints: Sequence[tuple[str, dict[str, str]]], server: ttc_local.Server) -> tuple[list[Truth], dict[str, int]]:
    """Run the searches, exported everywhere; returns their bills, and how many spans each trace has."""
    resource = Resource.create({"service.name": "e2e-trace", "openinference.project.name": Phoenix.project})
    provider, kept = TracerProvider(resource=resource), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for endpoint, headers in endpoints:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, headers=headers, timeout=30)))
    trace.set_tracer_provider(provider)
    truths = run(server)
    assert provider.force_flush(60_000), "the spans do not get out"
    ids = [format(span.context.trace_id, "032x") for span in kept.get_finished_spans() if span.context]
    return truths, {truth.trace_id: ids.count(truth.trace_id) for truth in truths}


def compared(truths: Sequence[Truth], spans: dict[str, int], tools: Sequence[tuple[str, object]]) -> int:
    """Print the bills beside what the tools have added up; 1 where they differ."""
    row = "{:<10} {:<8} {:>6} {:>8} {:>8} {:>10} {:>13}  {}"
    print(row.format("search", "by", "spans", "input", "output", "reasoning", "dollars", ""))
    failed = 0
    for truth in truths:
        own = (spans[truth.trace_id], truth.input, truth.output, truth.reasoning)
        print(row.format(truth.name, "bill", *("-" if figure is None else figure for figure in own), f"{truth.usd:.9f}", ""))
        for name, ask in tools:
            seen: Seen = ask(truth)  # type: ignore[operator]
            same = (seen.spans, seen.input, seen.output, seen.reasoning) == own
            same = same and seen.usd is not None and abs(seen.usd - float(truth.usd)) <= CENT
            figures = (seen.spans, seen.input, seen.output, seen.reasoning)
            cost = "-" if seen.usd is None else f"{seen.usd:.9f}"
            said = "equal" if same else "DIFFERS"
            print(row.format("", name, *("-" if figure is None else figure for figure in figures), cost, said))
            failed |= not same
    return int(failed)


def picture(url: str, file: Path) -> None:
    command = ["uv", "run", "--isolated", "--no-project", "--with", PLAYWRIGHT, "python"]
    subprocess.run([*command, str(Path(__file__).with_name("picture.py")), url, str(file), "ttc.sample"], check=True)


if __name__ == "__main__":
    sys.exit(main())
