"""An agent whose model calls are scaled, against a counting server: the bill, budgets, failures, caches."""

from __future__ import annotations

import anyio.to_thread
import openai
import pytest
from chats import chat
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import GenericFakeChatModel
from provider import Provider, Reply

import ttc_middleware as ttc
from ttc_langchain import ScaleModelCalls

pytestmark = pytest.mark.slow

ASK = {"messages": [("user", "how many?")]}


@pytest.fixture(autouse=True)
def _clean():
    yield
    set_llm_cache(None)
    ttc.uninstrument()


@pytest.fixture(params=["async", "sync"])
def run(request):
    """Run an agent, either way."""

    async def in_task(agent):
        return await agent.ainvoke(ASK)

    async def in_thread(agent):
        return await anyio.to_thread.run_sync(agent.invoke, ASK)

    return in_task if request.param == "async" else in_thread


def numbered(body, number):
    """Each request gets an answer of its own, and thinks longer for it."""
    return Reply(text=f"it is {number}", reasoning=10 * number)


def prefers(word):
    return lambda response: 1.0 if word in response.result[0].text else 0.1


def spent(bill):
    return bill.total.calls, bill.total.input_tokens, bill.total.output_tokens, bill.total.reasoning_tokens


def billed(provider):
    return provider.billed.requests, provider.billed.prompt, provider.billed.completion, provider.billed.reasoning


@pytest.mark.asyncio
async def test_the_best_of_four_is_the_only_message_and_every_token_is_on_the_bill(run):
    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        agent = create_agent(chat(provider), middleware=[scaled])
        with ttc.tracking() as bill, get_usage_metadata_callback() as seen:
            state = await run(agent)
    assert [message.text for message in state["messages"]] == ["how many?", "it is 2"]
    assert spent(bill) == billed(provider)
    assert provider.billed.requests == 4
    assert bill.status == "exact"
    assert bill.bill.reasoning.tokens == 20
    (callback,) = seen.usage_metadata.values()
    assert callback["total_tokens"] == provider.billed.tokens
    assert state["messages"][-1].usage_metadata["output_token_details"]["reasoning"] == 20
    assert state["ttc_usage"] == {
        **bill.total.to_dict(),
        "hidden_tokens": bill.hidden.tokens,
        "status": "exact",
    }


@pytest.mark.asyncio
async def test_both_turns_of_an_agent_add_up_in_its_state(run):
    def look() -> str:
        """Look."""
        return "seen"

    def script(body, number):
        return Reply(text="done") if body["messages"][-1]["role"] == "tool" else Reply(tool_calls=[("look", "{}")])

    with Provider(script) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(3, stop="all"), verifier=lambda response: 0.5)
        state = await run(create_agent(chat(provider), [look], middleware=[scaled]))
    usage = state["ttc_usage"]
    assert (usage["calls"], usage["input_tokens"], usage["output_tokens"]) == billed(provider)[:3]
    assert usage["calls"] == 6


@pytest.mark.asyncio
async def test_failed_and_retried_samples_are_billed_and_retried_by_the_engine_alone(run):
    def script(body, number):
        if number == 0:
            return Reply(status=500, headers={"retry-after-ms": "1"})
        return Reply(status=400) if number == 1 else Reply(text="fine")

    with Provider(script) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(3, stop="all"), verifier=prefers("fine"))
        agent = create_agent(chat(provider), middleware=[scaled])
        with ttc.tracking() as bill:
            state = await run(agent)
    assert state["messages"][-1].text == "fine"
    assert provider.billed.requests == bill.total.calls == 4
    assert (bill.total.input_tokens, bill.total.output_tokens) == (provider.billed.prompt, provider.billed.completion)
    assert {headers["x-stainless-retry-count"] for headers in provider.headers} == {"0"}


@pytest.mark.asyncio
async def test_when_every_sample_fails_the_sdk_s_own_error_comes_through(run):
    with Provider(lambda body, number: Reply(status=400, error="no such thing")) as provider:
        scaled = ScaleModelCalls(ttc.SelfConsistency(3))
        with pytest.raises(openai.BadRequestError, match="no such thing") as raised:
            await run(create_agent(chat(provider), middleware=[scaled]))
    assert len(ttc.result_of(raised.value).samples) == 3


@pytest.mark.asyncio
async def test_a_token_budget_clamps_the_request_and_is_never_exceeded(run):
    with Provider(lambda body, number: Reply(text=f"{number} " * 300)) as provider:
        scaled = ScaleModelCalls(
            ttc.BestOfN(50, stop="all"), verifier=lambda response: 0.5, budget=ttc.Budget(tokens=4_000)
        )
        with ttc.tracking() as bill:
            state = await run(create_agent(chat(provider), middleware=[scaled]))
    assert len(state["messages"][-1].text.split()) == 300
    assert spent(bill)[:3] == billed(provider)[:3]
    assert 0 < provider.billed.tokens <= 4_000
    assert provider.billed.requests < 50
    assert all(body["max_completion_tokens"] >= 256 for body in provider.bodies)


@pytest.mark.asyncio
async def test_a_budget_around_the_agent_limits_the_whole_run(run):
    with Provider(lambda body, number: Reply(tool_calls=[("look", "{}")])) as provider:

        def look() -> str:
            """Look."""
            return "again"

        agent = create_agent(chat(provider), [look], middleware=[ScaleModelCalls(ttc.SelfConsistency(2))])
        with pytest.raises(ttc.BudgetExceeded), ttc.policy(budget=ttc.Budget(samples=7)):
            await run(agent)
    assert provider.billed.requests == 7


@pytest.mark.asyncio
async def test_a_global_cache_does_not_make_the_samples_one(run):
    set_llm_cache(InMemoryCache())
    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(3, stop="all"), verifier=prefers("2"))
        for _ in range(2):
            await run(create_agent(chat(provider), middleware=[scaled]))
    assert provider.billed.requests == 6


@pytest.mark.asyncio
async def test_an_answer_from_the_cache_costs_nothing_where_nothing_is_scaled(run):
    set_llm_cache(InMemoryCache())
    with Provider(numbered) as provider, ttc.tracking() as bill:
        for _ in range(2):
            state = await run(create_agent(chat(provider), middleware=[ScaleModelCalls()]))
    assert state["messages"][-1].text == "it is 0"
    assert provider.billed.requests == 1
    assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)


@pytest.mark.asyncio
async def test_a_model_that_reports_no_usage_leaves_the_bill_unknown(run):
    model = GenericFakeChatModel(messages=iter(["a", "b", "b"]))
    with ttc.tracking() as bill:
        state = await run(create_agent(model, middleware=[ScaleModelCalls(ttc.SelfConsistency(3, at_once=1))]))
    assert state["messages"][-1].text == "b"
    assert bill.status == "unknown"
    assert bill.gaps == {"no usage reported": 3}
    assert state["ttc_usage"]["status"] == "unknown"


@pytest.mark.asyncio
async def test_an_agent_inside_a_scaled_function_is_not_scaled_again():
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider), middleware=[ScaleModelCalls(ttc.SelfConsistency(5))])

        @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda text: 0.5, name="asking")
        async def ask() -> str:
            return (await agent.ainvoke(ASK))["messages"][-1].text

        result = await ask.run()
    assert spent(result.bill) == billed(provider)
    assert provider.billed.requests == 3
