"""What a model's response says: text, tool calls, structured output, usage. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.usage import RequestUsage

from ttc_middleware import Reading, ToolCall, Usage

_THOUGHT = ("reasoning_tokens", "thinking_tokens", "thoughts_tokens")
_SILENT = ("text", "thinking", "tool-call", "builtin-tool-call", "builtin-tool-return", "compaction")


def read_response(response: Any, outputs: frozenset[str]) -> Reading:
    """What a response says.

    Args:
        response: of the model.
        outputs: the tools by which the model gives the agent's output.
    """
    if not isinstance(response, ModelResponse):
        return Reading(status="failed", fault="malformed")
    calls = tool_calls(response)
    given = [call for call in calls if call.tool_name in outputs]
    reason = response.finish_reason
    more: dict[str, Any] = {
        "usage": read_usage(response),
        "model": response.model_name,
        "id": response.provider_response_id,
        "finish_reasons": (reason,) if reason else (),
        "service_tier": _tier(response),
    }
    ending = _ending(response, calls, given)
    if given:
        # Structured output is judged as JSON, however it was sent; which of several types it is counts, too.
        named = len(outputs) > 1
        return Reading(
            text=given[0].args_as_json_str(), tool_calls=_named(given[:1]) if named else (), **more, **ending
        )
    # A turn that calls tools is not yet an answer.
    return Reading(text=None if calls else response.text, tool_calls=_named(calls), **more, **ending)


def tool_calls(response: ModelResponse) -> list[ToolCallPart]:
    """The tools that the agent is to run, output tools included."""
    return [part for part in response.parts if isinstance(part, ToolCallPart)]


def read_usage(response: ModelResponse) -> Usage | None:
    """The usage of a response, with that of models which a `FallbackModel` turned down on the way to it.

    None where the provider reported none.
    """
    usages = [response.usage, *(each.usage for each in getattr(response, "failed_attempts", None) or () if each.usage)]
    told = [_usage(each) for each in usages if each.input_tokens or each.output_tokens]
    total = Usage.zero()
    for each in told:
        total += each
    if not told:
        return None
    return replace(total, calls=1, usd=_dollars(response) if len(told) == 1 else None)


def _usage(usage: RequestUsage) -> Usage:
    details = usage.details or {}
    thought = next((details[name] for name in _THOUGHT if name in details), None)
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=None if thought is None else min(thought, usage.output_tokens),
        # 0 is also what Pydantic AI says where a provider says nothing.
        cached_tokens=min(usage.cache_read_tokens, usage.input_tokens) if usage.cache_read_tokens else None,
        cache_write_tokens=min(usage.cache_write_tokens, usage.input_tokens) if usage.cache_write_tokens else None,
    )


def _tier(response: ModelResponse) -> str | None:
    """What the call was served as, where that has a price of its own."""
    said = (response.provider_details or {}).get("service_tier")
    return said if said in ("batch", "flex", "priority", "fast") else None


def _dollars(response: ModelResponse) -> Decimal | None:
    """What the provider itself says that the call cost (OpenRouter)."""
    cost = (response.provider_details or {}).get("cost")
    told = isinstance(cost, (int, float)) and not isinstance(cost, bool) and cost >= 0
    return Decimal(str(cost)) if told else None


def _named(calls: list[ToolCallPart]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(call.tool_name, call.args_as_json_str()) for call in calls)


def _ending(response: ModelResponse, calls: list[ToolCallPart], given: list[ToolCallPart]) -> dict[str, Any]:
    if response.finish_reason == "length":
        return {"status": "truncated"}
    if response.finish_reason == "content_filter":
        refused = "refusal" in (response.provider_details or {})
        return {"status": "abstained", "fault": "refused" if refused else "filtered"}
    # Arguments that are no JSON: the agent would ask again, so it is no answer.
    if not all(_is_json(call) for call in given or calls):
        return {"status": "abstained"}
    if calls or response.text or _shows(response) or getattr(response, "state", "complete") == "suspended":
        return {}
    return {"status": "failed", "fault": "empty"}


def _is_json(call: ToolCallPart) -> bool:
    if not isinstance(call.args, str) or not call.args:
        return True
    try:
        return isinstance(json.loads(call.args), Mapping)
    except (ValueError, RecursionError):
        return False


def _shows(response: ModelResponse) -> bool:
    """Whether a response without text holds something else to see or hear."""
    return any(cast("Any", part).part_kind not in _SILENT for part in response.parts)


def without_tools(response: ModelResponse, outputs: frozenset[str]) -> ModelResponse | None:
    """The response as an answer, without tools that would have an effect; None where it is a turn that calls tools."""
    calls = tool_calls(response)
    if any(call.tool_name in outputs for call in calls):
        parts = [each for each in response.parts if not isinstance(each, ToolCallPart) or each.tool_name in outputs]
    elif calls or getattr(response, "state", "complete") == "suspended":
        return None
    else:
        parts = list(response.parts)
    return ModelResponse(parts=parts, model_name=response.model_name, timestamp=response.timestamp)


def text_of(response: ModelResponse) -> str:
    """The text of a response; "" where there is none."""
    return "".join(part.content for part in response.parts if isinstance(part, TextPart))
