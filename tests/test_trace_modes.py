"""Whose span tells a model call, where somebody else traces the same SDK; tests/instrumentations has the real ones."""

from __future__ import annotations

import pytest
from fake_model import Completion, Fake, Model, fresh  # noqa: F401  # a fixture
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from traced import Traced

import ttc_middleware as ttc
from ttc_middleware.seam import call_model

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]
CHAT = {"gen_ai.operation.name": "chat"}
USAGE = {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 9}


@pytest.fixture
def traced(monkeypatch):
    tool = Traced(monkeypatch)
    yield tool
    assert tool.counting.open == {}, "a span was started and never ended"


@pytest.fixture
def adopting(traced, monkeypatch):
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: traced.provider)
    ttc.configure(spans="adopt")
    return traced


async def ask(send):
    """A function with one model call, whose request is `send()`."""

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)
    async def scaled():
        call = ttc.Call(name="fake:complete", arguments={"prompt": "hello", "model": "small"})
        return (await call_model(Fake(), call, lambda given, leaf: send())).text

    return await scaled.run()


def usages(tool):
    return [span for span in tool.spans if "gen_ai.usage.input_tokens" in span.attributes]


async def test_a_span_of_theirs_below_ours_tells_the_call_where_it_is_adopted(adopting):
    async def send():
        with adopting.elsewhere.start_as_current_span("their chat", attributes=CHAT) as span:
            span.set_attributes(USAGE)
            return Completion(("good",), 7, 9)

    result = await ask(send)
    assert [span.name for span in usages(adopting)] == ["their chat"] * 2
    assert adopting.total("gen_ai.usage.input_tokens") == result.bill.total.input_tokens == 14
    ours = adopting.named("ttc.model_call")
    assert len(ours) == 2
    for span in ours:
        assert span.attributes["openinference.span.kind"] == "CHAIN"
        assert not [key for key in span.attributes if key.startswith(("gen_ai.", "llm."))]
        assert span.attributes["ttc.role"] == "sample"


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [({"http.request.method": "POST"}, {}), (CHAT, {})],
    ids=["another kind of span", "one that saw no usage"],
)
async def test_a_call_that_no_span_of_theirs_tells_is_told_by_ours(adopting, attributes, usage):
    async def send():
        with adopting.elsewhere.start_as_current_span("theirs", attributes=attributes):
            return Completion(("good",), 7, 9)

    await ask(send)
    assert [span.name for span in usages(adopting)] == ["chat small"] * 2
    (leaf, *_) = usages(adopting)
    assert leaf.attributes["openinference.span.kind"] == "LLM"
    assert leaf.attributes["gen_ai.operation.name"] == "chat"
    assert leaf.attributes["server.address"] == "fake.test"


async def test_a_search_inside_a_span_of_theirs_leaves_that_one_without_usage(traced):
    model = Model(lambda body, number: Completion(("good",), 7, 9))
    with traced.elsewhere.start_as_current_span("their chat", attributes=CHAT) as span:
        await ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)(model.__call__)("hello")
        span.set_attributes({**USAGE, "gen_ai.response.model": "small"})
        span.set_attribute("llm.token_count.total", 16)
    assert traced.one("their chat").attributes == {**CHAT, "gen_ai.response.model": "small"}
    assert [span.name for span in usages(traced)] == ["chat small"] * 2


async def test_adopting_needs_an_sdk_and_owns_without_one(traced):
    ttc.configure(spans="adopt")  # the global provider is the API's own here
    await ask(lambda: Model(lambda body, number: "good").send({"prompt": "hello"}))
    assert [span.name for span in usages(traced)] == ["chat small"] * 2


def test_there_are_two_modes():
    with pytest.raises(ValueError, match='must be "own" or "adopt", got \'both\''):
        ttc.configure(spans="both")


async def test_a_verdict_is_a_log_record_of_the_sample_too(traced, monkeypatch):
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_logs, "get_logger", provider.get_logger)
    model = Model()
    judge = lambda output: ttc.Verdict(0.25, feedback="not good")  # noqa: E731  # a name for the span
    await ttc.scale(ttc.Single(), verifier=judge)(model.__call__)("hello")
    (record,) = [data.log_record for data in exporter.get_finished_logs()]
    assert record.event_name == "gen_ai.evaluation.result"
    assert record.span_id == traced.one("ttc.sample").context.span_id
    assert record.attributes["gen_ai.evaluation.score.value"] == 0.25
    assert "gen_ai.evaluation.explanation" not in record.attributes
