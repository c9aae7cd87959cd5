"""What a server sends without end, and fast: it is cut at a bound, is no answer, and is charged as its hold."""

from __future__ import annotations

import gc

import anthropic_clients
import anyio
import httpx
import openai
import openai_clients
import pytest
from litellm_calls import its_warnings
from provider import Provider, Reply, fresh
from ways import WAYS, Kept

import ttc_middleware as ttc
from ttc_middleware import _cuts
from ttc_middleware._context import SCOPE
from ttc_middleware._leaf import BODY, PER_TOKEN

pytestmark = [pytest.mark.asyncio, *its_warnings]
GOOD = Reply(text="good")
MOST = BODY + PER_TOKEN * 256
IN_FLIGHT = 24 * 2**20  # bytes: what the kernel's buffers take in, on both sides
BULKY = "word " * 10_000


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    fresh()
    ttc.instrument()
    monkeypatch.setattr(_cuts, "_OWN", frozenset())  # as a provider of whose bills nobody knows


@pytest.fixture
def provider():
    with Provider(lambda body, number: GOOD) as provider:
        yield provider


def never_ending():
    for way in WAYS:
        for fault in ("endless", "endless line", "endless event") if way.streamed else ("endless", "bomb"):
            for scaled in (False, True):
                quick = str(way) == "openai async stream" and fault == "endless line"
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(way, fault, scaled, id=f"{way} {fault} {scaled}", marks=marks)


@pytest.mark.parametrize(("way", "fault", "scaled"), list(never_ending()))
async def test_what_is_too_large_is_cut_and_charged_as_its_hold(way, fault, scaled, provider):
    never = Reply(text=BULKY, words=5_000, fault=fault)
    provider.script = lambda body, number: GOOD if number else never
    strategy = Kept(ttc.BestOfN(2, at_once=1))
    options = {"strategy": strategy, "verifier": lambda sample: sample.text == "good"} if scaled else {}
    async with way.open(provider, **options) as ask:
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
            if scaled:
                assert await ask(max_tokens=256) == "good"
                first, second = strategy.seen
                assert (first.status, first.fault) in {("failed", "cut"), ("truncated", "cut")}
                spent_elsewhere = second.usage.tokens
            else:
                with pytest.raises(Exception) as caught:  # noqa: PT011  # the SDK's own, of various kinds
                    await ask(max_tokens=256)
                assert ttc.BadResponse in {type(each) for each in causes(caught.value)}
                spent_elsewhere = 0
            ledger = SCOPE.get().ledger
        await until(lambda: not provider.billed.in_flight)  # the connection is closed by the event loop
        assert provider.settled().requests == 1 + scaled == bill.total.calls
        assert bill.status != "exact"
        assert ledger.reserved["tokens"] == 0
        assert ledger.spent["tokens"] - spent_elsewhere >= 256
        assert provider.most_sent < MOST + IN_FLIGHT


async def test_a_line_of_a_stream_is_let_go_before_the_memory_is_full(provider):
    provider.script = lambda body, number: Reply(fault="endless line")
    async with openai_clients.async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
            stream = await client.chat.completions.create(**openai_clients.CHAT, stream=True)
            with pytest.raises(ttc.BadResponse, match="an event of more than 8,388,608 bytes"):
                async for _ in stream:
                    pass
        await until(lambda: not provider.sockets)
    assert provider.most_sent < BODY + IN_FLIGHT


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["endless", "bomb"])
async def test_so_is_a_message_of_anthropics(fault, provider):
    provider.script = lambda body, number: Reply(text=BULKY, fault=fault)
    async with anthropic_clients.async_client(provider) as client:
        for streamed in (False, True) if fault == "endless" else (False,):
            with ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
                with pytest.raises(Exception) as caught:  # noqa: PT011  # as above
                    response = await client.messages.create(**{**anthropic_clients.ASKED, "stream": streamed})
                    async for _ in response:
                        pass
                assert ttc.BadResponse in {type(each) for each in causes(caught.value)}


async def test_a_request_that_is_nobodys_business_may_bring_anything(provider):
    provider.script = lambda body, number: Reply(text="word " * 2_000_000)
    async with openai_clients.async_client(provider) as client:
        reply = await client.chat.completions.create(**openai_clients.CHAT)
        assert len(reply.choices[0].message.content) > BODY
        async with httpx.AsyncClient() as other:
            body = {"messages": [], "model": "m"}
            assert len((await other.post(f"{provider.url}/chat/completions", json=body)).content) > BODY


@pytest.mark.slow
async def test_an_answer_may_be_as_long_as_its_tokens_make_it(provider):
    provider.script = lambda body, number: Reply(text="w" * (BODY + PER_TOKEN * 10_000))
    async with openai_clients.async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=100_000)):
            with pytest.raises(openai.APIConnectionError):
                await client.chat.completions.create(**openai_clients.CHAT, max_tokens=1_000)
            assert await client.chat.completions.create(**openai_clients.CHAT, max_tokens=12_000)


def causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def until(condition):
    """Wait for what other threads do."""
    with anyio.fail_after(60):
        while not condition():
            gc.collect(0)
            await anyio.sleep(0.01)
