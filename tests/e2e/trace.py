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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
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
NEAR = 1e-9  # dollars: the bill is decimal, and the tools reckon in binary
ROW = "{:<15} {:<8} {:>6} {:>8} {:>8} {:>10} {:>13}  {}"


@dataclass(frozen=True)
class Search:
    """What one has cost, and where it is in the tools."""

    truth: Truth
    trace_id: str
    spans: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="to a collector of ours instead of Phoenix and MLflow")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "images", metavar="DIR")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    return quick() if given.quick else full(given.pictures)


def quick() -> int:
    with Collector() as collector, ttc_local.serve(parallel=8) as server:
        searches = traced([(f"{collector.url}/v1/traces", {})], server)
        return compared(searches, [("OTLP", lambda search: _collected(collector, search))])


def _collected(collector: Collector, search: Search) -> Seen:
    spans = [span for span in collector.spans if span.trace_id.hex() == search.trace_id]
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
        searches = traced([(tool.endpoint, tool.headers) for tool in tools], server)
        asked = [(tool.name, lambda search, tool=tool: tool.seen(search.trace_id, search.spans)) for tool in tools]
        failed = compared(searches, asked)
        pictures.mkdir(parents=True, exist_ok=True)
        for tool in tools:
            file = pictures / f"{tool.name.lower()}.png"
            picture(tool.page(searches[0].trace_id), file)
            print(f"{file}: {file.stat().st_size:,} bytes")
        return failed


def traced(endpoints: Sequence[tuple[str, dict[str, str]]], server: ttc_local.Server) -> list[Search]:
    """Run the searches, exported everywhere."""
    resource = Resource.create({"service.name": "e2e-trace", "openinference.project.name": Phoenix.project})
    provider, kept = TracerProvider(resource=resource), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for endpoint, headers in endpoints:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, headers=headers, timeout=30)))
    trace.set_tracer_provider(provider)
    truths = run(server)
    assert provider.force_flush(60_000), "the spans do not get out"
    spans = kept.get_finished_spans()
    ids = [format(span.get_span_context().trace_id, "032x") for span in spans]
    roots = {(span.attributes or {}).get("gen_ai.workflow.name"): id_ for span, id_ in zip(spans, ids, strict=True)}
    return [Search(truth, roots[truth.name], ids.count(roots[truth.name])) for truth in truths]


def compared(searches: Sequence[Search], tools: Sequence[tuple[str, Callable[[Search], Seen]]]) -> int:
    """Print the bills beside what the tools have added up; 1 where they differ."""
    failed = False
    print(ROW.format("search", "by", "spans", "input", "output", "reasoning", "dollars", ""))
    for search in searches:
        truth = search.truth
        bill = Seen(search.spans, truth.input, truth.output, truth.reasoning, float(truth.usd))
        print(_line(truth.name, "bill", bill, ""))
        for name, ask in tools:
            seen = ask(search)
            near = seen.usd is not None and abs(seen.usd - float(truth.usd)) <= NEAR
            same = near and replace(seen, usd=bill.usd) == bill
            print(_line("", name, seen, "equal" if same else "DIFFERS"))
            failed |= not same
    return int(failed)


def _line(search: str, by: str, seen: Seen, said: str) -> str:
    counts = (seen.spans, seen.input, seen.output, seen.reasoning)
    shown = ["-" if count is None else count for count in counts]
    return ROW.format(search, by, *shown, "-" if seen.usd is None else f"{seen.usd:.9f}", said)


def picture(url: str, file: Path) -> None:
    command = ["uv", "run", "--isolated", "--no-project", "--with", PLAYWRIGHT, "python"]
    subprocess.run(
        [*command, str(Path(__file__).with_name("picture.py")), url, str(file), "ttc.sample", "ttc.cost.total"],
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main())
