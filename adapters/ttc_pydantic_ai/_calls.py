"""One request of a model: how to change it, what it asks for, and what its prompt can hold at most. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydantic_ai.messages import ModelMessage, ModelRequest, UserPromptPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings, merge_model_settings

from ttc_middleware import Call, Capability, Draw, Reading, Request
from ttc_middleware.seam import effort_asked
from ttc_openai.protocol import Chat

from . import _models
from ._prompt import Conversation, spoken
from ._responses import read_response

_BYTES = Chat()
_EFFORTS = ("openai_reasoning_effort", "anthropic_effort", "thinking")
_FRAME = 512  # bytes: what Pydantic AI itself says around prompted output


@dataclass(frozen=True)
class Asked:
    """What a model is asked, in Pydantic AI's own words."""

    model: Model
    messages: list[ModelMessage]
    settings: ModelSettings | None
    parameters: ModelRequestParameters
    stream: bool = False

    @property
    def outputs(self) -> frozenset[str]:
        """The tools by which the model gives the agent's output."""
        return frozenset(tool.name for tool in self.parameters.output_tools)


ARGUMENTS = frozenset({"ctx", "deps", "prompt", "messages", "model", "model_settings", "model_request_parameters"})
"""What a verifier may ask for by name."""


def call_of(name: str, asked: Asked, context: Any) -> Call:
    """The call that a request is; `context` is the agent's `RunContext`, None outside of a run."""
    return Call(
        name=name,
        arguments={
            "asked": asked,
            "ctx": context,
            "deps": getattr(context, "deps", None),
            "prompt": getattr(context, "prompt", None),
            "messages": asked.messages,
            "model": asked.model,
            "model_settings": asked.settings,
            "model_request_parameters": asked.parameters,
        },
    )


def asked_of(call: Call) -> Asked:
    """The request, as the engine wants it sent."""
    asked: Asked = call.arguments["asked"]
    return asked


@dataclass(frozen=True)
class ModelCalls:
    """The adapter of Pydantic AI's model requests.

    Args:
        slots: requests that the server works on at once; None: any number.
        outputs: the tools by which the model gives the agent's output.
    """

    slots: int | None = None
    outputs: frozenset[str] = frozenset()

    can = frozenset(Capability) - {Capability.EXTEND, Capability.CHOICES}

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The request with the draw's changes."""
        asked = asked_of(call)
        settings: dict[str, Any] = {
            "temperature": draw.temperature,
            "seed": draw.seed,
            "max_tokens": draw.max_tokens,
            "stop_sequences": None if draw.stop is None else list(draw.stop),
        }
        settings = {name: value for name, value in settings.items() if value is not None}
        model = asked.model if draw.model is None else _models.renamed(asked.model, draw.model)
        if draw.thinks is not None:
            given = {**(merge_model_settings(model.settings, asked.settings) or {}), **settings}
            settings |= _models.thinking_settings(model, draw.thinks, given)
        changed = replace(
            asked,
            model=model,
            messages=asked.messages if draw.instruction is None else _told(asked.messages, draw.instruction),
            settings=cast("ModelSettings", {**(asked.settings or {}), **settings}) if settings else asked.settings,
        )
        return replace(call, arguments={**call.arguments, "asked": changed})

    def merge(self, call: Call, n: int, /) -> Call:
        """An agent takes one response a call."""
        raise NotImplementedError

    def split(self, output: Any, /) -> Sequence[Any]:
        """An agent takes one response a call."""
        raise NotImplementedError

    def describe(self, call: Call, /) -> Request:
        """What the request asks for."""
        asked = asked_of(call)
        settings = cast("Mapping[str, Any]", merge_model_settings(asked.model.settings, asked.settings) or {})
        host, port = _models.address_of(asked.model)
        return Request(
            provider=_models.provider_of(asked.model, host),
            model=asked.model.model_name,
            max_tokens=settings.get("max_tokens"),
            temperature=settings.get("temperature"),
            seed=settings.get("seed"),
            stream=asked.stream,
            tool_results=any(
                getattr(part, "part_kind", "") == "tool-return" for message in asked.messages for part in message.parts
            ),
            server=host,
            port=port,
            messages=Conversation(asked.messages),
            # OpenAI's responses: what is asked and answered is added to it.
            remembered=settings.get("openai_conversation_id") is not None,
            effort=effort_asked({"reasoning_effort": next(filter(None, map(settings.get, _EFFORTS)), None)}),
        )

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt: no tokenizer over bytes makes more tokens of them."""
        asked = asked_of(call)
        parameters = asked.parameters
        tools = [*parameters.function_tools, *parameters.output_tools]
        form = parameters.output_object
        body = {
            "messages": [spoken(part) for message in asked.messages for part in message.parts],
            "tools": [[tool.name, tool.description, tool.parameters_json_schema] for tool in tools],
            "response_format": [
                # The first and the last instructions are those that are sent; all is more than either.
                [getattr(message, "instructions", None) for message in asked.messages],
                None if form is None else [form.name, form.description, form.json_schema],
                None if form is None else "." * _FRAME,
            ],
        }
        return _BYTES.bound(Call(name=call.name, arguments=body))

    def read(self, output: Any, /) -> Reading:
        """What a response says."""
        return read_response(output, self.outputs)


def _told(messages: list[ModelMessage], instruction: str) -> list[ModelMessage]:
    """The messages with one more from the user, in the last request: an agent sends no two in a row."""
    part = UserPromptPart(instruction)
    last = messages[-1] if messages else None
    if isinstance(last, ModelRequest):
        return [*messages[:-1], replace(last, parts=[*last.parts, part])]
    return [*messages, ModelRequest(parts=[part])]
