"""Whole nodes of graphs, and chains, drawn several times: the graph gets to know the winner and nothing else."""

from __future__ import annotations

import re
import sys

import anyio.to_thread
import pytest
from chats import chat
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, StreamWriter, interrupt
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
from ttc_langchain import scale_node

pytestmark = pytest.mark.slow

ASK = {"messages": [("user", "how many?")]}
BEST = ttc.BestOfN(4, stop="all")
THREAD = {"configurable": {"thread_id": "1"}}


@pytest.fixture(autouse=True)
def _clean():
    fresh()
    yield
    ttc.uninstrument()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=f"it is {number} surely")) as running:
        yield running


def second(update, state=None):
    return 1.0 if " 2 " in update["messages"][-1].text else 0.1


def graph_of(node, **more):
    return StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").compile(**more)


OLD = sys.version_info < (3, 11)
WHY = "LangGraph hands nothing down to async nodes on Python 3.10"


@pytest.fixture(params=[pytest.param("async", marks=pytest.mark.skipif(OLD, reason=WHY)), "sync"])
def kind(request):
    return request.param


@pytest.fixture
def node(kind, provider):
    """A node that answers, says so in the custom stream, and counts its runs."""
    model = chat(provider)

    async def answer(state: MessagesState, config: RunnableConfig, runtime: Runtime, writer: StreamWriter):
        reply = await model.ainvoke(state["messages"], config)
        for write in (get_stream_writer(), runtime.stream_writer, writer):
            write(reply.text)
        return {"messages": [reply]}

    def answer_sync(state: MessagesState, config: RunnableConfig, runtime: Runtime, writer: StreamWriter):
        reply = model.invoke(state["messages"], config)
        for write in (get_stream_writer(), runtime.stream_writer, writer):
            write(reply.text)
        return {"messages": [reply]}

    return answer if kind == "async" else answer_sync


@pytest.fixture
def streamed(kind):
    async def in_task(graph, given=ASK, config=None, **kwargs):
        return [event async for event in graph.astream(given, config, **kwargs)]

    async def in_thread(graph, given=ASK, config=None, **kwargs):
        return await anyio.to_thread.run_sync(lambda: list(graph.stream(given, config, **kwargs)))

    return in_task if kind == "async" else in_thread


@pytest.fixture
def run(kind):
    async def in_task(graph, given=ASK, config=None):
        return await graph.ainvoke(given, config)

    async def in_thread(graph, given=ASK, config=None):
        return await anyio.to_thread.run_sync(graph.invoke, given, config)

    return in_task if kind == "async" else in_thread


@pytest.mark.asyncio
async def test_the_winner_s_update_is_the_node_s_and_every_draw_is_on_the_bill(run, node, provider):
    with ttc.tracking() as bill:
        state = await run(graph_of(scale_node(node, BEST, verifier=second)))
    assert [message.text for message in state["messages"]] == ["how many?", "it is 2 surely"]
    assert provider.billed.requests == bill.total.calls == 4
    assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)


@pytest.mark.asyncio
async def test_streams_show_the_winner_once_with_what_it_wrote_and_no_other_draw(streamed, node):
    events = await streamed(
        graph_of(scale_node(node, BEST, verifier=second)), stream_mode=["messages", "custom", "updates"]
    )
    assert [payload[0].text for mode, payload in events if mode == "messages"] == ["it is 2 surely"]
    assert [payload for mode, payload in events if mode == "custom"] == ["it is 2 surely"] * 3
    assert len([payload for mode, payload in events if mode == "updates"]) == 1
    assert set(re.findall(" [0-9] ", str(events))) == {" 2 "}


@pytest.mark.skipif(OLD, reason=WHY)
@pytest.mark.asyncio
async def test_the_events_of_a_graph_show_the_winner_once_and_no_other_draw(node):
    graph = graph_of(scale_node(node, BEST, verifier=second))
    events = [event async for event in graph.astream_events(ASK, version="v2")]
    of_models = [event["event"] for event in events if "chat_model" in event["event"]]
    assert of_models == ["on_chat_model_start", "on_chat_model_stream", "on_chat_model_end"]
    assert set(re.findall(" [0-9] ", str(events))) == {" 2 "}


@pytest.mark.skipif(OLD, reason=WHY)
@pytest.mark.asyncio
async def test_what_a_winner_streamed_is_shown_word_by_word():
    async def answer(state: MessagesState):
        return {"messages": [await chat(provider).bind(stream=True).ainvoke(state["messages"])]}

    with Provider(lambda body, number: Reply(text=f"it is {number} surely")) as provider:
        graph = graph_of(scale_node(answer, BEST, verifier=second))
        shown = [message async for message, _ in graph.astream(ASK, stream_mode="messages")]
    assert [chunk.text for chunk in shown if chunk.text] == ["it", " is", " 2", " surely"]


@pytest.mark.asyncio
async def test_samples_vote_on_the_last_message_and_verifiers_of_text_judge_it(run):
    judged = []

    class Judge:
        def check(self, output, *, arguments):
            judged.append((output, sorted(arguments)))
            return True

    def script(body, number):
        return Reply(text="the answer is 8" if number else "7")

    with Provider(script) as provider:

        async def answer(state: MessagesState):
            return {"messages": [await chat(provider).ainvoke(state["messages"])]}

        def answer_sync(state: MessagesState):
            return {"messages": [chat(provider).invoke(state["messages"])]}

        for each in (answer, answer_sync):
            provider.reset()
            graph = graph_of(scale_node(each, ttc.SelfConsistency(3, at_once=1), verifier=Judge()))
            state = await (graph.ainvoke(ASK) if each is answer else run_sync(graph))
            assert state["messages"][-1].text == "the answer is 8"
    assert judged == [("7", ["state"]), ("the answer is 8", ["state"]), ("the answer is 8", ["state"])] * 2


async def run_sync(graph):
    return await anyio.to_thread.run_sync(graph.invoke, ASK)


@pytest.mark.asyncio
async def test_a_turn_that_calls_tools_passes_verifiers_of_text():
    class Never:
        def check(self, output, *, arguments):
            return False

    async def calls(state: MessagesState):
        return {"messages": AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])}

    scaled = scale_node(calls, ttc.Single(), verifier=Never(), on_reject="raise")
    with pytest.warns(UserWarning, match="no model call was seen inside"):
        assert (await scaled({"messages": []}))["messages"].tool_calls

    async def says(state: MessagesState):
        return Command(update={"messages": [AIMessage("hm")]}, goto=END)

    with pytest.raises(ttc.NotAccepted), pytest.warns(UserWarning, match="no model call was seen inside"):
        await scale_node(says, ttc.Single(), verifier=Never(), on_reject="raise")({"messages": []})


@pytest.mark.asyncio
async def test_a_chain_is_a_node_that_needs_no_graph(run, kind, provider):
    chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | chat(provider) | StrOutputParser()
    scaled = scale_node(chain, BEST, verifier=lambda text, state: 1.0 if " 2 " in text and state["q"] else 0.1)
    assert await run(scaled, {"q": "how many?"}) == "it is 2 surely"
    assert provider.billed.requests == 4
    if kind == "async":
        assert [chunk async for chunk in scaled.astream({"q": "how many?"})] != []


@pytest.mark.asyncio
async def test_what_does_not_parse_is_dropped(run):
    from pydantic import BaseModel  # noqa: PLC0415  # for this test

    class Count(BaseModel):
        number: int

    texts = ['{"number": "many"}', '{"number": 8}', '{"number": 8}', '{"number": 9}']
    with Provider(lambda body, number: Reply(text=texts[number % 4])) as provider:
        chain = chat(provider).with_structured_output(Count)
        assert await run(scale_node(chain, ttc.SelfConsistency(4, at_once=1)), "how many?") == Count(number=8)
    assert provider.billed.requests == 3  # the vote is decided


@pytest.mark.asyncio
async def test_a_subgraph_is_a_node_too_also_with_a_checkpointer(streamed, node, provider):
    inner = graph_of(node)
    graph = graph_of(scale_node(inner, BEST, verifier=second), checkpointer=InMemorySaver())
    events = await streamed(graph, ASK, THREAD, stream_mode=["messages", "updates"], subgraphs=True)
    assert set(re.findall(" [0-9] ", str(events))) == {" 2 "}
    kept = graph.get_state(THREAD).values["messages"]
    assert [message.text for message in kept] == ["how many?", "it is 2 surely"]
    assert provider.billed.requests == 4


@pytest.mark.asyncio
async def test_only_the_winner_s_command_is_followed(run, provider, kind):
    went = []

    def choose(reply):
        return Command(update={"messages": [reply]}, goto="right" if " 2 " in reply.text else "wrong")

    async def answer(state: MessagesState):
        return choose(await chat(provider).ainvoke(state["messages"]))

    def answer_sync(state: MessagesState):
        return choose(chat(provider).invoke(state["messages"]))

    scaled = scale_node(
        answer if kind == "async" else answer_sync, BEST, verifier=lambda command: second(command.update)
    )
    graph = StateGraph(MessagesState).add_node("n", scaled, destinations=("right", "wrong")).add_edge(START, "n")
    for name in ("right", "wrong"):
        graph.add_node(name, lambda state, name=name: went.append(name))
    state = await run(graph.compile())
    assert went == ["right"]
    assert [message.text for message in state["messages"]] == ["how many?", "it is 2 surely"]


@pytest.mark.asyncio
async def test_only_the_winner_hands_over_to_the_graph_around_it(run, provider, kind):
    def leave(reply):
        return Command(graph=Command.PARENT, update={"messages": [reply]}, goto="after")

    async def answer(state: MessagesState):
        return leave(await chat(provider).ainvoke(state["messages"]))

    def answer_sync(state: MessagesState):
        return leave(chat(provider).invoke(state["messages"]))

    inner = graph_of(answer if kind == "async" else answer_sync)
    scaled = scale_node(inner, BEST, verifier=lambda command: second(command.update))
    graph = StateGraph(MessagesState).add_node("n", scaled, destinations=("after",)).add_edge(START, "n")
    graph.add_node("after", lambda state: {"messages": [("user", "bye")]})
    with ttc.tracking() as bill:
        state = await run(graph.compile())
    assert [message.text for message in state["messages"]] == ["how many?", "it is 2 surely", "bye"]
    assert bill.total.calls == 4


@pytest.mark.asyncio
async def test_an_interrupt_in_a_draw_ends_the_search_and_resuming_starts_it_anew(run, provider, kind):
    async def answer(state: MessagesState):
        reply = await chat(provider).ainvoke(state["messages"])
        return {"messages": [("user", interrupt("may I?")), reply]}

    def answer_sync(state: MessagesState):
        reply = chat(provider).invoke(state["messages"])
        return {"messages": [("user", interrupt("may I?")), reply]}

    scaled = scale_node(answer if kind == "async" else answer_sync, ttc.SelfConsistency(1))
    graph = graph_of(scaled, checkpointer=InMemorySaver())
    with ttc.tracking() as bill:
        assert [each.value for each in (await run(graph, ASK, THREAD))["__interrupt__"]] == ["may I?"]
        state = await run(graph, Command(resume="you may"), THREAD)
    assert [message.text for message in state["messages"]] == ["how many?", "you may", "it is 1 surely"]
    assert bill.total.calls == provider.billed.requests == 2


@pytest.mark.asyncio
async def test_an_interrupt_of_a_verifier_reaches_the_graph(run, node):
    def ask(update):
        return interrupt("is it good?") == "yes"

    scaled = scale_node(node, ttc.BestOfN(1), verifier=ask, on_reject="raise")
    graph = graph_of(scaled, checkpointer=InMemorySaver())
    assert [each.value for each in (await run(graph, ASK, THREAD))["__interrupt__"]] == ["is it good?"]
    assert len((await run(graph, Command(resume="yes"), THREAD))["messages"]) == 2


@pytest.mark.asyncio
async def test_parallel_nodes_share_a_budget_and_a_bill(run, node, provider):
    graph = StateGraph(MessagesState)
    for name in ("one", "two"):
        graph.add_node(name, scale_node(node, ttc.SelfConsistency(4, by=lambda update: 1), name=name))
        graph.add_edge(START, name)
    compiled = graph.compile()
    with ttc.policy(budget=ttc.Budget(samples=5)), ttc.tracking() as bill:
        state = await run(compiled)
    assert len(state["messages"]) == 3
    assert provider.billed.requests == bill.total.calls <= 5


@pytest.mark.asyncio
async def test_switched_off_it_is_the_node_itself(run, streamed, node, provider, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    events = await streamed(graph_of(scale_node(node, BEST, verifier=second)), stream_mode=["custom"])
    assert [payload for _, payload in events] == ["it is 0 surely"] * 3
    assert provider.billed.requests == 1


def test_a_scaled_node_looks_like_the_node():
    async def plan(state: MessagesState, config: RunnableConfig):
        """Plan."""

    import inspect  # noqa: PLC0415  # for this test

    scaled = scale_node(plan, ttc.SelfConsistency(2))
    assert inspect.iscoroutinefunction(scaled)
    assert (scaled.__name__, scaled.__doc__) == ("plan", "Plan.")
    assert inspect.signature(scaled) == inspect.signature(plan)


def test_what_is_no_node_is_refused():
    def plan(state):
        yield state

    with pytest.raises(TypeError, match="plan is a generator: scale the model that it calls, with scale_model"):
        scale_node(plan, ttc.SelfConsistency(2))
    with pytest.raises(TypeError, match="scale_node\\(\\) takes a function of the state or a runnable, got 3"):
        scale_node(3, ttc.SelfConsistency(2))
    with pytest.raises(TypeError, match="asks for invoice, which the function does not have"):
        scale_node(lambda state: state, ttc.BestOfN(2), verifier=lambda update, invoice: True)
