"""An agent whose model calls are scaled, beside LangChain's own middleware, checkpointers, sub-agents and graphs."""

from __future__ import annotations

import itertools
import sys
from functools import partial

import anyio.to_thread
import chats
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    ToolCallLimitMiddleware,
)
from langchain.agents.middleware.model_call_limit import ModelCallLimitExceededError
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from provider import Provider, Reply

import ttc_middleware as ttc
from ttc_langchain import ScaleModelCalls, scale_model

NEW = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="LangGraph hands nothing down to async nodes on Python 3.10"
)

pytestmark = pytest.mark.slow
ASK = {"messages": [("user", "how many?")]}
chat = partial(chats.chat, max_retries=0)
THREAD = {"configurable": {"thread_id": "1"}}


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


@pytest.fixture(params=["async", "sync"])
def run(request):
    async def in_task(agent, given=ASK, config=None):
        return await agent.ainvoke(given, config)

    async def in_thread(agent, given=ASK, config=None):
        return await anyio.to_thread.run_sync(agent.invoke, given, config)

    return in_task if request.param == "async" else in_thread


@pytest.fixture(params=["before", "after"])
def beside(request):
    """The two middlewares, the other one listed before ours or after it."""

    def ordered(ours, other):
        return [other, ours] if request.param == "before" else [ours, other]

    ordered.before = request.param == "before"
    return ordered


def numbered(body, number):
    return Reply(text=f"it is {number}")


def best(count):
    return ScaleModelCalls(ttc.BestOfN(count, stop="all"), verifier=lambda response: 0.5)


@pytest.mark.asyncio
async def test_a_retry_before_repeats_the_search_and_one_after_repeats_a_sample(run, beside):
    def script(body, number):
        return Reply(status=400) if number < 2 else numbered(body, number)

    with Provider(script) as provider:
        retry = ModelRetryMiddleware(max_retries=2, retry_on=(Exception,), initial_delay=0, jitter=False)
        state = await run(create_agent(chat(provider), middleware=beside(best(2), retry)))
        assert provider.billed.requests == 4
    assert state["messages"][-1].text.startswith("it is")
    assert state["ttc_usage"]["calls"] == 2


@pytest.mark.asyncio
async def test_a_fallback_before_searches_on_the_other_model_and_one_after_is_each_sample_s_own(run, beside):
    def script(body, number):
        return Reply(status=400) if body["model"] == "mock" else numbered(body, number)

    with Provider(script) as provider:
        other = chat(provider, model="other")
        agent = create_agent(chat(provider), middleware=beside(best(3), ModelFallbackMiddleware(other)))
        with ttc.tracking() as bill:
            state = await run(agent)
        asked = [body["model"] for body in provider.bodies]
    assert sorted(asked) == ["mock"] * 3 + ["other"] * 3
    assert state["messages"][-1].text.startswith("it is")
    # A search that failed is on the bill; what failed inside a sample is not.
    assert bill.total.calls == (6 if beside.before else 3)
    assert bill.total.tokens == provider.billed.tokens


@pytest.mark.asyncio
async def test_a_limit_of_model_calls_counts_searches_not_samples(run, beside):
    def look() -> str:
        """Look."""
        return "again"

    with Provider(lambda body, number: Reply(text=None, tool_calls=[("look", "{}")])) as provider:
        limit = ModelCallLimitMiddleware(run_limit=2, exit_behavior="error")
        agent = create_agent(chat(provider), [look], middleware=beside(best(3), limit))
        with pytest.raises(ModelCallLimitExceededError):
            await run(agent)
        assert provider.billed.requests == 6


@pytest.mark.asyncio
async def test_a_limit_of_tool_calls_counts_those_of_the_winner(run, beside):
    ran = []

    def look() -> str:
        """Look."""
        ran.append(1)
        return "again"

    with Provider(lambda body, number: Reply(text=None, tool_calls=[("look", "{}")])) as provider:
        limit = ToolCallLimitMiddleware(run_limit=2, exit_behavior="end")
        await run(create_agent(chat(provider), [look], middleware=beside(best(3), limit)))
    assert len(ran) == 2


@NEW
@pytest.mark.asyncio
async def test_a_human_is_asked_once_about_the_winner_and_resuming_searches_no_more(run, beside):
    ran = []

    def order(cups: int) -> str:
        """Order tea."""
        ran.append(cups)
        return "ordered"

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        return Reply(text=None, tool_calls=[("order", f'{{"cups": {2 if number else 3}}}')])

    with Provider(script) as provider:
        human = HumanInTheLoopMiddleware(interrupt_on={"order": True})
        ours = ScaleModelCalls(ttc.SelfConsistency(4, at_once=1))
        agent = create_agent(chat(provider), [order], middleware=beside(ours, human), checkpointer=InMemorySaver())
        (asked,) = (await run(agent, ASK, THREAD))["__interrupt__"]
        assert [request["args"] for request in asked.value["action_requests"]] == [{"cups": 2}]
        drawn = provider.billed.requests
        state = await run(agent, Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert ran == [2]
    assert all(body["messages"][-1]["role"] == "tool" for body in provider.bodies[drawn:])
    assert state["messages"][-1].text == "done"
    assert state["ttc_usage"]["calls"] == provider.billed.requests


@NEW
@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain verifier", "async verifier"])
@pytest.mark.asyncio
async def test_an_interrupt_of_a_verifier_reaches_the_graph_and_its_answer_the_verifier(run, asynchronous):
    def ask(response, messages):
        return interrupt(f"is {response.result[0].text!r} good?") == "yes"

    async def ask_later(response, messages):
        return ask(response, messages)

    with Provider(lambda body, number: Reply(text="tea")) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(1), verifier=ask_later if asynchronous else ask, on_reject="raise")
        agent = create_agent(chat(provider), middleware=[scaled], checkpointer=InMemorySaver())
        (asked,) = (await run(agent, ASK, THREAD))["__interrupt__"]
        assert asked.value == "is 'tea' good?"
        state = await run(agent, Command(resume="yes"), THREAD)
        assert state["messages"][-1].text == "tea"
        with pytest.raises(ttc.NotAccepted):
            other = {"configurable": {"thread_id": "2"}}
            await run(agent, ASK, other)
            await run(agent, Command(resume="no"), other)


@NEW
@pytest.mark.asyncio
async def test_an_interrupt_of_a_verifier_with_a_check_passes_too(run):
    class Human:
        def check(self, output, *, arguments):
            return interrupt(output) == "yes"

    with Provider(lambda body, number: Reply(text="tea")) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(1), verifier=Human(), on_reject="raise")
        agent = create_agent(chat(provider), middleware=[scaled], checkpointer=InMemorySaver())
        assert [each.value for each in (await run(agent, ASK, THREAD))["__interrupt__"]] == ["tea"]
        assert (await run(agent, Command(resume="yes"), THREAD))["messages"][-1].text == "tea"


@pytest.mark.asyncio
async def test_a_checkpointer_keeps_the_winner_and_the_usage_of_all_turns(run):
    with Provider(numbered) as provider:
        saver = InMemorySaver()
        agent = create_agent(chat(provider), middleware=[best(3)], checkpointer=saver)
        for _ in range(2):
            await run(agent, ASK, THREAD)
        kept = agent.get_state(THREAD).values
        snapshots = str(list(agent.get_state_history(THREAD)))
    assert [message.type for message in kept["messages"]] == ["human", "ai"] * 2
    assert kept["ttc_usage"]["calls"] == provider.billed.requests == 6
    assert kept["ttc_usage"]["input_tokens"] == provider.billed.prompt
    assert sum(f"it is {number}'" in snapshots for number in range(6)) == 2


@pytest.mark.asyncio
async def test_usage_of_the_state_is_not_taken_from_who_calls_the_agent(run):
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider), middleware=[best(2)])
        assert "ttc_usage" not in agent.get_input_jsonschema()["properties"]
        state = await run(agent)
    assert state["ttc_usage"]["calls"] == 2


@pytest.mark.asyncio
async def test_a_sub_agent_and_the_agent_share_a_budget_and_a_bill(run):
    numbers = itertools.count()

    def script(body, number):
        if body["messages"][0]["content"] == "inner" or body["messages"][-1]["role"] == "tool":
            return Reply(text=f"it is {next(numbers)}")
        return Reply(text=None, tool_calls=[("delegate", "{}")])

    with Provider(script) as provider:
        inner = create_agent(chat(provider), middleware=[best(3)], system_prompt="inner")

        async def delegate() -> str:
            """Let another agent do it."""
            return (await inner.ainvoke(ASK))["messages"][-1].text

        def delegate_sync() -> str:
            """Let another agent do it."""
            return inner.invoke(ASK)["messages"][-1].text

        from langchain_core.tools import StructuredTool  # noqa: PLC0415  # for this test

        tool = StructuredTool.from_function(delegate_sync, delegate, name="delegate")
        outer = create_agent(chat(provider), [tool], middleware=[best(2)])
        with ttc.tracking() as bill:
            state = await run(outer)
        assert bill.total.calls == provider.billed.requests == 2 + 3 + 2
        assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)
        assert state["ttc_usage"]["calls"] == 4  # its own calls: the sub-agent has a state, and a sum, of its own
        provider.reset()
        with pytest.raises(ttc.BudgetExceeded), ttc.policy(budget=ttc.Budget(samples=5)):
            await run(outer)
        assert provider.billed.requests == 5


@pytest.mark.asyncio
async def test_agents_in_parallel_nodes_share_a_budget_and_a_bill(run):
    with Provider(lambda body, number: Reply(text=f"{number} " * 100)) as provider:
        scaled = scale_model(chat(provider), ttc.BestOfN(9, stop="all"), verifier=lambda message: 0.5)
        nodes = {
            "agent": create_agent(chat(provider), middleware=[best(9)]),
            "chain": RunnableLambda(lambda state: state["messages"]) | scaled | (lambda reply: {"messages": [reply]}),
        }
        graph = StateGraph(MessagesState)
        for name, node in nodes.items():
            graph.add_node(name, node).add_edge(START, name)
        compiled = graph.compile()
        limit = ttc.Budget(tokens=3_000)
        with ttc.policy(budget=limit), ttc.tracking() as bill:
            state = await run(compiled)
        assert 0 < bill.total.tokens == provider.billed.tokens <= 3_000
    assert len(state["messages"]) >= 3
