"""Answers in steps over the wire, from servers that go on with a partial answer: what is good is not written twice."""

from __future__ import annotations

import pytest
from openai_clients import CHAT, async_client, blocking_client, exact
from provider import Provider, Reply

import ttc_local
import ttc_middleware as ttc
import ttc_openai
from ttc_openai import _extend

RIGHT = ["one", "two", "three"]
STEPS = ttc.Steps("\n", ends="three$")


@pytest.fixture(autouse=True)
def nothing_known():
    _extend.ways.clear()
    yield
    _extend.ways.clear()


def asked(provider):
    """The requests that are no question of how the server goes on."""
    return [body for body in provider.bodies if body.get("max_tokens") != 1]


def partial(body):
    """What a request wants to be gone on with."""
    last = body["messages"][-1]
    return last["content"] if last["role"] == "assistant" else None


def writing(wrong):
    """Counts to three, a line a step; says "no" in place of a line where `wrong(body, line)`."""

    def script(body, number):
        before = partial(body) or ""
        if body.get("max_tokens") == 1:
            return Reply(text=before + " 42")
        lines = before.split("\n") if before else [""]
        lines = [*lines[:-1], *RIGHT[len(lines) - 1 :]]
        written = "\n".join("no" if wrong(body, line) else line for line in lines[before.count("\n") :])
        written = written.partition("\n")[0] if body.get("stop") else written
        return Reply(text=before + written, spent=len(written.split()))

    return script


def right(sample: ttc.Sample):
    """The share of the lines that are right."""
    lines = sample.text.strip().split("\n")
    return sum(line in RIGHT for line in lines) / len(lines)


def whole(sample: ttc.Sample):
    lines = sample.text.split("\n")
    bad = next((sample.text.index(line) for line in lines if line not in RIGHT), None)
    return ttc.Verdict(0.5, accepted=lines == RIGHT, first_bad=bad)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_large_model_writes_the_steps_again_that_the_small_one_gets_wrong():
    with Provider(writing(lambda body, line: body["model"] == "tiny" and line == "two")) as provider:
        async with async_client(provider) as client:
            strategy = ttc.DraftSteps("tiny", below=0.9, steps=STEPS, value=right)
            scaled = ttc_openai.wrap(client, strategy, verifier=whole)
            with ttc.tracking() as bill:
                reply = await scaled.chat.completions.create(**CHAT)
            exact(bill, provider)
        assert reply.choices[0].message.content == "one\ntwo\nthree"
        assert [(body["model"], partial(body)) for body in asked(provider)] == [
            ("tiny", None),
            ("tiny", "one\n"),
            ("m", "one\n"),
            ("tiny", "one\ntwo\n"),
        ]


@pytest.mark.slow
def test_an_answer_is_written_again_from_the_step_that_the_verdict_names():
    with Provider(writing(lambda body, line: partial(body) is None and line == "two")) as provider:
        with blocking_client(provider) as client, ttc.tracking() as bill:
            scaled = ttc_openai.wrap(client, ttc.Repair(), verifier=whole)
            reply = scaled.chat.completions.create(**CHAT)
            exact(bill, provider)
        assert reply.choices[0].message.content == "one\ntwo\nthree"
        assert [partial(body) for body in asked(provider)] == [None, "one\n"]
        assert (bill.bill.discarded.calls, bill.bill.discarded.output_tokens) == (1, 3)


@pytest.mark.slow
def test_answers_that_begin_badly_are_not_written_on():
    begun = iter("abcd")

    def script(body, number):
        before = partial(body) or ""
        if body["max_tokens"] == 1:
            return Reply(text=before + " 42")
        words = before.split() or [next(begun)]
        left = 8 - len(words)
        more = min(body["max_tokens"] - (not before), left)
        text = " ".join([*words, *words[:1] * more])
        return Reply(text=text, spent=more + (not before), finish="stop" if more == left else "length")

    def early(sample: ttc.Sample):
        return "dcba".index(sample.text[0]) / 4

    with Provider(script) as provider:
        with blocking_client(provider) as client, ttc.tracking() as bill:
            strategy = ttc.SpeculativeRejection(4, fractions=(0.25, 0.5), length=8)
            scaled = ttc_openai.wrap(client, strategy, verifier=early)
            reply = scaled.chat.completions.create(**CHAT, max_tokens=8)
            exact(bill, provider)
        assert reply.choices[0].message.content == " ".join("a" * 8)
        limits = [body["max_tokens"] for body in provider.bodies if body["max_tokens"] != 1]
        assert limits == [2] * 4 + [2] * 2 + [4]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_on_the_embedded_model_every_part_is_gone_on_with_as_it_is():
    pytest.importorskip("xllamacpp", reason="the extra `local`")
    seen = []

    def worth(sample: ttc.Sample):
        seen.append(sample)
        return 0.25 * (hash_of(sample.text) % 4)

    def hash_of(text):
        return sum(map(ord, text))

    messages = [
        {"role": "user", "content": "Add 2 5 1"},
        {"role": "assistant", "content": "2+5=7\n7+1=8"},
        {"role": "user", "content": "Add 3 4 2"},
    ]
    steps = ttc.Steps("\n", max_tokens=12)
    strategies = [
        ttc.EarlyReject(2, below=0.3, after_step=1, depth=3, steps=steps, value=worth),
        ttc.SpeculativeRejection(4, length=12, value=worth),
        ttc.Repair(2, depth=3, steps=steps, value=worth),
        ttc.DraftSteps("draft", "other", depth=3, steps=steps, value=worth),  # one model, whatever it is called
    ]
    with ttc_local.serve() as server, blocking_client_of(server) as client:
        for strategy in strategies:
            scaled = ttc_openai.wrap(client, strategy, verifier=lambda output: False)
            with ttc.tracking() as bill:
                reply = scaled.chat.completions.create(
                    model=server.model, messages=messages, max_tokens=24, temperature=0.8
                )
            assert reply.choices[0].message.content
            assert bill.bill.status == "exact"
    extended = [sample for sample in seen if sample.draw.extend]
    assert extended
    assert all(sample.text.startswith(sample.draw.extend) for sample in extended)


def pieces(*said, word="\n"):
    """A server that says at which word it stopped; each request goes on by what the next of these adds."""
    left = iter(said)

    def script(body, number):
        before = partial(body) or ""
        if body.get("max_tokens") == 1:
            return Reply(text=before + " 42")
        new = next(left)
        return Reply(
            text=before + new, spent=len(new.split()), choice={"stop_reason": word if body.get("stop") else None}
        )

    return script


def in_steps(provider, n=1, **more):
    """The whole story of one call that is searched step by step."""
    strategy = ttc.BeamSearch(n, 1, steps=ttc.Steps("\n"), value=more.pop("value", right))
    with blocking_client(provider) as client, ttc.tracking(results=True) as bill:
        budget = more.pop("budget", None)
        scaled = ttc_openai.wrap(client, strategy, verifier=lambda output: 0.5, budget=budget)
        reply = scaled.chat.completions.create(**{**CHAT, **more})
    exact(bill, provider)
    return reply, bill.results[-1]


def test_a_part_of_an_answer_that_is_all_there_is_says_that_it_is_cut():
    with Provider(pieces("one", "two")) as provider:
        reply, result = in_steps(provider, budget=ttc.Budget(samples=2))
    assert reply.choices[0].message.content == "one\ntwo"
    assert (reply.choices[0].finish_reason, result.stop_reason) == ("length", "budget")
    assert result.winner.output.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stop", ["\n", ["END", "\n"]])
def test_the_callers_own_stop_word_ends_the_answer_though_it_parts_steps_too(stop):
    with Provider(pieces("one", "two")) as provider:
        reply, _ = in_steps(provider, stop=stop)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("one", "stop")


def test_a_tool_call_is_an_answer_and_not_gone_on_with():
    def script(body, number):
        if body.get("max_tokens") == 1:
            return Reply(text=(partial(body) or "") + " 42")
        return Reply(text=None, tool_calls=[("weather", "{}")])

    with Provider(script) as provider:
        reply, result = in_steps(provider, value=lambda output: 0.5)
    assert reply.choices[0].message.tool_calls[0].function.name == "weather"
    assert (len(result.samples), result.winner.whole) == (1, True)


def test_an_answer_may_begin_with_the_separator():
    with Provider(pieces("", "one", "two", "", "")) as provider:
        reply, result = in_steps(provider)
    assert reply.choices[0].message.content.strip() == "one\ntwo"
    assert (result.bill.reasoning.calls, result.bill.discarded.calls) == (0, 0)


def test_a_form_of_the_whole_answer_is_refused_before_anything_is_sent():
    with Provider(pieces("one")) as provider:
        with pytest.raises(TypeError, match=r"cannot have a response_format.*BestOfN"):
            in_steps(provider, response_format={"type": "json_object"})
        assert not asked(provider)
        provider.reset()
        in_steps(provider, response_format={"type": "text"}, budget=ttc.Budget(samples=1))


def test_a_search_by_values_that_all_failed_warns_once():
    def breaks(output):
        raise LookupError("of text, it thinks")

    warned = pytest.warns(UserWarning, match=r"openai was searched blindly.*LookupError: of text")
    with Provider(pieces("one", "two")) as provider, warned:
        in_steps(provider, value=breaks, budget=ttc.Budget(samples=2))


def blocking_client_of(server):
    import openai  # noqa: PLC0415  # only here

    return openai.OpenAI(base_url=server.base_url, api_key="none")
