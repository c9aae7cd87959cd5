"""What messages cost, to the token: whole or streamed, cached, retried, cut, limited by a budget."""

from __future__ import annotations

import gc

import anthropic
import anyio
import pytest
from anthropic_clients import ASKED, async_client, blocking_client, exact, streams_on_trio
from hypothesis import given
from hypothesis import strategies as st
from provider import Provider, Reply, fresh

import ttc_anthropic
import ttc_middleware as ttc
from ttc_middleware._context import SCOPE

pytestmark = streams_on_trio

BUDGET = ttc.Budget(tokens=20_000)


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text="one two three", reasoning=7, thought="let me see")) as provider:
        yield provider


async def create(client, **more):
    return await client.messages.create(**{**ASKED, **more})


def gaps(bill):
    """How many calls may have cost more than is known."""
    return sum(bill.bill.gaps.values())


def read(events):
    return "".join(event.delta.text for event in events if getattr(getattr(event, "delta", None), "text", None))


# Usage.


CACHED = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20}


@pytest.mark.asyncio
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_the_cache_takes_and_gives_is_part_of_the_prompt(provider, streamed):
    provider.script = lambda body, number: Reply(usage=CACHED)
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            reply = await create(client, stream=streamed)
            if streamed:
                assert read([event async for event in reply]) == "ok"
    total = bill.total
    assert (total.input_tokens, total.output_tokens, total.cached_tokens) == (123, 1, 100)


@pytest.mark.asyncio
async def test_without_usage_the_bill_says_so_and_writes_no_zero(provider):
    provider.script = lambda body, number: Reply(fault="no usage")
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            await create(client)
    assert bill.status == "unknown"
    assert bill.bill.gaps == {"no usage reported": 1}


# Streams.


@pytest.mark.asyncio
async def test_the_reader_of_a_stream_sees_the_events_of_the_bare_client(provider):
    async with async_client(provider) as client:
        bare = [event.model_dump() async for event in await create(client, stream=True)]
        with ttc.tracking() as bill:
            passed = [event.model_dump() async for event in await create(client, stream=True)]
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(2))
        replayed = [event.model_dump() async for event in await create(scaled, stream=True)]
    for events in (bare, passed, replayed):
        events[0]["message"].pop("id")
    assert passed == bare
    assert replayed == bare
    assert bill.status == "exact"


@pytest.mark.asyncio
async def test_who_stops_once_the_reason_to_stop_is_known_has_an_exact_bill(provider):
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            stream = await create(client, stream=True)
            async for event in stream:
                if event.type == "message_delta":
                    break
            assert SCOPE.get().ledger.reserved["tokens"] == 0
            await stream.close()
    exact(bill, provider)


async def leave_open(stream):
    async for event in stream:
        if event.type == "content_block_delta":
            break


async def close(stream):
    await leave_open(stream)
    await stream.close()


async def with_block(stream):
    async with stream:
        await leave_open(stream)


@pytest.mark.anyio
@pytest.mark.parametrize("leave", [close, with_block], ids=lambda leave: leave.__name__)
async def test_a_stream_that_is_left_early_is_billed_for_its_prompt_and_what_was_seen(provider, leave):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            await leave(await create(client, stream=True))
            assert SCOPE.get().ledger.reserved["tokens"] == 0
            assert gaps(bill) == 1
            assert bill.total.input_tokens == 5
            assert 1 <= bill.total.output_tokens <= 2
    assert provider.settled().aborted == 1


@pytest.mark.asyncio
async def test_a_helper_that_is_left_or_dropped_is_billed_too(provider):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET), ttc.tracking() as bill:
            async with client.messages.stream(**ASKED) as helper:
                async for _ in helper.text_stream:
                    break
            assert gaps(bill) == 1
            await leave_open(await create(client, stream=True))
            gc.collect()
            assert gaps(bill) == 2


def test_a_blocking_helper_too(provider):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    with blocking_client(provider) as client, ttc.policy(budget=BUDGET), ttc.tracking() as bill:
        with client.messages.stream(**ASKED) as helper:
            next(helper.text_stream)
        assert gaps(bill) == 1
        assert SCOPE.get().ledger.reserved["tokens"] == 0


@pytest.mark.asyncio
async def test_a_stream_that_the_server_cuts_or_breaks_is_no_answer(provider):
    faults = ["cut stream", "error event", None]
    provider.script = lambda body, number: Reply(text="one two", fault=faults[number])
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(3, at_once=1, stop="all"), verifier=lambda said: said == "one two")
        async def ask():
            return read([event async for event in await create(client, stream=True)])

        result = await ask.run()
    assert result.output == "one two"
    assert result.samples[1].status == "failed"
    assert isinstance(result.samples[1].error, anthropic.APIStatusError)
    assert result.bill.status == "lower bound"


@pytest.mark.asyncio
async def test_events_of_no_known_shape_pass_to_the_reader(provider):
    odd = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 7}},
        {"type": "content_block_delta", "index": "x", "delta": None},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    ]
    provider.script = lambda body, number: Reply(chunks=list(odd))
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            events = [event async for event in await create(client, stream=True)]
    assert [event.type for event in events] == [event["type"] for event in odd]
    assert (bill.total.input_tokens, bill.total.output_tokens) == (3, 2)


@pytest.mark.asyncio
async def test_one_draw_that_nobody_judges_streams_as_it_comes(provider):
    provider.script = lambda body, number: Reply(text="one two " + "more " * 500, pause=0.01)
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, budget=ttc.Budget(tokens=3_000), thinking="low")
        await close(await create(scaled, stream=True))
    assert provider.bodies[0]["max_tokens"] < 3_000
    assert provider.bodies[0]["thinking"] == {"type": "adaptive"}
    assert provider.settled().aborted == 1


# Faults.


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [429, 500, 529])
async def test_the_engine_tries_again_in_place_of_the_sdk(provider, status):
    def script(body, number):
        return Reply(status=status, headers={"retry-after": "0"}) if number == 0 else Reply(text="fine")

    provider.script = script
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            reply = await create(ttc_anthropic.wrap(client, ttc.Single()))
    assert reply.content[0].text == "fine"
    assert provider.settled().requests == bill.total.calls == 2
    assert all(headers["x-stainless-retry-count"] == "0" for headers in provider.headers)
    assert bill.status == ("exact" if status == 429 else "lower bound")


@pytest.mark.asyncio
async def test_where_every_draw_fails_the_caller_gets_the_sdks_own_error_with_its_request_id(provider):
    provider.script = lambda body, number: Reply(status=400, error="no", headers={"request-id": f"req_{number}"})
    async with async_client(provider) as client:
        with pytest.raises(anthropic.BadRequestError, match="no") as raised:
            await create(ttc_anthropic.wrap(client, ttc.SelfConsistency(3, at_once=1)))
    assert raised.value.request_id == "req_0"
    assert provider.settled().requests == 3


@pytest.mark.asyncio
async def test_a_page_in_place_of_a_message_is_no_answer(provider):
    provider.script = lambda body, number: Reply(text="fine", fault="html" if number == 0 else None)
    async with async_client(provider) as client:
        reply = await create(ttc_anthropic.wrap(client, ttc.SelfConsistency(2, at_once=1)))
    assert reply.content[0].text == "fine"


@pytest.mark.anyio
async def test_a_caller_who_leaves_closes_every_connection_and_frees_every_hold(provider):
    provider.script = lambda body, number: Reply(delay=60)
    async with async_client(provider) as client:
        with ttc.policy(budget=BUDGET):
            async with anyio.create_task_group() as group:
                group.start_soon(create, ttc_anthropic.wrap(client, ttc.SelfConsistency(3)))
                await anyio.to_thread.run_sync(provider.wait_for, 3)
                group.cancel_scope.cancel()
            assert SCOPE.get().ledger.reserved["tokens"] == 0
    assert provider.settled().aborted == 3


# Budgets.


@pytest.mark.asyncio
async def test_a_budget_clamps_max_tokens_and_is_never_exceeded(provider):
    provider.script = lambda body, number: Reply(text="word " * body["max_tokens"])
    async with async_client(provider) as client:
        budget = ttc.Budget(tokens=6_000)
        with ttc.tracking() as bill:
            await create(ttc_anthropic.wrap(client, ttc.SelfConsistency(6), budget=budget))
    assert all(256 <= body["max_tokens"] <= ASKED["max_tokens"] for body in provider.bodies)
    assert min(body["max_tokens"] for body in provider.bodies) < ASKED["max_tokens"]
    assert provider.settled().tokens <= 6_000
    exact(bill, provider)


@pytest.mark.asyncio
async def test_a_budget_in_dollars_holds(provider):
    ttc.configure(prices={ASKED["model"]: ttc.Price(input=5, output=25)})
    provider.script = lambda body, number: Reply(text="word " * body["max_tokens"])
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            await create(ttc_anthropic.wrap(client, ttc.SelfConsistency(6), budget=ttc.Budget(usd="0.10")))
    assert 0 < bill.total.usd <= 0.1
    assert min(body["max_tokens"] for body in provider.bodies) < ASKED["max_tokens"]


def bound(**body):
    return ttc_anthropic.Messages().bound(ttc.Call(name="c", arguments={**ASKED, **body}))


@given(st.lists(st.text(max_size=80), min_size=1), st.text(max_size=80))
def test_a_prompt_is_bounded_by_its_bytes_however_it_is_written(texts, system):
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in [*texts, system])
    plain = [{"role": "user", "content": text} for text in texts]
    blocks = [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]
    given_back = [
        {"role": "assistant", "content": [anthropic.types.TextBlock(type="text", text=text) for text in texts]}
    ]
    for messages in (plain, blocks, given_back):
        assert bound(messages=messages, system=system) >= size
        assert bound(messages=messages, system=[{"type": "text", "text": system}]) >= size


def test_what_is_shown_counts_as_its_tokens_and_not_as_its_bytes():
    def showing(kind, source):
        return bound(messages=[{"role": "user", "content": [{"type": kind, "source": source}]}])

    picture = {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}
    document = {"type": "base64", "media_type": "application/pdf", "data": "A" * 1_000_000}
    text = {"type": "text", "media_type": "text/plain", "data": "ü" * 1_000}
    assert 4_784 <= showing("image", picture) < 10_000
    assert 4_784 <= showing("image", {"type": "url", "url": "https://example.com/1.png"}) < 10_000
    assert showing("document", document) >= 1_000_000
    assert showing("document", text) >= 2_000
    assert bound(tools=[{"type": "bash_20250124", "name": "bash"}]) >= bound() + 2_048
    assert bound(tools=[{"name": "add", "input_schema": {"description": "ü" * 500}}]) >= bound() + 1_000


# Deadlines.


def test_a_deadline_stops_a_blocking_client(provider):
    provider.script = lambda body, number: Reply(delay=60)
    late = pytest.raises((ttc.BudgetExceeded, anthropic.APITimeoutError))
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(seconds=0.3)), late:
        client.messages.create(**ASKED)
    assert provider.settled().aborted == 1
