"""The callback handler that only counts, and votes on tool calls."""

from __future__ import annotations

import itertools
import json
from functools import partial

import anyio.to_thread
import chats
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage
from provider import Provider, Reply

import ttc_middleware as ttc
from ttc_langchain import ObserveModelCalls, ScaleModelCalls, scale_model, tool_calls
from ttc_middleware import _context

pytestmark = pytest.mark.slow

ASK = {"messages": [("user", "how many?")]}
chat = partial(chats.chat, stream_usage=True)


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


@pytest.fixture(params=[True, False], ids=["instrumented", "not instrumented"])
def provider(request, monkeypatch):
    monkeypatch.setattr(_context.SETTINGS, "instrument", request.param)
    with Provider(lambda body, number: Reply(text=f"it is {number} surely", reasoning=number)) as running:
        running.instrumented = request.param
        yield running


def told(bill):
    return bill.status, bill.total.calls, bill.total.tokens, bill.total.reasoning_tokens


def paid(provider):
    return "exact", provider.billed.requests, provider.billed.tokens, provider.billed.reasoning


@pytest.mark.asyncio
async def test_each_call_is_counted_once_whether_or_not_the_sdk_is_instrumented(provider):
    watching = {"callbacks": [ObserveModelCalls()]}
    model = chat(provider)
    with ttc.tracking() as bill:
        await model.ainvoke("hi", watching)
        await anyio.to_thread.run_sync(model.invoke, "hi", watching)
        assert [chunk async for chunk in model.astream("hi", watching)]
        assert await anyio.to_thread.run_sync(lambda: list(model.stream("hi", watching)))
        await model.abatch(["hi", "ho"], watching)
    assert provider.billed.requests == 6
    assert told(bill) == paid(provider)


@pytest.mark.asyncio
async def test_what_is_scaled_is_not_counted_again(provider):
    watching = {"callbacks": [ObserveModelCalls()]}
    with ttc.tracking() as bill:
        await scale_model(chat(provider), ttc.SelfConsistency(3)).ainvoke("hi", watching)
        await create_agent(chat(provider), middleware=[ScaleModelCalls(ttc.SelfConsistency(3))]).ainvoke(ASK, watching)
    assert provider.billed.requests >= 4
    assert told(bill) == paid(provider)


@pytest.mark.asyncio
async def test_a_draw_s_calls_are_on_its_sample_and_a_budget_notices_them(provider):
    watching = {"callbacks": [ObserveModelCalls()]}

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda text: 0.5, name="watched")
    async def ask() -> str:
        return (await chat(provider).ainvoke("hi", watching)).text

    result = await ask.run()
    assert told(result.bill) == paid(provider)
    assert [sample.usage.calls for sample in result.samples] == [1, 1, 1]
    provider.reset()
    with pytest.raises(ttc.BudgetExceeded), ttc.policy(budget=ttc.Budget(tokens=1_000)):
        for _ in range(1_000):
            await chat(provider).ainvoke("hi", watching)
            await ask()
    assert 500 < provider.billed.tokens < 1_200


@pytest.mark.asyncio
async def test_outside_of_everything_it_does_nothing():
    handler = ObserveModelCalls()
    model = GenericFakeChatModel(messages=iter([AIMessage("a")]))
    assert (await model.ainvoke("hi", {"callbacks": [handler]})).text == "a"
    assert not handler._calls


@pytest.mark.asyncio
async def test_a_model_that_reports_nothing_leaves_a_gap_and_one_that_fails_is_left_out():
    handler = ObserveModelCalls()
    with ttc.tracking() as bill:
        await GenericFakeChatModel(messages=iter([AIMessage("a")])).ainvoke("hi", {"callbacks": [handler]})
        await FakeListLLM(responses=["a"]).ainvoke("hi", {"callbacks": [handler]})
        with pytest.raises(RuntimeError):  # no more messages
            await GenericFakeChatModel(messages=iter([])).ainvoke("hi", {"callbacks": [handler]})
    assert (bill.status, bill.gaps) == ("unknown", {"no usage reported": 2})
    assert not handler._calls


@pytest.mark.asyncio
async def test_each_call_of_a_batch_is_counted():
    messages = [[AIMessage("hi")], [AIMessage("ho")], [AIMessage("ha")]]
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    model = GenericFakeChatModel(messages=iter([AIMessage("a", usage_metadata=usage)] * 4))
    with ttc.tracking() as bill:
        await model.agenerate(messages, callbacks=[ObserveModelCalls()])
        model.generate(messages[:1], callbacks=[ObserveModelCalls()])
    assert (bill.status, bill.total.calls, bill.total.tokens) == ("exact", 4, 12)


@pytest.mark.asyncio
async def test_two_streams_that_are_read_in_turn_are_both_counted():
    def messages():
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        return iter([AIMessage("a b", usage_metadata=usage)])

    watching = {"callbacks": [ObserveModelCalls()]}
    with ttc.tracking() as bill:
        one, two = (ReportingUsage(messages=messages()).stream("hi", watching) for _ in range(2))
        for _ in itertools.zip_longest(one, two):
            pass
    assert (bill.status, bill.total.calls, bill.total.tokens) == ("exact", 2, 6)


class ReportingUsage(GenericFakeChatModel):
    """Streams, with its usage on the last chunk."""

    def _stream(self, *args, **kwargs):
        message = next(self.messages)
        for word in (*message.text.split(), ""):
            from langchain_core.messages import AIMessageChunk  # noqa: PLC0415  # for this model
            from langchain_core.outputs import ChatGenerationChunk  # noqa: PLC0415  # as above

            usage = None if word else message.usage_metadata
            yield ChatGenerationChunk(message=AIMessageChunk(word, usage_metadata=usage))


def sample(*calls, text=None, status="answer"):
    return ttc.Sample(
        index=0,
        draw=ttc.Draw(),
        call=ttc.Call(name="asking"),
        output=None,
        text=text,
        status=status,
        tool_calls=tuple(ttc.ToolCall(name, arguments) for name, arguments in calls),
    )


def test_tool_calls_agree_by_name_and_by_value_of_their_arguments():
    vote = tool_calls()
    two = vote(sample(("order", '{"cups": 2, "to": {"room": 1.0}}')))
    assert two == vote(sample(("order", ' {"to":{"room":1},"cups":2.0}')))
    assert two != vote(sample(("order", '{"cups": "2", "to": {"room": 1}}')))
    assert two != vote(sample(("cancel", '{"cups": 2, "to": {"room": 1}}')))
    assert vote(sample(("order", '{"hot": true}'))) != vote(sample(("order", '{"hot": 1}')))


def test_the_order_of_parallel_calls_does_not_matter_but_their_number_does():
    vote, one, other = tool_calls(), ("order", '{"cups": 1}'), ("order", '{"cups": 2}')
    assert vote(sample(one, other)) == vote(sample(other, one))
    assert vote(sample(one, one)) != vote(sample(one))


def test_excluded_arguments_make_no_difference_at_their_place_alone():
    vote = tool_calls(exclude=("id", "event.id", "guests.seat"))
    first = '{"id": 1, "event": {"id": 2, "at": 9}, "guests": [{"name": "A", "seat": 1}, {"name": "B", "seat": 2}]}'
    same = '{"event": {"at": 9}, "guests": [{"name": "A", "seat": 7}, {"name": "B"}], "id": 8}'
    other = '{"event": {"at": 9, "by": {"id": 5}}, "guests": [{"name": "A"}, {"name": "B"}]}'
    assert vote(sample(("plan", first))) == vote(sample(("plan", same)))
    assert vote(sample(("plan", first))) != vote(sample(("plan", other)))


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), PLAIN | st.lists(PLAIN, max_size=3), max_size=4))
def test_however_arguments_are_written_they_are_the_same(arguments):
    vote = tool_calls()
    written = [
        json.dumps(arguments, ensure_ascii=escaped, indent=indent) for escaped in (True, False) for indent in (None, 2)
    ]
    backwards = json.dumps(dict(reversed(arguments.items())))
    assert len({vote(sample(("order", each))) for each in (*written, backwards)}) == 1


def test_without_tool_calls_the_stated_answer_votes_and_what_is_no_answer_abstains():
    vote = tool_calls()
    assert vote(sample(text="so the answer is 8.0")) == vote(sample(text="8"))
    assert vote(sample(("order", "{}"), status="abstained")) is None


@pytest.mark.parametrize("exclude", ["id", (3,), ("",)], ids=repr)
def test_what_is_no_list_of_names_is_refused(exclude):
    with pytest.raises(TypeError, match="takes names of arguments"):
        tool_calls(exclude=exclude)


@pytest.mark.asyncio
async def test_an_agent_votes_on_its_tool_calls_and_the_winner_s_tool_runs_once():
    ran = []

    def order(cups: int, note: str) -> str:
        """Order tea."""
        ran.append((cups, note))
        return "ordered"

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        cups = 3 if number == 0 else 2
        return Reply(text=None, tool_calls=[("order", json.dumps({"cups": cups, "note": f"note {number}"}))])

    with Provider(script) as provider:
        vote = ttc.SelfConsistency(4, by=tool_calls(exclude=("note",)), at_once=1)
        agent = create_agent(
            chat(provider),
            [order],
            middleware=[ScaleModelCalls(vote)],
        )
        state = await agent.ainvoke(ASK)
    assert ran == [(2, "note 1")]
    assert state["messages"][-1].text == "done"
