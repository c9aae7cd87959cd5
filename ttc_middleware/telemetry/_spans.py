"""Starting and ending spans, and making them current: beside whatever else a program traces with."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind

NAME = "ttc_middleware"
NO_SPAN = trace.INVALID_SPAN
_DIALECTS = frozenset(
    part.strip() for part in os.environ.get("TTC_OTEL_DIALECTS", "genai,openinference,mlflow").lower().split(",")
)
OPENINFERENCE = "openinference" in _DIALECTS
MLFLOW = "mlflow" in _DIALECTS
_INFERENCES = ("chat", "generate_content", "text_completion")
_ALL_OR_NOTHING = frozenset({"openinference.instrumentation", "opentelemetry.instrumentation.openai"})
_USAGE = ("gen_ai.usage.", "llm.token_count.", "llm.cost.", "llm.usage.", "operation.cost")
_NOTHING: Mapping[str, object] = MappingProxyType({})
_log = logging.getLogger(NAME)
_tracer = trace.get_tracer(NAME)


def start(name: str, kind: SpanKind = SpanKind.INTERNAL, **more: Any) -> Span:
    """Start a span. The processors of a program run in here, and may break: that costs a span, not the call."""
    try:
        return _tracer.start_span(name, kind=kind, **more)
    except Exception:  # noqa: BLE001  # whatever they raise
        _log.exception("cannot start span %s", name)
        return NO_SPAN


def end(span: Span, end_time: int | None = None) -> None:
    """End a span, now or at a time in nanoseconds since the epoch; as harmless as `start()`."""
    try:
        span.end(end_time)
    except Exception:  # noqa: BLE001  # as above
        _log.exception("cannot end a span")


def foreign(span: Span) -> bool:
    """Whether a span was started by somebody else; spans that do not record were started by nobody."""
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name != NAME


def tells_usage(span: Span) -> bool:
    """Whether somebody else has opened this span for a model call, whose usage it will tell."""
    return foreign(span) and span.is_recording() and is_inference(getattr(span, "attributes", None) or {})


def is_inference(said: Mapping[str, Any]) -> bool:
    """Whether the attributes are those of a model call."""
    return said.get("gen_ai.operation.name") in _INFERENCES or said.get("openinference.span.kind") == "LLM"


on_counted: list[Callable[[int], None]] = []
"""Who is told the id of the span that is open around each model call that an adapter sees."""


def counted() -> None:
    """Tell that a model call which is made here and now will be on a bill."""
    if on_counted:
        around = trace.get_current_span().get_span_context().span_id
        for tell in on_counted:
            tell(around)


def keep_usage_off(span: Span) -> None:
    """Let somebody else's span go on without usage: its call became a search, whose model calls tell it.

    What its instrumentation reads in the end is the winner's response, which is on the winner's own span already.
    """
    set_attribute, set_attributes = span.set_attribute, span.set_attributes

    def one(key: str, value: Any) -> None:
        if not key.startswith(_USAGE):
            set_attribute(key, value)

    def several(attributes: Mapping[str, Any]) -> None:
        set_attributes({key: value for key, value in attributes.items() if not key.startswith(_USAGE)})

    # There is no way to take an attribute back.
    span.set_attribute = one  # type: ignore[method-assign]
    span.set_attributes = several  # type: ignore[method-assign]


def has_usage(span: Span) -> bool:
    """Whether a span says what its call used."""
    said: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    return any(key.startswith(_USAGE) for key in said)


class Current:
    """Make a span the parent of what starts inside.

    With `silence`, other LLM instrumentations are quiet there; `noting` is added to the context.

    A class because a generator-based context manager costs several times as much, on every draw.
    """

    __slots__ = ("_noting", "_silence", "_span", "_token")

    def __init__(self, span: Span, *, silence: bool = False, noting: Mapping[str, object] = _NOTHING) -> None:
        self._span = span
        self._silence = silence
        self._noting = noting
        self._token: Any = None

    def __enter__(self) -> None:
        # A span without a valid context is the API's no-op: nothing below could tell the difference.
        if self._span.get_span_context().is_valid:
            below = trace.set_span_in_context(self._span)
            if self._silence and self._span.is_recording():
                below = context.Context({**below, **_silence()})
            if self._noting:
                below = context.Context({**below, **self._noting})
            self._token = context.attach(below)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            context.detach(self._token)


def _silence() -> dict[str, Any]:
    """What other instrumentations look for in the context, to keep from telling the same usage again.

    Some know only the key that silences every instrumentation, HTTP clients' too: set only where one of them is used.
    """
    keys: dict[str, Any] = {"suppress_language_model_instrumentation": True}  # OpenLLMetry, for chat completions
    if not _ALL_OR_NOTHING.isdisjoint(sys.modules):
        keys[getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")] = True
    genai = sys.modules.get("opentelemetry.util.genai.invocation")
    outer = getattr(genai, "InferenceData", None)
    if outer is not None:
        keys["opentelemetry.genai.client.inference.context"] = outer()  # it tells what it would have told in here
    return keys


def tagged(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as attributes."""
    known = {"session": "session.id", "user": "user.id"}
    return {known.get(key, f"ttc.tag.{key}"): value for key, value in tags.items()}


def now() -> int:
    """The time of a span's end, in nanoseconds since the epoch."""
    return time.time_ns()
