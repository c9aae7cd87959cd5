"""Streams, however they are read, left or lost: the same chunks as ever, and nothing forgotten or held."""

from __future__ import annotations

import gc
import time

import anyio
import openai
import pytest
from openai_clients import ASKED, CHAT, async_client, blocking_client, exact, streams_on_trio
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware import _ledger
from ttc_middleware._context import SCOPE

pytestmark = [streams_on_trio, pytest.mark.anyio]

BUDGET = ttc.Budget(tokens=10_000)
USAGE = {"include_usage": True}


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text="one two three", reasoning=7)) as provider:
        yield provider


async def chat(client, **more):
    return await client.chat.completions.create(**CHAT, stream=True, **more)


def read(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def all_settled():
    """Nothing is reserved any more; a lost stream is accounted for by another thread, in a moment."""
    ledger = SCOPE.get().ledger
    ends = time.monotonic() + 20
    while ledger.reserved["tokens"] and time.monotonic() < ends:
        time.sleep(0.01)
    assert ledger.reserved["tokens"] == 0
    return ledger


def shape(chunk):
    return chunk.model_dump(exclude={"id"})


# The reader notices nothing.


@pytest.mark.parametrize(
    "more", [{}, {"stream_options": USAGE}, {"n": 2}, {"stream_options": {"include_usage": False}}]
)
async def test_the_reader_of_a_stream_sees_the_chunks_of_the_bare_client(provider, more):
    async with async_client(provider) as client:
        bare = [shape(chunk) async for chunk in await chat(client, **more)]
        provider.reset()
        with ttc.tracking() as bill:
            passed = [shape(chunk) async for chunk in await chat(client, **more)]
        exact(bill, provider)
        replayed = [shape(chunk) async for chunk in await chat(ttc_openai.wrap(client, ttc.Single()), **more)]
    assert passed == bare
    assert replayed == bare


async def test_the_reader_of_a_response_stream_sees_its_events(provider):
    async with async_client(provider) as client:
        bare = [event.type async for event in await client.responses.create(**ASKED, stream=True)]
        with ttc.tracking():
            passed = [event.type async for event in await client.responses.create(**ASKED, stream=True)]
    assert passed == bare


async def test_odd_chunks_pass_in_their_order(provider):
    base = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}

    def chunk(text, finish=None, usage=None):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        return {**base, "choices": [choice], "usage": usage}

    counted = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    streams = {
        "filter results first, as Azure": [{**base, "choices": []}, chunk("a"), chunk("b", "stop")],
        "usage with the last word": [chunk("a"), chunk("b", "stop", counted)],
        "usage all the time": [chunk("a", None, {**counted, "completion_tokens": 1}), chunk("b", "stop", counted)],
        "something after the last word": [chunk("a"), chunk("b", "stop"), chunk("")],
        "a keep-alive": [chunk("a"), chunk(None), chunk("b", "stop")],
    }
    async with async_client(provider) as client:
        for name, chunks in streams.items():
            provider.script = lambda body, number, chunks=chunks: Reply(chunks=list(chunks))
            bare = [shape(each) async for each in await chat(client)]
            with ttc.tracking() as bill:
                passed = [shape(each) async for each in await chat(client)]
            assert passed == bare, name
            assert bill.total.output_tokens == 2, name  # as counted, or as many as there were chunks with text
            assert (bill.bill.status == "exact") == ("usage" in name), name


async def test_of_several_choices_in_a_stream_the_first_is_the_answer(provider):
    provider.script = lambda body, number: Reply(tool_calls=[("add", "{}")])
    seen = []

    def verifier(sample: ttc.Sample) -> bool:
        seen.append(sample)
        return True

    async with async_client(provider) as client:
        await chat(ttc_openai.wrap(client, ttc.BestOfN(1), verifier=verifier), n=3)
    assert seen[0].text == "ok"
    assert seen[0].tool_calls == (ttc.ToolCall("add", "{}"),)


# Ways to read to the end.


async def test_a_stream_can_be_read_by_next_or_twice_or_in_a_with(provider):
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            stream = await chat(client)
            chunks = [await anext(stream)]
            chunks += [chunk async for chunk in stream]
            assert [chunk async for chunk in stream] == []
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            async with await chat(client) as again:
                chunks += [chunk async for chunk in again]
            assert isinstance(again, openai.AsyncStream)
            assert not hasattr(again, "__next__")
    assert read(chunks) == "one two three" * 2
    exact(bill, provider)


def test_a_blocking_stream_too(provider):
    with blocking_client(provider) as client, ttc.tracking() as bill:
        stream = client.chat.completions.create(**CHAT, stream=True)
        chunks = [next(stream), *stream]
        assert list(stream) == []
        with client.chat.completions.create(**CHAT, stream=True) as again:
            chunks += list(again)
        assert isinstance(again, openai.Stream)
        assert not hasattr(again, "__anext__")
    assert read(chunks) == "one two three" * 2
    exact(bill, provider)


async def test_who_stops_at_the_last_word_has_an_exact_bill(provider):
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            stream = await chat(client)
            async for chunk in stream:
                if chunk.choices[0].finish_reason:
                    break
            ledger = all_settled()
            await stream.close()
    exact(bill, provider)
    assert ledger.spent["tokens"] == bill.total.tokens


def test_who_stops_a_blocking_stream_at_the_last_word_does_too(provider):
    with blocking_client(provider) as client, ttc.policy(budget=BUDGET), ttc.tracking() as bill:
        for chunk in client.chat.completions.create(**CHAT, stream=True):
            if chunk.choices[0].finish_reason:
                break
        all_settled()
    exact(bill, provider)


# Ways to leave.


async def leave_open(stream):
    async for _ in stream:
        break


async def close(stream):
    await leave_open(stream)
    await stream.close()


async def close_response(stream):
    await leave_open(stream)
    await stream.response.aclose()


async def with_block(stream):
    async with stream:
        await leave_open(stream)


async def unread(stream):
    await stream.close()


@pytest.mark.parametrize("leave", [close, close_response, with_block, unread], ids=lambda leave: leave.__name__)
async def test_a_stream_that_is_left_early_is_billed_for_what_was_seen_and_held_for_no_longer(provider, leave):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            stream = await chat(client)
            await leave(stream)
            ledger = SCOPE.get().ledger
            assert ledger.reserved["tokens"] == 0
            assert bill.bill.gaps == {"cut": 1}
            assert bill.total.calls == 1
            assert bill.total.output_tokens <= 2
            assert ledger.spent["tokens"] > 500  # nobody knows what it came to: all that was held
    assert provider.settled().aborted == 1


async def test_a_stream_that_is_dropped_unclosed_is_billed_all_the_same(provider):
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            await leave_open(await chat(client))
            gc.collect()
            all_settled()
            assert bill.bill.gaps == {"cut": 1}


def test_a_blocking_stream_that_is_dropped_is_billed_too(provider):
    with blocking_client(provider) as client, ttc.policy(budget=BUDGET), ttc.tracking() as bill:
        next(client.chat.completions.create(**CHAT, stream=True, max_tokens=500))
        gc.collect()
        all_settled()
        assert bill.bill.gaps == {"cut": 1}
        with client.chat.completions.create(**CHAT, stream=True) as stream:
            next(stream)
        assert bill.bill.gaps == {"cut": 2}
        all_settled()


def test_a_stream_that_dies_while_accounts_are_locked_waits_its_turn(provider):
    with blocking_client(provider) as client, ttc.policy(budget=BUDGET), ttc.tracking() as bill:
        stream = client.chat.completions.create(**CHAT, stream=True)
        next(stream)
        with _ledger._lock:  # a garbage collection can strike anywhere
            del stream
            gc.collect()
        all_settled()
        ends = time.monotonic() + 20
        while not bill.bill.gaps and time.monotonic() < ends:
            time.sleep(0.01)
    assert bill.bill.gaps == {"cut": 1}


async def test_a_reader_who_is_cancelled_leaves_nothing_behind(provider):
    provider.script = lambda body, number: Reply(text="one " + "more " * 500, pause=0.02)
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            with anyio.move_on_after(30) as scope:
                async with await chat(client) as stream:
                    async for chunk in stream:
                        if chunk.choices[0].delta.content:
                            scope.cancel()
            assert SCOPE.get().ledger.reserved["tokens"] == 0
            assert bill.bill.gaps == {"cut": 1}
    assert provider.settled().aborted == 1


async def test_a_raw_stream_that_is_left_early_is_billed(provider):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            options = {"max_tokens": 1_000}  # nobody knows what it came to: all of these are charged
            async with client.chat.completions.with_streaming_response.create(**CHAT, **options, stream=True) as raw:
                assert raw.status_code == 200
            assert SCOPE.get().ledger.reserved["tokens"] == 0
            assert bill.bill.gaps == {"cut": 1}
            async with client.chat.completions.stream(**CHAT, **options) as helper:
                await leave_open(helper)
            assert SCOPE.get().ledger.reserved["tokens"] == 0
            assert bill.bill.gaps == {"cut": 2}
    assert provider.settled().aborted == 2


async def test_lines_of_a_raw_stream_are_the_callers_to_read(provider):
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            async with client.chat.completions.with_streaming_response.create(**CHAT, stream=True) as raw:
                lines = [line async for line in raw.iter_lines()]
    assert any("two" in line for line in lines)
    assert bill.bill.gaps == {"cut": 1}  # nobody has looked at its usage


# Ways to end badly.


async def test_a_stream_cut_by_the_server_ends_as_it_does_for_the_bare_client(provider):
    provider.script = lambda body, number: Reply(text="one two three", fault="cut stream")
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            assert read([chunk async for chunk in await chat(client)]) == "one"
    assert bill.bill.gaps == {"cut": 1}
    assert bill.total.output_tokens == 1


async def test_an_error_in_a_stream_is_raised_where_it_comes(provider):
    provider.script = lambda body, number: Reply(text="one two three", fault="error event")
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            stream = await chat(client)
            seen = [await anext(stream), await anext(stream)]
            with pytest.raises(openai.APIError, match="the provider says no"):
                await anext(stream)
    assert read(seen) == "one"
    assert bill.bill.gaps == {"cut": 1}


async def test_a_draw_whose_stream_breaks_is_a_failed_sample(provider):
    def script(body, number):
        return Reply(text="one two", fault="error event") if number == 0 else Reply(text="fine")

    provider.script = script
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(2, at_once=1), verifier=lambda text: text == "fine")
        async def ask():
            return read([chunk async for chunk in await chat(client)])

        result = await ask.run()
    assert [(sample.status, sample.fault) for sample in result.samples] == [
        ("failed", "server error"),
        ("answer", None),
    ]
    assert result.bill.discarded.output_tokens == 1


# Scaled streams.


async def test_tool_calls_in_streams_vote(provider):
    calls = ['{"a": 1}', '{"a": 2}', '{"a":2}']
    provider.script = lambda body, number: Reply(text=None, tool_calls=[("add", calls[number])])
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(3, at_once=1))
        with ttc.tracking() as bill:
            chunks = [chunk async for chunk in await chat(scaled)]
    said = [call.function.arguments for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert said == ['{"a": 2}']
    exact(bill, provider)


async def test_the_winners_stream_can_be_left_closed_or_never_read(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(2))
        with ttc.tracking() as bill:
            await leave_open(await chat(scaled))
            await close(await chat(scaled))
            await with_block(await chat(scaled))
            await chat(scaled)
            stream = await chat(scaled)
            assert stream.response.status_code == 200
            first = await anext(stream)
            assert [first.choices[0].delta.role] == ["assistant"]
    exact(bill, provider)


@pytest.mark.parametrize("blocking", [False, True])
async def test_one_draw_that_nobody_judges_streams_as_it_comes_and_keeps_its_budget(provider, blocking):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    if blocking:
        with blocking_client(provider) as client, ttc.tracking() as bill:
            scaled = ttc_openai.wrap(client, budget=ttc.Budget(tokens=5_000), thinking="low")
            with scaled.chat.completions.create(**CHAT, stream=True) as stream:
                next(stream)
    else:
        async with async_client(provider) as client:
            scaled = ttc_openai.wrap(client, budget=ttc.Budget(tokens=5_000), thinking="low")
            with ttc.tracking() as bill:
                await close(await chat(scaled))
    assert provider.bodies[-1]["max_tokens"] < 5_000
    assert provider.bodies[-1]["reasoning_effort"] == "low"
    assert bill.bill.gaps == {"cut": 1}
    assert provider.settled().aborted == 1


async def test_a_block_of_single_draws_streams_as_it_comes(provider):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(4))
        with ttc.policy(ttc.Single()):
            await close(await chat(scaled))
    assert provider.settled().aborted == 1
