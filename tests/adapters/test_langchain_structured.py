"""Structured output of scaled agents: samples that parse, samples that do not, and agents that would never end."""

from __future__ import annotations

import json

import anyio.to_thread
import pytest
from chats import chat
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError, ToolStrategy
from provider import Provider, Reply
from pydantic import BaseModel, Field

import ttc_middleware as ttc
from ttc_langchain import ScaleModelCalls

pytestmark = pytest.mark.slow

ASK = {"messages": [("user", "how many?")]}


class Count(BaseModel):
    number: int = Field(ge=1)
    why: str = ""


FORMATS = [ToolStrategy(Count), ProviderStrategy(Count), Count]


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


@pytest.fixture(params=["async", "sync"])
def run(request):
    async def in_task(agent):
        return await agent.ainvoke(ASK)

    async def in_thread(agent):
        return await anyio.to_thread.run_sync(lambda: agent.invoke(ASK))

    return in_task if request.param == "async" else in_thread


def says(body, *, number=None, **more):
    """An answer in the form that the request asks for."""
    arguments = json.dumps({"number": number, **more})
    if "response_format" in body:
        return Reply(text=arguments)
    return Reply(text=None, tool_calls=[("Count", arguments)])


def agent_of(provider, response_format, *args, tools=(), **kwargs):
    middleware = [ScaleModelCalls(*args, **kwargs)]
    return create_agent(chat(provider), list(tools), middleware=middleware, response_format=response_format)


@pytest.mark.parametrize("response_format", FORMATS, ids=["tool", "provider", "auto"])
@pytest.mark.asyncio
async def test_samples_vote_by_value_and_what_does_not_parse_has_no_vote(run, response_format):
    numbers = [0, 7, 0, 8, 8]  # 0 is not valid

    with Provider(lambda body, number: says(body, number=numbers[number])) as provider:
        agent = agent_of(provider, response_format, ttc.SelfConsistency(5, at_once=1))
        with ttc.tracking() as bill:
            state = await run(agent)
    assert state["structured_response"] == Count(number=8)
    assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)
    assert provider.billed.requests == 5


@pytest.mark.parametrize("response_format", FORMATS[:2], ids=["tool", "provider"])
@pytest.mark.asyncio
async def test_a_verifier_gets_the_parsed_output(run, response_format):
    def enough(response, messages):
        return response.structured_response.number >= 2 and messages[-1].text == "how many?"

    with Provider(lambda body, number: says(body, number=number)) as provider:
        agent = agent_of(provider, response_format, ttc.BestOfN(4, at_once=1), verifier=enough, on_reject="raise")
        state = await run(agent)
    assert state["structured_response"] == Count(number=2)
    assert provider.billed.requests == 3


@pytest.mark.parametrize("response_format", FORMATS[:2], ids=["tool", "provider"])
@pytest.mark.asyncio
async def test_a_verifier_of_text_gets_the_parsed_output_as_json(run, response_format):
    seen = []

    class Judge:
        def check(self, output, *, arguments):
            seen.append(json.loads(output))
            return True

    with Provider(lambda body, number: says(body, number=3, why="so")) as provider:
        await run(agent_of(provider, response_format, ttc.BestOfN(2, at_once=1), verifier=Judge()))
    assert seen == [{"number": 3, "why": "so"}]


@pytest.mark.asyncio
async def test_output_of_the_provider_that_never_parses_raises_langchain_s_error_with_the_bill(run):
    with Provider(lambda body, number: says(body, number=0)) as provider:
        agent = agent_of(provider, ProviderStrategy(Count), ttc.SelfConsistency(3))
        with ttc.tracking() as bill, pytest.raises(StructuredOutputValidationError) as raised:
            await run(agent)
    assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)
    result = ttc.result_of(raised.value)
    assert result.bill.total.tokens == provider.billed.tokens
    assert {sample.fault for sample in result.samples} == {"malformed"}
    assert provider.billed.requests == 3


@pytest.mark.asyncio
async def test_an_agent_whose_output_never_parses_ends_after_three_calls(run):
    with Provider(lambda body, number: says(body, number=0)) as provider:
        agent = agent_of(provider, ToolStrategy(Count), ttc.SelfConsistency(2))
        with ttc.tracking() as bill, pytest.raises(ttc.BadResponse, match="in no sample of 3 calls in a row") as raised:
            await run(agent)
    assert "greater than or equal to 1" in str(raised.value)
    assert provider.billed.requests == 6
    assert bill.total.tokens == provider.billed.tokens


@pytest.mark.asyncio
async def test_langchain_s_own_correction_still_works_between_scaled_calls(run):
    def script(body, number):
        corrected = sum(message["role"] == "tool" for message in body["messages"])
        return says(body, number=5 if corrected == 2 else 0)

    with Provider(script) as provider:
        state = await run(agent_of(provider, ToolStrategy(Count), ttc.SelfConsistency(2)))
    assert state["structured_response"] == Count(number=5)
    assert provider.billed.requests == 6


@pytest.mark.asyncio
async def test_calls_that_did_not_parse_before_a_tool_ran_are_not_counted(run):
    def look() -> str:
        """Look."""
        return "seen"

    def script(body, number):
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        return Reply(tool_calls=[("look", "{}")]) if turn == 2 else says(body, number=9 if turn == 5 else 0)

    with Provider(script) as provider:
        agent = agent_of(provider, ToolStrategy(Count), ttc.SelfConsistency(1), tools=[look])
        state = await run(agent)
    assert state["structured_response"] == Count(number=9)
    assert provider.billed.requests == 6


@pytest.mark.asyncio
async def test_without_a_strategy_langchain_loops_as_it_always_did(run):
    numbers = [0, 0, 0, 0, 1]
    with Provider(lambda body, number: says(body, number=numbers[number])) as provider:
        state = await run(agent_of(provider, ToolStrategy(Count)))
    assert state["structured_response"] == Count(number=1)


@pytest.mark.asyncio
async def test_arguments_that_are_no_json_have_no_vote(run):
    def look(at: str = "") -> str:
        """Look."""
        return at

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        return Reply(text="let me look", tool_calls=[("look", '{"at": "here"}' if number == 2 else '{"at": ')])

    with Provider(script) as provider:
        agent = agent_of(provider, None, ttc.SelfConsistency(3, at_once=1), tools=[look])
        state = await run(agent)
    assert [message.text for message in state["messages"] if message.type == "tool"] == ["here"]


@pytest.mark.asyncio
async def test_the_schema_is_part_of_what_a_budget_holds(run):
    class Long(BaseModel):
        number: int = Field(description="word " * 2_000)

    with Provider() as provider:
        for response_format in (ToolStrategy(Long), ProviderStrategy(Long), Long):
            budget = ttc.Budget(tokens=10_000)
            with pytest.raises(ttc.BudgetExceeded):
                await run(agent_of(provider, response_format, ttc.SelfConsistency(2), budget=budget))
    assert provider.billed.requests == 0
