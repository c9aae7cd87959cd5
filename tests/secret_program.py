"""A program that says secrets in every place where a text can be, and exports all it traces: `secret_program.py SDK`.

Run by test_trace_secrets.py, with the addresses of a provider and of a collector in its environment.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  # litellm needs it
import os
import sys
from contextlib import suppress

from opentelemetry import _logs, metrics, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import ttc_middleware as ttc

PROVIDER, COLLECTOR = os.environ["PROVIDER"], os.environ["COLLECTOR"]
MESSAGES = [
    {"role": "system", "content": "canary-system"},
    {"role": "user", "content": [{"type": "text", "text": "canary-prompt"}]},
    {"role": "assistant", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "canary-arguments"}'}},
    ]},
    {"role": "tool", "tool_call_id": "1", "content": "canary-tool-result"},
]  # fmt: skip
SERVER = PROVIDER.replace("http://", "http://user:canary-password@")


async def through_openai() -> str | None:
    import openai  # noqa: PLC0415  # the one that is tested

    async with openai.AsyncOpenAI(
        base_url=SERVER,
        api_key="canary-key",
        default_headers={"x-own": "canary-header"},
        default_query={"key": "canary-query"},
    ) as client:
        reply = await client.chat.completions.create(model="small", messages=MESSAGES)  # type: ignore[arg-type]
        with suppress(openai.OpenAIError):
            await client.responses.create(model="small", input="canary-input", instructions="canary-instructions")
        return reply.choices[0].message.content


async def through_litellm() -> str | None:
    import litellm  # noqa: PLC0415  # as above

    reply = await litellm.acompletion(
        model="openai/small",
        messages=MESSAGES,
        api_base=PROVIDER,  # it cannot reach one with a password in it
        api_key="canary-key",
        extra_headers={"x-own": "canary-header"},
    )
    return reply.choices[0].message.content


def judge(output: str | None, prompt: str) -> ttc.Verdict:
    if output and output.endswith("1"):
        raise LookupError("canary-verifier")
    return ttc.Verdict(0.5, feedback="canary-feedback")


async def main(ask: object) -> None:
    async def fails(prompt: str) -> str | None:
        raise ValueError("canary-exception")

    for strategy in (ttc.BestOfN(5, at_once=1, stop="all"), ttc.SelfConsistency(3, at_once=1), ttc.Refine(2)):
        await ttc.scale(strategy, verifier=judge)(ask)("canary-given")
    with suppress(ttc.NotAccepted):
        await ttc.scale(ttc.BestOfN(2), verifier=judge, on_reject="raise")(ask)("canary-given")
    with suppress(ValueError):
        await ttc.scale(ttc.BestOfN(2), verifier=judge)(fails)("canary-given")


if __name__ == "__main__":
    tracer, logger = TracerProvider(), LoggerProvider()
    tracer.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{COLLECTOR}/v1/traces")))
    logger.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{COLLECTOR}/v1/logs")))
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{COLLECTOR}/v1/metrics"))])
    trace.set_tracer_provider(tracer)
    _logs.set_logger_provider(logger)
    metrics.set_meter_provider(meters)

    through = {"openai": through_openai, "litellm": through_litellm}[sys.argv[1]]

    async def ask(prompt: str) -> str | None:
        return await through()

    asyncio.run(main(ask))
    for each in (tracer, logger, meters):
        each.shutdown()
