"""What was said, in spans and events: only where `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` asks for it.

The variable and its values are OpenTelemetry's own: NO_CONTENT (as without it), SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT.
The messages have the form of its GenAI conventions: a role and parts. What is shown or heard is named, not copied.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import Context

from ._spans import NAME

if TYPE_CHECKING:
    from ttc_middleware._types import Reading, Request

_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_log = logging.getLogger(NAME)


def _mode() -> str:
    said = os.environ.get(_VARIABLE, "").strip()
    if said.upper() in ("", "NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"):
        return said.upper()
    modes = "NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT"
    _log.warning("%s must be one of %s, got %r: no content is captured", _VARIABLE, modes, said)
    return ""


_MODE = _mode()
SPANS = _MODE in ("SPAN_ONLY", "SPAN_AND_EVENT")
EVENTS = _MODE in ("EVENT_ONLY", "SPAN_AND_EVENT")


def said(request: Request, reading: Reading | None) -> dict[str, str]:
    """The content of a model call as attributes, each a JSON text."""
    conversation = [_message(message) for message in request.messages]
    instructions = [part for message in conversation if message["role"] in _ABOVE for part in message["parts"]]
    if request.instructions:
        instructions.insert(0, _text(request.instructions))
    parts = {
        "gen_ai.system_instructions": instructions,
        "gen_ai.input.messages": [message for message in conversation if message["role"] not in _ABOVE],
        "gen_ai.output.messages": [] if reading is None else _output(reading),
    }
    return {key: json.dumps(value, ensure_ascii=False, default=str) for key, value in parts.items() if value}


_ABOVE = ("system", "developer")
_ROLES = {"human": "user", "ai": "assistant"}


def _get(thing: object, name: str) -> Any:
    return cast("Mapping[str, Any]", thing).get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _text(text: object) -> dict[str, Any]:
    return {"type": "text", "content": str(text)}


def _message(message: object) -> dict[str, Any]:
    """One message of a conversation, or one item of the responses API."""
    kind = str(_get(message, "type") or "")
    if kind == "function_call":
        return {"role": "assistant", "parts": [_asked(_get(message, "call_id"), message)]}
    if kind == "function_call_output":
        return {"role": "tool", "parts": [_told(_get(message, "call_id"), _get(message, "output"))]}
    role = str(_get(message, "role") or _ROLES.get(kind) or kind or "user")
    content = _get(message, "content")
    if role in ("tool", "function"):
        return {"role": "tool", "parts": [_told(_get(message, "tool_call_id"), content)]}
    calls = [_asked(_get(call, "id"), _get(call, "function") or call) for call in _get(message, "tool_calls") or ()]
    return {"role": role, "parts": [*_parts(content), *calls]}


def _parts(content: object) -> Iterable[dict[str, Any]]:
    if content is None or isinstance(content, str):
        return [_text(content)] if content else []
    pieces = cast("Iterable[object]", content) if isinstance(content, (list, tuple)) else [content]
    return [
        _text(_get(piece, "text")) if isinstance(_get(piece, "text"), str) else {"type": str(_get(piece, "type"))}
        for piece in pieces
    ]


def _asked(id_: object, function: object) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "id": id_,
        "name": _get(function, "name"),
        "arguments": _get(function, "arguments") or _get(function, "args"),
    }


def _told(id_: object, response: object) -> dict[str, Any]:
    return {"type": "tool_call_response", "id": id_, "response": response}


def _output(reading: Reading) -> list[dict[str, Any]]:
    parts = list(_parts(reading.text))
    parts += [{"type": "tool_call", "name": call.name, "arguments": call.arguments} for call in reading.tool_calls]
    finish = reading.finish_reasons[0] if reading.finish_reasons else "stop"
    return [{"role": "assistant", "parts": parts, "finish_reason": finish}] if parts else []


def log(event: str, attributes: Mapping[str, Any], context: Context) -> None:
    """Emit an event as a log record, for the span that is current in `context`.

    As harmless as a span: what breaks in a program's own log processors costs a record.
    """
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger  # noqa: PLC0415  # only with an SDK

    record = LogRecord(
        event_name=event, attributes=dict(attributes), context=context, severity_number=SeverityNumber.INFO
    )
    try:
        get_logger(NAME).emit(record)
    except Exception:  # noqa: BLE001  # whatever they raise
        _log.exception("cannot emit %s", event)
