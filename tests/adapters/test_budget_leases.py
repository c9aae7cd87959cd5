"""Streams of open length under a budget: a lease at a time where all that they cost can be seen, the cap elsewhere."""

from __future__ import annotations

import gc

import pytest
from litellm_calls import asked, its_warnings, litellm
from openai_clients import CHAT, async_client, blocking_client, exact
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware._context import SCOPE
from ttc_middleware._leaf import LAG, LEASE
from ttc_openai.protocol import Chat

pytestmark = [*its_warnings]

ALOUD = {**CHAT, "stream": True, "reasoning_effort": "none"}
WHOLE = " ".join(f"w{place:03}" for place in range(400))  # 4 bytes a word, and one between


@pytest.fixture(autouse=True)
def forget():
    fresh()
    ttc.instrument()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=WHOLE, pause=0.0005)) as provider:
        yield provider


def ledger():
    return SCOPE.get().ledger


def openai_stream(provider):
    client = blocking_client(provider)
    return client.chat.completions.create(**ALOUD)


def litellm_stream(provider):
    return litellm.completion(
        **asked(provider, stream=True, reasoning_effort="none", allowed_openai_params=["reasoning_effort"])
    )


@pytest.fixture(params=[openai_stream, litellm_stream], ids=["openai", "litellm"])
def opened(request, provider):
    return lambda: request.param(provider)


def said(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def finish(chunks):
    return [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]


def test_streams_that_show_all_they_cost_fit_beside_each_other(provider, opened):
    provider.script = lambda body, number: Reply(text=WHOLE, words=10)
    with ttc.policy(budget=ttc.Budget(tokens=4_000)), ttc.tracking() as bill:
        streams = [opened() for _ in range(5)]
        assert ledger().reserved["tokens"] < 5 * (LEASE + 150)
        chunks = [list(stream) for stream in streams]
        assert [said(each) for each in chunks] == [said(chunks[0])] * 5
        assert all(finish(each) == ["stop"] for each in chunks)
        assert (ledger().reserved["tokens"], ledger().spent["tokens"]) == (0, bill.total.tokens)
    exact(bill, provider)


def test_streams_that_may_think_in_secret_hold_their_cap(provider):
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=4_000)):
        first = client.chat.completions.create(**CHAT, stream=True)
        assert ledger().reserved["tokens"] > 3_900
        with pytest.raises(ttc.BudgetExceeded):
            client.chat.completions.create(**CHAT, stream=True)
        first.close()


def test_a_stream_is_closed_before_it_can_go_over(provider, opened):
    with ttc.policy(budget=ttc.Budget(tokens=1_400)), ttc.tracking() as bill:
        one, other = opened(), opened()
        chunks: list[list[object]] = [[], []]
        for _ in range(500):
            for kept, stream in zip(chunks, (one, other), strict=True):
                kept += [chunk for chunk in [next(stream, None)] if chunk is not None]
            assert ledger().reserved["tokens"] + ledger().spent["tokens"] <= 1_400
        assert [next(stream, None) for stream in (one, other)] == [None, None], "it goes on after its end"
        assert all(WHOLE.startswith(said(each)) for each in chunks)
        assert any(len(said(each)) < len(WHOLE) for each in chunks), "nobody was cut"
        for each in chunks:
            assert finish(each) == (["stop"] if said(each) == WHOLE else ["length"])
        assert bill.bill.gaps["cut"] == sum(said(each) != WHOLE for each in chunks)
        assert bill.status == "lower bound"
        assert bill.visible.output_tokens
        assert ledger().spent["tokens"] <= 1_400
        assert (ledger().reserved["tokens"], ledger().overrun["tokens"]) == (0, 0)
    billed = provider.settled()
    assert billed.aborted == bill.bill.gaps["cut"], "a stream was left open"


@pytest.mark.asyncio
async def test_an_async_stream_is_closed_too(provider):
    async with async_client(provider) as client:
        with ttc.policy(budget=ttc.Budget(tokens=1_400)), ttc.tracking() as bill:
            one = await client.chat.completions.create(**ALOUD)
            other = await client.chat.completions.create(**ALOUD)
            chunks = [], []
            for _ in range(100):
                chunks[0].append(await anext(one))
                chunks[1].append(await anext(other))
            for kept, stream in zip(chunks, (one, other), strict=True):
                kept.extend([chunk async for chunk in stream])
            assert "length" in {finish(each)[0] for each in chunks}
            assert bill.bill.gaps["cut"] >= 1
            assert ledger().spent["tokens"] <= 1_400
            assert (ledger().reserved["tokens"], ledger().overrun["tokens"]) == (0, 0)
    assert provider.settled().aborted == bill.bill.gaps["cut"]


def test_a_lease_that_has_grown_to_the_cap_needs_no_cutting(provider):
    """The server itself stops there, and says what it came to."""

    def script(body, number):
        return Reply(text=" ".join(["words"] * body["max_tokens"]), finish="length")

    provider.script = script
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=1_000)), ttc.tracking() as bill:
        chunks = list(client.chat.completions.create(**ALOUD))
        assert finish(chunks) == ["length"]
        assert ledger().spent["tokens"] == bill.total.tokens > 800
    exact(bill, provider)


def test_a_stream_that_is_dropped_is_charged_for_all_that_its_server_may_go_on_to_make(provider):
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=3_000)), ttc.tracking() as bill:
        next(client.chat.completions.create(**ALOUD))
        gc.collect()
        cap = provider.bodies[0]["max_tokens"]
        assert cap > 10 * LEASE
        assert ledger().spent["tokens"] >= cap
        assert bill.bill.gaps == {"cut": 1}


def test_a_stream_that_is_closed_is_charged_for_its_lease(provider):
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=3_000)):
        stream = client.chat.completions.create(**ALOUD)
        next(stream)
        stream.close()
        assert LEASE <= ledger().spent["tokens"] <= LEASE + 150


def test_a_server_that_counts_along_is_taken_at_its_word(provider):
    base = {"id": "x", "created": 0, "model": "m", "object": "chat.completion.chunk"}

    def chunk(text, tokens, finish=None):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        return {**base, "choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": tokens}}

    long = [chunk("a" * 100, 1 + place) for place in range(100)]
    provider.script = lambda body, number: Reply(chunks=[*long, chunk("", 100, "stop")])
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=800)), ttc.tracking() as bill:
        other = client.chat.completions.create(**ALOUD)
        chunks = list(client.chat.completions.create(**ALOUD))
        assert (len(said(chunks)), finish(chunks)) == (10_000, ["stop"])
        assert bill.total.tokens == 104
        other.close()


def test_a_server_of_ones_own_is_asked_to_count_along_and_its_reader_does_not_see_it(provider):
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=3_000)):
        for more in ({}, {"stream_options": {"include_usage": True}}):
            chunks = list(client.chat.completions.create(**ALOUD, **more))
            asked_for = provider.bodies[-1].get("stream_options")
            assert asked_for == {"include_usage": True, **({} if more else {"continuous_usage_stats": True})}
            assert any(chunk.usage for chunk in chunks) == bool(more)
        list(client.chat.completions.create(**{**ALOUD, "reasoning_effort": "low"}))
        assert provider.bodies[-1]["stream_options"] == {"include_usage": True}, "asked where no lease needs it"


def test_a_server_that_does_not_know_how_to_count_along_is_not_asked_again(provider):
    def script(body, number):
        if "continuous_usage_stats" in (body.get("stream_options") or {}):
            return Reply(status=400, error="Unknown parameter: 'continuous_usage_stats'")
        return Reply(text=WHOLE, words=10)

    provider.script = script
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=3_000)):
        for requests in (2, 3):
            assert said(list(client.chat.completions.create(**ALOUD))) == WHOLE
            assert (len(provider.bodies), provider.bodies[-1]["stream_options"]) == (requests, {"include_usage": True})


@pytest.mark.parametrize("counts", ["nothing", "backwards"])
def test_a_count_that_cannot_be_is_not_believed(provider, counts):
    base = {"id": "x", "created": 0, "model": "m", "object": "chat.completion.chunk"}

    def chunk(place):
        choice = {"index": 0, "delta": {"content": "a" * 10}, "finish_reason": None}
        tokens = 0 if counts == "nothing" else 200 - place
        return {**base, "choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": tokens}}

    provider.script = lambda body, number: Reply(chunks=[chunk(place) for place in range(190)])
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=800)):
        other = client.chat.completions.create(**ALOUD)  # which leaves 400
        chunks = list(client.chat.completions.create(**ALOUD))
        assert finish(chunks) == ["length"]
        assert len(said(chunks)) < 1_000
        other.close()


@pytest.mark.parametrize(
    ("server", "body", "aloud"),
    [
        ("api.openai.com", {"model": "gpt-4o-mini"}, True),
        ("api.openai.com", {"model": "gpt-4.1"}, True),
        ("api.openai.com", {"model": "gpt-5"}, False),
        ("api.openai.com", {"model": "o3"}, False),
        ("api.openai.com", {"model": "gpt-5.1", "reasoning_effort": "none"}, True),
        ("api.openai.com", {"model": "gpt-5.1", "reasoning_effort": "low"}, False),
        ("api.openai.com", {"model": "gpt-4o-audio-preview", "modalities": ["text", "audio"]}, False),
    ],
)
def test_only_what_is_known_to_show_all_its_tokens_gets_a_lease(server, body, aloud):
    assert Chat("openai", server).describe(ttc.Call(name="x", arguments=body)).aloud is aloud


def test_a_name_says_nothing_where_anybody_may_have_given_it():
    call = ttc.Call(name="x", arguments={"model": "gpt-4o"})
    assert not Chat("azure.ai.openai", "x.openai.azure.com").describe(call).aloud
    assert not Chat("local", "127.0.0.1").describe(call).aloud


@pytest.mark.parametrize("more", [{"max_tokens": 900}, {"n": 2}])
def test_a_length_of_the_callers_own_and_several_answers_are_held_whole(provider, more):
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=3_000)):
        stream = client.chat.completions.create(**ALOUD, **more)
        assert ledger().reserved["tokens"] > 900
        stream.close()


def test_thinking_that_is_turned_off_by_a_policy_counts_too(provider):
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=3_000), thinking="none"):
        stream = ttc_openai.wrap(client).chat.completions.create(**CHAT, stream=True)
        assert provider.bodies[0]["reasoning_effort"] == "none"
        assert ledger().reserved["tokens"] < LEASE + 150
        stream.close()


def test_bytes_bound_what_no_tokenizer_can_exceed(provider):
    """One token a byte, as for text that no tokenizer knows: still not over."""
    spent = []
    provider.script = lambda body, number: Reply(text="é" * 300, pause=0)
    with blocking_client(provider) as client, ttc.policy(budget=ttc.Budget(tokens=2_000)):
        stream = client.chat.completions.create(**ALOUD)
        for chunk in stream:
            spent.append(len(said([chunk]).encode()))
            if not finish([chunk]):
                assert ledger().reserved["tokens"] >= sum(spent) + LAG
    assert sum(spent) == 600
