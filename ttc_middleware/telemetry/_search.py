"""The spans of a search, its samples and its verdicts; `_call` has those of model calls.

The tree of one call:

    invoke_workflow BestOfN      INTERNAL  totals under ttc.*, from the search's own bill: sampling drops children
    ├── ttc.sample               INTERNAL  one a draw
    │   ├── chat gpt-5-mini      CLIENT    one a model call: the only spans with usage, so sums are never doubled
    │   └── evaluate adds_up     INTERNAL  the verdict; a judge's own model call is a `chat` below it
    └── …

Names are those of OpenTelemetry's GenAI conventions (development channel of late 2026), mirrored for tools that read
OpenInference or MLflow. `TTC_OTEL_DIALECTS` (default "genai,openinference,mlflow") drops mirrors: keys that one tool
needs make another count twice. What is unknown is left out, never written as 0. No prompts and no outputs, unless
`_content` is asked for them.

Without an SDK every function here is a check of one boolean.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, Status, StatusCode

from ._content import EVENTS, SPANS, log
from ._metrics import count_search
from ._spans import NO_SPAN, OPENINFERENCE, Current, counted, end, keep_usage_off, now, start, tagged, tells_usage

if TYPE_CHECKING:
    from ttc_middleware._types import Draw, Result, Sample, Verdict
    from ttc_middleware._usage import Bill

__all__ = [
    "NO_SPAN",
    "Current",
    "end_sample",
    "end_search",
    "now",
    "sample_span",
    "search_span",
    "verdict_event",
    "verifier_span",
]


@contextmanager
def search_span(
    name: str, strategy: object, limits: Mapping[str, object], tags: Mapping[str, str]
) -> Generator[Span, None, None]:
    """The parent of one search; ended by `end_search()`."""
    around = trace.get_current_span()
    if tells_usage(around):
        keep_usage_off(around)
        counted()
    span = start(f"invoke_workflow {type(strategy).__name__}")
    if span.is_recording():
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": name,
            "ttc.strategy": repr(strategy),
            **tagged(tags),
            **{f"ttc.budget.{_BUDGET.get(limit, limit)}": _plain(value) for limit, value in limits.items()},
        }
        if OPENINFERENCE:
            attributes["openinference.span.kind"] = "CHAIN"
        span.set_attributes(attributes)
    with Current(span):
        yield span


_BUDGET = {"usd": "cost_usd"}


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
    count_search(bill, seconds)


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
        attributes["ttc.multiplier"] = bill.multiplier
    if total.usd is not None:
        attributes["ttc.cost.total"] = float(total.usd)
        attributes["ttc.cost.currency"] = "USD"
        attributes["ttc.cost.selected"] = float((bill.visible + bill.reasoning).usd or 0)
        attributes["ttc.cost.hidden"] = float(hidden.usd or 0)
    return attributes


def sample_span(index: int, draw: Draw, tags: Mapping[str, str]) -> Span:
    """One draw; not yet current."""
    span = start("ttc.sample")
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.sample.index": index, **tagged(tags)}
        if draw.kind != "answer":
            attributes["ttc.sample.kind"] = draw.kind
        if draw.parent is not None:
            attributes["ttc.sample.parent_index"] = draw.parent.index
        if OPENINFERENCE:
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


@contextmanager
def verifier_span(name: str, sample: Span, tags: Mapping[str, str]) -> Generator[Span, None, None]:
    """One verification of the sample whose span this is."""
    # Samples that share a request share a task, and so its current span.
    below = trace.set_span_in_context(sample) if sample.get_span_context().is_valid else None
    span = start(f"evaluate {name}", context=below)
    if span.is_recording():
        attributes: dict[str, Any] = {"ttc.role": "verifier", "gen_ai.evaluation.name": name, **tagged(tags)}
        if OPENINFERENCE:
            attributes["openinference.span.kind"] = "EVALUATOR"
        span.set_attributes(attributes)
    try:
        with Current(span):
            yield span
    finally:
        end(span)


def verdict_event(span: Span, name: str, verdict: Verdict) -> None:
    """Say the verdict; its words only where content is captured.

    An event of the span, which tools show, and the log record that the conventions want, for the sample's span.
    """
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
    span.set_attributes(attributes)
    # A verifier that failed has an exception's text there.
    told = verdict.feedback and not verdict.failed
    words = {"gen_ai.evaluation.explanation": verdict.feedback} if told else {}
    span.add_event(_RESULT, {**attributes, **(words if SPANS else {})})
    sample = getattr(span, "parent", None)
    judged = trace.set_span_in_context(span if sample is None else NonRecordingSpan(sample))
    log(_RESULT, {**attributes, **(words if EVENTS else {})}, judged)


_RESULT = "gen_ai.evaluation.result"


def _plain(value: object) -> Any:
    return value if isinstance(value, (int, float, str)) else float(str(value))
