"""What an agent streams while its samples compete, and LangGraph's own signals."""

from __future__ import annotations

import inspect
import re
import sys

import anyio
import pytest
from chats import chat
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.language_models import GenericFakeChatModel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.types import Command, Interrupt, interrupt
from provider import Provider, Reply

import ttc_middleware as ttc
from ttc_langchain import ScaleModelCalls

pytestmark = pytest.mark.slow

ASK = {"messages": [("user", "how many?")]}


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


def numbered(body, number):
    return Reply(text=f"the number is {number} surely")


def best_of_four():
    return ScaleModelCalls(
        ttc.BestOfN(4, stop="all"), verifier=lambda response: 1.0 if " 2 " in response.result[0].text else 0.1
    )


@pytest.fixture(params=["async", "sync"])
def streamed(request):
    """Everything that an agent streams, either way."""

    async def in_task(agent, **kwargs):
        return [event async for event in agent.astream(ASK, **kwargs)]

    async def in_thread(agent, **kwargs):
        return await anyio.to_thread.run_sync(lambda: list(agent.stream(ASK, **kwargs)))

    return in_task if request.param == "async" else in_thread


@pytest.mark.parametrize("fields", [{}, {"streaming": True}, {"stream_usage": True}], ids=str)
@pytest.mark.asyncio
async def test_only_the_winner_is_streamed_once_and_whole(streamed, fields):
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider, **fields), middleware=[best_of_four()])
        with ttc.tracking() as bill:
            events = await streamed(agent, stream_mode=["messages", "updates"])
    messages = [payload[0] for mode, payload in events if mode == "messages"]
    assert [message.text for message in messages] == ["the number is 2 surely"]
    assert [body.get("stream") for body in provider.bodies] in ([None] * 4, [False] * 4)
    assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)
    updates = [payload["model"] for mode, payload in events if mode == "updates"]
    assert "ttc_usage" in str(updates)


@pytest.mark.asyncio
async def test_a_model_chosen_at_run_time_keeps_its_samples_out_of_the_stream_too(streamed):
    with Provider(numbered) as provider:
        model = init_chat_model(
            "mock", model_provider="openai", configurable_fields=("temperature",), base_url=provider.url, api_key="none"
        )
        events = await streamed(create_agent(model, middleware=[best_of_four()]), stream_mode="messages")
    assert [message.text for message, _ in events] == ["the number is 2 surely"]


@pytest.mark.asyncio
async def test_a_model_without_a_setting_for_it_does_not_stream_to_itself_either(streamed):
    class Fake(GenericFakeChatModel):
        def _stream(self, *args, **kwargs):
            raise AssertionError("a sample streams")

    agent = create_agent(Fake(messages=iter("ab")), middleware=[ScaleModelCalls(ttc.SelfConsistency(2))])
    events = await streamed(agent, stream_mode="messages")
    assert len(events) == 1


def of_models(events):
    return [event for event in events if "chat_model" in event["event"]]


NEW = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="LangGraph hands nothing down to async nodes on Python 3.10"
)


@NEW
@pytest.mark.asyncio
async def test_the_events_of_an_agent_show_the_winner_once_and_no_other_sample():
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider), middleware=[best_of_four()])
        with get_usage_metadata_callback() as seen:
            events = [event async for event in agent.astream_events(ASK, version="v2")]
    assert [event["event"].removeprefix("on_chat_model_") for event in of_models(events)] == ["start", "stream", "end"]
    assert len({event["run_id"] for event in of_models(events)}) == 1
    start, chunk, end = of_models(events)
    assert start["name"] == "ChatOpenAI"
    assert chunk["data"]["chunk"].text == end["data"]["output"].text == "the number is 2 surely"
    assert start["parent_ids"] == chunk["parent_ids"] != []
    assert not {" 0 ", " 1 ", " 3 "} & set(re.findall(" [0-9] ", str(events)))
    assert events[-1]["data"]["output"]["messages"][-1].text == "the number is 2 surely"
    (usage,) = seen.usage_metadata.values()
    assert usage["total_tokens"] == provider.billed.tokens


@NEW
@pytest.mark.asyncio
async def test_a_sample_that_is_tried_again_is_shown_once():
    def script(body, number):
        return Reply(status=500, headers={"retry-after-ms": "1"}) if number == 0 else numbered(body, 2)

    with Provider(script) as provider:
        agent = create_agent(chat(provider), middleware=[best_of_four()])
        events = [event async for event in agent.astream_events(ASK, version="v2")]
    assert [event["event"].removeprefix("on_chat_model_") for event in of_models(events)] == ["start", "stream", "end"]


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.asyncio
async def test_the_message_streams_of_an_agent_show_no_sample():
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider), middleware=[best_of_four()])
        events = agent.astream_events(ASK, version="v3")
        if not inspect.isawaitable(events):
            pytest.skip("this LangGraph has no third version of events")
        run = await events
        texts = [await message.text async for message in run.messages]
    assert texts == ["the number is 2 surely"]
    assert provider.billed.requests == 4


@pytest.mark.asyncio
async def test_without_a_strategy_words_stream_as_they_come_and_are_billed(streamed, request):
    if sys.version_info < (3, 11) and "async" in request.node.name:
        pytest.skip("LangGraph does not hand its stream to async models on Python 3.10")
    with Provider(numbered) as provider:
        agent = create_agent(chat(provider), middleware=[ScaleModelCalls()])
        plain = await streamed(agent, stream_mode="messages")
        assert "stream_options" not in provider.bodies[-1]
        provider.reset()
        with ttc.tracking() as bill:
            billed = await streamed(agent, stream_mode="messages")
    for events, number in ((plain, 0), (billed, 0)):
        assert len(events) > 3
        assert "".join(chunk.text for chunk, _ in events) == f"the number is {number} surely"
    assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)


class Asking(GenericFakeChatModel):
    """A model that asks a person before it answers."""

    async def _agenerate(self, *args, **kwargs):
        said = next(self.messages)
        if said == "?":
            await anyio.sleep(0.01)
            raise GraphInterrupt([Interrupt("may I?")])
        try:
            await anyio.sleep(60)
        except BaseException:
            self.metadata["cancelled"].append(said)
            raise


@pytest.mark.asyncio
async def test_an_interrupt_stops_the_search_and_reaches_the_graph():
    cancelled = []
    model = Asking(messages=iter(["a", "?", "b"]), metadata={"cancelled": cancelled})
    scaled = ScaleModelCalls(ttc.SelfConsistency(3))
    agent = create_agent(model, middleware=[scaled], checkpointer=InMemorySaver())
    state = await agent.ainvoke(ASK, {"configurable": {"thread_id": "1"}})
    assert [each.value for each in state["__interrupt__"]] == ["may I?"]
    assert sorted(cancelled) == ["a", "b"]


def test_an_interrupt_of_a_sync_agent_reaches_the_graph_and_its_answer_the_model():
    class Once(GenericFakeChatModel):
        def _generate(self, *args, **kwargs):
            result = super()._generate(*args, **kwargs)
            result.generations[0].message.content += interrupt("may I?")
            return result

    model = Once(messages=iter(["a", "b", "yes: "]))
    agent = create_agent(model, middleware=[ScaleModelCalls(ttc.SelfConsistency(1))], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    assert [each.value for each in agent.invoke(ASK, config)["__interrupt__"]] == ["may I?"]
    assert [each.value for each in agent.invoke(None, config)["__interrupt__"]] == ["may I?"]
    assert agent.invoke(Command(resume="you may"), config)["messages"][-1].text == "yes: you may"
