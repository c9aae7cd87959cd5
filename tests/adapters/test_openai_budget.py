"""Budgets at the wire: what is sent, what it can cost at most, and nothing held when all is over."""

from __future__ import annotations

from decimal import Decimal

import anyio
import openai
import pytest
from openai_clients import ASKED, CHAT, async_client, blocking_client, exact, streams_on_trio
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware._context import SCOPE

pytestmark = [streams_on_trio, pytest.mark.anyio]

FLOOR = 256


def cap(body):
    return next(
        (body[name] for name in ("max_tokens", "max_completion_tokens", "max_output_tokens") if name in body), None
    )


def talkative(body, number):
    """As many tokens as it may: the worst a provider does that honours max_tokens."""
    limit = cap(body)
    assert limit is not None
    return Reply(text=f"{number}" + " word" * (limit - 1), finish="length", delay=0.01, words=100)


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(talkative) as provider:
        yield provider


def never(output):
    return False


def nothing_held():
    """The account of the block that this is called in, with no reservation left open."""
    ledger = SCOPE.get().ledger
    assert set(ledger.reserved.values()) == {0}
    assert set(ledger.overrun.values()) == {0}
    assert not ledger.waiting_for_money
    assert not ledger.waiting_for_seats
    return ledger


async def chat(client, **more):
    return await client.chat.completions.create(**CHAT, **more)


@pytest.mark.parametrize(("draws", "tokens"), [(1, 3_000), (8, 20_000), (64, 50_000)])
@pytest.mark.parametrize("way", ["wrapped", "function", "streamed", "responses"])
async def test_draws_in_flight_together_never_spend_more_than_the_budget(provider, draws, tokens, way):
    async with async_client(provider) as client:
        strategy = ttc.BestOfN(draws)
        scaled = ttc_openai.wrap(client, strategy, verifier=never)

        @ttc.scale(strategy, verifier=never)
        async def ask():
            return (await chat(client)).choices[0].message.content

        calls = {
            "wrapped": lambda: chat(scaled),
            "function": ask,
            "streamed": lambda: chat(scaled, stream=True),
            "responses": lambda: scaled.responses.create(**ASKED),
        }
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=tokens)):
            await calls[way]()
            ledger = nothing_held()
    billed = provider.settled()
    assert 0.8 * tokens < billed.tokens <= tokens
    assert ledger.spent["tokens"] == billed.tokens
    assert all(cap(body) >= FLOOR for body in provider.bodies)
    exact(bill, provider)


@pytest.mark.parametrize("draws", [1, 8, 64])
def test_blocking_draws_do_not_either(provider, draws):
    with blocking_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(draws), verifier=never, budget=ttc.Budget(tokens=20_000))
        with ttc.tracking() as bill:
            scaled.chat.completions.create(**CHAT)
    assert provider.settled().tokens <= 20_000
    assert all(cap(body) >= FLOOR for body in provider.bodies)
    exact(bill, provider)


async def test_calls_outside_draws_share_the_budget_of_their_block(provider):
    refused = []

    async def call(client):
        try:
            await chat(client, max_tokens=400)
        except ttc.BudgetExceeded as error:
            refused.append(error)

    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=5_000)):
            async with anyio.create_task_group() as group:
                for _ in range(32):
                    group.start_soon(call, client)
            ledger = nothing_held()
    assert ledger.spent["tokens"] == provider.settled().tokens <= 5_000
    assert provider.billed.requests + len(refused) == 32
    assert provider.billed.requests >= 10


@pytest.mark.parametrize("scaled", [False, True])
async def test_calls_that_leave_their_length_open_neither_wait_nor_cut_each_other_short(provider, scaled):
    provider.script = lambda body, number: Reply(text=f"answer {number}", delay=0.3)
    async with async_client(provider) as client:
        asked = ttc_openai.wrap(client, ttc.BestOfN(2), verifier=never) if scaled else client
        with ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(chat, asked)
            nothing_held()
    assert min(cap(body) for body in provider.bodies) >= 8_192
    assert provider.settled().peak >= 8


async def test_a_call_that_is_cancelled_does_not_cost_a_whole_large_budget(provider):
    provider.script = lambda body, number: Reply(delay=60)
    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
            async with anyio.create_task_group() as group:
                group.start_soon(chat, client)
                while not provider.bodies:  # noqa: ASYNC110  # the provider runs in threads
                    await anyio.sleep(0.005)
                group.cancel_scope.cancel()
            assert nothing_held().spent["tokens"] < 100_000


async def test_a_merged_request_holds_for_all_its_choices(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(8, stop="all"), verifier=never, budget=ttc.Budget(tokens=10_000))
        with ttc.tracking() as bill:
            await chat(scaled)
    assert provider.bodies[0]["n"] == 8
    assert 9_000 < provider.settled().tokens <= 10_000
    exact(bill, provider)


async def test_a_callers_own_limit_is_clamped_to_what_is_left_and_no_further(provider):
    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=4_000)):
            for _ in range(4):
                await chat(client, max_tokens=1_200)
            with pytest.raises(ttc.BudgetExceeded, match="4,000 tokens"):
                await chat(client, max_tokens=1_200)
            nothing_held()
        with ttc.policy(budget=ttc.Budget(tokens=200)):
            await chat(client, max_tokens=10)  # less than the floor is enough for who asks for less
    caps = [cap(body) for body in provider.bodies]
    assert caps[:3] == [1_200] * 3
    assert FLOOR <= caps[3] < 1_200
    assert caps[4:] == [10]
    assert provider.settled().tokens <= 4_200


async def test_a_limit_in_extra_body_is_clamped_too(provider):
    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=2_000)):
            await chat(client, extra_body={"max_tokens": 50_000, "top_k": 3})
            nothing_held()
    assert provider.bodies[0]["top_k"] == 3
    assert provider.settled().tokens <= 2_000


async def test_a_budget_that_runs_out_returns_the_best_so_far(provider):
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(50, at_once=1), verifier=never, budget=ttc.Budget(tokens=3_000))
        async def ask():
            return (await chat(client, max_tokens=500)).choices[0].message.content

        result = await ask.run()
    assert result.stop_reason == "budget"
    assert result.output.endswith("word")
    assert not result.accepted
    assert provider.settled().tokens <= 3_000
    exact(result.bill, provider)


async def test_a_budget_too_small_for_the_prompt_sends_nothing(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(3), verifier=never, budget=ttc.Budget(tokens=300))
        with pytest.raises(ttc.BudgetExceeded, match="300 tokens"):
            await chat(scaled)
    assert not provider.bodies


# Dollars.


async def test_a_budget_in_dollars_holds_to_the_nano_dollar(provider):
    ttc.configure(prices={"m": ttc.Price(input="1.10", output="4.40")})
    async with async_client(provider) as client:
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(usd="0.05")):
            await chat(ttc_openai.wrap(client, ttc.BestOfN(16), verifier=never))
            ledger = nothing_held()
    billed = provider.settled()
    dollars = (billed.prompt * Decimal("1.10") + billed.completion * Decimal("4.40")) / 10**6
    assert Decimal("0.04") < dollars <= Decimal("0.05")
    assert bill.total.usd == dollars
    assert ledger.spent["usd"] >= dollars * 10**9
    exact(bill, provider)


@pytest.mark.parametrize("drawn", [False, True])
async def test_without_a_price_a_budget_in_dollars_sends_nothing(provider, drawn):
    async with async_client(provider) as client:
        asked = ttc_openai.wrap(client, ttc.BestOfN(3), verifier=never) if drawn else client
        with ttc.policy(budget=ttc.Budget(usd=1)):
            with pytest.raises(ttc.PriceUnknown, match="no-such-model"):
                await asked.chat.completions.create(**{**CHAT, "model": "no-such-model"})
            nothing_held()
    assert not provider.bodies


# What models and servers do not take of what a budget adds.


async def test_a_model_with_a_lower_limit_of_its_own_is_asked_for_that_and_it_is_remembered(provider):
    def script(body, number):
        if body["max_tokens"] > 4_096:
            asked = body["max_tokens"]
            said = f"max_tokens is too large: {asked}. This model supports at most 4096 completion tokens"
            return Reply(status=400, error=f"{said}, whereas you provided {asked}.")
        return Reply(text="fine")

    provider.script = script
    async with async_client(provider) as client:
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
            await chat(client)
            await chat(client)
            nothing_held()
        with pytest.raises(openai.BadRequestError), ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
            await chat(client, max_tokens=5_000)  # the caller's own mistake stays the caller's
    assert [cap(body) for body in provider.bodies[1:]] == [4_096, 4_096, 5_000]
    assert bill.total.tokens == provider.settled().tokens


async def test_a_model_whose_limit_depends_on_the_prompt_is_left_to_it(provider):
    def script(body, number):
        if "max_tokens" in body:
            said = f"'max_tokens' is too large: {body['max_tokens']}. The maximum context length is 8192 tokens"
            return Reply(status=400, error=f"{said} and your request has 20 input tokens.")
        return Reply(text="fine")

    provider.script = script
    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
            await chat(client)
            nothing_held()
    assert [cap(body) for body in provider.bodies[1:]] == [8_192, None]


async def test_a_server_that_wants_the_limit_under_its_other_name_gets_it(provider):
    def script(body, number):
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens' is not supported with this model."
            return Reply(status=400, error=f"{said} Use 'max_completion_tokens' instead.", delay=0.05)
        return talkative(body, number)

    provider.script = script
    async with async_client(provider) as client:
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=20_000)):
            await chat(ttc_openai.wrap(client, ttc.BestOfN(8), verifier=never))
            nothing_held()
        assert bill.total.calls == 8  # all were refused together, and all were sent again
        assert bill.bill.status == "exact"
        assert provider.settled().tokens <= 20_000
        provider.reset()
        await chat(ttc_openai.wrap(client, ttc.Single(), budget=ttc.Budget(tokens=2_000)))
    assert len(provider.bodies) == 1
    assert provider.bodies[0]["max_completion_tokens"] >= FLOOR


async def test_a_server_that_takes_a_limit_by_neither_name_is_left_in_peace(provider):
    def script(body, number):
        name = next(name for name in body if name.startswith("max_"))
        return Reply(status=400, error=f"unsupported parameter: {name}")

    provider.script = script
    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=2_000)):
            with pytest.raises(openai.BadRequestError):
                await chat(client)
            nothing_held()
    assert len(provider.bodies) == 2


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_server_that_knows_no_stream_options_is_not_asked_for_them_again(provider, blocking):
    def script(body, number):
        if "stream_options" in body:
            return Reply(status=422, error="body.stream_options: Extra inputs are not permitted")
        return Reply(text="one two")

    provider.script = script
    if blocking:
        with blocking_client(provider) as client, ttc.tracking() as bill:
            for _ in range(2):
                assert len(list(client.chat.completions.create(**CHAT, stream=True))) == 4
    else:
        async with async_client(provider) as client:
            with ttc.tracking() as bill:
                for _ in range(2):
                    assert len([chunk async for chunk in await chat(client, stream=True)]) == 4
    assert ["stream_options" in body for body in provider.bodies] == [True, False, False]
    assert bill.bill.gaps == {"no usage reported": 2}
    assert bill.total.output_tokens == 4


async def test_a_caller_whose_own_stream_options_are_refused_gets_the_refusal(provider):
    provider.script = lambda body, number: Reply(status=400, error="unknown parameter: stream_options")
    async with async_client(provider) as client:
        with ttc.tracking(), pytest.raises(openai.BadRequestError):
            await chat(client, stream=True, stream_options={"include_usage": True})
    assert len(provider.bodies) == 1
