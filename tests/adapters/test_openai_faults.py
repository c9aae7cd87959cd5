"""What a provider can do wrong: a typed outcome for the sample, the rest goes on, nothing billed is dropped or held."""

from __future__ import annotations

import functools
import socket
import time
from dataclasses import dataclass

import anyio
import openai
import pytest
from openai_clients import ASKED, CHAT, async_client, blocking_client, streams_on_trio
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware._context import SCOPE
from ttc_middleware.telemetry import _spans

pytestmark = [streams_on_trio, pytest.mark.anyio]

SOON = {"retry-after-ms": "1"}
GOOD = Reply(text="good", reasoning=3)


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    fresh()
    monkeypatch.setattr("random.uniform", lambda low, high: low)  # no jitter: a back-off of ours takes no time


@pytest.fixture
def provider():
    with Provider(lambda body, number: GOOD) as provider:
        yield provider


@dataclass
class Spans(SpanProcessor):
    """Counts spans that are open."""

    open: int = 0
    started: int = 0

    def on_start(self, span, parent_context=None):
        self.open += 1
        self.started += 1

    def on_end(self, span):
        self.open -= 1


@pytest.fixture
def spans(monkeypatch):
    counting, sdk = Spans(), TracerProvider()
    sdk.add_span_processor(counting)
    monkeypatch.setattr(_spans, "_tracer", sdk.get_tracer("ttc_middleware"))
    yield counting
    sdk.shutdown()
    assert counting.started
    assert not counting.open


def good(sample: ttc.Sample) -> bool:
    return sample.text == "good"


async def chat(client, **more):
    return await client.chat.completions.create(**CHAT, **more)


def read(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@dataclass
class Outcome:
    """What becomes of a sample whose every attempt gets this reply."""

    reply: Reply
    status: str
    fault: str | None
    requests: int
    gap: str | None


FAULTS = {
    "429": Outcome(Reply(status=429, headers=SOON), "failed", "rate limited", 2, None),
    "500": Outcome(Reply(status=500, headers=SOON), "failed", "server error", 2, "server error"),
    "529": Outcome(Reply(status=529, headers=SOON), "failed", "server error", 2, "server error"),
    "400": Outcome(Reply(status=400), "failed", "rejected", 1, None),
    "401": Outcome(Reply(status=401), "failed", "rejected", 1, None),
    "empty choices": Outcome(Reply(text="lost", fault="empty choices"), "failed", "empty", 1, None),
    "no content": Outcome(Reply(text=None), "failed", "empty", 1, None),
    "a page": Outcome(Reply(fault="html"), "failed", "malformed", 2, "no usage reported"),
    "cut json": Outcome(Reply(fault="cut json"), "failed", "malformed", 2, "malformed"),
    "refusal": Outcome(Reply(text=None, refusal="I cannot"), "abstained", "refused", 1, None),
    "filter": Outcome(Reply(text="g", finish="content_filter"), "abstained", "filtered", 1, None),
    "length": Outcome(Reply(text="goo", finish="length"), "truncated", None, 1, None),
    "no usage": Outcome(Reply(text="bad", fault="no usage"), "answer", None, 1, "no usage reported"),
}
BOTH = ("429", "500", "400", "a page", "cut json", "refusal", "filter", "length", "no usage")
RESPONSES = {name: FAULTS[name] for name in BOTH}
# Of a stream, JSON that is cut is as little as a page.
NO_STREAM = Outcome(Reply(fault="cut json"), "failed", "malformed", 2, "no usage reported")
STREAMED = {
    **RESPONSES,
    "cut json": NO_STREAM,
    "cut stream": Outcome(Reply(text="good good", fault="cut stream"), "truncated", "cut", 1, "cut"),
}
STREAMED_RESPONSES = {**RESPONSES, "cut json": NO_STREAM, "cut stream": STREAMED["cut stream"]}


def named(outcomes):
    return pytest.mark.parametrize("outcome", outcomes.values(), ids=outcomes)


def first_draw(outcome):
    return lambda body, number: outcome.reply if number < outcome.requests else GOOD


def check(outcome, samples, bill, provider):
    """The first sample came to this, the second won, and the bill has what is known of both."""
    first = next(sample for sample in samples if sample.index == 0)
    assert (first.status, first.fault) == (outcome.status, outcome.fault)
    billed = provider.settled()
    assert billed.requests == outcome.requests + 1 == bill.total.calls
    gaps = {} if outcome.gap is None else {outcome.gap: outcome.requests}
    assert bill.gaps == gaps
    if not gaps:
        assert bill.total.tokens == billed.tokens
    assert bill.visible.output_tokens == 1
    assert bill.reasoning.output_tokens == 3


@named(FAULTS)
async def test_a_wrapped_client_survives(outcome, provider, spans):
    samples = []

    def keep(sample: ttc.Sample) -> bool:
        samples.append(sample)
        return good(sample)

    provider.script = first_draw(outcome)
    async with async_client(provider, max_retries=7) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(2, at_once=1), verifier=keep)
        with ttc.policy(budget=ttc.Budget(tokens=1_000_000)), ttc.tracking() as bill:
            reply = await chat(scaled, max_tokens=1_000)
            assert set(SCOPE.get().ledger.reserved.values()) == {0}
    assert reply.choices[0].message.content == "good"
    # An outcome without text is never shown to a verifier.
    assert [sample.index for sample in samples] == ([0, 1] if outcome.status in ("answer", "truncated") else [1])
    if len(samples) == 2:
        check(outcome, samples, bill.bill, provider)


@named(FAULTS)
async def test_a_decorated_function_survives(outcome, provider, spans):
    provider.script = first_draw(outcome)
    async with async_client(provider, max_retries=7) as client:

        @ttc.scale(ttc.BestOfN(2, at_once=1), verifier=lambda text: text == "good")
        async def ask():
            return (await chat(client)).choices[0].message.content

        result = await ask.run()
    assert result.output == "good"
    assert provider.settled().requests == outcome.requests + 1
    first = result.samples[0]
    if first.status == "failed":
        assert first.fault == outcome.fault


@named(FAULTS)
def test_a_wrapped_blocking_client_survives(outcome, provider):
    provider.script = first_draw(outcome)
    with blocking_client(provider, max_retries=7) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(2, at_once=1), verifier=good)
        with ttc.tracking() as bill:
            reply = scaled.chat.completions.create(**CHAT)
    assert reply.choices[0].message.content == "good"
    assert provider.settled().requests == outcome.requests + 1 == bill.total.calls


@pytest.mark.parametrize("way", ["chat", "responses", "stream", "response stream"])
async def test_the_first_sample_has_its_outcome_whatever_the_way(way, provider):
    tables = {"chat": FAULTS, "responses": RESPONSES, "stream": STREAMED, "response stream": STREAMED_RESPONSES}
    async with async_client(provider, max_retries=7) as client:
        strategy = Kept(ttc.BestOfN(2, at_once=1))
        scaled = ttc_openai.wrap(client, strategy, verifier=good)
        calls = {
            "chat": lambda: chat(scaled),
            "stream": lambda: chat(scaled, stream=True),
            "responses": lambda: scaled.responses.create(**ASKED),
            "response stream": lambda: scaled.responses.create(**ASKED, stream=True),
        }
        for name, outcome in tables[way].items():
            fresh()
            provider.reset()
            strategy.seen.clear()
            provider.script = first_draw(outcome)
            with ttc.tracking() as bill:
                await calls[way]()
            assert bill.bill.visible.calls == 1, name
            check(outcome, strategy.seen, bill.bill, provider)


class Kept:
    """A strategy that lets a test see the samples."""

    def __init__(self, strategy):
        self.strategy = strategy
        self.seen = []

    def search(self, call):
        steps = self.strategy.search(call)
        sample = None
        try:
            while True:
                sample = yield steps.send(sample)
                if sample is not None:
                    self.seen.append(sample)
        except StopIteration as end:
            return end.value


# When all fail.


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(status=429, headers=SOON), openai.RateLimitError),
        (Reply(status=500, headers=SOON), openai.InternalServerError),
        (Reply(status=400), openai.BadRequestError),
        (Reply(fault="html"), ttc.BadResponse),
        (Reply(fault="cut json"), ValueError),
        (Reply(fault="empty choices"), ttc.BadResponse),
        (Reply(text=None), ttc.BadResponse),
    ],
    ids=["429", "500", "400", "html", "cut json", "empty choices", "no content"],
)
async def test_where_every_draw_fails_the_caller_gets_the_first_error_and_its_bill(reply, error, provider, spans):
    provider.script = lambda body, number: reply
    async with async_client(provider) as client:
        with pytest.raises(error) as raised:
            await chat(ttc_openai.wrap(client, ttc.BestOfN(3), verifier=good))
    result = ttc.result_of(raised.value)
    assert len(result.samples) == 3
    assert result.bill.total.calls == provider.settled().requests


async def test_a_refused_connection_is_tried_again_and_costs_nothing(spans):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: whoever connects is refused
        nobody = functools.partial(openai.AsyncOpenAI, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        async with nobody(api_key="x") as client:
            scaled = ttc_openai.wrap(client, ttc.BestOfN(1), verifier=good)
            with ttc.policy(budget=ttc.Budget(tokens=2_000)):
                with pytest.raises(openai.APIConnectionError) as raised:
                    await chat(scaled)
                assert SCOPE.get().ledger.spent == {"tokens": 0}
    result = ttc.result_of(raised.value)
    assert result.samples[0].fault == "connection"
    assert result.bill.total.calls == 2
    assert result.bill.status == "exact"
    assert result.bill.total.tokens == 0


# An outage does not multiply.


async def test_an_outage_is_not_multiplied_by_retries(provider):
    provider.script = lambda body, number: Reply(status=503, headers=SOON)
    draws, calls = 8, 10
    async with async_client(provider, max_retries=7) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(draws), verifier=good)
        for _ in range(calls):
            with pytest.raises(openai.InternalServerError):
                await chat(scaled)
    # A fifth on top, and three to start with.
    assert draws * calls < provider.settled().requests <= draws * calls * 1.2 + 3


async def test_the_wait_that_a_provider_asks_for_is_kept(provider):
    times = []

    def script(body, number):
        times.append(time.monotonic())
        return Reply(status=429, headers={"retry-after": "0.3"}) if number == 0 else GOOD

    provider.script = script
    async with async_client(provider) as client:
        await chat(ttc_openai.wrap(client, ttc.Single()))
    assert times[1] - times[0] >= 0.3


async def test_a_retry_that_cannot_end_before_the_deadline_is_not_waited_for(provider):
    provider.script = lambda body, number: Reply(status=429, headers={"retry-after": "600"})
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.Single(), budget=ttc.Budget(seconds=30))
        with pytest.raises(openai.RateLimitError):
            await chat(scaled)
    assert provider.settled().requests == 1


# Deadlines and callers who leave.


async def arrived(provider, requests):
    """Wait until the provider has so many requests in hand."""
    while len(provider.bodies) < requests:  # noqa: ASYNC110  # the provider runs in threads
        await anyio.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True])
async def test_at_the_deadline_the_best_so_far_comes_back_and_connections_close(provider, streamed, spans):
    def script(body, number):
        return Reply(text="fair") if number == 0 else Reply(text="late " * 999, delay=60, pause=60)

    provider.script = script
    async with async_client(provider) as client:
        ledger = []

        @ttc.scale(ttc.BestOfN(4), verifier=lambda text: 0.5, budget=ttc.Budget(seconds=2, tokens=100_000))
        async def ask():
            ledger.append(SCOPE.get().ledger)
            if streamed:
                return read([chunk async for chunk in await chat(client, stream=True)])
            return (await chat(client)).choices[0].message.content

        result = await ask.run()
    assert result.output == "fair"
    assert result.stop_reason == "deadline"
    assert provider.settled().aborted == 3
    assert result.bill.gaps == {"cancelled": 3}
    assert ledger[0].reserved["tokens"] == 0


async def test_a_deadline_without_any_answer_says_so(provider, spans):
    provider.script = lambda body, number: Reply(delay=60)
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(2), verifier=good, budget=ttc.Budget(seconds=0.5))
        with pytest.raises(ttc.BudgetExceeded, match="seconds"):
            await chat(scaled)
    billed = provider.settled()
    assert billed.aborted == billed.requests


def test_a_deadline_stops_a_blocking_client_too(provider):
    provider.script = lambda body, number: Reply(delay=60)
    with blocking_client(provider) as client:
        ledger = []

        @ttc.scale(ttc.BestOfN(2), verifier=good, budget=ttc.Budget(seconds=0.5, tokens=100_000))
        def ask():
            ledger.append(SCOPE.get().ledger)
            return client.chat.completions.create(**CHAT, timeout=openai.Timeout(50, connect=3)).choices

        with pytest.raises(ttc.BudgetExceeded, match="seconds"):
            ask()
        billed = provider.settled()
        assert billed.aborted == billed.requests
        ends = time.monotonic() + 20
        while ledger[0].reserved["tokens"] and time.monotonic() < ends:
            time.sleep(0.01)
    assert ledger[0].reserved["tokens"] == 0


@pytest.mark.parametrize("way", ["wrapped", "function", "streamed", "responses", "merged", "plain"])
async def test_a_caller_who_leaves_closes_every_connection_and_frees_every_hold(provider, way, spans):
    requests = {"merged": 1, "plain": 1}.get(way, 4)
    text = "word " * 1_000
    provider.script = lambda body, number: Reply(text=text, delay=0 if way == "streamed" else 60, pause=0.02)
    async with async_client(provider) as client:
        strategy = ttc.BestOfN(4, stop="all") if way == "merged" else ttc.BestOfN(4)
        scaled = ttc_openai.wrap(client, strategy, verifier=good)

        @ttc.scale(strategy, verifier=good)
        async def ask():
            return (await chat(client)).choices[0].message.content

        calls = {
            "wrapped": lambda: chat(scaled),
            "function": ask,
            "streamed": lambda: chat(scaled, stream=True),
            "responses": lambda: scaled.responses.create(**ASKED),
            "merged": lambda: chat(scaled),
            "plain": lambda: chat(client),
        }
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=100_000)):
            async with anyio.create_task_group() as group:
                group.start_soon(calls[way])
                await arrived(provider, requests)
                group.cancel_scope.cancel()
            ledger = SCOPE.get().ledger
            assert ledger.reserved["tokens"] == 0
    assert provider.settled().aborted == requests
    assert bill.total.calls == requests
    assert bill.bill.gaps == {"cancelled": requests}
    assert ledger.spent["tokens"] > 0  # nobody knows: all of what was held


async def test_a_caller_who_leaves_while_waiting_for_room_leaves_the_queue(provider):
    provider.script = lambda body, number: Reply(delay=60)
    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=2_000)):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(functools.partial(chat, client, max_tokens=1_500))
                await arrived(provider, 1)
                group.cancel_scope.cancel()
            ledger = SCOPE.get().ledger
    assert provider.settled().requests == 1
    assert not ledger.waiting_for_money
    assert ledger.reserved["tokens"] == 0
