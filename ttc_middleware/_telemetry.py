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

Where somebody else instruments the same SDK, a model call still has one span with usage. Below our `chat` span the
others are kept silent; where their span is open around the call already, that span gets what ours would have had.

Without an SDK every function here is a check of one boolean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from ._spans import NAME, NO_SPAN, Current, end, foreign, now, start, tells_usage

if TYPE_CHECKING:
    from ._context import Entry
    from ._prices import Cost
    from ._types import Bill, Reading, Request, Result, Sample, Usage, Verdict

_meter = metrics.get_meter(NAME)
__all__ = [
    "NO_SPAN",
    "Current",
    "call_span",
    "end_call",
    "end_sample",
    "end_search",
    "now",
    "sample_span",
    "search_span",
    "verdict_event",
    "verifier_span",
]

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


@contextmanager
def search_span(
    name: str, strategy: object, limits: Mapping[str, object], tags: Mapping[str, str]
) -> Generator[Span, None, None]:
    """The parent of one search; ended by `end_search()`."""
    span = start(f"invoke_workflow {type(strategy).__name__}")
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
_SELECTED = {"visible": True, "reasoning": True, "discarded": False, "verifying": False, "routing": False}


def end_search(
    span: Span,
    result: Result[Any] | None,
    bill: Bill,
    *,
    requested: int,
    seconds: float,
    sources: Collection[str],
) -> None:
    """Write the totals on the parent and end it.

    Args:
        span: from `search_span()`.
        result: None where there is none to return.
        bill: the search's own.
        requested: draws launched.
        seconds: what the search took.
        sources: where the dollars of its calls come from: "provider", "local".
    """
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.samples.requested": requested, **_totals(bill)}
        if bill.total.usd is not None and sources:
            attributes["ttc.cost.source"] = "mixed" if len(sources) > 1 else next(iter(sources))
        if result is not None:
            attributes["ttc.samples.completed"] = len(result.samples)
            attributes["ttc.stop_reason"] = result.stop_reason
            attributes["ttc.accepted"] = result.accepted
            if result.winner is not None:
                attributes["ttc.selected.sample_index"] = result.winner.index
                if result.winner.score is not None:
                    attributes["ttc.selected.score"] = result.winner.score
        span.set_attributes(attributes)
    end(span)
    _search_seconds.record(seconds, {"gen_ai.operation.name": "invoke_workflow"})
    for phase, selected in _SELECTED.items():
        part: Usage = getattr(bill, phase)
        attributes = {"ttc.phase": phase, "ttc.selected": selected}
        if part.tokens:
            _tokens.add(part.tokens, attributes)
        if part.usd:
            _dollars.add(float(part.usd), attributes)


def _totals(bill: Bill) -> dict[str, Any]:
    total, hidden = bill.total, bill.hidden
    attributes: dict[str, Any] = {"ttc.usage.status": bill.status}
    if total.calls:
        attributes["ttc.usage.llm_calls"] = total.calls
    if bill.status == "unknown":
        return attributes
    attributes |= {
        "ttc.usage.input_tokens": total.input_tokens,
        "ttc.usage.output_tokens": total.output_tokens,
        "ttc.usage.hidden.output_tokens": hidden.output_tokens,
        "ttc.usage.total_tokens": total.tokens,
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
    return attributes


def sample_span(index: int, tags: Mapping[str, str]) -> Span:
    """One draw; not yet current."""
    span = start("ttc.sample")
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.sample.index": index, **_tagged(tags)}
        if _OPENINFERENCE:
            attributes["openinference.span.kind"] = "CHAIN"
        span.set_attributes(attributes)
    return span


def end_sample(span: Span, sample: Sample[Any] | None, outcome: str, end_time: int | None) -> None:
    """End a draw's span at the moment that the draw ended; `sample` is None where it was cancelled."""
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.sample.outcome": outcome}
        if sample is not None:
            attributes["ttc.sample.status"] = sample.status
            if sample.usage.tokens:
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
    end(span, end_time)


def call_span(request: Request, attempt: int, role: str, index: int | None, tags: Mapping[str, str]) -> Span:
    """One model call, or somebody else's span that is open around this very call.

    Args:
        request: what is asked.
        attempt: from 0.
        role: "sample", "verifier" or "routing".
        index: the sample that the call is part of; None outside of any.
        tags: as everywhere.
    """
    span = trace.get_current_span()
    if not tells_usage(span):
        span = _start_call(request)
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.role": role, "ttc.attempt": attempt, **_tagged(tags)}
        optional = {
            "ttc.sample.index": index,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.temperature": request.temperature,
            "gen_ai.request.seed": request.seed,
            "gen_ai.request.choice.count": request.choices if request.choices > 1 else None,
            "gen_ai.request.stream": True if request.stream else None,
        }
        attributes.update({key: value for key, value in optional.items() if value is not None})
        if _OPENINFERENCE:
            attributes["openinference.span.kind"] = "LLM"
            attributes["llm.model_name"] = request.model
            attributes["llm.provider"] = request.provider
        span.set_attributes(attributes)
    return span


def _start_call(request: Request, **more: Any) -> Span:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": request.provider,
        "gen_ai.request.model": request.model,
    }
    if request.server:
        attributes["server.address"] = request.server
    return start(f"chat {request.model}", SpanKind.CLIENT, attributes=attributes, **more)


def end_call(
    span: Span,
    request: Request,
    entry: Entry,
    *,
    reading: Reading | None,
    usage: Usage | None,
    cost: Cost | None,
    seconds: float,
) -> None:
    """End a model call; what nobody reported is left out."""
    theirs, fault = foreign(span), entry.fault
    if theirs and not (entry.answered and span.is_recording()):
        # What somebody else's span tells in the end is the last attempt: this one gets a span of its own.
        theirs, span = False, _start_call(request, start_time=now() - int(seconds * 1e9))
    if span.is_recording():
        attributes = {**_response(reading), **_usage(usage), **_cost(cost)}
        if fault is not None:
            attributes["error.type"] = fault
            if fault == "cancelled":
                attributes["ttc.outcome"] = fault
            elif not theirs:
                span.set_status(Status(StatusCode.ERROR, fault))
        span.set_attributes(attributes)
    if not theirs:
        end(span)
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
def verifier_span(name: str, sample: Span, tags: Mapping[str, str]) -> Generator[Span, None, None]:
    """One verification of the sample whose span this is."""
    # Samples that share a request share a task, and so its current span.
    below = trace.set_span_in_context(sample) if sample.get_span_context().is_valid else None
    span = start(f"evaluate {name}", context=below)
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.role": "verifier", "gen_ai.evaluation.name": name, **_tagged(tags)}
        if _OPENINFERENCE:
            attributes["openinference.span.kind"] = "EVALUATOR"
        span.set_attributes(attributes)
    try:
        with Current(span):
            yield span
    finally:
        end(span)


def verdict_event(span: Span, name: str, verdict: Verdict) -> None:
    """Say the verdict, without its words."""
    if not span.is_recording():
        return
    attributes: dict[str, Any] = {"gen_ai.evaluation.name": name, "ttc.verdict.trust": verdict.trust}
    if verdict.sandbox is not None:
        attributes["ttc.verdict.sandbox"] = verdict.sandbox
    if verdict.failed:
        attributes["error.type"] = "verifier failed"
        span.set_status(Status(StatusCode.ERROR, "verifier failed"))
    else:
        attributes["gen_ai.evaluation.score.value"] = float(verdict.score)
        attributes["gen_ai.evaluation.score.label"] = "accepted" if verdict.accepted else "rejected"
    span.add_event("gen_ai.evaluation.result", attributes)
    span.set_attributes(attributes)


def _response(reading: Reading | None) -> dict[str, Any]:
    if reading is None:
        return {}
    said = {
        "gen_ai.response.model": reading.model,
        "gen_ai.response.id": reading.id,
        "gen_ai.response.finish_reasons": list(reading.finish_reasons),
    }
    return {key: value for key, value in said.items() if value}


def _usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    genai = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
    }
    mirror = {
        "llm.token_count.prompt": usage.input_tokens,
        "llm.token_count.completion": usage.output_tokens,
        "llm.token_count.total": usage.tokens,
        "llm.token_count.completion_details.reasoning": usage.reasoning_tokens,
        "llm.token_count.prompt_details.cache_read": usage.cached_tokens,
        "llm.token_count.prompt_details.cache_write": usage.cache_write_tokens,
    }
    return {key: value for key, value in {**genai, **(mirror if _OPENINFERENCE else {})}.items() if value is not None}


def _cost(cost: Cost | None) -> dict[str, Any]:
    if cost is None:
        return {}
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
