"""A Pydantic AI agent whose model requests are scaled: the run's usage, the bill, limits, failures, traces."""

from __future__ import annotations

from decimal import Decimal

import pytest
from openai_clients import exact
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from provider import Provider, Reply
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UsageLimitExceeded
from pydantic_ai.messages import ImageUrl, ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings, InstrumentedModel
from pydantic_ai.usage import RequestUsage, RunUsage, UsageLimits
from pydantic_ai_agents import HAS_CAPABILITIES, billed, both_ways, chat, scaled_agent, told, usage_of

import ttc_middleware as ttc
from ttc_middleware.telemetry import _spans
from ttc_pydantic_ai import ScaledModel

ADDED = {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"}


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


def numbered(body, number):
    """Each request gets an answer of its own, and thinks longer for it."""
    return Reply(text=f"it is {number}", reasoning=10 * number)


def prefers(word):
    return lambda output: 1.0 if word in str(output) else 0.1


@both_ways
@pytest.mark.asyncio
async def test_hidden_samples_are_in_the_run_s_usage_once_and_on_the_bill_to_the_token(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        with ttc.tracking() as bill:
            done = await agent.run("how many?")
        exact(bill, provider)
    requests, prompt, completion = billed(provider)
    assert (requests, told(done)) == (4, (1, prompt, completion))
    assert usage_of(done).details["reasoning_tokens"] == provider.billed.reasoning == 60
    assert bill.bill.reasoning.tokens == 20
    # The winner's own message says what it has used itself.
    assert done.all_messages()[-1].usage.output_tokens == 3 + 20


@both_ways
@pytest.mark.asyncio
async def test_a_run_of_several_requests_adds_up(way):
    def look() -> str:
        """Look it up."""
        return "nothing there"

    def script(body, number):
        called = body["messages"][-1]["role"] == "tool"
        return numbered(body, number) if called else Reply(text=None, tool_calls=[("look", "{}")])

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(3, stop="all"), {"tools": [look]}, verifier=prefers("4"))
        with ttc.tracking() as bill:
            done = await agent.run("how many?")
        exact(bill, provider)
    requests, prompt, completion = billed(provider)
    assert (requests, told(done)) == (6, (2, prompt, completion))


@both_ways
@pytest.mark.asyncio
async def test_hidden_samples_count_against_token_limits_and_not_against_the_number_of_requests(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        await agent.run("how many?", usage_limits=UsageLimits(request_limit=1, output_tokens_limit=72))
        provider.reset()
        with pytest.raises(UsageLimitExceeded, match="output_tokens_limit of 71"):
            await agent.run("how many?", usage_limits=UsageLimits(output_tokens_limit=71))


@both_ways
@pytest.mark.asyncio
async def test_a_limit_that_was_reached_before_lets_nothing_be_sent(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4), verifier=prefers("2"))
        with pytest.raises(UsageLimitExceeded):
            await agent.run("how many?", usage_limits=UsageLimits(request_limit=0))
    assert provider.billed.requests == 0


@both_ways
@pytest.mark.asyncio
async def test_samples_of_a_run_that_ends_in_an_error_are_in_its_usage(way):
    with Provider(numbered) as provider:
        refuses = ttc.BestOfN(3, stop="all")
        agent = scaled_agent(way, chat(provider), refuses, verifier=lambda output: False, on_reject="raise")
        spent = RunUsage()
        with pytest.raises(ttc.NotAccepted), ttc.tracking() as bill:
            await agent.run("how many?", usage=spent)
        exact(bill, provider)
    assert (spent.input_tokens, spent.output_tokens) == billed(provider)[1:]


@both_ways
@pytest.mark.asyncio
async def test_a_token_budget_holds_and_clamps_what_is_asked_for(way):
    with Provider(lambda body, number: Reply(text=f"{number} word " * 60)) as provider:
        budget = ttc.Budget(tokens=2_000)  # fewer than all of them take
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(20), verifier=lambda output: False, budget=budget)
        await agent.run("how many?")
    assert provider.settled().tokens <= 2_000
    limits = [body.get("max_completion_tokens", body.get("max_tokens")) for body in provider.bodies]
    assert 2 < len(limits) < 20
    assert all(256 <= limit < 2_000 for limit in limits)


@both_ways
@pytest.mark.asyncio
async def test_a_budget_that_no_prompt_fits_in_is_exceeded_before_anything_is_sent(way):
    with Provider() as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(2), budget=ttc.Budget(tokens=300))
        with pytest.raises(ttc.BudgetExceeded):
            await agent.run("how many? " * 100)
    assert provider.billed.requests == 0


def shown(kind):
    """Something that reaches the prompt in one of its ways, of 5,000 bytes."""
    text = "é" * 2_500

    class Wide(BaseModel):
        """Wide."""

        field: int

    def tool() -> str:
        """Say."""
        return text

    tool.__doc__ = text
    Wide.__doc__ = text
    return {
        "prompt": ({}, text),
        "beside a picture": ({}, [text, ImageUrl("https://example.com/a.png")]),
        "instructions": ({"instructions": text}, "hi"),
        "system prompt": ({"system_prompt": text}, "hi"),
        "tools": ({"tools": [tool]}, "hi"),
        "output type": ({"output_type": Wide}, "hi"),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["prompt", "beside a picture", "instructions", "system prompt", "tools", "output type"]
)
@both_ways
@pytest.mark.asyncio
async def test_all_that_reaches_the_prompt_is_reserved_for(way, kind):
    options, prompt = shown(kind)
    with Provider() as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(2), options, budget=ttc.Budget(tokens=5_200))
        with pytest.raises(ttc.BudgetExceeded):
            await agent.run(prompt)
    assert provider.billed.requests == 0


@both_ways
@pytest.mark.asyncio
async def test_one_failed_sample_does_not_sink_the_others_and_the_engine_alone_retries(way):
    def script(body, number):
        return Reply(status=503) if not number else numbered(body, number)

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(2, at_once=1, stop="all"), verifier=prefers("it"))
        done = await agent.run("how many?")
    assert done.output == "it is 1"
    # One that failed, the second attempt of the first sample, and the second sample.
    assert billed(provider)[0] == 3
    assert {headers["x-stainless-retry-count"] for headers in provider.headers} == {"0"}
    assert told(done)[1:] == billed(provider)[1:]


@both_ways
@pytest.mark.asyncio
async def test_a_connection_that_is_refused_costs_nothing(way):
    with Provider() as provider:
        pass  # nobody listens there any more
    agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(1))
    with pytest.raises(ModelAPIError, match="Connection error"), ttc.tracking() as bill:
        await agent.run("how many?")
    assert (bill.status, bill.total.tokens) == ("exact", 0)


@both_ways
@pytest.mark.asyncio
async def test_where_all_samples_fail_the_framework_s_own_error_comes_out(way):
    with Provider(lambda body, number: Reply(status=400, error="no such thing")) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(3))
        with pytest.raises(ModelHTTPError, match="no such thing") as raised:
            await agent.run("how many?")
    assert ttc.result_of(raised.value).bill.total.calls == 3


@both_ways
@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.asyncio
async def test_what_is_no_whole_answer_is_billed_and_has_no_vote(way, finish):
    def script(body, number):
        return Reply(text="half", finish=finish) if number < 2 else Reply(text="whole")

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(3, at_once=1))
        with ttc.tracking() as bill:
            done = await agent.run("how many?")
        exact(bill, provider)
    assert done.output == "whole"
    assert told(done)[1:] == billed(provider)[1:]


@both_ways
@pytest.mark.asyncio
async def test_where_a_model_tells_no_usage_the_bill_says_unknown(way):
    def answer(messages, info):
        return ModelResponse(parts=[TextPart("four")], usage=RequestUsage())

    class Silent(FunctionModel):
        async def request(self, *args):
            response = await super().request(*args)
            response.usage = RequestUsage()
            return response

    agent = scaled_agent(way, Silent(answer), ttc.SelfConsistency(2))
    with ttc.tracking() as bill:
        await agent.run("how many?")
    assert bill.status == "unknown"


@both_ways
@pytest.mark.asyncio
async def test_dollars_come_from_the_price_table(way):
    ttc.configure(prices={"mock": ttc.Price(input=1, output=10)})
    try:
        with Provider(numbered) as provider:
            agent = scaled_agent(way, chat(provider), ttc.BestOfN(3, stop="all"), verifier=prefers("2"))
            with ttc.tracking() as bill:
                await agent.run("how many?")
        done = provider.settled()
        assert bill.total.usd == Decimal(done.prompt + 10 * done.completion) / 10**6
    finally:
        ttc.configure(prices={})


@both_ways
@pytest.mark.asyncio
async def test_inside_a_scaled_function_it_is_off_and_every_call_counts_once(way):
    ttc.instrument()
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4), verifier=prefers("2"))

        @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: "1" in output)
        async def ask():
            return (await agent.run("how many?")).output

        result = await ask.run()
    assert result.output == "it is 1"
    assert (result.bill.total.calls, result.bill.total.tokens) == (3, provider.settled().tokens)
    assert result.bill.status == "exact"


@pytest.mark.asyncio
async def test_a_plain_agent_inside_a_scaled_function_is_seen_through_the_provider_s_sdk():
    with Provider(numbered) as provider:
        agent = Agent(chat(provider))

        @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: "1" in output)
        async def ask():
            return (await agent.run("how many?")).output

        result = await ask.run()
    assert (result.bill.total.calls, result.bill.total.tokens) == (3, provider.settled().tokens)


@both_ways
@pytest.mark.asyncio
async def test_a_judge_s_own_calls_are_billed_as_verifying(way):
    with Provider(numbered) as provider, Provider(lambda body, number: Reply(text="yes")) as judges:
        judge = ScaledModel(chat(judges))

        async def verify(output):
            return (await Agent(judge).run(f"is {output} right?")).output == "yes"

        agent = scaled_agent(way, chat(provider), ttc.BestOfN(2, stop="all"), verifier=verify)
        with ttc.tracking() as bill:
            done = await agent.run("how many?")
    assert bill.bill.verifying.tokens == judges.settled().tokens > 0
    assert bill.total.tokens == judges.billed.tokens + provider.settled().tokens
    assert told(done)[1:] == billed(provider)[1:]


@pytest.fixture
def spans(monkeypatch):
    """All spans, ours and the framework's."""
    exporter = InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_spans, "_tracer", tracing.get_tracer("ttc_middleware"))
    exporter.tracing = tracing
    return exporter


def settings_for(exporter):
    """As newer versions set by default: what a run adds up to is not told as usage again."""
    meters = MeterProvider(shutdown_on_exit=False)
    return InstrumentationSettings(
        tracer_provider=exporter.tracing, meter_provider=meters, use_aggregated_usage_attribute_names=True
    )


def instrumented(way, exporter, model, *args, **more):
    """A scaled agent that the framework traces itself."""
    settings = settings_for(exporter)
    if HAS_CAPABILITIES:
        from pydantic_ai.capabilities import Instrumentation  # noqa: PLC0415  # absent with old versions

        return scaled_agent(way, model, *args, **more), {"capabilities": [Instrumentation(settings)]}
    return scaled_agent(way, model, *args, {"instrument": settings}, **more), {}


def with_usage(exporter):
    spans = exporter.get_finished_spans()
    return [span for span in spans if any(key.startswith("gen_ai.usage.") for key in span.attributes or {})]


@both_ways
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.asyncio
async def test_of_an_instrumented_agent_each_model_call_has_one_span_with_usage(way, stream, spans):
    with Provider(numbered) as provider:
        agent, more = instrumented(way, spans, chat(provider), ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        with ttc.tracking() as bill:
            if stream:
                async with agent.run_stream("how many?", **more) as streamed:
                    assert await streamed.get_output() == "it is 2"
            else:
                await agent.run("how many?", **more)
        exact(bill, provider)
    assert any(span.instrumentation_scope.name == "pydantic-ai" for span in spans.get_finished_spans())
    telling = with_usage(spans)
    assert {span.instrumentation_scope.name for span in telling} == {"ttc_middleware"}
    assert len(telling) == 4
    sums = [sum(span.attributes[key] for span in telling) for key in sorted(ADDED)]
    assert sums == [provider.billed.prompt, provider.billed.completion]
    # All is one trace: the search is below the framework's own span of the request.
    assert len({span.context.trace_id for span in spans.get_finished_spans()}) == 1


@both_ways
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.asyncio
async def test_of_an_instrumented_agent_that_is_only_watched_the_framework_s_span_tells_the_usage(way, stream, spans):
    with Provider(numbered) as provider:
        agent, more = instrumented(way, spans, chat(provider), None)
        with ttc.tracking() as bill:
            if stream:
                async with agent.run_stream("how many?", **more) as streamed:
                    assert await streamed.get_output() == "it is 0"
            else:
                await agent.run("how many?", **more)
        exact(bill, provider)
    (telling,) = with_usage(spans)
    assert telling.instrumentation_scope.name == "pydantic-ai"
    assert telling.attributes["gen_ai.usage.output_tokens"] == provider.billed.completion


@pytest.mark.asyncio
async def test_a_scaled_model_inside_an_instrumented_one_tells_each_call_once_too(spans):
    settings = settings_for(spans)
    with Provider(numbered) as provider:
        scaled = ScaledModel(chat(provider), ttc.BestOfN(3, stop="all"), verifier=prefers("2"))
        await Agent(InstrumentedModel(scaled, settings)).run("how many?")
    assert len(with_usage(spans)) == provider.settled().requests == 3


@pytest.mark.skipif(not HAS_CAPABILITIES, reason="no capabilities")
@pytest.mark.asyncio
async def test_the_capability_goes_below_an_instrumented_model(spans):
    settings = settings_for(spans)
    with Provider(numbered) as provider:
        model = InstrumentedModel(chat(provider), settings)
        agent = scaled_agent("capability", model, ttc.BestOfN(3, stop="all"), verifier=prefers("2"))
        done = await agent.run("how many?")
    assert done.output == "it is 2"
    assert len(with_usage(spans)) == provider.settled().requests == 3


@both_ways
@pytest.mark.asyncio
async def test_of_an_instrumented_search_nobody_tells_the_winner_s_cost_alone(way, spans):
    with Provider(numbered) as provider:
        model = chat(provider)
        model._model_name = "gpt-5-mini"  # whose price the framework knows
        agent, more = instrumented(way, spans, model, None, verifier=prefers("2"))
        await agent.run("how many?", **more)
        assert any("operation.cost" in span.attributes for span in spans.get_finished_spans())
        spans.clear()
        with ttc.policy(ttc.BestOfN(3, stop="all")):
            await agent.run("how many?", **more)
    requests = [span for span in spans.get_finished_spans() if span.name.startswith("chat")]
    assert len(requests) == 4
    assert not any("operation.cost" in span.attributes for span in requests)
