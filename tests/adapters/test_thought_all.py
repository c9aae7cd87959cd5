"""A model that spends all of its tokens on thinking: truncated, never an answer, and asked once more to think less."""

from __future__ import annotations

import pytest
from openai_clients import CHAT, async_client, blocking_client, exact
from provider import Provider, Reply

import ttc_middleware as ttc
import ttc_openai

SILENT = Reply(text=None, reasoning=50, finish="length")
MODEL = {**CHAT, "model": "gpt-5.1"}


def thinks_too_long(body, number):
    return SILENT if body.get("reasoning_effort") in (None, "high", "medium") else Reply(text="7", reasoning=5)


async def create(provider, strategy=None, **more):
    options = {name: more.pop(name) for name in ("verifier", "budget", "thinking") if name in more}
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, strategy or ttc.Single(), **options)
        return await scaled.chat.completions.create(**MODEL, **more)


@pytest.mark.asyncio
async def test_it_is_asked_once_more_to_think_less_and_the_first_try_is_discarded():
    with Provider(thinks_too_long) as provider, ttc.tracking() as bill:
        reply = await create(provider, max_tokens=300)
        exact(bill, provider)
        assert reply.choices[0].message.content == "7"
        assert [body.get("reasoning_effort") for body in provider.bodies] == [None, "low"]
        assert {body["max_tokens"] for body in provider.bodies} == {300}
        assert (bill.discarded.calls, bill.discarded.output_tokens, bill.reasoning.output_tokens) == (1, 50, 5)


def test_clients_that_block_do_the_same():
    with Provider(thinks_too_long) as provider, blocking_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.Single(), thinking="high")
        assert scaled.chat.completions.create(**MODEL).choices[0].message.content == "7"
        assert [body.get("reasoning_effort") for body in provider.bodies] == ["high", "low"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("thinking", "then"), [("high", "low"), ("low", "none"), (ttc.Thinking(effort="minimal"), "none"), (500, "none")]
)
@pytest.mark.filterwarnings("ignore:gpt-5.1 does not take thinking")
async def test_it_is_asked_for_less_than_before(thinking, then):
    with Provider(lambda body, number: Reply() if number else SILENT) as provider:
        await create(provider, thinking=thinking)
        assert provider.bodies[1]["reasoning_effort"] == then


@pytest.mark.asyncio
async def test_what_is_silent_twice_is_truncated_and_neither_wins_nor_is_asked_again():
    with Provider(lambda body, number: SILENT) as provider, ttc.tracking() as bill:
        reply = await create(provider)
        exact(bill, provider)
        assert len(provider.bodies) == 2
        assert (reply.choices[0].finish_reason, reply.choices[0].message.content) == ("length", None)

    def script(body, number):
        return Reply(text="right") if number == 0 else SILENT

    with Provider(script) as provider:
        reply = await create(provider, ttc.SelfConsistency(3, at_once=1))
        assert reply.choices[0].message.content == "right"


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", [Reply(status=400, error="reasoning_effort is unknown"), Reply(fault="reset")])
async def test_the_first_response_stands_where_the_second_request_fails(reply):
    with Provider(lambda body, number: reply if number else SILENT) as provider:
        said = await create(provider)
        assert said.choices[0].finish_reason == "length"
        assert len(provider.bodies) == 2


@pytest.mark.asyncio
async def test_nothing_is_asked_again_that_the_budget_does_not_allow():
    with Provider(thinks_too_long) as provider:
        said = await create(provider, max_tokens=300, budget=ttc.Budget(tokens=350))
        assert (said.choices[0].finish_reason, len(provider.bodies)) == ("length", 1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reply", "more"),
    [
        (Reply(text="half an ans", reasoning=50, finish="length"), {}),  # it has said something
        (Reply(text=None, reasoning=0, finish="length"), {}),  # it has not thought
        (Reply(text=None, reasoning=50, tool_calls=[("f", "{}")], finish="length"), {}),
        (SILENT, {"thinking": 0}),  # it cannot think less
    ],
)
async def test_nothing_else_is_asked_again(reply, more):
    with Provider(lambda body, number: reply) as provider:
        await create(provider, **more)
        assert len(provider.bodies) == 1


@pytest.mark.asyncio
async def test_a_caller_who_wants_no_retries_gets_none():
    with Provider(thinks_too_long) as provider:
        async with async_client(provider, max_retries=0) as client:
            await ttc_openai.wrap(client, ttc.Single()).chat.completions.create(**MODEL)
        assert len(provider.bodies) == 1
