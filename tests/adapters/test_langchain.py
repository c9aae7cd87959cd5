"""An agent whose model calls are scaled, against a counting server: answers, tools, verifiers, order."""

from __future__ import annotations

import contextvars
import operator
import subprocess
import sys
from typing import Annotated

import anyio.to_thread
import pytest
from chats import chat
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelResponse,
    ModelRetryMiddleware,
)
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Command
from provider import Provider, Reply, fresh
from typing_extensions import NotRequired

import ttc_middleware as ttc
from ttc_langchain import ScaleModelCalls, _inner

ASK = {"messages": [("user", "how many?")]}


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


@pytest.fixture(params=["async", "sync"])
def run(request):
    """Run an agent, either way."""

    async def in_task(agent, ask=ASK):
        return await agent.ainvoke(ask)

    async def in_thread(agent, ask=ASK):
        return await anyio.to_thread.run_sync(agent.invoke, ask)

    return in_task if request.param == "async" else in_thread


def numbered(body, number):
    """Each request gets an answer of its own, and thinks longer for it."""
    return Reply(text=f"it is {number}", reasoning=10 * number)


def prefers(word):
    return lambda response: 1.0 if word in response.result[0].text else 0.1


@pytest.mark.asyncio
async def test_tools_run_once_and_only_those_of_the_winner(run):
    ran = []

    def order(cups: int) -> str:
        """Order tea."""
        ran.append(cups)
        return f"{cups} ordered"

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        return Reply(text=None, tool_calls=[("order", f'{{"cups": {2 if number else 3}}}')])

    with Provider(script) as provider:
        agent = create_agent(chat(provider), [order], middleware=[ScaleModelCalls(ttc.SelfConsistency(4))])
        with ttc.tracking() as bill:
            state = await run(agent)
    assert ran == [2]
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["ttc_usage"]["calls"] == bill.total.calls


@pytest.mark.asyncio
async def test_retry_middleware_before_it_repeats_the_whole_search(run):
    def script(body, number):
        return Reply(status=400) if number < 2 else Reply(text="fine")

    with Provider(script) as provider:
        retry = ModelRetryMiddleware(max_retries=1, retry_on=(Exception,), initial_delay=0)
        agent = create_agent(chat(provider), middleware=[retry, ScaleModelCalls(ttc.SelfConsistency(2))])
        state = await run(agent)
    assert state["messages"][-1].text == "fine"
    assert provider.billed.requests == 4


@pytest.mark.asyncio
async def test_parallel_samples_of_a_cold_model_are_warmed_up(run):
    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.SelfConsistency(3))
        await run(create_agent(chat(provider, temperature=0), middleware=[scaled]))
    assert sorted(body["temperature"] for body in provider.bodies) == [0, 0.8, 0.8]


@pytest.mark.asyncio
async def test_a_revision_is_asked_for_in_a_message_of_the_user(run):
    def verify(response):
        right = "right" in response.result[0].text
        return ttc.Verdict(1.0 if right else 0.0, feedback="say it right")

    def script(body, number):
        return Reply(text="right" if number else "wrong")

    with Provider(script) as provider:
        agent = create_agent(chat(provider), middleware=[ScaleModelCalls(ttc.Refine(2), verifier=verify)])
        state = await run(agent)
    assert [message.text for message in state["messages"]] == ["how many?", "right"]
    assert provider.bodies[1]["messages"][-1]["role"] == "user"
    assert "say it right" in provider.bodies[1]["messages"][-1]["content"]


@pytest.mark.asyncio
async def test_thinking_is_asked_for_in_the_provider_s_words(run):
    with Provider() as provider:
        await run(create_agent(chat(provider), middleware=[ScaleModelCalls(thinking="medium")]))
    assert [body["reasoning_effort"] for body in provider.bodies] == ["medium"]


@pytest.mark.asyncio
async def test_a_model_that_cannot_be_told_how_much_to_think_says_so(run):
    agent = create_agent(GenericFakeChatModel(messages=iter(["hm"])), middleware=[ScaleModelCalls(thinking="low")])
    with pytest.raises(TypeError, match="thinking='low': GenericFakeChatModel has no setting"):
        await run(agent)


@pytest.mark.asyncio
async def test_a_verifier_may_ask_for_what_is_in_the_request(run):
    given = {}

    def verify(response: ModelResponse, messages, state, system_message):
        given.update(messages=messages, state=state, system=system_message.text)
        return isinstance(response, ModelResponse)

    with Provider() as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(2), verifier=verify)
        await run(create_agent(chat(provider), system_prompt="be brief", middleware=[scaled]))
    assert [message.text for message in given["messages"]] == ["how many?"]
    assert given["state"]["messages"] == given["messages"]
    assert given["system"] == "be brief"


@pytest.mark.asyncio
async def test_a_verifier_may_take_the_sample(run):
    def verify(sample: ttc.Sample):
        return sample.text == "it is 1"

    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(2, at_once=1), verifier=verify)
        state = await run(create_agent(chat(provider), middleware=[scaled]))
    assert state["messages"][-1].text == "it is 1"


@pytest.mark.asyncio
async def test_a_verifier_of_text_lets_turns_that_call_tools_pass(run):
    judged = []

    class Says42:
        def check(self, output, *, arguments):
            judged.append(output)
            return "42" in output

    def look() -> str:
        """Look."""
        return "42"

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="42" if number > 1 else "41")
        return Reply(text="let me look", tool_calls=[("look", "{}")])

    with Provider(script) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(3, at_once=1), verifier=Says42(), on_reject="raise")
        state = await run(create_agent(chat(provider), [look], middleware=[scaled]))
    assert state["messages"][-1].text == "42"
    assert judged == ["41", "42"]


def test_a_verifier_that_asks_for_what_is_not_there_fails_at_once():
    with pytest.raises(TypeError, match="asks for invoice, which the function does not have"):
        ScaleModelCalls(ttc.BestOfN(2), verifier=lambda response, invoice: True)


def test_a_strategy_without_its_verifier_fails_at_once():
    with pytest.raises(TypeError, match="needs a verifier"):
        ScaleModelCalls(ttc.BestOfN(2))


@pytest.mark.asyncio
async def test_nothing_accepted_raises_where_that_is_asked(run):
    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(2), verifier=lambda response: False, on_reject="raise")
        with pytest.raises(ttc.NotAccepted):
            await run(create_agent(chat(provider), middleware=[scaled]))


@pytest.mark.asyncio
async def test_without_a_strategy_a_policy_decides(run):
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider), middleware=[ScaleModelCalls()])
        plain = await run(agent)
        assert provider.billed.requests == 1
        assert not plain["ttc_usage"]
        with ttc.policy(ttc.SelfConsistency(3, by=lambda response: response.result[0].text)):
            await run(agent)
    assert provider.billed.requests == 4


@pytest.mark.asyncio
async def test_switched_off_it_passes_everything_through(run, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    with Provider(numbered) as provider:
        state = await run(create_agent(chat(provider), middleware=[ScaleModelCalls(ttc.SelfConsistency(5))]))
    assert provider.billed.requests == 1
    assert state["messages"][-1].text == "it is 0"


class Numbering(AgentMiddleware):
    """Writes to the state which answer it saw, from inside each sample."""

    class State(AgentState):
        seen: NotRequired[Annotated[list, operator.add]]

    state_schema = State

    def __init__(self):
        self.runs = 0

    def said(self, response):
        self.runs += 1
        return ExtendedModelResponse(response, Command(update={"seen": [response.result[0].text]}))

    def wrap_model_call(self, request, handler):
        return self.said(handler(request))

    async def awrap_model_call(self, request, handler):
        return self.said(await handler(request))


class Outer(Numbering):
    """The same, under a name of its own."""


@pytest.mark.parametrize("many", [1, 2])
@pytest.mark.asyncio
async def test_what_middleware_inside_writes_to_the_state_is_written_once_and_by_the_winner(run, many):
    inner = [Numbering(), Outer()][:many]
    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(4, stop="all"), verifier=prefers("1"))
        state = await run(create_agent(chat(provider), middleware=[scaled, *inner]))
    assert [each.runs for each in inner] == [4] * many
    assert state["seen"] == ["it is 1"] * many
    assert state["ttc_usage"]["calls"] == 4


@pytest.mark.asyncio
async def test_middleware_around_the_search_writes_once_too(run):
    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(3, stop="all"), verifier=prefers("1"))
        state = await run(create_agent(chat(provider), middleware=[Outer(), scaled, Numbering()]))
    assert state["seen"] == ["it is 1"] * 2


@pytest.mark.asyncio
async def test_where_langchain_keeps_writes_together_listing_it_before_others_warns(run, monkeypatch):
    fresh()
    monkeypatch.setattr(_inner, "_LIST", "a name of some other version")
    with Provider(numbered) as provider:
        scaled = ScaleModelCalls(ttc.BestOfN(2, stop="all"), verifier=prefers("1"), name="first")
        with pytest.warns(UserWarning, match="first is not the last middleware"):
            await run(create_agent(chat(provider), middleware=[scaled, Numbering()]))


MINE: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="nobody's")


@pytest.mark.asyncio
async def test_the_caller_s_context_variables_reach_every_sample(run):
    seen = []

    class Model(GenericFakeChatModel):
        def _generate(self, *args, **kwargs):
            seen.append(MINE.get())
            return super()._generate(*args, **kwargs)

    MINE.set("hers")
    model = Model(messages=iter(["a", "b", "c"]))
    await run(create_agent(model, middleware=[ScaleModelCalls(ttc.SelfConsistency(3, at_once=1))]))
    assert seen == ["hers"] * 3


@pytest.mark.asyncio
async def test_a_sync_agent_inside_a_running_loop_works_and_warns():
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider), middleware=[ScaleModelCalls(ttc.SelfConsistency(3), name="in a loop")])
        with pytest.warns(UserWarning, match="in a loop is synchronous and was called inside a running event loop"):
            state = agent.invoke(ASK)
    assert state["messages"][-1].text.startswith("it is")
    assert provider.billed.requests == 3


def test_without_langchain_the_import_says_what_to_install():
    script = "import sys; sys.modules['langchain'] = None\nimport ttc_langchain"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (
        'ImportError: ttc_langchain needs langchain >=1.2.11,<2: pip install "ttc-middleware[langchain]"'
        in ended.stderr
    )


@pytest.mark.asyncio
async def test_the_winner_is_the_very_object_that_the_model_returned(run):
    given = [AIMessage("a"), AIMessage("b")]
    model = GenericFakeChatModel(messages=iter(given))
    scaled = ScaleModelCalls(ttc.BestOfN(2, at_once=1), verifier=prefers("b"))
    state = await run(create_agent(model, middleware=[scaled]), {"messages": [HumanMessage("which?")]})
    assert state["messages"][-1] is given[1]
