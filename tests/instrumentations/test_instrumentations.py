"""Beside the real instrumentations of the OpenAI SDK: every model call has one span with usage, and the bill's figures.

They are in no lock: `poe test-instrumentations` runs this, in an environment of its own.
"""

from __future__ import annotations

import importlib
import os
from typing import NamedTuple

import litellm
import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from provider import Provider, Reply

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware import _context

OURS = os.environ.get("INSTRUMENTATION", "")
"""Which of them: one a process, since not each can be taken off again."""
pytestmark = [
    pytest.mark.skipif(not OURS, reason="run by `poe test-instrumentations`"),
    pytest.mark.filterwarnings("ignore"),  # theirs are many, and none of ours
]
MESSAGES = [{"role": "user", "content": "how many words are in here"}]
exporter = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def instrumentation():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    importlib.import_module(OURS).OpenAIInstrumentor().instrument()


@pytest.fixture(params=["own", "adopt"])
def mode(request, monkeypatch):
    monkeypatch.setattr(_context.SETTINGS, "spans", request.param)
    return request.param


@pytest.fixture
def server():
    exporter.clear()
    script = lambda body, number: Reply("not this" if number % 3 else "this is it", reasoning=3 + number)  # noqa: E731
    with Provider(script) as server:
        yield server


class Told(NamedTuple):
    """What the spans say."""

    spans: int
    input: int
    output: int


def told():
    """What a tool would add up: OpenInference's words where they are, OpenTelemetry's anywhere else."""
    spans = [dict(span.attributes) for span in exporter.get_finished_spans()]
    words = [
        (said.get("gen_ai.usage.input_tokens", said.get("llm.token_count.prompt")),
         said.get("gen_ai.usage.output_tokens", said.get("llm.token_count.completion")))
        for said in spans
    ]  # fmt: skip
    usages = [pair for pair in words if pair != (None, None)]
    return Told(len(usages), sum(pair[0] for pair in usages), sum(pair[1] for pair in usages))


def check(server, bill, at_least):
    billed = server.settled()
    requests = billed.requests
    assert requests >= at_least
    assert (bill.total.input_tokens, bill.total.output_tokens) == (billed.prompt, billed.completion)
    assert told() == (requests, billed.prompt, billed.completion)


def good(output):
    return "this is it" in str(output)


STRATEGY = ttc.BestOfN(4, stop="all")
EACH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@EACH
@pytest.mark.asyncio
async def test_inside_a_function(mode, server, stream):
    async with openai.AsyncOpenAI(base_url=server.url, api_key="key") as client:

        @ttc.scale(STRATEGY, verifier=good)
        async def ask():
            options = {"stream_options": {"include_usage": True}} if stream else {}
            reply = await client.chat.completions.create(model="small", messages=MESSAGES, stream=stream, **options)
            if not stream:
                return reply.choices[0].message.content
            return "".join([chunk.choices[0].delta.content or "" async for chunk in reply if chunk.choices])

        result = await ask.run()
    check(server, result.bill, 4)


@EACH
def test_inside_a_blocking_function(mode, server, stream):
    with openai.OpenAI(base_url=server.url, api_key="key") as client:

        @ttc.scale(STRATEGY, verifier=good)
        def ask():
            options = {"stream_options": {"include_usage": True}} if stream else {}
            reply = client.chat.completions.create(model="small", messages=MESSAGES, stream=stream, **options)
            if not stream:
                return reply.choices[0].message.content
            return "".join([chunk.choices[0].delta.content or "" for chunk in reply if chunk.choices])

        result = ask.run()
    check(server, result.bill, 4)


@EACH
@pytest.mark.parametrize("strategy", [None, STRATEGY], ids=["once", "four times"])
@pytest.mark.asyncio
async def test_through_a_wrapped_client(mode, server, stream, strategy):
    async with openai.AsyncOpenAI(base_url=server.url, api_key="key") as plain:
        client = ttc_openai.wrap(plain, strategy, verifier=strategy and good)
        with ttc.tracking() as bill:
            options = {"stream_options": {"include_usage": True}} if stream else {}
            reply = await client.chat.completions.create(model="small", messages=MESSAGES, stream=stream, **options)
            if stream:
                assert [chunk async for chunk in reply]
    check(server, bill, 1)  # draws of one step can share a request


@EACH
@pytest.mark.parametrize("strategy", [ttc.Single(), ttc.BestOfN(3, at_once=1, stop="all")], ids=["once", "in turn"])
def test_through_a_blocking_wrapped_client(mode, server, stream, strategy):
    with openai.OpenAI(base_url=server.url, api_key="key") as plain:
        client = ttc_openai.wrap(plain, strategy, verifier=good)
        with ttc.tracking() as bill:
            options = {"stream_options": {"include_usage": True}} if stream else {}
            reply = client.chat.completions.create(model="small", messages=MESSAGES, stream=stream, **options)
            if stream:
                assert list(reply)
    check(server, bill, 1 if strategy == ttc.Single() else 3)


@EACH
@pytest.mark.asyncio
async def test_below_litellm(mode, server, stream):
    @ttc.scale(STRATEGY, verifier=good)
    async def ask():
        reply = await litellm.acompletion(
            model="openai/small", messages=MESSAGES, api_base=server.url, api_key="key", stream=stream
        )
        if not stream:
            return reply.choices[0].message.content
        return "".join([chunk.choices[0].delta.content or "" async for chunk in reply if chunk.choices])

    result = await ask.run()
    check(server, result.bill, 4)
    ours = [span for span in exporter.get_finished_spans() if span.instrumentation_scope.name == "ttc_middleware"]
    names = [span.name for span in ours]
    # OpenLLMetry sees these streams' calls and not their usage: what it leaves untold is told by ours.
    assert names.count("chat small") + names.count("ttc.model_call") == 4
    assert names.count("ttc.model_call") == (4 if mode == "adopt" and names.count("chat small") != 4 else 0)
