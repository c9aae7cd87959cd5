"""`seam.watch()`: whoever looks on is told of every call, and changes none."""

from __future__ import annotations

import openai
import pytest
from openai_clients import ASKED, CHAT, async_client, blocking_client, streams_on_trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware import _context, _instrument
from ttc_middleware.seam import watch
from ttc_middleware.telemetry import _spans

pytestmark = [streams_on_trio, pytest.mark.anyio]


class Onlooker:
    """Keeps what it is told; a call that it has seen begin has ended where `seen` has it."""

    def __init__(self):
        self.calls = []
        self.callers = []
        self.seen = []
        self.problems = []

    def begun(self, call, caller):
        self.calls.append(call)
        self.callers.append(caller)
        return self.seen.append

    def caller(self):
        return "whoever started the search"

    def failed(self, what, error):
        self.problems.append((what, error))


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=f"answer {number}", reasoning=7)) as provider:
        yield provider


@pytest.fixture(params=[False, True], ids=["a bare program", "a program that uses ttc"])
def wanted(request, monkeypatch):
    """Whether the program itself has called `instrument()`."""
    monkeypatch.setattr(_instrument, "_wanted", request.param)
    return request.param


@pytest.fixture
def onlooker():
    onlooker = Onlooker()
    watch(onlooker)
    yield onlooker
    watch(None)


@pytest.fixture
def spans(monkeypatch):
    exporter, sdk = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    sdk.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_spans, "_tracer", sdk.get_tracer("ttc_middleware"))
    return exporter.get_finished_spans


async def test_a_call_that_nobody_else_is_concerned_with_is_sent_as_it_is(wanted, provider, spans):
    asked = {**CHAT, "temperature": 0.25, "extra_body": {"more": 1}}
    async with async_client(provider) as client:
        await client.chat.completions.create(**asked)
        watch(onlooker := Onlooker())
        try:
            said = await client.chat.completions.create(**asked)
            await client.responses.create(**ASKED)
        finally:
            watch(None)

    bare, watched, _ = provider.bodies
    assert watched == bare
    assert said.choices[0].message.content == "answer 1"
    assert [(each.request.model, each.entry.answered, each.draw) for each in onlooker.seen] == [("m", True, None)] * 2
    assert [call.name for call in onlooker.calls] == ["openai:chat/completions", "openai:responses"]
    usage = onlooker.seen[0].entry.usage
    assert (usage.calls, usage.output_tokens, usage.reasoning_tokens) == (1, 9, 7)
    assert spans() == (), "the program's own tracing says what it said before"


async def test_a_stream_passes_as_it_comes_and_is_told_with_its_usage(wanted, provider, onlooker):
    async with async_client(provider) as client:
        stream = await client.chat.completions.create(**CHAT, stream=True)
        first = await anext(stream)
        assert onlooker.seen == [], "it was read before its reader asked for more"
        chunks = [first, *[chunk async for chunk in stream]]

    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    (seen,) = onlooker.seen
    assert (seen.entry.usage.output_tokens, seen.entry.gap) == (9, None)


def test_a_stream_that_is_left_is_told_as_a_lower_bound(wanted, provider, onlooker):
    provider.script = lambda body, number: Reply(text="many words that are never read")
    with blocking_client(provider) as client, client.chat.completions.create(**CHAT, stream=True) as stream:
        next(stream)
        next(stream)

    (seen,) = onlooker.seen
    assert (seen.entry.fault, seen.entry.gap, seen.entry.usage.output_tokens) == ("cut", "cut", 1)


def test_the_sdk_goes_on_to_retry_by_itself_and_its_error_is_the_programs(wanted, provider, onlooker):
    provider.script = lambda body, number: Reply(status=500, headers={"retry-after-ms": "1"})
    with blocking_client(provider, max_retries=2) as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**CHAT)

    assert provider.settled().requests == 3
    (seen,) = onlooker.seen
    assert (seen.entry.fault, seen.entry.answered, seen.reading) == ("server error", False, None)


def test_a_request_that_is_wrong_is_the_servers_to_refuse(wanted, provider, onlooker):
    with blocking_client(provider) as client:
        client.post("/chat/completions", body={"model": "m", "messages": 5}, cast_to=dict[str, object])

    assert provider.bodies == [{"model": "m", "messages": 5}]
    assert [what for what, _ in onlooker.problems] == ["a request"]
    assert [each.request.model for each in onlooker.seen] == ["unknown"]


@pytest.mark.parametrize("where", ["begun", "ended", "failed"])
def test_a_watcher_that_breaks_breaks_nothing(wanted, provider, onlooker, where):
    def fails(*_):
        raise ZeroDivisionError

    if where == "ended":
        onlooker.begun = lambda *_: fails
    else:
        onlooker.begun = fails
    if where == "failed":
        onlooker.failed = fails
    with blocking_client(provider) as client:
        assert client.chat.completions.create(**CHAT).choices[0].message.content == "answer 0"
        assert len(list(client.chat.completions.create(**CHAT, stream=True))) > 2

    assert [type(error) for _, error in onlooker.problems] == [ZeroDivisionError] * (0 if where == "failed" else 2)


async def test_what_a_provider_sends_and_nobody_understands_reaches_its_reader(wanted, provider, onlooker):
    delta = {"role": "assistant", "content": [{"type": "text", "text": "parts"}], "refusal": 5}
    event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    ends = {**event, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    parts = [{**event, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}, ends]
    provider.script = lambda body, number: Reply(chunks=parts)
    async with async_client(provider) as client:
        stream = await client.chat.completions.create(**CHAT, stream=True)
        chunks = [chunk async for chunk in stream]

    assert chunks[0].choices[0].delta.content == delta["content"]
    assert len(onlooker.seen) == 1


async def test_the_draws_of_a_search_are_told_once_each_and_steered_as_ever(provider, onlooker, monkeypatch):
    monkeypatch.setattr(_instrument, "_wanted", True)
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(3), verifier=lambda text: False)
        async def ask():
            reply = await client.chat.completions.create(**CHAT, temperature=0)
            return reply.choices[0].message.content

        result = await ask.run()

    assert sorted(each.draw for each in onlooker.seen) == [0, 1, 2]
    assert {each.role for each in onlooker.seen} == {"sample"}
    assert set(onlooker.callers) == {"whoever started the search"}
    assert sum(each.entry.usage.tokens for each in onlooker.seen) == result.bill.total.tokens
    assert sorted(body["temperature"] for body in provider.bodies) == [0, 0.8, 0.8]


async def test_a_program_that_wants_no_patches_is_not_steered_because_it_is_watched(provider, onlooker, monkeypatch):
    monkeypatch.setattr(_instrument, "_wanted", False)
    monkeypatch.setattr(_context.SETTINGS, "instrument", False)
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(2), verifier=lambda text: False)
        async def ask():
            reply = await client.chat.completions.create(**CHAT, temperature=0)
            return reply.choices[0].message.content

        with pytest.warns(UserWarning, match="model call"):
            result = await ask.run()

    assert [body["temperature"] for body in provider.bodies] == [0, 0]
    assert result.bill.status == "unknown", "as it is without a watcher"
    assert len(onlooker.seen) == 2


async def test_a_disabled_program_is_watched_all_the_same(provider, onlooker, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(4))
        await scaled.chat.completions.create(**CHAT)

    assert provider.settled().requests == 1
    assert [each.role for each in onlooker.seen] == [None]


async def test_the_draws_of_a_wrapped_client_are_told_with_whoever_called_it(provider, onlooker):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(2), verifier=lambda reply: False)
        await scaled.chat.completions.create(**CHAT)

    assert len(onlooker.seen) == provider.settled().requests
    assert set(onlooker.callers) == {"whoever started the search"}


def test_so_are_those_of_a_client_that_blocks(provider, onlooker):
    with blocking_client(provider) as client:
        ttc_openai.wrap(client, ttc.BestOfN(2), verifier=lambda reply: False).chat.completions.create(**CHAT)

    assert len(onlooker.seen) == provider.settled().requests
    assert set(onlooker.callers) == {"whoever started the search"}


def test_uninstrumenting_leaves_the_watcher_its_eyes(provider, onlooker, monkeypatch):
    monkeypatch.setattr(_instrument, "_wanted", True)
    ttc.uninstrument()
    with blocking_client(provider) as client:
        client.chat.completions.create(**CHAT)

    assert len(onlooker.seen) == 1
