"""A Pydantic AI agent whose streamed requests are scaled: what is shown when, and what it cost."""

from __future__ import annotations

import json

import pytest
from openai_clients import exact
from provider import Provider, Reply
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.usage import RunUsage, UsageLimits
from pydantic_ai_agents import billed, both_ways, chat, said, scaled_agent, told, usage_of

import ttc_middleware as ttc


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


class Tea(BaseModel):
    cups: int


def numbered(body, number):
    """Each request gets an answer of its own, and thinks longer for it."""
    return Reply(text=f"it is {number}", reasoning=10 * number)


def prefers(word):
    return lambda output: 1.0 if word in str(output) else 0.1


async def texts(streamed):
    return [chunk async for chunk in streamed.stream_text(delta=True, debounce_by=None)]


@both_ways
@pytest.mark.asyncio
async def test_the_winner_is_streamed_once_and_no_other_sample(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        with ttc.tracking() as bill:
            async with agent.run_stream("how many?") as streamed:
                assert "".join(await texts(streamed)) == "it is 2"
        exact(bill, provider)
    assert said(streamed) == [("user-prompt", "how many?"), ("text", "it is 2")]


@both_ways
@pytest.mark.asyncio
async def test_hidden_samples_are_in_the_usage_of_a_streamed_run_once(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        spent = RunUsage()
        async with agent.run_stream("how many?", usage=spent) as streamed:
            await streamed.get_output()
        requests, *tokens = billed(provider)
    assert requests == 4
    assert [spent.input_tokens, spent.output_tokens] == tokens
    assert list(told(streamed)[1:]) == tokens


@both_ways
@pytest.mark.asyncio
async def test_hidden_samples_count_against_the_limits_of_a_streamed_run(way):
    async def ask(limit):
        async with agent.run_stream("how many?", usage_limits=UsageLimits(output_tokens_limit=limit)) as streamed:
            return await streamed.get_output()

    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        assert await ask(72) == "it is 2"
        provider.reset()
        with pytest.raises(UsageLimitExceeded, match="output_tokens_limit of 71"):
            await ask(71)


@both_ways
@pytest.mark.asyncio
async def test_one_draw_that_nobody_judges_streams_as_it_comes(way):
    with Provider(lambda body, number: Reply(text="it is as it comes")) as provider:
        agent = scaled_agent(way, chat(provider), ttc.Single())
        with ttc.tracking() as bill:
            async with agent.run_stream("how many?") as streamed:
                pieces = await texts(streamed)
        exact(bill, provider)
    assert len(pieces) > 1
    assert "".join(pieces) == "it is as it comes"
    assert told(streamed)[1:] == billed(provider)[1:]
    assert provider.bodies[0]["stream"] is True


@both_ways
@pytest.mark.asyncio
async def test_a_draw_that_a_verifier_judges_is_streamed_once_it_is_judged(way):
    with Provider(lambda body, number: Reply(text=f"it is {number} as it comes")) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(2, at_once=1), verifier=prefers("it is 1"))
        async with agent.run_stream("how many?") as streamed:
            assert await texts(streamed) == ["it is 1 as it comes"]


@both_ways
@pytest.mark.asyncio
async def test_a_stream_that_breaks_off_is_billed_for_what_was_seen_at_least(way):
    with Provider(lambda body, number: Reply(text="it is as it comes", fault="cut stream")) as provider:
        agent = scaled_agent(way, chat(provider), ttc.Single())
        with ttc.tracking() as bill:
            try:
                async with agent.run_stream("how many?") as streamed:
                    await texts(streamed)
            except Exception:  # noqa: BLE001  # some versions notice, some take it for the end
                pass
    assert provider.settled().requests == bill.total.calls == 1
    assert bill.status != "exact"


@both_ways
@pytest.mark.asyncio
async def test_a_reader_who_fails_leaves_an_honest_bill(way):
    with Provider(lambda body, number: Reply(text="it is as it comes", pause=0.01)) as provider:
        agent = scaled_agent(way, chat(provider), ttc.Single())
        with ttc.tracking() as bill, pytest.raises(ZeroDivisionError):
            async with agent.run_stream("how many?") as streamed:
                async for _ in streamed.stream_text(delta=True, debounce_by=None):
                    raise ZeroDivisionError
    assert bill.total.calls == 1
    assert bill.status != "exact" or bill.total.tokens == provider.settled().tokens


@both_ways
@pytest.mark.asyncio
async def test_typed_output_is_streamed_from_the_winner(way):
    def script(body, number):
        return Reply(text=None, tool_calls=[("final_result", json.dumps({"cups": 5 - number}))])

    def verify(sample: ttc.Sample) -> bool:
        return json.loads(sample.text) == {"cups": 3}

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, at_once=1), {"output_type": Tea}, verifier=verify)
        async with agent.run_stream("tea, please") as streamed:
            outputs = [output async for output in streamed.stream_output(debounce_by=None)]
    assert outputs[-1] == Tea(cups=3)
    assert provider.billed.requests == 3


@both_ways
@pytest.mark.asyncio
async def test_a_run_that_is_stepped_through_shows_one_winner_and_runs_its_tools_once(way):
    ran, events = [], []

    def order(cups: int) -> str:
        """Order tea."""
        ran.append(cups)
        return "ordered"

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        return Reply(text=None, tool_calls=[("order", f'{{"cups": {2 if number else 3}}}')])

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(4), {"tools": [order]})
        with ttc.tracking() as bill:
            async with agent.iter("tea, please") as run:
                async for node in run:
                    if Agent.is_model_request_node(node) or Agent.is_call_tools_node(node):
                        async with node.stream(run.ctx) as stream:
                            events += [event async for event in stream]
    starts = [event.part.part_kind for event in events if event.event_kind == "part_start"]
    assert starts == ["tool-call", "text"]
    assert ran == [2]
    assert usage_of(run).output_tokens == bill.total.output_tokens
