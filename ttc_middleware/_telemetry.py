"""Spans and metrics; the only file with attribute names.

The tree of one call:

    invoke_workflow BestOfN      INTERNAL  totals under ttc.*, from the search's own bill: sampling drops children
    ├── ttc.sample               INTERNAL  one a draw
    │   ├── chat gpt-5-mini      CLIENT    one a model call: the only spans with usage, so sums are never doubled
    │   └── evaluate adds_up     INTERNAL  the verdict; a judge's own model call is a `chat` below it
    └── …

Names are those of OpenTelemetry's GenAI conventions (development channel of late 2026), mirrored for tools that read
OpenInference or MLflow. `TTC_OTEL_DIALECTS` (default "genai,openinference,mlflow") drops mirrors: keys that one tool
needs make another count twice. What is unknown is left out, never written as 0. No prompts and no outputs.

Without an SDK every function here is a check of one boolean.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from ._prices import Cost
    from ._types import Bill, Reading, Request, Result, Sample, Usage, Verdict

_NAME = "ttc_middleware"
_tracer = trace.get_tracer(_NAME)
_meter = metrics.get_meter(_NAME)
_DIALECTS = frozenset(
    part.strip() for part in os.environ.get("TTC_OTEL_DIALECTS", "genai,openinference,mlflow").lower().split(",")
)
_OPENINFERENCE = "openinference" in _DIALECTS
_MLFLOW = "mlflow" in _DIALECTS

_token_usage = _meter.create_histogram(
    "gen_ai.client.token.usage",
    unit="{token}",
    description="Tokens of a model call",
    explicit_bucket_boundaries_advisory=[4**power for power in range(14)],
)
_call_seconds = _meter.create_histogram(
    "gen_ai.client.operation.duration",
    unit="s",
    description="Duration of a model call",
    explicit_bucket_boundaries_advisory=[0.01 * 2**power for power in range(14)],
)
_search_seconds = _meter.create_histogram(
    "gen_ai.invoke_workflow.duration",
    unit="s",
    description="Duration of a search",
    explicit_bucket_boundaries_advisory=[1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200],
)
_reasoning = _meter.create_counter(
    "gen_ai.client.inference.usage.reasoning.output_tokens", unit="{token}", description="Thinking tokens"
)
_tokens = _meter.create_counter("ttc.tokens", unit="{token}", description="Tokens by what they were spent on")
_dollars = _meter.create_counter("ttc.cost", unit="{USD}", description="Dollars by what they were spent on")
_requests = _meter.create_counter("ttc.requests", unit="{request}", description="Model calls sent")

NO_SPAN = trace.INVALID_SPAN

# Other instrumentations of the same SDK stay silent below our `chat` span: one usage span a model call.
_SILENCE = ("suppress_instrumentation", "suppress_language_model_instrumentation")


@contextmanager
def search_span(name: str, strategy: object, limits: Mapping[str, object], tags: Mapping[str, str]) -> Generator[Span, None, None]:
    """The parent of one search."""
    span = _tracer.start_span(f"invoke_workflow {type(strategy).__name__}", kind=SpanKind.INTERNAL)
    if span.is_recording():
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": name,
            "ttc.strategy": repr(strategy),
            **_tagged(tags),
            **{f"ttc.budget.{_BUDGET.get(limit, limit)}": _plain(value) for limit, value in limits.items()},
        }
        if _OPENINFERENCE:
            attributes["openinference.span.kind"] = "CHAIN"
        span.set_attributes(attributes)
    with Current(span):
        yield span


_BUDGET = {"usd": "cost_usd"}


def end_search(span: Span, result: Result[Any] | None, bill: Bill, requested: int, seconds: float) -> None:
    """Write the totals on the parent; `result` is None where there is none to return."""
    if span.is_recording():
        total, hidden = bill.total, bill.hidden
        attributes: dict[str, Any] = {
            "ttc.samples.requested": requested,
            "ttc.usage.status": bill.status,
            "ttc.usage.input_tokens": total.input_tokens,
            "ttc.usage.output_tokens": total.output_tokens,
            "ttc.usage.hidden.output_tokens": hidden.output_tokens,
            "ttc.usage.total_tokens": total.tokens,
            "ttc.usage.llm_calls": total.calls,
        }
        if total.reasoning_tokens is not None:
            attributes["ttc.usage.reasoning.output_tokens"] = total.reasoning_tokens
        if bill.multiplier is not None:
            attributes["ttc.usage.multiplier"] = bill.multiplier
        if total.usd is not None:
            attributes["ttc.cost.total"] = float(total.usd)
            attributes["ttc.cost.currency"] = "USD"
            attributes["ttc.cost.selected"] = float((bill.visible + bill.reasoning).usd or 0)
            attributes["ttc.cost.hidden"] = float(hidden.usd or 0)
        if result is not None:
            attributes["ttc.samples.completed"] = len(result.samples)
            attributes["ttc.stop_reason"] = result.stop_reason
            attributes["ttc.accepted"] = result.accepted
            if result.winner is not None:
                attributes["ttc.selected.sample_index"] = result.winner.index
                if result.winner.score is not None:
                    attributes["ttc.selected.score"] = result.winner.score
        span.set_attributes(attributes)
    name = {"gen_ai.operation.name": "invoke_workflow"}
    _search_seconds.record(seconds, name)
    for phase in ("visible", "reasoning", "discarded", "verifying", "routing"):
        part: Usage = getattr(bill, phase)
        if part.tokens:
            _tokens.add(part.tokens, {"ttc.phase": phase})
        if part.usd:
            _dollars.add(float(part.usd), {"ttc.phase": phase})


def sample_span(index: int, tags: Mapping[str, str]) -> Span:
    """One draw; not yet current."""
    span = _tracer.start_span("ttc.sample", kind=SpanKind.INTERNAL)
    if span.is_recording():
        span.set_attributes({"ttc.sample.index": index, **_tagged(tags)})
        if _OPENINFERENCE:
            span.set_attribute("openinference.span.kind", "CHAIN")
    return span


def end_sample(span: Span, sample: Sample[Any] | None, outcome: str, end_time: int | None) -> None:
    """End a draw's span at the moment that the draw ended; `sample` is None where it was cancelled."""
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.sample.outcome": outcome}
        if sample is not None:
            attributes["ttc.sample.status"] = sample.status
            attributes["ttc.sample.usage.total_tokens"] = sample.usage.tokens
            if sample.apportioned:
                attributes["ttc.sample.usage.apportioned"] = True
            if sample.fault is not None:
                attributes["ttc.sample.fault"] = sample.fault
            if sample.error is not None:
                attributes["error.type"] = type(sample.error).__qualname__
            if sample.verdict is not None and not sample.verdict.failed:
                attributes["ttc.sample.score"] = sample.verdict.score
                attributes["ttc.sample.accepted"] = sample.accepted
        span.set_attributes(attributes)
    span.end(end_time)


def call_span(request: Request, attempt: int, role: str, tags: Mapping[str, str]) -> Span:
    """One model call."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": request.provider,
        "gen_ai.request.model": request.model,
    }
    if request.server:
        attributes["server.address"] = request.server
    span = _tracer.start_span(f"chat {request.model}", kind=SpanKind.CLIENT, attributes=attributes)
    if span.is_recording():
        more: dict[str, Any] = {"ttc.role": role, "ttc.attempt": attempt, **_tagged(tags)}
        optional = {
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.temperature": request.temperature,
            "gen_ai.request.seed": request.seed,
            "gen_ai.request.choice.count": request.choices if request.choices > 1 else None,
            "gen_ai.request.stream": True if request.stream else None,
        }
        more.update({key: value for key, value in optional.items() if value is not None})
        if _OPENINFERENCE:
            more["openinference.span.kind"] = "LLM"
            more["llm.model_name"] = request.model
            more["llm.provider"] = request.provider
        span.set_attributes(more)
    return span


def end_call(
    span: Span,
    request: Request,
    reading: Reading | None,
    usage: Usage | None,
    cost: Cost | None,
    fault: str | None,
    seconds: float,
) -> None:
    """End a model call; what nobody reported is left out."""
    if span.is_recording():
        attributes: dict[str, Any] = {}
        if reading is not None:
            if reading.model:
                attributes["gen_ai.response.model"] = reading.model
            if reading.id:
                attributes["gen_ai.response.id"] = reading.id
            if reading.finish_reasons:
                attributes["gen_ai.response.finish_reasons"] = list(reading.finish_reasons)
        if usage is not None:
            attributes.update(_usage(usage))
        if cost is not None:
            attributes.update(_cost(cost))
        if fault is not None:
            attributes["error.type"] = fault
            if fault == "cancelled":
                attributes["ttc.outcome"] = fault
            else:
                span.set_status(Status(StatusCode.ERROR, fault))
        span.set_attributes(attributes)
    span.end()
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": request.provider,
        "gen_ai.request.model": request.model,
    }
    _requests.add(1, common)
    _call_seconds.record(seconds, common if fault is None else {**common, "error.type": fault})
    if usage is not None:
        _token_usage.record(usage.input_tokens, {**common, "gen_ai.token.type": "input"})
        _token_usage.record(usage.output_tokens, {**common, "gen_ai.token.type": "output"})
        if usage.reasoning_tokens:
            _reasoning.add(usage.reasoning_tokens, common)


@contextmanager
def verifier_span(name: str) -> Generator[Span, None, None]:
    """One verification."""
    span = _tracer.start_span(f"evaluate {name}", kind=SpanKind.INTERNAL)
    if span.is_recording():
        span.set_attributes({"ttc.role": "verifier", "gen_ai.evaluation.name": name})
        if _OPENINFERENCE:
            span.set_attribute("openinference.span.kind", "EVALUATOR")
    try:
        with Current(span):
            yield span
    finally:
        span.end()


def verdict_event(span: Span, name: str, verdict: Verdict) -> None:
    """Say the verdict, without its words."""
    if not span.is_recording():
        return
    attributes: dict[str, Any] = {"gen_ai.evaluation.name": name, "ttc.verdict.trust": verdict.trust}
    if verdict.failed:
        attributes["error.type"] = "verifier failed"
        span.set_status(Status(StatusCode.ERROR, "verifier failed"))
    else:
        attributes["gen_ai.evaluation.score.value"] = float(verdict.score)
        attributes["gen_ai.evaluation.score.label"] = "accepted" if verdict.accepted else "rejected"
    span.add_event("gen_ai.evaluation.result", attributes)
    span.set_attributes(attributes)


class Current:
    """Make a span the parent of what starts inside; with `silence`, keep other LLM instrumentations quiet there.

    A class because a generator-based context manager costs several times as much, on every draw.
    """

    __slots__ = ("_silence", "_span", "_token")

    def __init__(self, span: Span, *, silence: bool = False) -> None:
        self._span = span
        self._silence = silence
        self._token: Any = None

    def __enter__(self) -> None:
        # A span without a valid context is the API's no-op: nothing below could tell the difference.
        if self._span.get_span_context().is_valid:
            below = trace.set_span_in_context(self._span)
            if self._silence and self._span.is_recording():
                for key in _SILENCE:
                    below = context.set_value(key, True, below)  # noqa: FBT003  # a context value
            self._token = context.attach(below)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            context.detach(self._token)


def now() -> int:
    """The time of a span's end, in nanoseconds since the epoch."""
    return time.time_ns()


def _usage(usage: Usage) -> dict[str, Any]:
    genai = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
    }
    mirror = {
        "llm.token_count.prompt": usage.input_tokens,
        "llm.token_count.completion": usage.output_tokens,
        "llm.token_count.total": usage.tokens,
        "llm.token_count.completion_details.reasoning": usage.reasoning_tokens,
        "llm.token_count.prompt_details.cache_read": usage.cached_tokens,
    }
    return {key: value for key, value in {**genai, **(mirror if _OPENINFERENCE else {})}.items() if value is not None}


def _cost(cost: Cost) -> dict[str, Any]:
    attributes: dict[str, Any] = {"gen_ai.usage.cost": float(cost.total)}
    if _OPENINFERENCE:
        attributes["llm.cost.prompt"] = float(cost.input)
        attributes["llm.cost.completion"] = float(cost.output)
        attributes["llm.cost.total"] = float(cost.total)
    if _MLFLOW:
        split = {"input_cost": cost.input, "output_cost": cost.output, "total_cost": cost.total}
        attributes["mlflow.llm.cost"] = json.dumps({name: float(value) for name, value in split.items()})
    return attributes


def _tagged(tags: Mapping[str, str]) -> dict[str, str]:
    known = {"session": "session.id", "user": "user.id"}
    return {known.get(key, f"ttc.tag.{key}"): value for key, value in tags.items()}


def _plain(value: object) -> Any:
    return value if isinstance(value, (int, float, str)) else float(str(value))
