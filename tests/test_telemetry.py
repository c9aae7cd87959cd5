"""What ends up in a tracing tool: every token once, every span ended, and nothing that anybody said."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import types
from collections import Counter
from decimal import Decimal

import anyio
import pytest
from fake_model import Completion, Fake, Model, Refused, forever, fresh, place, steps  # noqa: F401  # a fixture
from opentelemetry import context, trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from traced import Traced

import ttc_middleware as ttc
from ttc_middleware.seam import call_model

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

PRICE = ttc.Price(input=1, output=10)  # dollars per million tokens


@pytest.fixture
def traced(monkeypatch):
    tool = Traced(monkeypatch)
    yield tool
    assert tool.counting.open == {}, "a span was started and never ended"


def scaled(strategy, model, **options):
    """A function with one model call inside."""

    @ttc.scale(strategy, name="shop:ask", **{"verifier": good, **options})
    async def ask(prompt: str = "what is it") -> str | None:
        return await model(prompt)

    return ask


def good(output):
    return 0.25 if output == "bad" else True


def usage_keys(span):
    return {key for key in span.attributes if key.startswith(("gen_ai.usage.", "llm.token_count.", "llm.cost."))}


# The tree.


async def test_a_search_is_a_tree_of_samples_with_their_model_calls_and_verdicts(traced):
    model = Model(lambda body, number: "bad" if number else Completion(("good answer",), 7, 9, reasoning_tokens=4))
    ttc.configure(prices={"small": PRICE})
    with trace.use_span(traced.elsewhere.start_span("request"), end_on_exit=True):
        await scaled(ttc.BestOfN(2, stop="all"), model, budget=ttc.Budget(usd="0.5", samples=9))()
    root, request = traced.one("invoke_workflow"), traced.one("request")
    assert root.parent.span_id == request.context.span_id
    assert root.name == "invoke_workflow BestOfN"
    samples = traced.below(root)
    assert [span.name for span in samples] == ["ttc.sample"] * 2
    for sample in samples:
        assert Counter(span.name for span in traced.below(sample)) == {"chat small": 1, "evaluate good": 1}
    assert {span.name: span.kind for span in traced.spans if span is not request} == {
        "invoke_workflow BestOfN": SpanKind.INTERNAL,
        "ttc.sample": SpanKind.INTERNAL,
        "chat small": SpanKind.CLIENT,
        "evaluate good": SpanKind.INTERNAL,
    }
    assert len(traced.spans) == 8
    for span in traced.spans:  # children lie within their parents
        for child in traced.below(span):
            assert span.start_time <= child.start_time <= child.end_time <= span.end_time


async def test_the_parent_has_the_totals_under_names_of_our_own(traced):
    model = Model(lambda body, number: "bad" if number else Completion(("good answer",), 7, 9, reasoning_tokens=4))
    ttc.configure(prices={"small": PRICE})
    await scaled(ttc.BestOfN(2, stop="all"), model, budget=ttc.Budget(usd="0.5", samples=9))("two words")
    winner = next(span for span in traced.named("ttc.sample") if span.attributes["ttc.sample.outcome"] == "won")
    assert dict(traced.one("invoke_workflow").attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "shop:ask",
        "openinference.span.kind": "CHAIN",
        "ttc.strategy": "BestOfN(2, stop='all')",
        "ttc.samples.requested": 2,
        "ttc.samples.completed": 2,
        "ttc.stop_reason": "accepted",
        "ttc.accepted": True,
        "ttc.budget.cost_usd": 0.5,
        "ttc.budget.samples": 9,
        "ttc.selected.sample_index": winner.attributes["ttc.sample.index"],
        "ttc.selected.score": 1.0,
        "ttc.usage.status": "exact",
        "ttc.usage.llm_calls": 2,
        "ttc.usage.input_tokens": 9,
        "ttc.usage.output_tokens": 10,
        "ttc.usage.total_tokens": 19,
        "ttc.usage.hidden.output_tokens": 5,
        "ttc.multiplier": pytest.approx(traced.one("invoke_workflow").attributes["ttc.multiplier"]),
        "ttc.cost.total": pytest.approx(109e-6),
        "ttc.cost.selected": pytest.approx(97e-6),
        "ttc.cost.hidden": pytest.approx(52e-6),
        "ttc.cost.currency": "USD",
        "ttc.cost.source": "local",
    }


async def test_a_model_call_has_its_usage_in_the_words_of_every_tool(traced):
    model = Model(lambda body, number: Completion(("good",), 7, 9, reasoning_tokens=4, usd=Decimal("0.5")))
    ttc.configure(prices={"small": PRICE})

    @ttc.scale(ttc.Single())
    async def ask():
        return await model("hello", max_tokens=100, temperature=0.5, seed=3)

    await ask()
    assert traced.one("invoke_workflow").attributes["ttc.cost.source"] == "provider"
    leaf = traced.one("chat")
    assert json.loads(leaf.attributes["mlflow.llm.cost"]) == pytest.approx(
        {"input_cost": 0.5 * 7 / 97, "output_cost": 0.5 * 90 / 97, "total_cost": 0.5}
    )
    assert leaf.status.status_code is StatusCode.UNSET
    assert {key: value for key, value in leaf.attributes.items() if key != "mlflow.llm.cost"} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "small",
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 3,
        "server.address": "fake.test",
        "openinference.span.kind": "LLM",
        "ttc.role": "sample",
        "ttc.sample.index": 0,
        "ttc.attempt": 0,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.reasoning.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cost": 0.5,
        "llm.model_name": "small",
        "llm.provider": "fake",
        "llm.token_count.prompt": 7,
        "llm.token_count.completion": 9,
        "llm.token_count.total": 16,
        "llm.token_count.completion_details.reasoning": 4,
        "llm.token_count.prompt_details.cache_read": 0,
        "llm.cost.prompt": pytest.approx(0.5 * 7 / 97),
        "llm.cost.completion": pytest.approx(0.5 * 90 / 97),
        "llm.cost.total": 0.5,
    }


async def test_what_a_sampler_decides_by_is_there_when_the_span_starts(monkeypatch):
    seen = {}

    class Early(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen[span.name] = dict(span.attributes)

    Traced(monkeypatch, Early())
    await scaled(ttc.Single(), Model())()
    assert seen["chat small"] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "small",
        "server.address": "fake.test",
    }


async def test_the_strategys_own_calls_are_routing_and_part_of_no_sample(traced):
    model = Model(lambda body, number: "right")
    await scaled(ttc.SelfConsistency(2, by=lambda output: model.sync("in short?")), model, verifier=None)()
    roles = [(span.attributes["ttc.role"], span.attributes.get("ttc.sample.index")) for span in traced.named("chat")]
    assert sorted(roles, key=str) == [("routing", None), ("routing", None), ("sample", 0), ("sample", 1)]


async def test_a_verdict_is_an_attribute_and_an_event_without_words(traced):
    model = Model(lambda body, number: "bad")

    def judge(output):
        return ttc.Verdict(0.25, feedback="not good enough")

    await scaled(ttc.Single(), model, verifier=judge)()
    span = traced.one("evaluate")
    said = {
        "gen_ai.evaluation.name": "judge",
        "gen_ai.evaluation.score.value": 0.25,
        "gen_ai.evaluation.score.label": "rejected",
        "ttc.verdict.trust": "strong",
    }
    assert dict(span.attributes) == {**said, "openinference.span.kind": "EVALUATOR", "ttc.role": "verifier"}
    (event,) = span.events
    assert event.name == "gen_ai.evaluation.result"
    assert dict(event.attributes) == said
    sample = traced.one("ttc.sample").attributes
    assert sample["ttc.sample.score"] == 0.25
    assert sample["ttc.sample.accepted"] is False
    assert sample["ttc.sample.outcome"] == "won"


async def test_a_verifier_that_breaks_is_an_error_and_no_verdict(traced):
    def judge(output):
        raise LookupError("no such thing")

    await scaled(ttc.Single(), Model(), verifier=judge)()
    span = traced.one("evaluate")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "verifier failed"
    assert "gen_ai.evaluation.score.value" not in span.attributes
    assert "ttc.sample.score" not in traced.one("ttc.sample").attributes


async def test_a_judge_is_a_model_call_below_its_verification(traced):
    model = Model()

    async def judge(output):
        return await model("is it good", model="large") == "ok"

    result = await scaled(ttc.Single(), model, verifier=judge).run()
    (leaf,) = traced.below(traced.one("evaluate"))
    assert leaf.name == "chat large"
    assert leaf.attributes["ttc.role"] == "verifier"
    assert leaf.attributes["gen_ai.usage.input_tokens"] == result.bill.verifying.input_tokens == 3


async def test_samples_that_share_a_request_have_their_own_verdicts(traced):
    model = Model(lambda body, number: Completion(("good one", "bad", "good too"), 3, 6))
    site = ttc.scale(ttc.BestOfN(3, stop="all"), verifier=good, adapter=Fake())

    async def complete(prompt: str, n: int = 1) -> Completion:
        return await model.send({"prompt": prompt, "n": n})

    await site(complete)("two words")
    samples = traced.named("ttc.sample")
    assert [len([s for s in traced.below(sample) if s.name.startswith("evaluate")]) for sample in samples] == [1, 1, 1]
    leaf = traced.one("chat")
    assert leaf.attributes["gen_ai.request.choice.count"] == 3
    assert leaf.attributes["gen_ai.usage.output_tokens"] == 6
    assert sum(sample.attributes["ttc.sample.usage.total_tokens"] for sample in samples) == 9


def test_a_synchronous_function_has_the_same_tree(traced):
    model = Model()

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=good)
    def ask() -> str | None:
        return model.sync("hello")

    with trace.use_span(traced.elsewhere.start_span("request"), end_on_exit=True) as request:
        ask()
    root = traced.one("invoke_workflow")
    assert root.parent.span_id == request.context.span_id
    for sample in traced.below(root):
        assert Counter(span.name for span in traced.below(sample)) == {"chat small": 1, "evaluate good": 1}


async def test_an_unscaled_call_under_tracking_is_one_span(traced):
    with ttc.tracking() as bill:
        await Model()("hello")
    (span,) = traced.spans
    assert span.name == "chat small"
    assert "ttc.sample.index" not in span.attributes
    assert span.attributes["gen_ai.usage.input_tokens"] == bill.total.input_tokens == 1


# Every token once.


def troubled(body, number):
    """Accepts one of many, after every kind of trouble."""
    if body["prompt"] == "judge it":
        return Completion(("ok",), 2, 1, 0, usd=Decimal("0.01"))
    attempt = body["attempts"].get(place(), 0)
    body["attempts"][place()] = attempt + 1
    trouble = {
        0: Completion(("bad",), 3, 5, 2, usd=Decimal("0.02")),
        1: Refused(429),
        2: Completion((None,), 3, 4, 1, usd=Decimal("0.03"), status="failed", fault="malformed"),
        3: Refused(400),
        4: Completion(("good",), 3, 7, 6, usd=Decimal("0.04")),
    }[place()]
    return trouble if attempt == 0 else Completion(("bad",), 3, 2, 0, usd=Decimal("0.05"))


async def test_the_sum_over_the_leaves_is_the_bill(traced):
    model, attempts = Model(troubled), {}

    async def judge(output):
        await model("judge it", model="large")
        return output == "good"

    @ttc.scale(ttc.BestOfN(5, stop="all"), verifier=judge)
    async def ask() -> str | None:
        return await model("what is it", attempts=attempts)

    bill = (await ask.run()).bill
    assert bill.discarded.tokens
    assert bill.verifying.tokens
    assert traced.total("gen_ai.usage.input_tokens") == bill.total.input_tokens
    assert traced.total("gen_ai.usage.output_tokens") == bill.total.output_tokens
    assert traced.total("llm.token_count.total") == bill.total.tokens
    assert traced.total("gen_ai.usage.reasoning.output_tokens") == 2 + 1 + 6
    assert traced.total("gen_ai.usage.cost") == pytest.approx(float(bill.total.usd or 0))
    assert len(traced.named("chat")) == bill.total.calls
    root = traced.one("invoke_workflow").attributes
    assert root["ttc.usage.total_tokens"] == bill.total.tokens
    assert root["ttc.usage.hidden.output_tokens"] == bill.hidden.output_tokens
    assert root["ttc.cost.total"] == pytest.approx(float(bill.total.usd or 0))
    assert root["ttc.usage.llm_calls"] == bill.total.calls
    told = [span.name for span in traced.spans if usage_keys(span)]
    assert set(told) == {"chat small", "chat large"}
    for span in traced.spans:
        if not span.name.startswith("chat"):
            assert not {"gen_ai.request.model", "llm.model_name", "gen_ai.response.model"} & set(span.attributes)
    assert {span.attributes.get("error.type") for span in traced.named("chat")} == {
        None, "rate limited", "malformed", "rejected",
    }  # fmt: skip


async def test_only_the_known_names_are_used_for_usage(traced):
    model = Model(lambda body, number: Completion(("good",), 7, 9, reasoning_tokens=4, usd=Decimal("0.5")))
    await scaled(ttc.Single(), model)()
    names = {key for span in traced.spans for key in span.attributes if key.startswith("gen_ai.usage.")}
    assert names == {  # some tools add up every other number under this prefix
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cost",
    }


async def test_what_nobody_reports_is_left_out_and_never_0(traced):
    model = Model(lambda body, number: Completion(("good",), 7, 9, silent=True))
    await scaled(ttc.Single(), model)()
    assert not usage_keys(traced.one("chat"))
    root = traced.one("invoke_workflow").attributes
    assert root["ttc.usage.status"] == "unknown"
    assert root["ttc.usage.llm_calls"] == 1
    assert not {key for key in root if key.startswith(("ttc.usage.", "ttc.cost."))} - {
        "ttc.usage.status", "ttc.usage.llm_calls",
    }  # fmt: skip
    assert "ttc.sample.usage.total_tokens" not in traced.one("ttc.sample").attributes
    assert {name for name, _ in traced.metrics()} == {
        "gen_ai.client.operation.duration", "gen_ai.invoke_workflow.duration", "ttc.requests",
    }  # fmt: skip


async def test_thinking_and_prices_that_nobody_knows_are_left_out(traced):
    await scaled(ttc.Single(), Model())()
    exported = {key for span in traced.spans for key in span.attributes}
    assert "gen_ai.usage.output_tokens" in exported
    assert not {key for key in exported if "reasoning" in key or "cost" in key}


async def test_a_function_that_nobody_observes_says_so_and_gives_no_figures(traced):
    @ttc.scale(ttc.Single())
    async def ask() -> str:
        return "good"

    with pytest.warns(UserWarning, match="no model call was seen"):
        await ask()
    root = traced.one("invoke_workflow").attributes
    assert {key for key in root if key.startswith("ttc.usage")} == {"ttc.usage.status"}


# Every span ends.


async def test_cancelled_samples_end_as_such(traced):
    async def script(body, number):
        return "good" if place() == 2 else await forever()

    await scaled(ttc.BestOfN(4), Model(script))()
    outcomes = {span.attributes["ttc.sample.index"]: span for span in traced.named("ttc.sample")}
    assert {index: span.attributes["ttc.sample.outcome"] for index, span in outcomes.items()} == {
        0: "cancelled", 1: "cancelled", 2: "won", 3: "cancelled",
    }  # fmt: skip
    for span in traced.spans:
        assert span.status.status_code is StatusCode.UNSET
        if not span.name.startswith("evaluate"):
            assert span.events == ()
    leaves = Counter(span.attributes.get("error.type") for span in traced.named("chat"))
    assert leaves == {"cancelled": 3, None: 1}
    root = traced.one("invoke_workflow").attributes
    assert root["ttc.samples.requested"] == 4
    assert root["ttc.samples.completed"] == 1
    assert root["ttc.usage.status"] == "lower bound"


async def test_the_spans_of_a_call_that_its_caller_cancels_end_with_what_was_spent(traced):
    under_way = anyio.Event()

    async def script(body, number):
        if place() == 1:
            await steps(3)
            under_way.set()
            await forever()
        return "bad"

    async with anyio.create_task_group() as group:
        group.start_soon(scaled(ttc.BestOfN(2), Model(script)))
        await under_way.wait()
        group.cancel_scope.cancel()
    root = traced.one("invoke_workflow").attributes
    assert root["ttc.usage.total_tokens"] == 4
    assert "ttc.stop_reason" not in root
    assert {span.attributes["ttc.sample.outcome"] for span in traced.named("ttc.sample")} == {"lost", "cancelled"}


async def test_the_spans_of_a_search_that_runs_out_of_time_end(traced):
    async def script(body, number):
        return "bad" if place() == 0 else await forever()

    await scaled(ttc.BestOfN(3, stop="all"), Model(script), budget=ttc.Budget(seconds=0.2))()
    root = traced.one("invoke_workflow").attributes
    assert root["ttc.stop_reason"] == "deadline"
    assert root["ttc.budget.seconds"] == 0.2
    assert Counter(span.attributes["ttc.sample.outcome"] for span in traced.named("ttc.sample")) == {
        "won": 1, "cancelled": 2,
    }  # fmt: skip


class Stop(BaseException):
    """What is no `Exception`, like a Ctrl-C."""


@pytest.mark.parametrize("trouble", [Refused(400, "no"), ValueError("mine"), Stop("all")], ids=repr)
async def test_the_spans_of_a_search_that_fails_end(traced, trouble):
    def script(body, number):
        raise trouble

    with pytest.raises(BaseException) as raised:  # noqa: PT011  # whatever it is, every span must end
        await scaled(ttc.BestOfN(3, stop="all"), Model(script))()
    assert raised.value is trouble or trouble in getattr(raised.value, "exceptions", ())
    assert traced.one("invoke_workflow")


def test_a_thread_that_outlives_its_search_still_ends_the_span_of_its_call(traced):
    sent, finish = threading.Event(), threading.Event()

    def script(body, number):
        if place() == 1:
            sent.set()
            assert finish.wait(60)
        assert sent.wait(60)  # or the first could win before the second has asked
        return "good"

    @ttc.scale(ttc.BestOfN(2), verifier=good)
    def ask() -> str | None:
        return model.sync("hello")

    model = Model(script)
    ask()
    assert set(traced.counting.open.values()) <= {"chat small"}
    assert traced.one("invoke_workflow").attributes["ttc.usage.status"] == "lower bound"
    finish.set()
    while traced.counting.open:
        time.sleep(0.001)
    assert len(traced.named("chat")) == 2


async def test_the_spans_of_a_search_that_accepts_nothing_end(traced):
    with pytest.raises(ttc.NotAccepted):
        await scaled(ttc.BestOfN(2), Model(lambda body, number: "bad"), on_reject="raise")()
    assert traced.one("invoke_workflow").attributes["ttc.accepted"] is False


async def test_a_failed_sample_says_why_by_type_alone(traced):
    async def script(body, number):
        if place() == 0:
            raise LookupError("a secret")
        return "good"

    await scaled(ttc.BestOfN(2, stop="all"), Model(script))()
    failed = next(span for span in traced.named("ttc.sample") if span.attributes["ttc.sample.index"] == 0)
    assert failed.attributes["ttc.sample.status"] == "failed"
    assert failed.attributes["ttc.sample.fault"] == "error"
    assert failed.attributes["error.type"] == "LookupError"


# Nothing that anybody said.


async def test_no_content_is_ever_exported(traced, caplog):
    words = iter(range(1_000))

    def canary():
        return f"canary{next(words)}"

    def script(body, number):
        trouble = {0: Refused(400, canary()), 1: Refused(429, canary()), 2: ValueError(canary()), 3: None}
        if trouble.get(number) is not None:
            raise trouble[number]
        return canary()

    def judge(output, prompt):
        if output is not None and output.endswith("5"):
            raise LookupError(canary())
        return ttc.Verdict(0.5, feedback=canary())

    for strategy in (ttc.BestOfN(4, stop="all"), ttc.SelfConsistency(3), ttc.Refine(2)):
        await scaled(strategy, Model(script), verifier=judge)(canary())
    with pytest.raises(ttc.NotAccepted):
        await scaled(ttc.BestOfN(3), Model(script), verifier=judge, on_reject="raise")(canary())
    exported = traced.everything()
    assert next(words) > 20
    assert "BestOfN" in exported
    assert "canary" not in exported
    assert "canary" not in caplog.text


# Nothing breaks.


class Broken(SpanProcessor):
    """What a program adds to its tracing, and should have tested."""

    def __init__(self, when):
        self.when = when

    def on_start(self, span, parent_context=None):
        if self.when == "start":
            raise RuntimeError("cannot start")

    def on_end(self, span):
        if self.when == "end":
            raise RuntimeError("cannot end")


class Down(SpanExporter):
    """A tool that is not there."""

    def __init__(self, *, raises):
        self.raises = raises

    def export(self, spans):
        if self.raises:
            raise ConnectionError("nobody there")
        return SpanExportResult.FAILURE


@pytest.mark.parametrize(
    "processor",
    [Broken("start"), Broken("end"), SimpleSpanProcessor(Down(raises=True)), SimpleSpanProcessor(Down(raises=False))],
    ids=["start", "end", "raises", "fails"],
)
async def test_tracing_that_breaks_costs_spans_and_no_results(monkeypatch, processor):
    Traced(monkeypatch, processor)
    model = Model(lambda body, number: "bad" if number else "good")
    result = await scaled(ttc.BestOfN(3, stop="all"), model).run()
    assert result.accepted
    assert result.bill.total.tokens == model.billed
    assert model.in_flight == 0


async def test_without_an_sdk_nothing_is_attached(fresh):  # noqa: F811  # the fixture
    seen = []

    def script(body, number):
        seen.append((trace.get_current_span(), dict(context.get_current())))
        return "good"

    await scaled(ttc.BestOfN(2, stop="all"), Model(script))()
    assert seen == [(trace.INVALID_SPAN, {})] * 2


async def test_spans_that_a_sampler_drops_change_nothing_else(monkeypatch):
    tool = Traced(monkeypatch, sampler=ALWAYS_OFF)
    result = await scaled(ttc.BestOfN(2, stop="all"), Model()).run()
    assert tool.spans == ()
    requests = sum(point.value for (name, _), point in tool.metrics().items() if name == "ttc.requests")
    assert requests == result.bill.total.calls == 2


async def test_a_tool_that_is_down_delays_nothing(monkeypatch, caplog):
    exporters = pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    down = exporters.OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces", timeout=1)
    tool = Traced(monkeypatch, BatchSpanProcessor(down, schedule_delay_millis=1))
    try:
        assert (await scaled(ttc.BestOfN(2, stop="all"), Model()).run()).accepted
        assert len(tool.spans) == 7
    finally:
        tool.provider.shutdown()


# What a program says about itself.


async def test_tags_are_on_every_span(traced):
    model = Model()

    async def judge(output):
        return await model("judge it", model="large") == "ok"

    with ttc.tags(session="s1", user="u1"), ttc.tags(feature="search"):
        await scaled(ttc.BestOfN(2, stop="all"), model, verifier=judge)()
    assert len(traced.spans) == 9
    for span in traced.spans:
        assert span.attributes["session.id"] == "s1"
        assert span.attributes["user.id"] == "u1"
        assert span.attributes["ttc.tag.feature"] == "search"


PROGRAM = """
import asyncio, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
sys.path.insert(0, "tests")
import ttc_middleware as ttc
from decimal import Decimal
from fake_model import Completion, Model
trace.set_tracer_provider(TracerProvider())  # after the import, as programs do
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
model = Model(lambda body, number: Completion(("good",), 7, 9, reasoning_tokens=4, usd=Decimal("0.5")))
ask = ttc.scale(ttc.Single())(model.__call__)
asyncio.run(ask("hello"))
print(sorted({key for span in exporter.get_finished_spans() for key in span.attributes}))
"""


@pytest.mark.parametrize(
    ("dialects", "openinference", "mlflow"),
    [(None, True, True), ("genai", False, False), ("genai, MLflow", False, True), ("genai,openinference", True, False)],
)
def test_a_dialect_that_is_not_asked_for_is_not_spoken(dialects, openinference, mlflow, pytestconfig):
    environment = {} if dialects is None else {"TTC_OTEL_DIALECTS": dialects}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    assert ("'openinference.span.kind'" in ran.stdout) is openinference
    assert ("'llm.token_count.total'" in ran.stdout) is openinference
    assert ("'llm.cost.total'" in ran.stdout) is openinference
    assert ("'mlflow.llm.cost'" in ran.stdout) is mlflow
    assert "'gen_ai.usage.input_tokens'" in ran.stdout
    assert "'gen_ai.usage.cost'" in ran.stdout


# Metrics.


async def test_metrics_add_up_to_the_bill(traced):
    model = Model(
        lambda body, number: Completion(("bad" if number else "good",), 7, 9, 4 if number else 2, usd=Decimal("0.5"))
    )
    bill = (await scaled(ttc.BestOfN(3, stop="all"), model).run()).bill
    metrics = traced.metrics()
    call = (
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "fake"),
        ("gen_ai.request.model", "small"),
    )
    for kind, tokens in (("input", 21), ("output", 27)):
        point = metrics["gen_ai.client.token.usage", (*call, ("gen_ai.token.type", kind))]
        assert point.sum == tokens
        assert point.count == 3
        assert point.explicit_bounds == tuple(4**power for power in range(14))
    assert metrics["gen_ai.client.operation.duration", call].count == 3
    assert metrics["gen_ai.client.inference.usage.reasoning.output_tokens", call].value == 10
    assert metrics["ttc.requests", call].value == 3
    workflow = (("gen_ai.operation.name", "invoke_workflow"),)
    assert metrics["gen_ai.invoke_workflow.duration", workflow].count == 1
    for name, amount in (("ttc.tokens", lambda usage: usage.tokens), ("ttc.cost", lambda usage: float(usage.usd))):
        points = {dict(key)["ttc.phase"]: point for (metric, key), point in metrics.items() if metric == name}
        parts = {"visible": bill.visible, "reasoning": bill.reasoning, "discarded": bill.discarded}
        assert {phase: point.value for phase, point in points.items()} == {
            phase: pytest.approx(amount(part)) for phase, part in parts.items()
        }
        assert [points[phase].attributes["ttc.selected"] for phase in parts] == [True, True, False]
        assert sum(point.value for point in points.values()) == pytest.approx(amount(bill.total))


async def test_a_failed_call_is_counted_with_its_fault(traced):
    def script(body, number):
        return "good" if number else Refused(429)

    await scaled(ttc.Single(), Model(script))()
    durations = {
        dict(key).get("error.type"): point.count
        for (name, key), point in traced.metrics().items()
        if name == "gen_ai.client.operation.duration"
    }
    assert durations == {None: 1, "rate limited": 1}


# Beside other instrumentations of the same SDK.


def instrumented(traced, complete, attributes):
    """What another instrumentation makes of an SDK's method: a span around it, with the usage that it sees."""

    async def wrapper(prompt):
        with traced.elsewhere.start_as_current_span("their chat", attributes=attributes) as span:
            answer = await complete(prompt)
            span.set_attribute("gen_ai.usage.input_tokens", answer.input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", answer.output_tokens)
            return answer.text

    return wrapper


LLM_SPANS = [{"gen_ai.operation.name": "chat"}, {"openinference.span.kind": "LLM"}]


@pytest.mark.parametrize("attributes", LLM_SPANS, ids=str)
async def test_somebody_elses_span_around_the_call_gets_what_ours_would_have_had(traced, attributes):
    model = Model(lambda body, number: Completion(("good",), 7, 9, reasoning_tokens=4, usd=Decimal("0.5")))
    result = await scaled(ttc.BestOfN(2, stop="all"), instrumented(traced, model.complete, attributes)).run()
    assert traced.named("chat") == []
    assert len(traced.named("their chat")) == 2
    assert traced.total("gen_ai.usage.input_tokens") == result.bill.total.input_tokens
    assert traced.total("gen_ai.usage.cost") == 1
    for span in traced.named("their chat"):
        assert span.attributes["gen_ai.usage.reasoning.output_tokens"] == 4
        assert span.attributes["ttc.role"] == "sample"


@pytest.mark.parametrize(
    ("first", "fault"),
    [(Refused(429), "rate limited"), (Completion((None,), 5, 6, status="failed", fault="malformed"), "malformed")],
)
async def test_attempts_that_fail_below_somebody_elses_span_are_spans_of_ours(traced, first, fault):
    model = Model(lambda body, number: [first, "good answer"][number])
    result = await scaled(ttc.Single(), instrumented(traced, model.complete, LLM_SPANS[0])).run()
    theirs = traced.one("their chat")
    assert [span.attributes["error.type"] for span in traced.below(theirs)] == [fault]
    assert theirs.status.status_code is StatusCode.UNSET
    assert traced.total("gen_ai.usage.input_tokens") == result.bill.total.input_tokens
    assert traced.total("gen_ai.usage.output_tokens") == result.bill.total.output_tokens
    for span in traced.below(theirs):
        assert theirs.start_time <= span.start_time <= span.end_time


async def test_another_kind_of_span_around_the_call_is_left_alone(traced):
    model = Model()
    await scaled(ttc.Single(), instrumented(traced, model.complete, {"http.method": "POST"}))()
    assert traced.below(traced.one("their chat")) == traced.named("chat")
    assert "ttc.role" not in traced.one("their chat").attributes


async def context_of_a_call():
    seen = {}

    async def send(call, leaf):
        seen.update({key.rsplit("-", 5)[0]: value for key, value in context.get_current().items()})
        return Completion(("good",), 1, 1)

    @ttc.scale(ttc.Single())
    async def ask():
        await call_model(Fake(), ttc.Call(name="x", arguments={"prompt": "hello"}), send)
        seen["outside"] = {key.rsplit("-", 5)[0] for key in context.get_current()}

    await ask()
    return seen


async def test_other_instrumentations_are_silenced_below_our_model_call_only(traced):
    seen = await context_of_a_call()
    assert seen["suppress_language_model_instrumentation"] is True
    assert "suppress_instrumentation" not in seen, "spans of HTTP clients must not be lost for nothing"
    assert seen["outside"] == {"current-span"}


@pytest.mark.parametrize("module", ["openinference.instrumentation", "opentelemetry.instrumentation.openai"])
async def test_those_that_know_only_the_key_for_everything_get_it(traced, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    seen = await context_of_a_call()
    assert seen["suppress_instrumentation"] is True
    assert seen["outside"] == {"current-span"}


async def test_those_that_look_for_an_inference_around_them_find_one(traced, monkeypatch):
    class InferenceData:
        pass

    module = types.ModuleType("opentelemetry.util.genai.invocation")
    module.InferenceData = InferenceData
    monkeypatch.setitem(sys.modules, module.__name__, module)
    seen = await context_of_a_call()
    assert isinstance(seen["opentelemetry.genai.client.inference.context"], InferenceData)
