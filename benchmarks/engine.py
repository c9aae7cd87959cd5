"""What a draw costs without any HTTP: CPU and memory of the engine alone, in a process of its own.

    python benchmarks/engine.py --draws 1000 --runs 5 [--model-call] [--sdk] [--hold] [--no-gc]      prints JSON

A draw is an async function that reports its usage, judged by a function; with `--model-call` it makes one model call
through the seam instead, which nobody answers but a constant. `--sdk` records spans with a batch processor and counts
the time that it takes to hand them to an exporter that drops them. `--hold` keeps all draws in flight until the last
has started, and measures memory there.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import worker
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware import seam

USAGE = ttc.Usage(input_tokens=20, output_tokens=50, reasoning_tokens=30, cached_tokens=0)
ADAPTER = ttc_openai.Chat("local", "127.0.0.1")
CALL = ttc.Call(name="bench", arguments={"model": "bench", "messages": worker.QUESTION})
REPLY = {
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "The answer is 42."}}
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 50, "total_tokens": 70},
}
Body = Callable[[], Awaitable[str]]


class Dropped(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002  # the protocol's
        return SpanExportResult.SUCCESS


async def reported() -> str:
    await anyio.lowlevel.checkpoint()
    ttc.record_usage(USAGE)
    return "The answer is 42."


async def sent(call: ttc.Call, leaf: seam.Leaf) -> Any:  # noqa: ARG001  # the seam's
    await anyio.lowlevel.checkpoint()
    return REPLY


async def called() -> str:
    reply = await seam.call_model(ADAPTER, CALL, sent)
    return str(reply["choices"][0]["message"]["content"])


def held(body: Body, draws: int, started: list[float]) -> Body:
    """The same, waiting until all are in flight."""
    everybody = anyio.Event()

    async def draw() -> str:
        started.append(0.0)
        if len(started) == draws:
            started.append(worker.memory(collect=False)["mib"])
            everybody.set()
        await everybody.wait()
        return await body()

    return draw


async def one(body: Body, draws: int) -> dict[str, float]:
    """One search of so many draws."""
    scaled = ttc.scale(ttc.BestOfN(draws, stop="all"), verifier=worker.right, name="bench")(body)
    wall, cpu = time.perf_counter(), time.process_time()
    result = await scaled.run()
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush()
    took, used = time.perf_counter() - wall, time.process_time() - cpu
    assert result.accepted, result
    assert len(result.samples) == draws
    assert result.bill.total.calls == draws, result.bill
    return {"ms_per_draw": 1e3 * used / draws, "seconds": took}


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    body = called if args.model_call else reported
    await one(body, min(args.draws, 100))  # warm
    runs: list[dict[str, float]] = []
    for _ in range(args.runs):
        gc.collect()
        before, started = worker.memory()["mib"], list[float]()
        runs.append(await one(held(body, args.draws, started) if args.hold else body, args.draws))
        if args.hold:
            runs[-1]["kib_per_draw"] = 1024 * (started[-1] - before) / args.draws
    return {"runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description="What a draw costs without any HTTP.")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model-call", action="store_true")
    parser.add_argument("--sdk", action="store_true")
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--no-gc", action="store_true", help="without the garbage collector")
    args = parser.parse_args()
    if args.no_gc:
        gc.disable()
    if args.sdk:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Dropped(), max_queue_size=2**17))
        trace.set_tracer_provider(provider)
    print(json.dumps(anyio.run(measure, args)))


if __name__ == "__main__":
    main()
