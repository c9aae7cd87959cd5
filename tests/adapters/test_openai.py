"""Every way to ask an OpenAI client, wrapped or inside a decorated function: same types, same answers, exact bills."""

from __future__ import annotations

import inspect
import re

import openai
import pytest
from openai_clients import ASKED, CHAT, async_client, blocking_client, exact, streams_on_trio
from provider import Provider, Reply, fresh
from pydantic import BaseModel

import ttc_middleware as ttc
import ttc_openai

pytestmark = streams_on_trio


class Count(BaseModel):
    answer: int


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    def script(body, number):
        return Reply(text=f'{{"answer": {number}}}', reasoning=7)

    with Provider(script) as provider:
        yield provider


def is_two(sample: ttc.Sample) -> bool:
    return sample.text == '{"answer": 2}'


def read(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def said(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


# Each way gives what the SDK returned, and what it says.


async def create(client):
    reply = await client.chat.completions.create(**CHAT)
    return reply, reply.choices[0].message.content


async def parse(client):
    reply = await client.chat.completions.parse(**CHAT, response_format=Count)
    return reply, reply.choices[0].message.parsed.model_dump_json().replace(":", ": ")


async def raw(client):
    reply = await client.chat.completions.with_raw_response.create(**CHAT)
    assert reply.status_code == 200
    return reply, reply.parse().choices[0].message.content


async def raw_parse(client):
    reply = await client.chat.completions.with_raw_response.parse(**CHAT, response_format=Count)
    return reply, f'{{"answer": {reply.parse().choices[0].message.parsed.answer}}}'


async def streaming_response(client):
    async with client.chat.completions.with_streaming_response.create(**CHAT) as reply:
        return reply, (await reply.parse()).choices[0].message.content


async def lines_of_streaming_response(client):
    async with client.chat.completions.with_streaming_response.create(**CHAT) as reply:
        body = "".join([line async for line in reply.iter_lines()])
        return reply, openai.types.chat.ChatCompletion.model_validate_json(body).choices[0].message.content


async def stream(client):
    reply = await client.chat.completions.create(**CHAT, stream=True)
    return reply, read([chunk async for chunk in reply])


async def raw_stream(client):
    reply = await client.chat.completions.with_raw_response.create(**CHAT, stream=True)
    return reply, read([chunk async for chunk in reply.parse()])


async def streaming_response_stream(client):
    async with client.chat.completions.with_streaming_response.create(**CHAT, stream=True) as reply:
        return reply, read([chunk async for chunk in await reply.parse()])


async def stream_helper(client):
    async with client.chat.completions.stream(**CHAT) as reply:
        async for _ in reply:
            pass
        return reply, (await reply.get_final_completion()).choices[0].message.content


async def parsed_stream_helper(client):
    async with client.chat.completions.stream(**CHAT, response_format=Count) as reply:
        final = await reply.get_final_completion()
        return reply, f'{{"answer": {final.choices[0].message.parsed.answer}}}'


async def respond(client):
    reply = await client.responses.create(**ASKED)
    return reply, reply.output_text


async def respond_parsed(client):
    reply = await client.responses.parse(**ASKED, text_format=Count)
    return reply, f'{{"answer": {reply.output_parsed.answer}}}'


async def respond_raw(client):
    reply = await client.responses.with_raw_response.create(**ASKED)
    return reply, reply.parse().output_text


async def respond_stream(client):
    reply = await client.responses.create(**ASKED, stream=True)
    return reply, said([event async for event in reply])


async def respond_stream_helper(client):
    async with client.responses.stream(**ASKED) as reply:
        async for _ in reply:
            pass
        return reply, (await reply.get_final_response()).output_text


async def with_options(client):
    reply = await client.with_options(max_retries=5).chat.completions.create(**CHAT)
    return reply, reply.choices[0].message.content


async def copied(client):
    reply = await client.copy(timeout=30).with_options(max_retries=5).chat.completions.create(**CHAT)
    return reply, reply.choices[0].message.content


WAYS = [
    create, parse, raw, raw_parse, streaming_response, lines_of_streaming_response, stream, raw_stream,
    streaming_response_stream, stream_helper, parsed_stream_helper, respond, respond_parsed, respond_raw,
    respond_stream, respond_stream_helper, with_options, copied,
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
        scaled = ttc_openai.wrap(client, ONE_BY_ONE, verifier=is_two)
        with ttc.tracking() as bill:
            reply, text = await way(scaled)
    assert text == '{"answer": 2}'
    assert isinstance(reply, type(bare))
    assert provider.billed.requests == 3
    exact(bill, provider)


@ways
def test_a_wrapped_blocking_client_does_the_same(way, provider):
    way = blocking(way)
    with blocking_client(provider) as client:
        bare, _ = way(client)
        provider.reset()
        scaled = ttc_openai.wrap(client, ONE_BY_ONE, verifier=is_two)
        with ttc.tracking() as bill:
            reply, text = way(scaled)
    assert text == '{"answer": 2}'
    assert isinstance(reply, type(bare))
    assert provider.billed.requests == 3
    exact(bill, provider)


@pytest.mark.anyio
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


@pytest.mark.anyio
@ways
async def test_a_call_outside_any_draw_passes_through_and_is_billed(way, provider):
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            _, text = await way(client)
    assert text == '{"answer": 0}'
    exact(bill, provider)
    assert bill.visible.tokens + bill.bill.reasoning.tokens == bill.total.tokens


@ways
def test_a_blocking_call_outside_any_draw_too(way, provider):
    way = blocking(way)
    with blocking_client(provider) as client, ttc.tracking() as bill:
        _, text = way(client)
    assert text == '{"answer": 0}'
    exact(bill, provider)


@pytest.mark.anyio
@ways
async def test_one_draw_sends_what_the_bare_client_sends(way, provider):
    async with async_client(provider) as client:
        await way(client)
        bare = provider.bodies[0]
        provider.reset()
        await way(ttc_openai.wrap(client, ttc.Single()))
    sent = provider.bodies[0]
    if sent.get("stream_options") and "messages" in sent:
        assert sent.pop("stream_options") == {"include_usage": True}  # what the bill needs
    assert sent == bare
    assert list(sent) == list(bare)
