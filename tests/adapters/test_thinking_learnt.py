"""Where thinking is invisible: which effort keeps to a number of tokens is learnt at each call site."""

from __future__ import annotations

import pytest
from openai_clients import async_client
from provider import Provider, Reply

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware import _learnt

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore:gpt-5.1 does not take thinking=2000")]

CHAT = {"model": "gpt-5.1", "messages": [{"role": "user", "content": "how many?"}]}


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch):
    monkeypatch.setattr(_learnt, "SEEN", ttc.EffortQuantiles())


async def asked_for(client, site, thinking, *, calls=1):
    scaled = ttc_openai.wrap(client, thinking=thinking, name=site)
    for _ in range(calls):
        await scaled.chat.completions.create(**CHAT)


async def effort_after(reply, *, sites=("app", "app"), effort="high"):
    """What a model is told for 2,000 tokens, "medium" to begin with, after 20 calls at an effort."""
    with Provider(lambda body, number: reply) as provider:
        async with async_client(provider) as client:
            await asked_for(client, sites[0], effort, calls=20)
            await asked_for(client, sites[1], 2_000)
        return provider.bodies[-1]["reasoning_effort"]


FEW, MANY = Reply(text="four", reasoning=900), Reply(text="four", reasoning=2_100)


async def test_an_effort_that_has_kept_to_the_tokens_is_what_they_are_asked_for_as():
    assert await effort_after(FEW) == "high"


async def test_one_that_came_to_more_is_not():
    assert await effort_after(MANY) == "medium"


async def test_nor_one_whose_answers_were_cut():
    assert await effort_after(Reply(text="fo", reasoning=900, finish="length")) == "medium"


async def test_one_that_nobody_has_seen_yet_is_not_passed_over_for_a_lower_one_that_fits():
    assert await effort_after(FEW, effort="low") == "medium"


async def test_where_the_one_to_begin_with_takes_too_many_the_next_lower_is_tried():
    assert await effort_after(MANY, effort="medium") == "low"


async def test_each_call_site_learns_for_itself():
    assert await effort_after(FEW, sites=("app", "other")) == "medium"


async def test_what_the_draws_of_a_function_think_is_learnt_too_and_the_cap_stays():
    with Provider(lambda body, number: Reply(text="four", reasoning=900)) as provider:
        async with async_client(provider) as client:

            @ttc.scale(ttc.BestOfN(20, stop="all"), verifier=lambda text: 0.5, thinking="high", name="solve")
            async def solve():
                return (await client.chat.completions.create(**CHAT)).choices[0].message.content

            await solve()
            with ttc.policy(ttc.Single(), thinking=2_000):
                await solve()
        last = provider.bodies[-1]
    assert _learnt.SEEN.quantile("high", 0.9, site="solve", model="gpt-5.1") == 900
    assert last["reasoning_effort"] == "high"
    assert last["max_tokens"] == 2_000 + 4_096
