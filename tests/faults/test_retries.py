"""One owner of retries, whatever the stack: how many requests an outage sees, and how long anybody waits."""

from __future__ import annotations

import socket

import openai
import pytest
from litellm_calls import asked, close_clients, its_warnings, litellm
from openai_clients import CHAT, async_client, blocking_client
from provider import Provider, Reply, fresh

import ttc_litellm
import ttc_middleware as ttc
import ttc_openai
from ttc_middleware import _calls

pytestmark = [pytest.mark.asyncio, *its_warnings]

SOON = {"retry-after-ms": "1"}
PLENTY = ttc.Budget(tokens=10**9, seconds=3_600)


def down(body, number):
    return Reply(status=503, headers=SOON)


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    fresh()
    ttc.instrument()
    monkeypatch.setattr(_calls, "pause", lambda attempt, failure: failure.after or 0.0)


@pytest.fixture
def provider():
    with Provider(down) as provider:
        yield provider


# A total outage.


async def test_best_of_eight_sends_nine_requests_into_an_outage(provider):
    async with async_client(provider, max_retries=7) as client:
        with pytest.raises(openai.InternalServerError):
            await ttc_openai.wrap(client, ttc.BestOfN(8), verifier=lambda output: True).chat.completions.create(**CHAT)
    assert provider.settled().requests == 9


async def test_so_it_does_through_litellm(provider):
    with pytest.raises(litellm.ServiceUnavailableError):
        await ttc_litellm.wrap(litellm.acompletion, ttc.BestOfN(8), verifier=lambda output: True)(**asked(provider))
    await close_clients()
    assert provider.settled().requests == 9


async def test_and_after_good_times_too(provider):
    async with async_client(provider, max_retries=7) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(8), verifier=lambda output: True)
        provider.script = lambda body, number: Reply()
        plain = ttc_openai.wrap(client, ttc.Single())
        for _ in range(40):  # one by one: a draw that is cancelled may yet arrive at the server, and count
            await plain.chat.completions.create(**CHAT)
        provider.reset()
        provider.script = down
        with pytest.raises(openai.InternalServerError):
            await scaled.chat.completions.create(**CHAT)
    assert provider.settled().requests == 9


@pytest.mark.parametrize(
    ("way", "calls"),
    [("async", 30), *(pytest.param(way, 200, marks=pytest.mark.slow) for way in ("async", "blocking", "litellm"))],
)
async def test_plain_calls_in_a_block_send_a_fifth_more_into_an_outage(way, calls, provider):
    async def ask(client):
        with pytest.raises((openai.APIError, litellm.APIError)):
            if way == "litellm":
                await litellm.acompletion(**asked(provider))
            elif way == "async":
                await client.chat.completions.create(**CHAT)
            else:
                client.chat.completions.create(**CHAT)

    async with async_client(provider) as one:
        with blocking_client(provider) as other, ttc.tracking() as bill, ttc.policy(budget=PLENTY):
            for _ in range(calls):
                await ask(one if way == "async" else other)
    await close_clients()
    assert provider.settled().requests == calls * 6 // 5 == bill.total.calls


async def test_connections_that_are_refused_are_tried_no_more_often(monkeypatch):
    tried = []
    monkeypatch.setattr(socket.socket, "connect", _counting(tried, socket.socket.connect))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: whoever connects is refused
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        client = openai.OpenAI(base_url=base, api_key="x")
        with client, ttc.tracking() as bill, ttc.policy(budget=PLENTY):
            for _ in range(50):
                with pytest.raises(openai.APIConnectionError):
                    client.chat.completions.create(**CHAT)
    assert len(tried) == 60 == bill.total.calls
    assert (bill.total.tokens, bill.bill.status) == (0, "exact")


def _counting(tried, connect):
    def counted(self, address):
        tried.append(address)
        return connect(self, address)

    return counted


async def test_a_name_that_nobody_knows_costs_nothing(provider):
    async with openai.AsyncOpenAI(base_url="http://nobody.invalid/v1", api_key="x") as client:
        tokens = ttc.Budget(tokens=2_000)
        with ttc.tracking() as bill, ttc.policy(budget=tokens), pytest.raises(openai.APIConnectionError):
            await client.chat.completions.create(**CHAT)
    assert (bill.total.calls, bill.total.tokens, bill.bill.status) == (2, 0, "exact")


# What the caller allows.


@pytest.mark.parametrize("way", ["wrapped", "function", "block", "blocking", "litellm", "for this call"])
async def test_who_has_turned_retries_off_gets_none(way, provider):
    async with async_client(provider, max_retries=2 if way == "for this call" else 0) as client:

        @ttc.scale(ttc.Single())
        async def function():
            if way == "litellm":
                return await litellm.acompletion(**asked(provider, num_retries=0))
            if way == "blocking":
                with blocking_client(provider, max_retries=0) as other:
                    return other.chat.completions.create(**CHAT)
            one = client.with_options(max_retries=0) if way == "for this call" else client
            return await one.chat.completions.create(**CHAT)

        async def block():
            with ttc.policy(budget=PLENTY):
                await client.chat.completions.create(**CHAT)

        scaled = ttc_openai.wrap(client, ttc.Single())
        works = {"wrapped": lambda: scaled.chat.completions.create(**CHAT), "block": block}
        with pytest.raises((openai.APIError, litellm.APIError)):
            await works.get(way, function)()
    await close_clients()
    assert provider.settled().requests == 1


async def test_where_we_only_look_on_the_sdk_retries_as_it_does(provider):
    async with async_client(provider, max_retries=1) as client:
        with ttc.tracking() as bill, pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**CHAT)
    assert (provider.settled().requests, bill.total.calls) == (2, 1)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("scaled", [False, True])
async def test_a_wrong_key_is_said_at_once_and_costs_nothing(status, scaled, provider):
    provider.script = lambda body, number: Reply(status=status)
    async with async_client(provider) as client:
        asked_of = ttc_openai.wrap(client, ttc.SelfConsistency(3)) if scaled else client
        with ttc.tracking() as bill, ttc.policy(budget=PLENTY), pytest.raises(openai.APIStatusError) as caught:
            await asked_of.chat.completions.create(**CHAT)
    assert caught.value.status_code == status
    assert (bill.total.tokens, bill.bill.status) == (0, "exact")


async def test_without_any_key_the_sdk_says_so_and_nothing_is_sent(monkeypatch, provider):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    @ttc.scale(ttc.SelfConsistency(3))
    async def ask():
        async with openai.AsyncOpenAI(base_url=provider.url) as client:
            return await client.chat.completions.create(**CHAT)

    with pytest.raises(openai.OpenAIError) as caught:
        await ask()
    assert "api_key" in str(caught.value)
    assert ttc.result_of(caught.value).bill.total.calls == 0
    assert not provider.bodies


# Who waits, and how long.


@pytest.mark.parametrize("seconds", [None, 30])
@pytest.mark.parametrize("after", ["61", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_nobody_waits_longer_than_there_is_time(seconds, after, provider):
    provider.script = lambda body, number: Reply(status=429, headers={"retry-after": after})
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.Single(), budget=ttc.Budget(seconds=seconds))
        with pytest.raises(openai.RateLimitError) as caught:
            await scaled.chat.completions.create(**CHAT)
    assert provider.settled().requests == 1
    assert "not tried again" in "".join(getattr(caught.value, "__notes__", ["not tried again"]))  # from Python 3.11


async def test_nothing_is_tried_again_once_the_caller_has_seen_a_part_of_it(provider):
    provider.script = lambda body, number: Reply(text="one two three", fault="error event")
    async with async_client(provider) as client:
        with ttc.tracking() as bill, ttc.policy(budget=PLENTY):
            seen = []
            with pytest.raises(openai.APIError):
                async for chunk in await client.chat.completions.create(**CHAT, stream=True):
                    seen.append(chunk)  # noqa: PERF401  # what came before the error
    assert len(seen) == 2
    assert provider.settled().requests == 1 == bill.total.calls
