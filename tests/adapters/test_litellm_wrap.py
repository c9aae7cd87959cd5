"""`ttc_litellm.wrap()`: litellm's functions and routers, scaled."""

from __future__ import annotations

import inspect
from functools import partial

import anyio.to_thread
import pytest
from litellm_calls import MESSAGES, MODELS, asked, exact, its_tests, joined, litellm, text_of
from provider import Provider, Reply

import ttc_litellm
import ttc_middleware as ttc

pytestmark = its_tests

ALL = ttc.BestOfN(4, stop="all")


@pytest.fixture
def provider():
    # Without `n`, or all samples of a request would be alike.
    with Provider(lambda body, number: Reply(text=f"answer {number}", reasoning=7, ignore_n=True)) as provider:
        yield provider


def is_two(reply) -> bool:
    return text_of(reply) == "answer 2"


def router(provider, **options):
    return litellm.Router([{"model_name": "group", "litellm_params": asked(provider)}], **options)


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("instrumented", [False, True])
async def test_an_async_function_is_scaled(provider, model, instrumented):
    if instrumented:
        ttc.instrument()
    acompletion = ttc_litellm.wrap(litellm.acompletion, ALL, verifier=is_two)
    with ttc.tracking() as bill:
        reply = await acompletion(**asked(provider, model, temperature=1))
    assert (type(reply), text_of(reply)) == (litellm.ModelResponse, "answer 2")
    exact(bill, provider)
    assert inspect.iscoroutinefunction(acompletion)
    assert inspect.signature(acompletion) == inspect.signature(litellm.acompletion)


@pytest.mark.parametrize("model", MODELS)
def test_a_function_that_blocks_is_scaled(provider, model):
    completion = ttc_litellm.wrap(litellm.completion, ALL, verifier=is_two)
    with ttc.tracking() as bill:
        assert text_of(completion(**asked(provider, model, temperature=1))) == "answer 2"
    exact(bill, provider)


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
async def test_alike_draws_share_a_request_where_the_model_has_n(model):
    with Provider(lambda body, number: Reply()) as provider:
        acompletion = ttc_litellm.wrap(litellm.acompletion, ALL, verifier=is_two)
        with ttc.tracking() as bill:
            await acompletion(**asked(provider, model, temperature=1))
        assert [body.get("n") for body in provider.bodies] == ([None] * 4 if "claude" in model else [4])
        assert bill.total.calls == len(provider.bodies)


@pytest.mark.asyncio
async def test_a_stream_plays_the_winner(provider):
    acompletion = ttc_litellm.wrap(litellm.acompletion, ALL, verifier=ttc.verifiers.Exact("answer 2"))
    with ttc.tracking() as bill:
        stream = await acompletion(**asked(provider, stream=True, temperature=1))
        assert joined([chunk async for chunk in stream]) == "answer 2"
    exact(bill, provider)


@pytest.mark.asyncio
@pytest.mark.parametrize("responses", [litellm.aresponses, litellm.responses], ids=["async", "sync"])
async def test_the_responses_api_is_scaled(responses):
    pytest.importorskip("mcp", reason="litellm's responses need it")
    with Provider(lambda body, number: Reply(text=f"answer {number}")) as provider:
        scaled = ttc_litellm.wrap(responses, ALL, verifier=lambda reply: "answer 2" in str(reply))
        ask = partial(scaled, model="openai/mock", input="how many?", api_base=provider.url, api_key="x")
        reply = await (ask() if responses is litellm.aresponses else anyio.to_thread.run_sync(ask))
        assert "answer 2" in str(reply)


@pytest.mark.asyncio
async def test_a_function_with_fallbacks_draws_all_of_it():
    def script(body, number):
        return Reply(status=400) if body["model"] == "broken" else Reply(text="answer 2")

    with Provider(script) as provider:
        acompletion = ttc_litellm.wrap(litellm.acompletion, ALL, verifier=ttc.verifiers.Exact("answer 2"))
        with ttc.tracking() as bill:
            reply = await acompletion(**asked(provider, "openai/broken", fallbacks=["openai/mock"]))
        assert text_of(reply) == "answer 2"
        assert bill.total.calls == provider.settled().requests == 8


@pytest.mark.asyncio
async def test_a_router_is_scaled_and_the_given_one_is_not(provider):
    plain = router(provider)
    group = ttc_litellm.wrap(plain, ALL, verifier=ttc.verifiers.Exact("answer 2"))
    assert isinstance(group, litellm.Router)
    with ttc.tracking() as bill:
        reply = await group.acompletion(model="group", messages=MESSAGES)
    assert text_of(reply) == "answer 2"
    exact(bill, provider)
    assert len(provider.bodies) == 4
    await plain.acompletion(model="group", messages=MESSAGES)
    assert len(provider.bodies) == 5
    stream = await group.acompletion(model="group", messages=MESSAGES, stream=True)
    assert joined([chunk async for chunk in stream]).startswith("answer ")
    assert len(provider.bodies) == 9


@pytest.mark.asyncio
async def test_a_routers_only_draw_streams_as_it_comes():
    with Provider(lambda body, number: Reply(text="word " * 200, pause=0.05)) as provider:
        group = ttc_litellm.wrap(router(provider), ttc.Single(), budget=ttc.Budget(tokens=50_000))
        with ttc.tracking() as bill:
            stream = await group.acompletion(model="group", messages=MESSAGES, stream=True, max_tokens=1_000)
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            assert provider.billed.in_flight == 1
            await stream.aclose()
        assert bill.total.calls == 1


def test_a_router_that_blocks_is_scaled(provider):
    group = ttc_litellm.wrap(router(provider), ALL, verifier=ttc.verifiers.Exact("answer 2"))
    assert text_of(group.completion(model="group", messages=MESSAGES)) == "answer 2"
    assert len(provider.bodies) == 4


@pytest.mark.asyncio
async def test_a_wrapped_function_inside_a_draw_is_one_call(provider):
    acompletion = ttc_litellm.wrap(litellm.acompletion, ALL, verifier=is_two)

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda text: 0.5)
    async def answer() -> str:
        return text_of(await acompletion(**asked(provider)))

    result = await answer.run()
    exact(result.bill, provider)
    assert len(provider.bodies) == 2


@pytest.mark.asyncio
async def test_switched_off_it_is_the_function_itself(provider, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    acompletion = ttc_litellm.wrap(litellm.acompletion, ALL, verifier=is_two)
    assert text_of(await acompletion(**asked(provider))) == "answer 0"


@pytest.mark.asyncio
async def test_tool_calls_vote_by_name_and_arguments():
    spellings = ['{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"a": 3}', '{"a": 1,"b":2}', '{"a": 4}']
    with Provider(lambda body, number: Reply(text=None, tool_calls=[("add", spellings[number])])) as provider:
        acompletion = ttc_litellm.wrap(litellm.acompletion, ttc.SelfConsistency(5, at_once=1))
        with ttc.tracking() as bill:
            reply = await acompletion(**asked(provider, tools=[{"type": "function", "function": {"name": "add"}}]))
        assert reply.choices[0].message.tool_calls[0].function.arguments == spellings[0]
        assert len(provider.bodies) == 4  # three of five agree
        exact(bill, provider)


@pytest.mark.asyncio
async def test_the_form_that_is_asked_for_reaches_the_model_and_is_checked():
    form = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    texts = ['{"answer": "many"}', "no JSON", '{"answer": 3}']
    with Provider(lambda body, number: Reply(text=texts[number])) as provider:
        acompletion = ttc_litellm.wrap(
            litellm.acompletion, ttc.BestOfN(3, at_once=1), verifier=ttc.verifiers.Schema(form)
        )  # fmt: skip
        asked_form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": form}}
        reply = await acompletion(**asked(provider, response_format=asked_form))
        assert text_of(reply) == texts[2]
        assert [body["response_format"]["type"] for body in provider.bodies] == ["json_schema"] * 3


@pytest.mark.parametrize("wrong", [litellm.aembedding, print, 3, None], ids=["embedding", "print", "3", "None"])
def test_what_cannot_be_wrapped_is_said(wrong):
    with pytest.raises(
        TypeError, match=r"takes litellm\.acompletion, completion, aresponses, responses or a litellm\.R"
    ):
        ttc_litellm.wrap(wrong, ALL)


def test_a_strategy_that_needs_a_verifier_is_refused_at_once():
    with pytest.raises(TypeError, match="needs a verifier"):
        ttc_litellm.wrap(litellm.acompletion, ALL)
