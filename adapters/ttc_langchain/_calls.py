"""An agent's model call: how to change the request, what it asks for, and what the response says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from ttc_middleware import Call, Capability, Draw, Reading, Request
from ttc_middleware.seam import effort_asked
from ttc_openai import Chat

from . import _models
from ._responses import read_response

_FIELDS = (
    "messages", "system_message", "model", "tools", "tool_choice", "response_format", "state", "runtime",
    "model_settings",
)  # fmt: skip
ARGUMENTS = frozenset({"request", *_FIELDS})
"""What a verifier may ask for by name."""
BYTES = Chat()


def call_of(name: str, request: ModelRequest[Any]) -> Call:
    """The call that a request is."""
    return Call(name=name, arguments={"request": request, **{field: getattr(request, field) for field in _FIELDS}})


def request_of(call: Call) -> ModelRequest[Any]:
    """The request, as the engine wants it sent."""
    request: ModelRequest[Any] = call.arguments["request"]
    return request


@dataclass(frozen=True)
class ModelCalls:
    """The adapter of an agent's model calls.

    Args:
        slots: requests that the server works on at once; None: any number.
    """

    slots: int | None = None

    can = frozenset(Capability) - {Capability.EXTEND, Capability.CHOICES}

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The request with the draw's changes, named as its model's provider names them."""
        request = request_of(call)
        model: Any = request.model
        changes: dict[str, Any] = {}
        settings = _settings(model, draw, request.model_settings)
        fields = {} if _models.takes_settings(model) else settings
        name = _models.model_name_field(model)
        if draw.model is not None and name is not None:
            fields = {**fields, name: draw.model}
        if fields:
            changes["model"] = model.model_copy(update=fields)
        if settings and _models.takes_settings(model):
            changes["model_settings"] = {**request.model_settings, **settings}
        if draw.instruction is not None:
            changes["messages"] = [*request.messages, HumanMessage(draw.instruction)]
        return replace(call, arguments={**call.arguments, "request": request.override(**changes)})

    def merge(self, call: Call, n: int, /) -> Call:
        """An agent takes one message a call."""
        raise NotImplementedError

    def split(self, output: Any, /) -> Sequence[Any]:
        """An agent takes one message a call."""
        raise NotImplementedError

    def describe(self, call: Call, /) -> Request:
        """What the request asks for."""
        request = request_of(call)
        settings = request.model_settings
        params = _models.standard_params(request.model, settings)
        host = _models.host_of(request.model)
        limit, seed = (
            settings.get(name, getattr(request.model, name, None))
            for name in (_models.limit_name(request.model), _models.seed_name(request.model) or "seed")
        )
        return Request(
            provider=_models.provider_of(params, host),
            model=str(params.get("ls_model_name") or "unknown"),
            choices=settings.get("n") or getattr(request.model, "n", None) or 1,
            max_tokens=limit if isinstance(limit, int) and limit > 0 else params.get("ls_max_tokens"),
            temperature=params.get("ls_temperature"),
            seed=seed if isinstance(seed, int) else None,
            tool_results=any(isinstance(message, ToolMessage) for message in request.messages),
            server=host,
            messages=[*([request.system_message] if request.system_message else []), *request.messages],
            effort=effort_asked({"reasoning_effort": getattr(request.model, "reasoning_effort", None), **settings}),
        )

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt: no tokenizer over bytes makes more tokens of them."""
        request = request_of(call)
        said = [*([request.system_message] if request.system_message else []), *request.messages]
        tools = [tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools]
        body = {
            "messages": [spoken(message) for message in said],
            "tools": tools,
            "response_format": _schemas(request.response_format),
        }
        return BYTES.bound(Call(name=call.name, arguments=body))

    def read(self, output: Any, /) -> Reading:
        """What a response says."""
        return read_response(output)


def _settings(model: Any, draw: Draw, given: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "temperature": draw.temperature,
        "stop": None if draw.stop is None else list(draw.stop),
        _models.limit_name(model): draw.max_tokens,
    }
    seed = _models.seed_name(model)
    if seed is not None:
        settings[seed] = draw.seed
    settings = {name: value for name, value in settings.items() if value is not None}
    if draw.thinks is None:
        return settings
    return settings | _models.thinking_settings(model, draw.thinks, {**given, **settings})


def spoken(message: BaseMessage) -> dict[str, Any]:
    """What of a message may reach a prompt."""
    return {
        "role": message.type,
        "content": message.content,
        "tool_calls": getattr(message, "tool_calls", None),
        "name": message.name,
        "more": message.additional_kwargs,
    }


def _schemas(response_format: Any) -> list[Any]:
    """The schemas of structured output, as the model gets to read them."""
    if response_format is None:
        return []
    if not isinstance(response_format, ToolStrategy):  # the provider's own, left to what the model can, or a bare type
        response_format = ToolStrategy(getattr(response_format, "schema", response_format))
    return [[spec.name, spec.description, spec.json_schema] for spec in response_format.schema_specs]
