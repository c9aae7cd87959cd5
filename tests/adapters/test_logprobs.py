"""Log-probabilities of answers, where a call asks for them, on the way from the wire to what a vote weighs."""

from __future__ import annotations

import math

import pytest
from chats import chat
from litellm_calls import asked, its_tests, litellm
from openai_clients import CHAT, async_client, blocking_client
from provider import Provider, Reply

import ttc_langchain
import ttc_litellm
import ttc_middleware as ttc
import ttc_openai
from ttc_middleware.seam import mean_logprob

pytestmark = its_tests

VOTE = ttc.SelfConsistency(3, weight="logprob")
SAID = [("the answer is 7", 0.2), ("the answer is 7", 0.3), ("the answer is 8", 0.9)]


@pytest.fixture
def provider():
    """Two unsure answers and a sure one, each in a request of its own."""

    def script(body, number):
        text, probability = SAID[number % 3]
        return Reply(text=text, logprob=math.log(probability), ignore_n=True)

    with Provider(script) as provider:
        yield provider


def seen(result):
    return sorted(round(math.exp(sample.logprob), 3) for sample in result.samples)


@pytest.mark.asyncio
async def test_a_wrapped_client_weighs_by_them(provider):
    async with async_client(provider) as bare:
        client = ttc_openai.wrap(bare, VOTE)
        assert (await client.chat.completions.create(**CHAT, logprobs=True)).choices[0].message.content.endswith("8")
        with pytest.warns(UserWarning, match=r"no sample has a log-probability .*logprobs=True"):
            reply = await client.chat.completions.create(**CHAT)
        assert reply.choices[0].message.content.endswith("7")


@pytest.mark.asyncio
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_function_has_those_of_its_last_answered_call(provider, streamed):
    async with async_client(provider) as client:

        @ttc.scale(VOTE)
        async def ask():
            reply = await client.chat.completions.create(**CHAT, logprobs=True, stream=streamed)
            if not streamed:
                return reply.choices[0].message.content
            return "".join([chunk.choices[0].delta.content or "" async for chunk in reply if chunk.choices])

        result = await ask.run()
    assert result.output.endswith("8")
    assert seen(result) == [0.2, 0.3, 0.9]


@pytest.mark.asyncio
async def test_a_call_without_them_after_one_with_them_leaves_none(provider):
    async with async_client(provider) as client:

        @ttc.scale(ttc.Single())
        async def ask():
            await client.chat.completions.create(**CHAT, logprobs=True)
            return (await client.chat.completions.create(**CHAT)).choices[0].message.content

        result = await ask.run()
    assert [sample.logprob for sample in result.samples] == [None]


def test_a_client_that_blocks_weighs_by_them(provider):
    with blocking_client(provider) as bare:
        client = ttc_openai.wrap(bare, VOTE)
        assert client.chat.completions.create(**CHAT, logprobs=True).choices[0].message.content.endswith("8")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_litellm_and_langchain_bring_them_too(provider):
    acompletion = ttc_litellm.wrap(litellm.acompletion, VOTE)
    reply = await acompletion(**asked(provider), logprobs=True)
    assert reply.choices[0].message.content.endswith("8")
    scaled = ttc_langchain.scale_model(chat(provider, logprobs=True), VOTE)
    assert (await scaled.ainvoke("how many?")).text.endswith("8")


@pytest.mark.parametrize("tokens", [None, [], {}, "abc", [{"logprob": None}], [{}], [{"logprob": float("-inf")}]])
def test_what_has_no_number_for_each_token_has_no_mean(tokens):
    assert mean_logprob(tokens) is None


def test_the_mean_is_over_tokens():
    assert mean_logprob([{"logprob": -1.0}, {"logprob": -2}]) == -1.5
