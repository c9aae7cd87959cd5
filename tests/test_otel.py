"""Model calls that only other people's spans tell of: billed once, whoever else has seen them."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal

import pytest
from fake_model import Model, fresh  # noqa: F401  # a fixture
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

import ttc_middleware as ttc
from ttc_middleware.otel import UsageProcessor

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 30,
    "gen_ai.usage.reasoning.output_tokens": 20,
    "gen_ai.usage.cache_read.input_tokens": 4,
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "m",
    "llm.token_count.prompt": 10,
    "llm.token_count.completion": 30,
    "llm.token_count.completion_details.reasoning": 20,
    "llm.token_count.prompt_details.cache_read": 4,
}
OPENLLMETRY = {
    "gen_ai.operation.name": "chat",
    "gen_ai.usage.prompt_tokens": 10,
    "gen_ai.usage.completion_tokens": 30,
    "gen_ai.usage.reasoning_tokens": 20,
}


@pytest.fixture
def processor():
    processor = UsageProcessor()
    yield processor
    processor.shutdown()


@pytest.fixture
def tracer(processor):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("somebody.else")


def called(tracer, said=GENAI, **more):
    """A model call that nobody but its instrumentation sees."""
    with tracer.start_as_current_span("chat m", attributes={**said, **more}):
        pass


@pytest.mark.parametrize("said", [GENAI, OPENINFERENCE, OPENLLMETRY], ids=["genai", "openinference", "openllmetry"])
async def test_a_draw_is_billed_what_the_spans_of_its_calls_say(tracer, said):
    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda text: 0.5)
    async def ask() -> str:
        with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
            called(tracer, said)
        return "said"

    result = await ask.run()
    total = result.bill.total
    assert (total.calls, total.input_tokens, total.output_tokens, total.reasoning_tokens) == (2, 20, 60, 40)
    assert total.cached_tokens == (None if said is OPENLLMETRY else 8)
    assert [sample.usage.tokens for sample in result.samples] == [40, 40]
    assert result.bill.status == "exact"
    assert result.bill.visible.output_tokens == 10


async def test_blocks_and_budgets_notice_what_spans_tell(tracer):
    ttc.configure(prices={"m": ttc.Price(input=1, output=10)})
    with ttc.policy(budget=ttc.Budget(tokens=50)), ttc.tracking() as bill:
        called(tracer)
        called(tracer)
        with pytest.raises(ttc.BudgetExceeded):
            await Model()("hello")
    assert bill.total.tokens == 80
    assert bill.total.usd == Decimal("0.00062")
    assert bill.reasoning.usd == Decimal("0.0004")


async def test_a_call_that_an_adapter_sees_inside_their_span_is_billed_once(tracer):
    model = Model()
    theirs = [("agent", OPENINFERENCE), ("chat", GENAI), ("POST", {})]
    with ttc.tracking() as bill, ExitStack() as around:
        for name, said in theirs:
            around.enter_context(tracer.start_as_current_span(name, attributes=said))
        await model("hello")
    assert bill.total.calls == 1
    assert bill.total.tokens == model.billed


async def test_their_span_inside_a_call_that_an_adapter_sees_is_billed_once(tracer):
    def script(body, number):
        called(tracer)
        return "good"

    model = Model(script)
    with ttc.tracking() as bill:
        await model("hello")
    assert (bill.total.calls, bill.total.tokens) == (1, model.billed)


async def test_of_spans_in_each_other_the_innermost_is_billed(tracer):
    with ttc.tracking() as bill, tracer.start_as_current_span("framework", attributes=OPENINFERENCE):
        called(tracer)
        called(tracer)
    assert bill.total.calls == 2


async def test_a_call_without_usage_cost_something_that_nobody_knows(tracer):
    with ttc.tracking() as bill:
        called(tracer)
        with tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}) as span:
            span.set_status(Status(StatusCode.ERROR))
    assert (bill.status, bill.gaps) == ("lower bound", {"no usage reported": 1})
    assert (bill.total.calls, bill.discarded.calls) == (2, 1)


@pytest.mark.parametrize("usage", ["many", -1, True, 2.5])
async def test_figures_that_are_none_are_not_believed(tracer, usage):
    with ttc.tracking() as bill:
        called(tracer, {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": usage})
    assert bill.status == "unknown"


async def test_other_spans_and_other_code_are_nobodys_business(tracer, processor):
    with ttc.tracking() as bill:
        called(tracer, {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 9})
        called(tracer, {"http.request.method": "POST"})
    called(tracer)
    with tracer.start_as_current_span("chat", attributes=GENAI):
        assert processor._open == {}
    assert bill.total.calls == 0


async def test_a_span_that_ends_elsewhere_is_billed_where_it_began(tracer):
    with ttc.tracking() as bill:
        span = tracer.start_span("chat", attributes=GENAI)
    with ttc.tracking() as other:
        span.end()
    assert (bill.total.calls, other.total.calls) == (1, 0)


async def test_spans_that_never_end_do_not_pile_up(tracer, processor, monkeypatch):
    monkeypatch.setattr("ttc_middleware.otel._MOST_OPEN", 3)
    with ttc.tracking():
        kept = [tracer.start_span("chat", attributes=GENAI) for _ in range(9)]
    assert len(processor._open) == 3
    for span in kept:
        span.end()
    assert len(processor._open) == 0


async def test_after_its_shutdown_it_counts_no_more(tracer, processor):
    processor.shutdown()
    with ttc.tracking() as bill, trace.use_span(trace.INVALID_SPAN):
        await Model()("hello")
    assert bill.total.calls == 1
    assert processor.force_flush()
