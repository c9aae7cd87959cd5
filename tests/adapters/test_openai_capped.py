"""Thinking that shows on a stream is held to the tokens asked for; its reader sees one stream with an answer."""

from __future__ import annotations

import pytest
from openai_clients import CHAT, async_client, blocking_client
from provider import Provider, Reply

import ttc_middleware as ttc
import ttc_openai
from ttc_openai import _extend

pytestmark = pytest.mark.filterwarnings("ignore:.*does not take thinking")
THINKS = {"thinking": ttc.Thinking(tokens=20), "backend": "llama.cpp"}


@pytest.fixture(autouse=True)
def nothing_known():
    _extend.ways.clear()
    yield
    _extend.ways.clear()


def chunk(delta, finish=None, **more):
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "1", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": choices, **more}


def thinking(words, *, name="reasoning_content", counts=True, finish="length"):
    """A stream that thinks so many words, of a token each, and comes to an answer only then."""
    first = ("<think>\n" if name == "content" else "") + "w0 "
    said = [first, *(f"w{number} " for number in range(1, words))]
    told = [
        {"timings": {"predicted_n": made, "prompt_n": 7, "cache_n": 3}} if counts else {}
        for made in range(1, words + 1)
    ]
    chunks = [chunk({name: word}, **more) for word, more in zip(said, told, strict=True)]
    after = [chunk({"content": "</think>\n\n"})] if name == "content" else []
    return [*chunks, *after, chunk({"content": "native"}), chunk({}, "stop")]


class Server:
    """Thinks for so many words, whatever it is told; then answers, going on where it can."""

    def __init__(self, words, *, continues=True, **how):
        self.words, self.continues, self.how = words, continues, how

    def __call__(self, body, number):
        last = body["messages"][-1]
        if not body.get("stream"):
            given = last.get("content") if self.continues and "reasoning_content" not in last else "Hello"
            return Reply(text=given)
        if (last["role"] == "assistant" and "</think>" in last["content"]) or "had to end" in last["content"]:
            return Reply(text="forty two", words=1)
        return Reply(chunks=thinking(self.words, **self.how))


async def read(provider, **more):
    """What a reader is shown of thoughts and text, and the chunks."""
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.Single(), **{**THINKS, **more})
        stream = await scaled.chat.completions.create(**CHAT, stream=True, max_tokens=500)
        return shown([event async for event in stream])


def shown(events):
    deltas = [event.choices[0].delta for event in events if event.choices]
    thoughts = "".join(getattr(each, "reasoning_content", None) or "" for each in deltas)
    return thoughts, "".join(each.content or "" for each in deltas), events


@pytest.mark.asyncio
async def test_thoughts_are_cut_at_the_cap_and_the_answer_goes_on_from_them():
    with Provider(Server(400)) as provider, ttc.tracking() as bill:
        thoughts, text, events = await read(provider)
        assert len(thoughts.split()) == 21
        assert text == "forty two"
        assert events[-1].choices[0].finish_reason == "stop"
        first, *_, last = provider.bodies
        assert first["timings_per_token"] is True
        assert last["messages"][-1]["content"] == f"<think>\n{thoughts.strip()}\n</think>\n\nFinal Answer:"
        assert (last["max_tokens"], last["echo"]) == (480, False)
        # The thoughts as the server counted them, and the answer; two short requests found out how to go on.
        assert (bill.total.calls, bill.reasoning.output_tokens) == (4, 21)
        assert bill.status == "exact"


def test_a_client_that_blocks_sees_the_same():
    with Provider(Server(400)) as provider, blocking_client(provider) as client, ttc.tracking() as bill:
        scaled = ttc_openai.wrap(client, ttc.Single(), **THINKS)
        with scaled.chat.completions.create(**CHAT, stream=True, max_tokens=500) as stream:
            thoughts, text, _ = shown(list(stream))
    assert (len(thoughts.split()), text) == (21, "forty two")
    assert (bill.reasoning.output_tokens, bill.status) == (21, "exact")


@pytest.mark.asyncio
async def test_a_server_that_begins_anew_is_asked_again_with_the_thoughts_and_without_thinking():
    with Provider(Server(400, continues=False)) as provider:
        thoughts, text, _ = await read(provider)
        assert text == "forty two"
        asked = provider.bodies[-1]
        assert [each["role"] for each in asked["messages"]] == ["user", "user"]
        assert thoughts.strip() in asked["messages"][-1]["content"]
        assert asked["reasoning_budget_tokens"] == 0


@pytest.mark.asyncio
async def test_thoughts_in_the_text_are_closed_for_the_reader():
    with Provider(Server(400, name="content")) as provider:
        _, text, _ = await read(provider)
    thoughts, _, answer = text.partition("</think>")
    assert len(thoughts.removeprefix("<think>\n").split()) == 21
    assert answer == "\n\nforty two"


@pytest.mark.asyncio
async def test_without_a_running_count_chunks_are_counted_and_the_bill_says_that_it_is_not_exact():
    with Provider(Server(400, counts=False)) as provider, ttc.tracking() as bill:
        thoughts, text, _ = await read(provider)
        assert (len(thoughts.split()), text) == (21, "forty two")
        assert bill.status == "lower bound"


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["reasoning_content", "content"])
async def test_a_stream_that_keeps_to_its_tokens_passes_untouched(name):
    with Provider(Server(20, name=name)) as provider:
        _, text, _ = await read(provider)
        assert text.endswith("native")
        assert len(provider.bodies) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("more", [{"thinking": None}, {"thinking": "low"}, {"thinking": ttc.Thinking(tokens=400)}])
async def test_only_tokens_that_were_asked_for_are_held(more):
    with Provider(Server(300)) as provider:
        _, text, _ = await read(provider, **more)
        assert (text, len(provider.bodies)) == ("native", 1)


@pytest.mark.asyncio
async def test_closing_early_closes_both_parts():
    with Provider(Server(400)) as provider:
        async with async_client(provider) as client:
            scaled = ttc_openai.wrap(client, ttc.Single(), **THINKS)
            async with await scaled.chat.completions.create(**CHAT, stream=True, max_tokens=500) as stream:
                async for event in stream:
                    if event.choices and event.choices[0].delta.content == "forty":
                        break
                else:
                    pytest.fail("the stream has ended before it was left")
        assert provider.settled().requests == len(provider.bodies) >= 2


@pytest.mark.asyncio
async def test_the_answer_is_under_the_budget_of_the_stream():
    with Provider(Server(400)) as provider:
        with pytest.raises(ttc.BudgetExceeded):
            await read(provider, budget=ttc.Budget(tokens=380))
        assert [body.get("stream") for body in provider.bodies] == [True, None, None]  # no room for the answer
