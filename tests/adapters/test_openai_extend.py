"""Going on with a partial answer: which servers do, what is asked of them, and what comes back."""

from __future__ import annotations

import anyio.to_thread
import openai
import pytest
from openai_clients import CHAT, async_client, blocking_client, exact
from provider import Provider, Reply, words

import ttc_local
import ttc_middleware as ttc
import ttc_openai
from ttc_openai import _extend

PARTIAL = ttc.Draw(extend="The answer is")


class Extends:
    """Draws once, going on with a text."""

    needs = frozenset({ttc.Capability.EXTEND})

    def __init__(self, *draws):
        self.draws = draws or (PARTIAL,)

    def search(self, call):
        return ttc.best((yield from ttc.gather(self.draws)))

    def __repr__(self):
        return "Extends()"


def goes_on(body, number):
    """As vLLM with its `echo`, and llama.cpp without thinking in its template."""
    last = body["messages"][-1]
    return Reply(text=f"{last['content']} 42" if last["role"] == "assistant" else "I begin anew")


def thinks(body, number):
    """As llama.cpp with a template that has a block for thoughts; the text stays in one with its `reasoning_format`."""
    assert body["reasoning_format"] == "none"
    last = body["messages"][-1]
    if "reasoning_content" not in last:
        return Reply(text=f"<think>\n\n</think>\n\n{last['content']} 42")
    before = f"<think>\n{last['reasoning_content']}"
    closed = body["continue_final_message"] == "content"
    return Reply(text=f"{before}\n</think>\n\n{last['content']} 42" if closed else f"{before} and so")


def begins_anew(body, number):
    return Reply(text="Hello! How can I help?")


@pytest.fixture(autouse=True)
def nothing_known():
    _extend.ways.clear()
    yield
    _extend.ways.clear()


async def answered(provider, strategy, **more):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, strategy)
        return await scaled.chat.completions.create(**CHAT, **more)


@pytest.mark.asyncio
async def test_the_caller_gets_the_whole_answer_and_pays_for_the_rest_of_it():
    with Provider(goes_on) as provider, ttc.tracking() as bill:
        reply = await answered(provider, Extends())
        exact(bill, provider)
        assert type(reply) is openai.types.chat.ChatCompletion
        assert reply.choices[0].message.content == "The answer is 42"
        sent = provider.bodies[-1]
        assert sent["messages"] == [*CHAT["messages"], {"role": "assistant", "content": "The answer is"}]
        assert (sent["continue_final_message"], sent["add_generation_prompt"], sent["echo"]) == (True, False, True)
        assert reply.usage.prompt_tokens == words(sent)


def test_a_server_is_asked_once_how_it_goes_on_with_requests_of_one_token():
    with Provider(goes_on) as provider, blocking_client(provider) as client:
        scaled = ttc_openai.wrap(client, Extends())
        for _ in range(3):
            assert scaled.chat.completions.create(**CHAT).choices[0].message.content == "The answer is 42"
        # With a text, and with thoughts, which this one does not know; then the calls.
        assert [body.get("max_tokens") for body in provider.bodies] == [1, 1, None, None, None]
        assert "how many?" not in str(provider.bodies[:2])
        again = ttc_openai.wrap(client, ttc.Single())
        again.chat.completions.create(**CHAT)
        assert len(provider.bodies) == 6


@pytest.mark.asyncio
@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
async def test_what_is_asked_of_the_server_is_routing_on_the_bill(blocking):
    with Provider(goes_on) as provider, ttc.tracking() as bill:
        if blocking:
            with blocking_client(provider) as client:
                create = ttc_openai.wrap(client, Extends()).chat.completions.create
                await anyio.to_thread.run_sync(lambda: create(**CHAT))
        else:
            await answered(provider, Extends())
        exact(bill, provider)
        assert [body.get("max_tokens") for body in provider.bodies] == [1, 1, None]
        assert (bill.bill.routing.calls, bill.bill.visible.calls, bill.bill.discarded.calls) == (2, 1, 0)


@pytest.mark.asyncio
async def test_what_was_asked_is_on_the_bill_where_the_answer_is_an_error():
    with (
        Provider(lambda body, number: Reply(status=401)) as provider,
        ttc.tracking() as bill,
        pytest.raises(openai.AuthenticationError),
    ):
        await answered(provider, Extends())
    assert bill.bill.routing.calls == bill.bill.total.calls == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("script", [begins_anew, lambda body, number: Reply(status=400, error="unknown echo")])
async def test_a_server_that_begins_anew_is_refused_before_anything_is_drawn(script):
    with Provider(script) as provider:
        for _ in range(2):
            with pytest.raises(
                TypeError, match=r"needs extend, which Chat cannot .* is not continued there, but begun"
            ):
                await answered(provider, Extends())
        assert len(provider.bodies) == 1


@pytest.mark.asyncio
async def test_a_provider_that_is_known_to_begin_anew_is_refused_at_once():
    async with openai.AsyncOpenAI(api_key="x") as client:
        with pytest.raises(TypeError, match="needs extend"):
            ttc_openai.wrap(client, Extends())


@pytest.mark.asyncio
async def test_a_server_that_is_busy_is_asked_again_with_the_next_call():
    def script(body, number):
        return Reply(status=401) if number == 0 else goes_on(body, number)

    with Provider(script) as provider:
        with pytest.raises(openai.AuthenticationError):
            await answered(provider, Extends())
        assert (await answered(provider, Extends())).choices[0].message.content == "The answer is 42"


@pytest.mark.asyncio
async def test_streams_are_refused_since_they_could_not_be_given_whole():
    with Provider(goes_on) as provider:
        with pytest.raises(TypeError, match="needs extend"):
            await answered(provider, Extends(), stream=True)
        assert not provider.bodies


BEAM = ttc.BeamSearch(2, 1, 2, value=lambda output: 0.5)


@pytest.mark.parametrize("other", [ttc.Single(), ttc.BestOfN(2)], ids=repr)
def test_a_policy_can_name_another_strategy_than_one_that_goes_on(other):
    with Provider(begins_anew) as provider, blocking_client(provider) as client:
        scaled = ttc_openai.wrap(client, BEAM, verifier=lambda output: True)
        with ttc.policy(other):
            assert scaled.chat.completions.create(**CHAT).choices[0].message.content
            assert list(scaled.chat.completions.create(**CHAT, stream=True))
            assert scaled.responses.create(model="m", input="how many?").output_text
        assert all("echo" not in body for body in provider.bodies), "nobody asks how the server goes on"


@pytest.mark.asyncio
async def test_inside_a_draw_and_a_verifier_a_client_that_goes_on_makes_plain_calls():
    with Provider(begins_anew) as provider:
        async with async_client(provider) as client:
            scaled = ttc_openai.wrap(client, BEAM, verifier=lambda output: True)

            async def asks(*_):
                return (await scaled.chat.completions.create(**CHAT)).choices[0].message.content.startswith("Hello")

            result = await ttc.scale(ttc.BestOfN(1), verifier=asks)(asks).run()
        assert result.accepted
        assert len(provider.bodies) == 2


@pytest.mark.asyncio
async def test_thoughts_go_where_the_template_has_them_and_come_apart_from_the_answer():
    thought = ttc.Draw(extend="<think>\nsix times seven")
    closed = ttc.Draw(extend="<think>\nsix times seven\n</think>\n\nSo:")
    with Provider(thinks) as provider:
        open_one = (await answered(provider, Extends(thought))).choices[0].message
        last = provider.bodies[-1]
        assert last["messages"][-1] == {"role": "assistant", "content": "", "reasoning_content": "six times seven"}
        assert last["continue_final_message"] is True
        assert open_one.content == "<think>\nsix times seven and so"
        message = (await answered(provider, Extends(closed))).choices[0].message
        last = provider.bodies[-1]
        assert last["messages"][-1] == {"role": "assistant", "content": "So:", "reasoning_content": "six times seven"}
        assert last["continue_final_message"] == "content"
        assert (message.content, message.reasoning_content) == ("So: 42", "six times seven")
        await answered(provider, Extends(PARTIAL))
        assert provider.bodies[-1]["messages"][-1] == {"role": "assistant", "content": "The answer is"}


@pytest.mark.asyncio
async def test_thoughts_that_have_not_begun_are_a_blank_line_which_no_server_takes_for_nothing():
    with Provider(thinks) as provider:
        await answered(provider, Extends(ttc.Draw(extend="<think>\n")))
        assert provider.bodies[-1]["messages"][-1]["reasoning_content"] == "\n"


class _Counting:
    """A server that thinks word by word, one token each, and counts them; it wants to stop after `own` of them."""

    def __init__(self, *own):
        self.own = list(own)

    def __call__(self, body, number):
        last = body["messages"][-1]
        said = last["content"]
        if body.get("max_tokens") == 1 and "stop" not in body:
            return Reply(text=said) if "reasoning_content" not in last else Reply(text="no such thing")
        if "</think>" in said:
            return Reply(text=f"{said} 7", spent=1)
        room = body["max_tokens"]
        new = min(room, self.own.pop(0))
        added = " w" * new
        return Reply(text=said + added, finish="length" if new == room else "stop", spent=new)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("own", "strategy", "asked", "thoughts"),
    [
        # It would go on: ended at the cap, and asked for the answer.
        ((99,), ttc.BudgetForcing(max_tokens=10), [10], 10),
        # It ends early: once more with what is left, as in the paper.
        ((4, 3), ttc.BudgetForcing(max_tokens=10), [10, 6], 7),
        ((4, 99), ttc.BudgetForcing(max_tokens=10), [10, 6], 10),
        # At least so many, in so many steps.
        ((2, 2, 2, 2), ttc.BudgetForcing(min_tokens=5, max_tokens=10, times=9), [10, 8, 6], 6),
        ((6,), ttc.BudgetForcing(min_tokens=5, max_tokens=10, times=9), [10], 6),
        ((1, 1, 1), ttc.BudgetForcing(min_tokens=5, max_tokens=10, times=2), [10, 9, 8], 3),
        ((3,), ttc.BudgetForcing(max_tokens=10, times=0), [10], 3),
    ],
)
async def test_thinking_is_held_to_its_tokens_and_all_of_it_is_on_the_bill(own, strategy, asked, thoughts):
    with Provider(_Counting(*own)) as provider:
        async with async_client(provider) as client:
            scaled = ttc_openai.wrap(client, strategy)
            await scaled.chat.completions.create(**CHAT)  # the server is asked how it goes on
            provider.script.own = list(own)
            provider.reset()
            with ttc.tracking() as bill:
                reply = await scaled.chat.completions.create(**CHAT, max_tokens=500)
        exact(bill, provider)
        *steps, last = provider.bodies
        assert [body["max_tokens"] for body in steps] == asked
        assert all(body["stop"] == ["</think>"] for body in steps)
        assert (last["max_tokens"], last.get("stop")) == (500, None)
        message = reply.choices[0].message
        forced = thoughts == 10
        assert message.content == ("Final Answer: 7" if forced else "7")
        assert message.reasoning_content.split().count("w") == thoughts
        assert message.reasoning_content.count("Wait") == len(steps) - 1
        assert (bill.total.calls, bill.reasoning.calls) == (len(steps) + 1, len(steps))
        assert bill.reasoning.output_tokens == thoughts
        assert bill.discarded.tokens == 0


@pytest.mark.asyncio
async def test_only_the_answer_is_judged_and_bound_to_a_form():
    judged = []

    def right(output):
        judged.append(output.choices[0].message.content)
        return True

    form = {"type": "json_object"}
    with Provider(_Counting(99)) as provider:
        async with async_client(provider) as client:
            scaled = ttc_openai.wrap(client, ttc.BudgetForcing(max_tokens=10), verifier=right)
            await scaled.chat.completions.create(**CHAT, response_format=form, extra_body={"grammar": "root"})
        *_, thinking, answer = provider.bodies
        assert judged == ["7"]  # what is to be JSON does not begin with words
        assert ("response_format" in thinking, "grammar" in thinking) == (False, False)
        assert (answer["response_format"], answer["grammar"]) == (form, "root")


# Steps: whether the model has ended, or a stop word.


def completion(finish, **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": "2 + 2 = 4"}, "finish_reason": finish}
    return {"id": "1", "choices": [{**choice, **more.pop("choice", {})}], "usage": None, **more}


@pytest.mark.parametrize(
    ("answer", "ended", "word"),
    [
        (completion("stop", __verbose={"stop_type": "eos", "stopping_word": ""}), True, None),
        (completion("stop", __verbose={"stop_type": "word", "stopping_word": "\n"}), False, "\n"),
        (completion("length", __verbose={"stop_type": "limit", "stopping_word": ""}), False, None),
        (completion("stop", choice={"stop_reason": None}), True, None),
        (completion("stop", choice={"stop_reason": "\n"}), False, "\n"),
        (completion("length", choice={"stop_reason": None}), False, None),
        (completion("stop"), None, None),
        (completion("stop", __verbose="yes"), None, None),
    ],
    ids=["llama.cpp, eos", "word", "limit", "vLLM, eos", "vLLM, word", "vLLM, limit", "others", "nonsense"],
)
def test_servers_say_whether_the_model_has_ended(answer, ended, word):
    for output in (answer, openai.types.chat.ChatCompletion.construct(**answer)):
        reading = ttc_openai.Chat().read(output)
        assert (reading.ended, reading.stop_word) == (ended, word)


STEP = ttc.Draw(kind="step", stop=("\n",), max_tokens=9)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("own", "sent"), [({}, ["\n"]), ({"stop": "END"}, ["\n", "END"]), ({"stop": ["a", "b"]}, ["\n", "a", "b"])]
)
async def test_a_step_ends_at_the_separator_and_at_the_callers_own_stop_words(own, sent):
    with Provider(goes_on) as provider:
        await answered(provider, Extends(STEP, ttc.Draw(stop=("x",))), **own)
        stops = {tuple(body["stop"]): body.get("verbose") for body in provider.bodies if "stop" in body}
        assert stops == {tuple(sent): True, ("x",): None}


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_embedded_model_is_searched_step_by_step():
    pytest.importorskip("xllamacpp", reason="the extra `local`")
    lines = "Write the names of four colours, one a line."
    strategy = ttc.BeamSearch(4, 2, 3, steps=ttc.Steps("\n", max_tokens=12), value=lambda output: 0.5)
    with ttc_local.serve() as server:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:
            scaled = ttc_openai.wrap(client, strategy, verifier=lambda output: False)
            await scaled.chat.completions.create(
                model=server.model, messages=[{"role": "user", "content": lines}], max_tokens=40, temperature=0.8
            )
            with ttc.tracking() as bill:
                reply = await scaled.chat.completions.create(
                    model=server.model, messages=[{"role": "user", "content": lines}], max_tokens=40, temperature=0.8
                )
    assert reply.choices[0].message.content
    assert bill.bill.status == "exact"
    assert bill.bill.total.calls >= 8
    assert bill.bill.total.cached_tokens > 0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_embedded_model_rolls_out_from_prefixes_as_trees_and_particles_do():
    pytest.importorskip("xllamacpp", reason="the extra `local`")
    steps = ttc.Steps("\n", max_tokens=4)
    request = {"max_tokens": 12, "temperature": 0.8, "extra_body": {"grammar": 'root ::= [1-9] ("\\n" [1-9]){0,2}'}}
    seen = []

    def never(sample: ttc.Sample):
        seen.append((sample.draw.kind, sample.whole, sample.draw.extend, sample.text))
        return 0.5

    with ttc_local.serve() as server:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:
            for strategy in (
                ttc.MCTS(4, 2, 3, steps=steps, value=ttc.MonteCarloValue(2, certify=None)),
                ttc.ParticleFilter(3, 2, steps=steps, value=ttc.MonteCarloValue(2, certify=None)),
            ):
                seen.clear()
                scaled = ttc_openai.wrap(client, strategy, verifier=never)
                with ttc.tracking() as bill:
                    reply = await scaled.chat.completions.create(
                        model=server.model, messages=[{"role": "user", "content": "Sort: 3 1 2"}], **request
                    )
                assert reply.choices[0].message.content
                assert bill.bill.status == "exact"
                assert all(whole for _, whole, _, _ in seen), "a prefix is judged by its roll-outs alone"
                rolled = [(before, text) for kind, _, before, text in seen if kind == "answer"]
                assert len(rolled) >= 2
                assert all(text.startswith(before) for before, text in rolled)
