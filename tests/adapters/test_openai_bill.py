"""The bill against the provider's own count: merged, lost, failed, retried, cancelled, unparsed, unreported calls."""

from __future__ import annotations

import threading
from decimal import Decimal

import anyio
import openai
import pytest
from openai_clients import ASKED, CHAT, async_client, blocking_client, exact, streams_on_trio
from provider import Provider, Reply, fresh
from pydantic import BaseModel, ValidationError

import ttc_middleware as ttc
import ttc_openai

pytestmark = [streams_on_trio, pytest.mark.anyio]

ALL = ttc.BestOfN(4, stop="all")
SOON = {"retry-after-ms": "1"}


class Count(BaseModel):
    answer: int


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=f"answer {number}", reasoning=7)) as provider:
        yield provider


def longest(sample: ttc.Sample) -> float:
    return min(1.0, len(sample.text) / 100)


def says(text):
    def verifier(sample: ttc.Sample) -> bool:
        return sample.text == text

    return verifier


async def chat(client, **more):
    return await client.chat.completions.create(**CHAT, **more)


# One request for several draws.


async def test_draws_that_are_all_wanted_share_one_request(provider):
    def third(sample: ttc.Sample) -> bool:
        return sample.index == 2

    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ALL, verifier=third)
        with ttc.tracking() as bill:
            reply = await chat(scaled)
    assert [body.get("n") for body in provider.bodies] == [4]
    assert type(reply) is openai.types.chat.ChatCompletion
    assert [choice.index for choice in reply.choices] == [0]
    assert reply._request_id is None
    billed = provider.settled()
    assert reply.usage.prompt_tokens == billed.prompt
    assert reply.usage.completion_tokens == billed.completion // 4
    assert reply.usage.completion_tokens_details.reasoning_tokens == billed.reasoning // 4
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    exact(bill, provider)
    assert bill.visible.tokens + bill.bill.reasoning.tokens < bill.total.tokens


async def test_what_samples_of_one_request_cost_adds_up_to_it(provider):
    samples = []

    def keep(sample: ttc.Sample) -> bool:
        samples.append(sample)
        return False

    async with async_client(provider) as client:
        await chat(ttc_openai.wrap(client, ttc.BestOfN(7, stop="all"), verifier=keep))
    billed = provider.settled()
    assert all(sample.apportioned for sample in samples)
    assert sum(sample.usage.input_tokens for sample in samples) == billed.prompt
    assert sum(sample.usage.output_tokens for sample in samples) == billed.completion
    assert sum(sample.usage.reasoning_tokens for sample in samples) == billed.reasoning


async def test_an_endpoint_that_refuses_n_gets_single_requests_and_is_not_asked_again(provider):
    def script(body, number):
        return Reply(status=400, error="n is not supported") if body.get("n") else Reply(text="fine")

    provider.script = script
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ALL, verifier=longest)
        with ttc.tracking() as bill:
            await chat(scaled)
        assert [body.get("n") for body in provider.bodies] == [4, None, None, None, None]
        provider.reset()
        with ttc.tracking() as again:
            await chat(scaled)
    assert [body.get("n") for body in provider.bodies] == [None] * 4
    assert bill.total.calls == 5
    assert bill.total.tokens == again.total.tokens == provider.settled().tokens
    exact(again, provider)


async def test_an_endpoint_that_ignores_n_is_asked_for_the_rest(provider):
    provider.script = lambda body, number: Reply(text="fine", ignore_n=True)
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ALL, verifier=longest)
        with ttc.tracking() as bill:
            await chat(scaled)
        assert [body.get("n") for body in provider.bodies] == [4, None, None, None]
        exact(bill, provider)
        provider.reset()
        await chat(scaled)
    assert [body.get("n") for body in provider.bodies] == [None] * 4


async def test_a_merged_request_that_fails_as_a_whole_is_not_repeated_draw_by_draw(provider):
    provider.script = lambda body, number: Reply(fault="empty choices")
    async with async_client(provider) as client:
        with ttc.tracking() as bill, pytest.raises(ttc.BadResponse) as raised:
            await chat(ttc_openai.wrap(client, ALL, verifier=longest))
        assert [body.get("n") for body in provider.bodies] == [4]
        assert [sample.fault for sample in ttc.result_of(raised.value).samples] == ["empty"] * 4
        exact(bill, provider)
        provider.script = lambda body, number: Reply()
        provider.reset()
        await chat(ttc_openai.wrap(client, ALL, verifier=longest))
    assert [body.get("n") for body in provider.bodies] == [4]


async def test_a_callers_own_n_stays_and_its_draws_are_sent_apart(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(3, stop="all"), verifier=longest)
        with ttc.tracking() as bill:
            reply = await chat(scaled, n=2)
    assert [body["n"] for body in provider.bodies] == [2, 2, 2]
    assert len(reply.choices) == 2
    exact(bill, provider)


async def test_raw_and_parsed_responses_are_never_merged(provider):
    provider.script = lambda body, number: Reply(text='{"answer": 1}')
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ALL, verifier=longest)
        with ttc.tracking() as bill:
            reply = await scaled.chat.completions.with_raw_response.create(**CHAT)
            await scaled.chat.completions.parse(**CHAT, response_format=Count)
            async with scaled.chat.completions.with_streaming_response.create(**CHAT) as streamed:
                await streamed.read()
    assert [body.get("n") for body in provider.bodies] == [None] * 12
    assert len(reply.parse().choices) == 1
    exact(bill, provider)


async def test_tool_calls_vote_by_name_and_arguments(provider):
    spellings = ['{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"a": 3}', '{"a": 1,"b":2}', '{"a": 4}']

    def script(body, number):
        return Reply(text=None, tool_calls=[("add", spellings[number])])

    provider.script = script
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(5, at_once=1))
        with ttc.tracking() as bill:
            reply = await chat(scaled, tools=[{"type": "function", "function": {"name": "add"}}])
    assert reply.choices[0].message.tool_calls[0].function.arguments == spellings[0]
    assert provider.billed.requests == 4  # three of five agree
    exact(bill, provider)


# What did not become an answer.


async def test_a_completion_that_does_not_parse_is_billed_though_the_sdk_raises(provider):
    texts = ['{"answer": "many"}', "no JSON", '{"answer": 3}']
    provider.script = lambda body, number: Reply(text=texts[number], reasoning=5)
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(3, at_once=1), verifier=lambda count: count.answer == 3)
        async def count():
            reply = await client.chat.completions.parse(**CHAT, response_format=Count)
            return reply.choices[0].message.parsed

        result = await count.run()
    assert result.output == Count(answer=3)
    assert [sample.status for sample in result.samples] == ["failed", "failed", "answer"]
    assert [type(sample.error).__name__ for sample in result.samples[:2]] == ["ValidationError"] * 2
    exact(result.bill, provider)


class Parses:
    """A verifier that takes a function's failure to parse its answer for a wrong answer."""

    rejects = (ValidationError,)

    def check(self, output, *, arguments):
        return isinstance(output, Count)


async def test_what_does_not_parse_is_rejected_where_the_verifier_says_so(provider):
    texts = ['{"answer": "many"}', '{"answer": 3}']
    provider.script = lambda body, number: Reply(text=texts[number])
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(2, at_once=1), verifier=Parses())
        async def count():
            reply = await client.chat.completions.parse(**CHAT, response_format=Count)
            return reply.choices[0].message.parsed

        result = await count.run()
    assert result.accepted
    assert result.samples[0].status == "abstained"
    assert "answer" in result.samples[0].verdict.feedback
    exact(result.bill, provider)


@pytest.mark.parametrize("ending", ["length", "content_filter"])
async def test_a_completion_that_the_sdk_will_not_parse_is_billed_too(provider, ending):
    def script(body, number):
        return Reply(text='{"answer": 1}', finish=ending) if number == 0 else Reply(text='{"answer": 1}')

    provider.script = script
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(2, at_once=1), verifier=says('{"answer": 1}'))
        with ttc.tracking() as bill:
            reply = await scaled.chat.completions.parse(**CHAT, response_format=Count)
        provider.script = lambda body, number: script(body, 0)
        with ttc.tracking() as outside, pytest.raises(openai.OpenAIError):
            await client.chat.completions.parse(**CHAT, response_format=Count)
    assert reply.choices[0].message.parsed == Count(answer=1)
    assert provider.billed.requests == 3
    both = bill.bill + outside.bill
    exact(both, provider)
    assert outside.visible.calls == 0


async def test_losers_are_discarded_and_the_winner_is_visible(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(4, at_once=1), verifier=says("answer 2"))
        with ttc.tracking() as bill:
            await chat(scaled)
    exact(bill, provider)
    assert bill.visible.output_tokens == 2
    assert bill.bill.reasoning.output_tokens == 7
    assert bill.bill.discarded.calls == 2
    assert bill.bill.discarded.tokens == provider.billed.tokens * 2 // 3
    assert bill.bill.multiplier == 3.0


async def test_a_rate_limited_request_is_repeated_by_us_and_costs_nothing(provider):
    def script(body, number):
        return Reply(status=429, headers=SOON) if number == 0 else Reply(text="fine", reasoning=7)

    provider.script = script
    async with async_client(provider, max_retries=9) as client:
        with ttc.tracking() as bill:
            await chat(ttc_openai.wrap(client, ttc.Single()))
    assert provider.billed.requests == 2
    assert provider.headers[1]["x-stainless-retry-count"] == "0"  # the SDK's own retries are off
    exact(bill, provider)


async def test_after_a_server_error_nobody_knows_what_the_attempt_cost(provider):
    def script(body, number):
        return Reply(status=500, headers=SOON) if number == 0 else Reply(text="fine", reasoning=7)

    provider.script = script
    async with async_client(provider, max_retries=9) as client:
        with ttc.tracking() as bill:
            await chat(ttc_openai.wrap(client, ttc.Single()))
    assert provider.settled().requests == bill.total.calls == 2
    assert bill.total.tokens == provider.billed.tokens
    assert bill.bill.status == "lower bound"
    assert bill.bill.gaps == {"server error": 1}


async def test_draws_cancelled_in_flight_make_the_bill_a_lower_bound(provider):
    arrived = threading.Event()

    def script(body, number):
        if number == 2:
            arrived.set()
        elif number == 0:
            arrived.wait(30)
        return Reply(text="right", reasoning=7) if number == 0 else Reply(delay=60)

    provider.script = script
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(3), verifier=says("right"))
        with ttc.tracking() as bill:
            await chat(scaled)
    assert provider.settled().aborted == 2
    assert bill.total.calls == 3
    assert bill.bill.gaps == {"cancelled": 2}
    assert bill.bill.status == "lower bound"
    assert (bill.total.tokens, bill.visible.calls) == (provider.billed.tokens, 1)
    assert bill.total.reasoning_tokens is None  # nobody knows how long the others have thought


async def test_what_a_cancelled_stream_had_brought_is_the_least_that_it_cost(provider):
    flowing = threading.Event()

    def script(body, number):
        if number == 0:
            flowing.wait(30)
            return Reply(text="right")
        flowing.set()
        return Reply(text="one two " + "more " * 1_000, pause=0.05)

    provider.script = script
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(2), verifier=lambda text: text == "right")
        async def ask():
            stream = await chat(client, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        result = await ask.run()
    assert provider.settled().aborted == 1
    assert result.bill.gaps == {"cancelled": 1}
    assert result.bill.discarded.output_tokens < 1_000


async def test_calls_outside_draws_are_billed_when_they_fail_or_are_cancelled(provider):
    provider.script = lambda body, number: Reply(status=400) if number == 0 else Reply(delay=60)
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            with pytest.raises(openai.BadRequestError):
                await chat(client)
            async with anyio.create_task_group() as group:
                group.start_soon(chat, client)
                while len(provider.bodies) < 2:  # noqa: ASYNC110  # the provider runs in threads
                    await anyio.sleep(0.005)
                group.cancel_scope.cancel()
    assert provider.settled().aborted == 1
    assert bill.total.calls == 2
    assert bill.bill.gaps == {"cancelled": 1}


def test_a_blocking_call_still_under_way_when_the_winner_is_found_is_not_forgotten(provider):
    arrived, leave = threading.Event(), threading.Event()

    def script(body, number):
        if number == 0:
            arrived.wait(30)
            return Reply(text="right")
        arrived.set()
        leave.wait(30)
        return Reply(text="late")

    provider.script = script
    with blocking_client(provider) as client:

        @ttc.scale(ttc.BestOfN(2), verifier=lambda text: text == "right")
        def ask():
            return client.chat.completions.create(**CHAT).choices[0].message.content

        result = ask.run()
        leave.set()
        provider.settled()
    assert result.bill.total.calls == 2
    assert result.bill.gaps == {"still running": 1}


# Shapes of usage.


async def test_without_usage_the_bill_says_so_and_writes_no_zero(provider):
    provider.script = lambda body, number: Reply(text="fine", fault="no usage")
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            await chat(ttc_openai.wrap(client, ttc.Single()))
            await client.responses.create(**ASKED)
        assert bill.bill.status == "unknown"
        assert bill.bill.gaps == {"no usage reported": 2}
        assert bill.total.usd is None
        with ttc.tracking() as streamed:
            stream = await chat(client, stream=True)
            assert [chunk async for chunk in stream]
    assert streamed.bill.status == "lower bound"  # as many tokens as chunks, at least
    assert streamed.total.output_tokens == 1


async def test_reasoning_beside_the_output_is_counted_once(provider):
    # As xAI sends it: total = prompt + completion + reasoning.
    def script(body, number):
        beside = {"completion_tokens": 2, "total_tokens": 14, "completion_tokens_details": {"reasoning_tokens": 7}}
        return Reply(text="two words", usage={"prompt_tokens": 5, **beside})

    provider.script = script
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            reply = await chat(ttc_openai.wrap(client, ttc.BestOfN(2, stop="all"), verifier=longest))
    assert (bill.total.input_tokens, bill.total.output_tokens, bill.total.reasoning_tokens) == (5, 9, 7)
    usage = reply.usage
    half = (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens, usage.total_tokens)
    assert half == (1, 3, 5 + 1 + 3)


@pytest.mark.parametrize(
    ("reported", "dollars"),
    [({"cost": 0.00123}, "0.00123"), ({"cost_in_usd_ticks": 37_756_000}, "0.0037756"), ({"cost": float("inf")}, None)],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cost_that_the_provider_reports_is_the_cost(provider, reported, dollars, streamed):
    provider.script = lambda body, number: Reply(text="fine", reasoning=3, usage=reported)
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            reply = await chat(ttc_openai.wrap(client, ttc.BestOfN(2, at_once=1), verifier=longest), stream=streamed)
            if streamed:
                assert [chunk async for chunk in reply]
    assert bill.total.usd == (None if dollars is None else 2 * Decimal(dollars))
    if dollars is not None:
        parts = bill.bill.visible.usd + bill.bill.reasoning.usd + bill.bill.discarded.usd
        assert parts == bill.total.usd
        assert bill.bill.reasoning.usd > 0


# Layers.


async def test_a_judge_that_asks_a_model_is_billed_as_verifying(provider):
    async with async_client(provider) as client:

        async def judge(sample: ttc.Sample) -> bool:
            return "answer" in (await chat(client)).choices[0].message.content

        with ttc.tracking() as bill:
            await chat(ttc_openai.wrap(client, ttc.BestOfN(1), verifier=judge))
    exact(bill, provider)
    assert bill.bill.verifying.calls == 1
    assert bill.bill.discarded.calls == 0


async def test_a_client_wrapped_twice_is_scaled_and_billed_once(provider):
    async with async_client(provider) as client:
        inner = ttc_openai.wrap(client, ttc.BestOfN(2, at_once=1), verifier=says("never"))
        scaled = ttc_openai.wrap(inner, ttc.BestOfN(3, at_once=1), verifier=says("never"))
        with ttc.tracking() as bill:
            await chat(scaled)
    assert provider.billed.requests == 3
    exact(bill, provider)


async def test_a_wrapped_client_inside_a_decorated_function_draws_once_a_draw(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(8), verifier=says("never"))

        @ttc.scale(ttc.BestOfN(3, at_once=1), verifier=lambda text: False)
        async def ask():
            return (await chat(scaled)).choices[0].message.content

        result = await ask.run()
    assert provider.billed.requests == 3
    exact(result.bill, provider)


async def test_what_the_library_does_not_know_keeps_the_retries_of_the_sdk(provider):
    def script(body, number):
        return Reply(status=429, headers=SOON) if number == 0 else Reply()

    provider.script = script
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(1), verifier=lambda text: True)
        async def ask():
            await client.post("/moderations", body={"input": "x"}, cast_to=object)
            return (await chat(client)).choices[0].message.content

        await ask.run()
    assert [header["x-stainless-retry-count"] for header in provider.headers] == ["0", "1", "0"]
