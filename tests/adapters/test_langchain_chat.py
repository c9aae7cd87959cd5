"""A scaled chat model, in chains: it is the model that it was, and what it costs is told once."""

from __future__ import annotations

import anyio
import anyio.to_thread
import openai
import pytest
from chats import chat
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_openai import ChatOpenAI
from provider import Provider, Reply
from pydantic import BaseModel

import ttc_middleware as ttc
from ttc_langchain import scale_model

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _clean():
    yield
    set_llm_cache(None)
    ttc.uninstrument()


@pytest.fixture(params=["async", "sync"])
def ask(request):
    """Ask a model or a chain, either way."""

    async def in_task(runnable, question="how many?", config=None):
        return await runnable.ainvoke(question, config)

    async def in_thread(runnable, question="how many?", config=None):
        return await anyio.to_thread.run_sync(runnable.invoke, question, config)

    return in_task if request.param == "async" else in_thread


@pytest.fixture(params=["async", "sync"])
def stream(request):
    """All chunks of a stream, either way."""

    async def in_task(runnable, question="how many?"):
        return [chunk async for chunk in runnable.astream(question)]

    async def in_thread(runnable, question="how many?"):
        return await anyio.to_thread.run_sync(lambda: list(runnable.stream(question)))

    return in_task if request.param == "async" else in_thread


def numbered(body, number):
    return Reply(text=f"it is {number} surely", reasoning=10 * number)


def second(message):
    return 1.0 if " 2 " in message.text else 0.1


def best_of_four(model, **more):
    return scale_model(model, ttc.BestOfN(4, stop="all"), verifier=second, **more)


@pytest.mark.asyncio
async def test_a_chain_gets_the_winner_and_every_sample_is_on_the_bill_once(ask):
    with Provider(numbered) as provider:
        chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | best_of_four(chat(provider)) | StrOutputParser()
        with ttc.tracking() as bill:
            text = await ask(chain, {"q": "how many?"})
    assert text == "it is 2 surely"
    assert provider.billed.requests == bill.total.calls == 4
    assert (bill.status, bill.total.tokens) == ("exact", provider.billed.tokens)


@pytest.mark.asyncio
async def test_callbacks_see_one_call_whose_usage_is_that_of_all_samples(ask):
    with Provider(numbered) as provider:
        with get_usage_metadata_callback() as seen:
            message = await ask(best_of_four(chat(provider)))
        billed = provider.billed
    (usage,) = seen.usage_metadata.values()
    assert usage == message.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"]) == (billed.prompt, billed.completion)
    assert usage["output_token_details"] == {"reasoning": billed.reasoning}
    told = message.response_metadata["ttc"]
    assert told["winner"]["output_token_details"]["reasoning"] == 20
    assert (told["calls"], told["status"]) == (4, "exact")
    assert told["hidden_tokens"] == billed.tokens - (told["winner"]["total_tokens"] - 20)
    assert message.response_metadata["finish_reason"] == "stop"


@pytest.mark.asyncio
async def test_one_sample_is_the_message_that_the_model_sent(ask):
    given = AIMessage("a")
    model = GenericFakeChatModel(messages=iter([given]))
    assert await ask(scale_model(model, ttc.Single())) is given


def test_a_scaled_model_is_of_the_same_type_and_the_given_one_stays_as_it_was():
    model = ChatOpenAI(model="mock", api_key="none", temperature=0.3)
    scaled = scale_model(model, ttc.SelfConsistency(3))
    assert isinstance(scaled, ChatOpenAI)
    assert type(model) is ChatOpenAI
    assert (type(scaled).__name__, type(scaled).__module__) == (type(model).__name__, type(model).__module__)
    assert scaled.temperature == 0.3
    assert scaled.lc_id() == model.lc_id()
    assert scaled.model_dump() == model.model_dump()


@pytest.mark.asyncio
async def test_copies_and_configured_alternatives_of_a_scaled_model_are_scaled(ask):
    with Provider(numbered) as provider:
        scaled = best_of_four(chat(provider))
        message = await ask(scaled.model_copy(update={"temperature": 0.7}))
        assert [body["temperature"] for body in provider.bodies] == [0.7] * 4
        provider.reset()
        from langchain_core.runnables import ConfigurableField  # noqa: PLC0415  # for this test

        chosen = scaled.configurable_fields(temperature=ConfigurableField(id="t"))
        await ask(chosen, config={"configurable": {"t": 0.9}})
    assert message.text == "it is 2 surely"
    assert [body["temperature"] for body in provider.bodies] == [0.9] * 4


class Count(BaseModel):
    number: int


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.asyncio
async def test_structured_output_is_voted_on_and_judged_as_json(ask, method):
    judged = []

    class Judge:
        def check(self, output, *, arguments):
            judged.append(output)
            return "8" in output

    def script(body, number):
        text = f'{{"number": {7 if number % 2 else 8}}}'
        return Reply(text=text) if "response_format" in body else Reply(text=None, tool_calls=[("Count", text)])

    with Provider(script) as provider:
        voted = scale_model(chat(provider), ttc.SelfConsistency(5, at_once=1))
        assert await ask(voted.with_structured_output(Count, method=method)) == Count(number=8)
        provider.reset()
        best = scale_model(chat(provider), ttc.BestOfN(4, at_once=1), verifier=Judge())
        assert await ask(best.with_structured_output(Count, method=method)) == Count(number=8)
    assert [text.replace(" ", "") for text in judged] == ['{"number":8}']


@pytest.mark.asyncio
async def test_what_the_sdk_could_not_parse_is_no_answer_but_on_the_bill(ask):
    texts = ['{"number": 8', '{"number": "many"}', '{"number": 8}', '{"number": 8}']
    with Provider(lambda body, number: Reply(text=texts[number])) as provider:
        scaled = scale_model(chat(provider), ttc.BestOfN(4, stop="all", at_once=1), verifier=lambda message: 0.5)
        with ttc.tracking() as bill:
            assert await ask(scaled.with_structured_output(Count)) == Count(number=8)
        assert (bill.status, bill.total.calls, bill.total.tokens) == ("exact", 4, provider.billed.tokens)


@pytest.mark.asyncio
async def test_a_verifier_of_text_lets_tool_calls_pass_and_one_that_is_a_function_gets_the_message(ask):
    def look(at: str) -> str:
        """Look."""
        return at

    class Never:
        def check(self, output, *, arguments):
            return False

    given = {}

    def verify(message, messages, tools, tool_choice, model):
        given.update(message=message, asked=messages[0].text, tools=tools, choice=tool_choice, kind=type(model))
        return True

    with Provider(lambda body, number: Reply(text=None, tool_calls=[("look", '{"at": "it"}')])) as provider:
        strict = scale_model(chat(provider), ttc.BestOfN(2), verifier=Never(), on_reject="raise")
        message = await ask(strict.bind_tools([look]))
        assert message.tool_calls[0]["args"] == {"at": "it"}
        await ask(scale_model(chat(provider), ttc.BestOfN(2), verifier=verify).bind_tools([look]))
    assert given["message"].tool_calls[0]["name"] == "look"
    assert given["tools"][0]["function"]["name"] == "look"
    assert (given["asked"], given["choice"], given["kind"]) == ("how many?", None, ChatOpenAI)


@pytest.mark.asyncio
async def test_a_stream_of_several_samples_is_the_winner_in_one_chunk(stream):
    with Provider(numbered) as provider:
        chunks = await stream(best_of_four(chat(provider)))
        assert [chunk.text for chunk in chunks] == ["it is 2 surely"]
        assert not any(body.get("stream") for body in provider.bodies)
        assert chunks[0].usage_metadata["total_tokens"] == provider.billed.tokens


@pytest.mark.parametrize("strategy", [None, ttc.Single()], ids=str)
@pytest.mark.asyncio
async def test_a_stream_of_one_sample_passes_through_and_is_billed(stream, strategy):
    with Provider(numbered) as provider:
        with ttc.tracking() as bill:
            chunks = await stream(scale_model(chat(provider), strategy))
        assert [chunk.text for chunk in chunks if chunk.text] == ["it", " is", " 0", " surely"]
        assert (bill.status, bill.total.tokens, bill.total.calls) == ("exact", provider.billed.tokens, 1)


@pytest.mark.asyncio
async def test_a_stream_that_is_left_is_billed_for_what_came():
    with Provider(numbered) as provider, ttc.tracking() as bill:
        flow = scale_model(chat(provider)).astream("how many?")
        async for chunk in flow:
            if chunk.text:
                break
        await flow.aclose()
        del flow
        await anyio.wait_all_tasks_blocked()  # LangChain leaves it to the loop to close what it reads from
    assert (bill.status, bill.gaps) == ("lower bound", {"cut": 1})


@pytest.mark.asyncio
async def test_the_events_of_a_scaled_model_are_those_of_one_call():
    with Provider(numbered) as provider:
        events = [each async for each in best_of_four(chat(provider)).astream_events("how many?", version="v2")]
    assert [each["event"] for each in events] == ["on_chat_model_start", "on_chat_model_stream", "on_chat_model_end"]
    assert events[-1]["data"]["output"].text == "it is 2 surely"


@pytest.mark.asyncio
async def test_a_cache_keeps_winners_apart_from_plain_answers_and_collapses_no_samples(ask):
    set_llm_cache(InMemoryCache())
    with Provider(numbered) as provider:
        model = chat(provider)
        plain = await ask(model)
        first, again = [await ask(best_of_four(model)) for _ in range(2)]
        other = await ask(scale_model(model, ttc.SelfConsistency(2)))
        with ttc.policy(ttc.SelfConsistency(3)):
            await ask(scale_model(model))
        assert provider.billed.requests == 1 + 4 + 2 + 3
        assert (await ask(scale_model(model))).text == plain.text
        assert provider.billed.requests == 10
    assert first.text == again.text == "it is 2 surely"
    assert other.text != plain.text


@pytest.mark.asyncio
async def test_a_token_budget_is_never_exceeded(ask):
    with Provider(lambda body, number: Reply(text=f"{number} " * 300)) as provider:
        scaled = scale_model(
            chat(provider), ttc.BestOfN(50, stop="all"), verifier=lambda message: 0.5, budget=ttc.Budget(tokens=4_000)
        )
        await ask(scaled)
        assert 0 < provider.billed.tokens <= 4_000
        assert all(body["max_completion_tokens"] >= 256 for body in provider.bodies)


@pytest.mark.asyncio
async def test_tools_and_schemas_are_part_of_what_a_budget_holds(ask):
    def look(at: str) -> str:
        return at

    look.__doc__ = "word " * 3_000

    class Long(BaseModel):
        number: int

    Long.__doc__ = "word " * 3_000
    with Provider() as provider:
        scaled = scale_model(chat(provider), ttc.SelfConsistency(2), budget=ttc.Budget(tokens=10_000))
        for each in (scaled.bind_tools([look]), scaled.with_structured_output(Long)):
            with pytest.raises(ttc.BudgetExceeded):
                await ask(each)
    assert provider.billed.requests == 0


@pytest.mark.asyncio
async def test_when_every_sample_fails_the_sdk_s_own_error_comes_through_with_the_bill(ask):
    with Provider(lambda body, number: Reply(status=400, error="no such thing")) as provider:
        with pytest.raises(openai.BadRequestError, match="no such thing") as raised:
            await ask(best_of_four(chat(provider)))
        assert len(ttc.result_of(raised.value).samples) == 4


@pytest.mark.asyncio
async def test_failures_are_tried_again_by_the_engine_alone(ask):
    def script(body, number):
        return Reply(status=500, headers={"retry-after-ms": "1"}) if number == 0 else numbered(body, number)

    with Provider(script) as provider:
        assert (await ask(best_of_four(chat(provider)))).text == "it is 2 surely"
        assert provider.billed.requests == 5
        assert {headers["x-stainless-retry-count"] for headers in provider.headers} == {"0"}


class Counting(BaseRateLimiter):
    """Lets everybody pass, and counts them."""

    def __init__(self):
        self.passed = 0

    def acquire(self, *, blocking=True):
        self.passed += 1
        return True

    async def aacquire(self, *, blocking=True):
        return self.acquire()


@pytest.mark.asyncio
async def test_a_rate_limiter_is_asked_for_every_request(ask):
    limiter = Counting()
    with Provider(numbered) as provider:
        await ask(best_of_four(chat(provider, rate_limiter=limiter)))
    assert limiter.passed == 4


@pytest.mark.asyncio
async def test_a_model_that_only_blocks_is_scaled_too(ask):
    class Blocking(GenericFakeChatModel):
        def _stream(self, *args, **kwargs):
            raise AssertionError("a sample streams")

    message = await ask(scale_model(Blocking(messages=iter(["a", "b", "b"])), ttc.SelfConsistency(3, at_once=1)))
    assert message.text == "b"
    assert message.usage_metadata is None
    assert message.response_metadata["ttc"]["status"] == "unknown"


@pytest.mark.asyncio
async def test_inside_a_draw_and_a_scaled_agent_it_is_not_scaled_again():
    from langchain.agents import create_agent  # noqa: PLC0415  # slow to import

    from ttc_langchain import ScaleModelCalls  # noqa: PLC0415  # as above

    with Provider(numbered) as provider:
        scaled = scale_model(chat(provider), ttc.SelfConsistency(5))

        @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda text: 0.5, name="asking")
        async def asking() -> str:
            return (await scaled.ainvoke("how many?")).text

        result = await asking.run()
        assert provider.billed.requests == result.bill.total.calls == 3
        provider.reset()
        agent = create_agent(scaled, middleware=[ScaleModelCalls(ttc.SelfConsistency(2))])
        with ttc.tracking() as bill:
            await agent.ainvoke({"messages": [("user", "how many?")]})
        assert provider.billed.requests == bill.total.calls == 2


def test_what_is_no_chat_model_is_refused():
    with pytest.raises(TypeError, match="takes a chat model of LangChain, got"):
        scale_model(ChatOpenAI(model="mock", api_key="none").bind(stop=["a"]), ttc.SelfConsistency(2))
    with pytest.raises(TypeError, match="asks for invoice, which the function does not have"):
        scale_model(ChatOpenAI(model="mock", api_key="none"), ttc.BestOfN(2), verifier=lambda message, invoice: True)
