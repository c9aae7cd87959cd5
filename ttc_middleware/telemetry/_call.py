"""The span of one model call: ours, or that of another instrumentation.

Who tells a call's usage is `ttc.configure(spans=)`, or `TTC_OTEL_SPANS`:

- `own` (the default): our `chat` span. Below it the others are kept silent.
- `adopt`: theirs. Ours is a `ttc.model_call` around it without usage, and becomes the `chat` span only where nobody
  else has told of the call.

In both, a span of theirs that is open around the call already is the call's span, and gets what ours would have had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from ._adopt import Below, watch
from ._content import EVENTS, SPANS, log, said
from ._metrics import count_call
from ._spans import MLFLOW, OPENINFERENCE, Current, end, foreign, now, start, tagged, tells_usage

if TYPE_CHECKING:
    from ttc_middleware._context import Entry
    from ttc_middleware._types import Reading, Request
    from ttc_middleware._usage import Usage
    from ttc_middleware.prices._price import Cost


class CallSpan:
    """The span of one attempt at a model call.

    Args:
        request: what is asked.
        attempt: from 0.
        role: "sample", "verifier" or "routing".
        index: the sample that the call is part of; None outside of any.
        tags: as everywhere.
        adopt: leave it to somebody else's span below this one to tell the usage.
    """

    __slots__ = ("_below", "_span")

    def __init__(
        self, request: Request, attempt: int, role: str, index: int | None, tags: Mapping[str, str], *, adopt: bool
    ) -> None:
        self._below: Below | None = None
        self._span: Span = trace.get_current_span()
        if not tells_usage(self._span):
            self._below = watch() if adopt else None
            self._span = _start(request) if self._below is None else start("ttc.model_call")
        if not self._span.is_recording():
            return
        attributes: dict[str, Any] = {"ttc.role": role, "ttc.attempt": attempt, **tagged(tags)}
        if index is not None:
            attributes["ttc.sample.index"] = index
        if self._below is None:
            attributes |= _asked(request)
        elif OPENINFERENCE:
            attributes["openinference.span.kind"] = "CHAIN"
        self._span.set_attributes(attributes)

    def current(self) -> Current:
        """Make this span the current one; other LLM instrumentations are silent below, unless one is to tell."""
        if self._below is None:
            return Current(self._span, silence=True)
        return Current(self._span, noting=self._below.noting)

    def end(
        self,
        request: Request,
        entry: Entry,
        *,
        reading: Reading | None,
        usage: Usage | None,
        cost: Cost | None,
        seconds: float,
    ) -> None:
        """End the span and count the call; what nobody reported is left out."""
        span, theirs, fault = self._span, foreign(self._span), entry.fault
        if theirs and not (entry.answered and span.is_recording()):
            # What somebody else's span tells in the end is the last attempt: this one gets a span of its own.
            theirs, span = False, _start(request, start_time=now() - int(seconds * 1e9))
        if span.is_recording():
            if self._below is not None and self._below.tells(usage=usage is not None):
                attributes: dict[str, Any] = {} if cost is None else {"ttc.call.cost_usd": float(cost.total)}
            else:
                attributes = {**_response(reading), **_usage(usage), **_cost(cost)}
                if self._below is not None:  # nobody tells of this call: it is up to this span after all
                    span.update_name(f"chat {request.model}")
                    attributes |= _named(request) | _asked(request)
                if SPANS or EVENTS:
                    attributes |= _told(span, request, reading, attributes)
            if fault is not None:
                attributes["error.type"] = fault
                if fault == "cancelled":
                    attributes["ttc.outcome"] = fault
                elif not theirs:
                    span.set_status(Status(StatusCode.ERROR, fault))
            span.set_attributes(attributes)
        if not theirs:
            end(span)
        count_call(request, usage, fault, seconds)


def _start(request: Request, **more: Any) -> Span:
    return start(f"chat {request.model}", SpanKind.CLIENT, attributes=_named(request), **more)


def _named(request: Request) -> dict[str, Any]:
    """What samplers decide by: there when a span starts."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": request.provider,
        "gen_ai.request.model": request.model,
    }
    if request.server:
        attributes["server.address"] = request.server
        if request.port is not None:
            attributes["server.port"] = request.port
    return attributes


def _asked(request: Request) -> dict[str, Any]:
    optional = {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.choice.count": request.choices if request.choices > 1 else None,
        "gen_ai.request.stream": True if request.stream else None,
    }
    mirror = {"openinference.span.kind": "LLM", "llm.model_name": request.model, "llm.provider": request.provider}
    return {key: value for key, value in {**optional, **(mirror if OPENINFERENCE else {})}.items() if value is not None}


def _told(span: Span, request: Request, reading: Reading | None, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, for the span; the event goes out by itself."""
    content = said(request, reading)
    if EVENTS:
        standard = {key: value for key, value in attributes.items() if key.startswith("gen_ai.")}
        event = {**_named(request), **standard, **content}
        log("gen_ai.client.inference.operation.details", event, trace.set_span_in_context(span))
    return content if SPANS else {}


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
    return {key: value for key, value in {**genai, **(mirror if OPENINFERENCE else {})}.items() if value is not None}


def _cost(cost: Cost | None) -> dict[str, Any]:
    if cost is None:
        return {}
    attributes: dict[str, Any] = {"gen_ai.usage.cost": float(cost.total)}
    if OPENINFERENCE:
        attributes["llm.cost.prompt"] = float(cost.input)
        attributes["llm.cost.completion"] = float(cost.output)
        attributes["llm.cost.total"] = float(cost.total)
    if MLFLOW:
        split = {"input_cost": cost.input, "output_cost": cost.output, "total_cost": cost.total}
        attributes["mlflow.llm.cost"] = json.dumps({name: float(value) for name, value in split.items()})
    return attributes
