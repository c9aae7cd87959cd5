"""Every way to ask an Anthropic client, wrapped or inside a decorated function: same types and answers, exact bills."""

from __future__ import annotations

import inspect
import re

import anthropic
import pytest
from anthropic_clients import ASKED, async_client, blocking_client, exact, streams_on_trio
from provider import Provider, Reply, fresh
from pydantic import BaseModel

import ttc_anthropic
import ttc_middleware as ttc

pytestmark = [
    streams_on_trio,
    pytest.mark.filterwarnings("ignore:The 'output_format' parameter is deprecated:DeprecationWarning"),  # in 0.x
]


class Count(BaseModel):
    answer: int


SCHEMA = {"format": {"type": "json_schema", "schema": {"type": "object"}}}


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(
        lambda body, number: Reply(text=f'{{"answer": {number}}}', reasoning=7, thought="let me see")
    ) as provider:
        yield provider


def is_two(sample: ttc.Sample) -> bool:
    return sample.text == '{"answer": 2}'


def said(events):
    return "".join(event.delta.text for event in events if getattr(getattr(event, "delta", None), "text", None))


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def parsed(message):
    return f'{{"answer": {message.parsed_output.answer}}}'


# Each way gives what the SDK returned, and what it says.


async def create(client):
    reply = await client.messages.create(**ASKED)
    return reply, text(reply)


async def parse(client):
    reply = await client.messages.parse(**ASKED, output_format=Count)
    return reply, parsed(reply)


async def structured(client):
    reply = await client.messages.create(**ASKED, output_config=SCHEMA)
    return reply, text(reply)


async def raw(client):
    reply = await client.messages.with_raw_response.create(**ASKED)
    assert reply.status_code == 200
    message = reply.parse()  # to be awaited from anthropic 1 on
    return reply, text(await message if inspect.isawaitable(message) else message)


async def streaming_response(client):
    async with client.messages.with_streaming_response.create(**ASKED) as reply:
        return reply, text(await reply.parse())


async def lines_of_streaming_response(client):
    async with client.messages.with_streaming_response.create(**ASKED) as reply:
        body = "".join([line async for line in reply.iter_lines()])
        return reply, text(anthropic.types.Message.model_validate_json(body))


async def stream(client):
    reply = await client.messages.create(**ASKED, stream=True)
    return reply, said([event async for event in reply])


async def raw_stream(client):
    reply = await client.messages.with_raw_response.create(**ASKED, stream=True)
    events = reply.parse()
    events = await events if inspect.isawaitable(events) else events
    return reply, said([event async for event in events])


async def streaming_response_stream(client):
    async with client.messages.with_streaming_response.create(**ASKED, stream=True) as reply:
        return reply, said([event async for event in await reply.parse()])


async def stream_helper(client):
    async with client.messages.stream(**ASKED) as reply:
        texts = [piece async for piece in reply.text_stream]
        assert "".join(texts) == text(await reply.get_final_message()) == await reply.get_final_text()
        return reply, "".join(texts)


async def events_of_stream_helper(client):
    async with client.messages.stream(**ASKED) as reply:
        kinds = [event.type async for event in reply]
        assert [kinds[0], kinds[-1]] == ["message_start", "message_stop"]
        assert {"thinking", "text", "content_block_stop"} < set(kinds)
        return reply, text(reply.current_message_snapshot)


async def parsed_stream_helper(client):
    async with client.messages.stream(**ASKED, output_format=Count) as reply:
        return reply, parsed(await reply.get_final_message())


async def beta(client):
    reply = await client.beta.messages.create(**ASKED, betas=["context-1m-2025-08-07"])
    return reply, text(reply)


async def beta_parse(client):
    reply = await client.beta.messages.parse(**ASKED, output_format=Count)
    return reply, parsed(reply)


async def beta_stream_helper(client):
    async with client.beta.messages.stream(**ASKED) as reply:
        return reply, text(await reply.get_final_message())


async def tool_runner(client):
    reply = await client.beta.messages.tool_runner(**ASKED, tools=[]).until_done()
    return reply, text(reply)


async def with_options(client):
    reply = await client.with_options(max_retries=5).messages.create(**ASKED)
    return reply, text(reply)


async def copied(client):
    reply = await client.copy(timeout=30).with_options(max_retries=5).messages.create(**ASKED)
    return reply, text(reply)


WAYS = [
    create, parse, structured, raw, streaming_response, lines_of_streaming_response, stream, raw_stream,
    streaming_response_stream, stream_helper, events_of_stream_helper, parsed_stream_helper, beta, beta_parse,
    beta_stream_helper, tool_runner, with_options, copied,
]  # fmt: skip


def blocking(way):
    """The same way for a client that blocks."""
    names = dict(globals())
    exec(re.sub(r"\b(async|await) ", "", inspect.getsource(way)), names)
    return names[way.__name__]


ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
ONE_BY_ONE = ttc.BestOfN(4, at_once=1)


@pytest.mark.anyio
@ways
async def test_a_wrapped_client_answers_in_the_type_of_the_bare_one_with_the_accepted_text(way, provider):
    async with async_client(provider) as client:
        bare, _ = await way(client)
        provider.reset()
        scaled = ttc_anthropic.wrap(client, ONE_BY_ONE, verifier=is_two)
        with ttc.tracking() as bill:
            reply, answer = await way(scaled)
    assert answer == '{"answer": 2}'
    assert reply.__class__ is bare.__class__
    assert provider.billed.requests == 3
    exact(bill, provider)


@ways
def test_a_wrapped_blocking_client_does_the_same(way, provider):
    way = blocking(way)
    with blocking_client(provider) as client:
        bare, _ = way(client)
        provider.reset()
        scaled = ttc_anthropic.wrap(client, ONE_BY_ONE, verifier=is_two)
        with ttc.tracking() as bill:
            reply, answer = way(scaled)
    assert answer == '{"answer": 2}'
    assert reply.__class__ is bare.__class__
    assert provider.billed.requests == 3
    exact(bill, provider)


@pytest.mark.asyncio
@ways
async def test_inside_a_decorated_function_every_way_is_seen_and_billed(way, provider):
    async with async_client(provider) as client:

        @ttc.scale(ONE_BY_ONE, verifier=is_two, budget=ttc.Budget(tokens=100_000))
        async def count():
            return (await way(client))[1]

        result = await count.run()
    assert result.output == '{"answer": 2}'
    assert [sample.usage.tokens for sample in result.samples] == [provider.settled().tokens // 3] * 3
    assert provider.billed.requests == 3
    exact(result.bill, provider)


@ways
def test_inside_a_decorated_blocking_function_too(way, provider):
    way = blocking(way)
    with blocking_client(provider) as client:

        @ttc.scale(ONE_BY_ONE, verifier=is_two, budget=ttc.Budget(tokens=100_000))
        def count():
            return way(client)[1]

        result = count.run()
    assert result.output == '{"answer": 2}'
    assert provider.billed.requests == 3
    exact(result.bill, provider)


@pytest.mark.asyncio
@ways
async def test_a_call_outside_any_draw_passes_through_and_is_billed(way, provider):
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            _, answer = await way(client)
    assert answer == '{"answer": 0}'
    exact(bill, provider)
    assert bill.bill.reasoning.output_tokens == 7
    assert bill.visible.tokens + bill.bill.reasoning.tokens == bill.total.tokens


@pytest.mark.asyncio
@ways
async def test_one_draw_sends_what_the_bare_client_sends(way, provider):
    async with async_client(provider) as client:
        await way(client)
        await way(ttc_anthropic.wrap(client, ttc.Single()))
    bare, sent = provider.bodies
    assert sent == bare
    assert list(sent) == list(bare)
    named, renamed = (
        {name: value for name, value in headers.items() if not name.startswith(("idempotency", "traceparent"))}
        for headers in provider.headers
    )
    assert renamed == named


# The messages themselves.


@pytest.mark.asyncio
async def test_the_winner_is_the_very_object_that_the_sdk_made(provider):
    seen = []

    def verifier(sample: ttc.Sample) -> bool:
        seen.append(sample.output)
        return len(seen) == 2

    async with async_client(provider) as client:
        reply = await ttc_anthropic.wrap(client, ONE_BY_ONE, verifier=verifier).messages.create(**ASKED)
    assert reply is seen[1]
    assert [block.type for block in reply.content] == ["thinking", "text"]


@pytest.mark.asyncio
@pytest.mark.parametrize("streamed", [False, True])
async def test_tool_calls_vote_by_name_and_arguments(provider, streamed):
    calls = ['{"a": 1}', '{"a": 2, "b": "zwölf"}', '{"b": "zwölf", "a": 2}']
    provider.script = lambda body, number: Reply(text="Let me add.", tool_calls=[("add", calls[number])])
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(3, at_once=1))
        with ttc.tracking() as bill:
            if streamed:
                async with scaled.messages.stream(**ASKED) as stream:
                    reply = await stream.get_final_message()
            else:
                reply = await scaled.messages.create(**ASKED)
    assert reply.content[-1].input == {"a": 2, "b": "zwölf"}
    assert reply.stop_reason == "tool_use"
    exact(bill, provider)


@pytest.mark.asyncio
async def test_a_tool_runner_runs_the_tools_of_the_winner_only(provider):
    ran = []

    @anthropic.beta_async_tool
    async def order(cups: int) -> str:
        """Order tea.

        Args:
            cups: how many
        """
        ran.append(cups)
        return "on its way"

    def script(body, number):
        if number < 3:
            return Reply(text=None, tool_calls=[("order", f'{{"cups": {6 if number else 2}}}')])
        return Reply(text="Your tea is on its way.")

    provider.script = script
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(3, at_once=1))
        with ttc.tracking() as bill:
            reply = await scaled.beta.messages.tool_runner(**ASKED, tools=[order]).until_done()
    assert ran == [6]
    assert text(reply) == "Your tea is on its way."
    assert provider.settled().requests in (5, 6)
    exact(bill, provider)


ENDINGS = {
    "max_tokens": ("truncated", None),
    "model_context_window_exceeded": ("truncated", None),
    "pause_turn": ("truncated", None),
    "refusal": ("abstained", "refused"),
    "end_turn": ("answer", None),
    "stop_sequence": ("answer", None),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("finish", ENDINGS)
async def test_a_message_is_an_answer_only_where_it_ended_by_itself(provider, finish):
    provider.script = lambda body, number: Reply(text="ok", finish=finish)
    async with async_client(provider) as client:
        whole = await client.messages.create(**ASKED)
        streamed = await ttc_anthropic.wrap(client, ttc.SelfConsistency(2)).messages.create(**ASKED, stream=True)
    for output in (whole, streamed):
        reading = ttc_anthropic.Messages().read(output)
        assert (reading.status, reading.fault) == ENDINGS[finish]
        assert (reading.text, reading.finish_reasons) == ("ok", (finish,))


@pytest.mark.asyncio
async def test_what_was_refused_or_cut_does_not_vote(provider):
    endings = ["refusal", "max_tokens", "pause_turn", "end_turn"]
    provider.script = lambda body, number: Reply(text=str(number), finish=endings[number])
    async with async_client(provider) as client:
        reply = await ttc_anthropic.wrap(client, ttc.SelfConsistency(4, at_once=1)).messages.create(**ASKED)
    assert text(reply) == "3"


@pytest.mark.asyncio
async def test_a_message_without_content_is_no_answer_and_is_billed(provider):
    provider.script = lambda body, number: Reply(fault="empty choices" if number == 0 else None)
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            reply = await ttc_anthropic.wrap(client, ttc.SelfConsistency(2, at_once=1)).messages.create(**ASKED)
    assert text(reply) == "ok"
    exact(bill, provider)


@pytest.mark.asyncio
async def test_what_does_not_parse_fails_its_draw_and_is_billed(provider):
    provider.script = lambda body, number: Reply(text='{"answer": 2}' if number else "two")
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.BestOfN(3, at_once=1), verifier=lambda message: True)
        with ttc.tracking() as bill:
            reply = await scaled.messages.parse(**ASKED, output_format=Count)
    assert reply.parsed_output == Count(answer=2)
    assert provider.settled().requests == 2
    exact(bill, provider)


@pytest.mark.asyncio
async def test_a_verifier_gets_the_message_and_the_keywords_of_the_request(provider):
    def verifier(message: anthropic.types.Message, model: str, messages: list, system: str) -> bool:
        return (text(message), model, messages, system) == ('{"answer": 0}', ASKED["model"], ASKED["messages"], "be")

    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.BestOfN(2), verifier=verifier, on_reject="raise")
        await scaled.messages.create(**ASKED, system="be")


@pytest.mark.asyncio
async def test_a_verifier_of_text_reads_the_text_without_the_thinking(provider):
    provider.script = lambda body, number: Reply(text="42" if number else "41", reasoning=3)
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ONE_BY_ONE, verifier=ttc.verifiers.Exact("42"))
        reply = await scaled.messages.create(**ASKED)
    assert text(reply) == "42"


@pytest.mark.asyncio
async def test_counting_tokens_and_batches_pass_through(provider):
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(4))
        asked = {"model": ASKED["model"], "messages": ASKED["messages"]}
        with ttc.tracking() as bill:
            await scaled.messages.count_tokens(**asked)
            await scaled.beta.messages.count_tokens(**asked)
            await scaled.messages.batches.create(requests=[{"custom_id": "1", "params": ASKED}])
            await client.messages.count_tokens(**asked)
    assert provider.settled().requests == 4
    assert bill.total.calls == 0


@pytest.mark.asyncio
async def test_a_judge_asks_a_model_and_is_billed_as_verifying(provider):
    def script(body, number):
        if body.get("system"):
            return Reply(text='{"score": 10, "reason": "fine"}' if "good" in str(body["messages"]) else '{"score": 0}')
        return Reply(text="good" if number else "bad")

    provider.script = script
    async with async_client(provider) as client:
        judge = ttc.verifiers.Judge(ttc_anthropic.ask(client, "claude-haiku-4-5"), "The reply must be good.")
        with ttc.tracking() as bill:
            await ttc_anthropic.wrap(client, ttc.BestOfN(2, at_once=1), verifier=judge).messages.create(**ASKED)
    assert bill.bill.verifying.calls >= 1
    assert any(body.get("system") and body["max_tokens"] == 4_096 for body in provider.bodies)
    assert not any(message["role"] == "system" for body in provider.bodies for message in body["messages"])
    exact(bill, provider)


@pytest.mark.asyncio
async def test_a_blocking_client_can_be_asked_too(provider):
    provider.script = lambda body, number: Reply(text="yes", reasoning=2)
    with blocking_client(provider) as client:
        asked = ttc_anthropic.ask(client, "claude-haiku-4-5", max_tokens=100)
        assert await asked([{"role": "user", "content": "Is it?"}]) == "yes"
    with pytest.raises(TypeError, match="client must be an Anthropic client, got 'a string'"):
        ttc_anthropic.ask("a string", "m")
