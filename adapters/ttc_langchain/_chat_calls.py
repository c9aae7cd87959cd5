"""A call of a chat model outside of any agent: what it asks for, and what its message says. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.messages import BaseMessage

from ttc_middleware import Call, Reading, Request

from ._calls import BYTES, ModelCalls, request_of, spoken
from ._responses import read_response

ARGUMENTS = frozenset({"messages", "model", "stop", "tools", "tool_choice", "response_format", "settings"})
"""What a verifier may ask for by name."""
_ANY = ("any", "required", True)
_FREE = ("auto", "none", "", False, None)


def call_of(
    name: str,
    model: Any,
    messages: Sequence[BaseMessage],
    stop: list[str] | None,
    settings: Mapping[str, Any],
    *,
    stream: bool,
) -> Call:
    """The call that a chat model gets; `settings` are its keywords, tools among them."""
    given = {key: value for key, value in settings.items() if key != "stream"}
    if stop is not None:
        given["stop"] = stop
    asked = {key: settings.get(key) for key in ("tools", "tool_choice", "response_format")}
    request: ModelRequest[Any] = ModelRequest(model=model, messages=cast("Any", list(messages)), model_settings=given)
    shown = {"messages": list(messages), "model": model, "stop": stop, "settings": settings, **asked}
    return Call(name=name, arguments={**shown, "request": request, "stream": stream})


def forced_tool(settings: Mapping[str, Any]) -> str | None:
    """The tool by which the model has to answer; None where it may choose."""
    choice: Any = settings.get("tool_choice")
    tools: Sequence[Any] = settings.get("tools") or ()
    if isinstance(choice, Mapping) and cast("Mapping[str, Any]", choice).get("type") != "any":
        return _named(cast("object", choice))
    if isinstance(choice, Mapping):  # Anthropic's way to say so
        choice = "any"
    if choice in _ANY:
        return _named(tools[0]) if len(tools) == 1 else None
    return None if choice in _FREE else str(choice)


def _named(tool: object) -> str | None:
    """A tool's name, in the forms that providers give it."""
    if not isinstance(tool, Mapping):
        return None
    fields = cast("Mapping[str, Any]", tool)
    inner: Mapping[str, Any] = fields.get("function") or {}
    name: str | None = fields.get("name") or inner.get("name")
    return name


@dataclass(frozen=True)
class ChatCalls(ModelCalls):
    """The adapter of a chat model's calls.

    Args:
        slots: requests that the server works on at once; None: any number.
        answer: the tool by which the model has to answer; None where it may choose.
    """

    answer: str | None = None

    def describe(self, call: Call, /) -> Request:
        """What the call asks for."""
        return replace(super().describe(call), stream=call.arguments["stream"])

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt."""
        request = request_of(call)
        settings = request.model_settings
        body = {
            "messages": [spoken(message) for message in request.messages],
            "tools": settings.get("tools") or settings.get("functions"),
            "response_format": _schema(settings.get("response_format")),
        }
        return BYTES.bound(Call(name=call.name, arguments=body))

    def read(self, output: Any, /) -> Reading:
        """What a message says."""
        reading = read_response(ModelResponse(result=[output]))
        answers = [each.arguments for each in reading.tool_calls if each.name == self.answer]
        if self.answer is None or len(answers) != 1 or len(reading.tool_calls) != 1:
            return reading
        return replace(reading, text=json.dumps(json.loads(answers[0]), sort_keys=True, ensure_ascii=False))


def _schema(response_format: Any) -> Any:
    """The schema of structured output, in JSON."""
    described = getattr(response_format, "model_json_schema", None)
    return described() if callable(described) else response_format
