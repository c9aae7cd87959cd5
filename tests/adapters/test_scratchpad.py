"""A scratchpad for models without thinking of their own: asked for, taken off the answer, billed as reasoning."""

from __future__ import annotations

import anthropic
import pytest
from litellm_calls import asked as litellm_asked
from litellm_calls import its_warnings, litellm
from openai_clients import CHAT, async_client, blocking_client
from provider import Provider, Reply, fresh

import ttc_anthropic
import ttc_litellm
import ttc_middleware as ttc
import ttc_openai

SAID = "<think>one two three</think> forty two"  # 5 words; 13 of 23 characters are thoughts
THOUGHT = 5 * len("one two three") // len("one two three forty two")
PROMPTED = ttc.Thinking(prompted=True, tokens=400)
NOTE = "inside <think> and </think>"


@pytest.fixture
def provider():
    fresh()
    with Provider(lambda body, number: Reply(SAID)) as provider:
        yield provider


def billed(bill):
    assert bill.status == "exact"
    assert (bill.total.output_tokens, bill.reasoning.output_tokens) == (5, THOUGHT)
    assert bill.visible.output_tokens == 5 - THOUGHT


def test_a_chat_completion_comes_back_without_its_scratchpad(provider):
    with blocking_client(provider) as client, ttc.tracking() as bill:
        reply = ttc_openai.wrap(client, thinking=PROMPTED).chat.completions.create(**CHAT)
    assert reply.choices[0].message.content == "forty two"
    assert reply.choices[0].message.reasoning_content == "one two three"
    assert reply.usage.completion_tokens_details.reasoning_tokens == THOUGHT
    assert reply.model_dump()["choices"][0]["message"]["content"] == "forty two"
    (body,) = provider.bodies
    assert NOTE in body["messages"][0]["content"]
    assert "about 300 words" in body["messages"][0]["content"]
    assert body["messages"][1:] == CHAT["messages"]
    assert body["max_tokens"] == 400 + 4_096
    billed(bill)


@pytest.mark.asyncio
async def test_a_stream_is_read_first_and_plays_without_its_scratchpad(provider):
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            stream = await ttc_openai.wrap(client, thinking=PROMPTED).chat.completions.create(**CHAT, stream=True)
            chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "forty two"
    assert chunks[-1].choices[0].finish_reason == "stop"
    billed(bill)


@pytest.mark.asyncio
async def test_samples_of_one_request_lose_theirs_each(provider):
    async with async_client(provider) as client:
        strategy = ttc.BestOfN(2, stop="all")
        scaled = ttc_openai.wrap(client, strategy, verifier=lambda reply: True, thinking=PROMPTED)
        with ttc.tracking() as bill:
            reply = await scaled.chat.completions.create(**CHAT)
    assert reply.choices[0].message.content == "forty two"
    assert bill.status == "exact"
    assert bill.total.output_tokens == provider.settled().completion
    assert [body.get("n") for body in provider.bodies] == [2]
    assert bill.total.reasoning_tokens == 10 * 13 // 23


@pytest.mark.parametrize("system", [None, "Be brief.", [{"type": "text", "text": "Be brief."}]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_comes_back_without_its_scratchpad(provider, system, stream):
    given = {"model": "claude-3-haiku", "max_tokens": 900, "messages": CHAT["messages"]}
    more = {} if system is None else {"system": system}
    with anthropic.Anthropic(base_url=provider.host, api_key="x") as client, ttc.tracking() as bill:
        reply = ttc_anthropic.wrap(client, thinking=PROMPTED).messages.create(**given, **more, stream=stream)
        if stream:
            text = "".join(getattr(getattr(event, "delta", None), "text", "") or "" for event in reply)
        else:
            text = reply.content[0].text
            assert reply.usage.output_tokens_details.thinking_tokens == THOUGHT
            assert reply.model_dump_json()
    assert text == "forty two"
    assert NOTE in str(provider.bodies[0]["system"])
    assert system is None or "Be brief." in str(provider.bodies[0]["system"])
    assert provider.bodies[0]["max_tokens"] == 900
    billed(bill)


class TestThroughLitellm:
    pytestmark = its_warnings

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("model", ["openai/mock", "anthropic/claude-3-haiku-20240307"])
    def test_a_response_comes_back_without_its_scratchpad(self, provider, model, stream):
        base = {"api_base": provider.host} if model.startswith("anthropic") else {}
        wrapped = ttc_litellm.wrap(litellm.completion, thinking=PROMPTED)
        with ttc.tracking() as bill:
            reply = wrapped(**{**litellm_asked(provider, model), **base}, stream=stream)
            if stream:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in reply)
            else:
                text = reply.choices[0].message.content
        assert text == "forty two"
        assert NOTE in str(provider.bodies[0])
        billed(bill)


def test_the_sample_is_marked_as_apportioned_and_a_verifier_reads_the_answer_alone(provider):
    read = []

    def right(reply):
        read.append(reply.choices[0].message.content)
        return True

    with blocking_client(provider) as client:
        samples = []

        class Kept:
            def search(self, call):
                samples.append((yield [ttc.Draw(thinking=PROMPTED)]))
                return samples[0]

        ttc_openai.wrap(client, Kept(), verifier=right).chat.completions.create(**CHAT)
    assert read == ["forty two"]
    assert samples[0].text == "forty two"
    assert samples[0].apportioned
    assert samples[0].usage.reasoning_tokens == THOUGHT


def test_a_scratchpad_that_was_cut_leaves_no_answer(provider):
    provider.script = lambda body, number: Reply("<think>one two", finish="length")
    with blocking_client(provider) as client:
        reply = ttc_openai.wrap(client, thinking=PROMPTED).chat.completions.create(**CHAT)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("", "length")


def test_a_model_that_answers_at_once_is_left_alone(provider):
    provider.script = lambda body, number: Reply("forty two")
    with blocking_client(provider) as client, ttc.tracking() as bill:
        reply = ttc_openai.wrap(client, thinking=PROMPTED).chat.completions.create(**CHAT)
    assert reply.choices[0].message.content == "forty two"
    assert bill.reasoning.output_tokens == 0


def test_nobody_is_asked_for_thoughts_in_a_json_answer_or_by_responses(provider):
    with blocking_client(provider) as client:
        wrapped = ttc_openai.wrap(client, thinking=PROMPTED)
        with pytest.warns(UserWarning, match="the answer has to be JSON"):
            wrapped.chat.completions.create(**CHAT, response_format={"type": "json_object"})
        with pytest.warns(UserWarning, match="this API is not asked for a scratchpad"):
            wrapped.responses.create(model="other", input="how many?")
    assert not any(NOTE in str(body) for body in provider.bodies)


def test_the_callers_own_scratchpad_is_the_callers(provider):
    with blocking_client(provider) as client:
        reply = ttc_openai.wrap(client, ttc.SelfConsistency(1)).chat.completions.create(**CHAT)
    assert reply.choices[0].message.content == SAID
