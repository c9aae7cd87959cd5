"""What an agent's model call brought: text, tool calls, structured output, usage. Pure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, cast

from langchain.agents.middleware import ModelResponse
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatResult
from pydantic_core import to_json

from ttc_middleware import Bill, Reading, ToolCall, Usage, seam
from ttc_middleware.seam import Leaf, Told

# Providers' words for why they stopped, in lower case.
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"})
_FILTERED = frozenset({
    "content_filter", "content_filtered", "guardrail_intervened", "safety", "image_safety", "recitation", "blocklist",
    "prohibited_content", "spii",
})  # fmt: skip
_TOLD = {"token_usage", "usage", "service_tier"}
_OK = 200  # HTTP
_SILENT = ("text", "reasoning", "thinking", "redacted_thinking")


def read_response(response: Any) -> Reading:
    """What a response says."""
    message = message_of(response)
    if message is None:
        return Reading(status="failed", fault="malformed")
    calls = tuple(ToolCall(call["name"], json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls)
    structured = response.structured_response
    reason = _reason(message)
    metadata: Mapping[str, Any] = message.response_metadata
    return Reading(
        # A turn that calls tools is not yet an answer; a parsed one is judged as JSON, however it was sent.
        text=message.text if structured is None and not calls else None if structured is None else _json(structured),
        tool_calls=calls,
        **read_usage(message)._asdict(),
        model=metadata.get("model_name") or metadata.get("model"),
        id=metadata.get("id") or message.id,
        finish_reasons=(reason,) if reason else (),
        logprob=seam.mean_logprob(seam.get(metadata, "logprobs", "content")),
        **_ending(response, message, reason.lower()),
    )


@contextlib.contextmanager
def billed(leaf: Leaf) -> Generator[None, None, None]:
    """Account for an answer that came inside an exception, because it did not parse: it is none, but has a price."""
    try:
        yield
    except Exception as error:
        reading = _read_error(error)
        if reading is not None:
            leaf.finish(reading)
        raise


def _read_error(error: Exception) -> Reading | None:
    """What an answer says that did not parse; None where there was none."""
    message = getattr(error, "ai_message", None)  # LangChain's own
    if isinstance(message, AIMessage):
        return replace(read_response(ModelResponse(result=[message])), status="failed", fault="malformed")
    response = getattr(error, "response", None)  # the SDK's, as langchain-openai keeps it
    try:
        body: Any = response.json() if getattr(response, "status_code", None) == _OK else None  # type: ignore[union-attr]
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    told = seam.read_usage(cast("dict[str, Any]", body))
    return None if told.usage is None else Reading(status="failed", fault="malformed", **told._asdict())


def finished(result: ChatResult) -> AIMessage:
    """The message of a model's own result, with the metadata that LangChain puts on it."""
    first = result.generations[0]
    message = cast("AIMessage", first.message)
    alone = result.llm_output if len(result.generations) == 1 else None
    message.response_metadata = {**(alone or {}), **(first.generation_info or {}), **message.response_metadata}
    return message


def billed_to(message: AIMessage, bill: Bill) -> AIMessage:
    """The winner, whose usage is that of all samples: whoever adds up messages pays for each of them, once."""
    own = message.usage_metadata
    told = {**bill.total.to_dict(), "hidden_tokens": bill.hidden.tokens, "status": bill.status, "winner": own}
    changes: dict[str, Any] = {"response_metadata": {**message.response_metadata, "ttc": told}}
    if own is not None and bill.status != "unknown":
        # What judged the samples has made calls of its own, which LangChain may have counted already.
        spent = bill.visible + bill.reasoning + bill.discarded
        usage: dict[str, Any] = {
            "input_tokens": spent.input_tokens,
            "output_tokens": spent.output_tokens,
            "total_tokens": spent.tokens,
        }
        for name, part, count in (
            ("input_token_details", "cache_read", spent.cached_tokens),
            ("input_token_details", "cache_creation", spent.cache_write_tokens),
            ("output_token_details", "reasoning", spent.reasoning_tokens),
        ):
            if count is not None:
                usage[name] = {**usage.get(name, {}), part: count}
        changes["usage_metadata"] = usage
    return message.model_copy(update=changes)


def message_of(response: Any) -> AIMessage | None:
    """The model's own message; None where there is none."""
    result = response.result if isinstance(response, ModelResponse) else ()
    return next((message for message in result if isinstance(message, AIMessage)), None)


def unparsed(response: ModelResponse[Any]) -> ToolMessage | None:
    """What LangChain tells the model of structured output that did not parse; None where all is well."""
    if response.structured_response is not None:
        return None
    return next((message for message in response.result if isinstance(message, ToolMessage)), None)


def read_usage(message: AIMessage) -> Told:
    """The usage of a message, which LangChain gives one shape; nothing where the provider reported none.

    Reasoning tokens are part of the output with most providers, and beside it with some: the total tells which.
    """
    given = cast("Mapping[str, Any] | None", message.usage_metadata)
    if given is None:
        return Told()
    if given.get("total_cost") == 0:  # LangChain's mark of an answer from its cache
        return Told(Usage.zero())
    prompt, made = given.get("input_token_details"), given.get("output_token_details")
    hour, short = _detail(prompt, "ephemeral_1h_input_tokens"), _detail(prompt, "ephemeral_5m_input_tokens")
    written = _detail(prompt, "cache_creation")
    if not written and (hour or short):  # langchain-anthropic tells the parts in place of the sum
        written = (hour or 0) + (short or 0)
    sent: Mapping[str, Any] = message.response_metadata
    told = seam.make_usage(
        given["input_tokens"],
        given["output_tokens"],
        total=given.get("total_tokens"),
        thinking=_detail(made, "reasoning"),
        cached=_detail(prompt, "cache_read"),
        written=written,
        written_1h=hour,
        usd=seam.reported_usd(sent.get("token_usage")),
    )
    if not _TOLD & sent.keys():
        return told
    as_sent = {"usage": sent.get("token_usage"), "service_tier": sent.get("service_tier")}
    return told._replace(service_tier=seam.read_usage(as_sent).service_tier)


def _detail(details: Any, name: str) -> int | None:
    """A part of a token count; OpenAI's service tiers put their name before it ("flex_reasoning")."""
    parts: Mapping[str, Any] = details or {}
    found = (value for key, value in parts.items() if key == name or key.endswith(f"_{name}"))
    return next((value for value in found if isinstance(value, int)), None)


def _get(thing: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", thing).get(name) if isinstance(thing, Mapping) else None


def _json(structured: Any) -> str:
    """Equal values as equal text."""
    return json.dumps(json.loads(to_json(structured, fallback=str)), sort_keys=True, ensure_ascii=False)


def _reason(message: AIMessage) -> str:
    """Why the model stopped, in its provider's word; "" where it does not say."""
    said: Mapping[str, Any] = message.response_metadata
    details = _get(said.get("incomplete_details"), "reason")
    if details:  # OpenAI's responses
        return str(details)
    names = ("finish_reason", "stop_reason", "stopReason", "done_reason", "status")
    return next((str(said[name]) for name in names if said.get(name)), "")


def _ending(response: ModelResponse[Any], message: AIMessage, reason: str) -> dict[str, Any]:
    if reason in _CUT:
        return {"status": "truncated"}
    if reason in _FILTERED:
        return {"status": "abstained", "fault": "filtered"}
    if reason == "refusal" or message.additional_kwargs.get("refusal"):
        return {"status": "abstained", "fault": "refused"}
    # Arguments that are no JSON, or not what the schema asks: LangChain would ask again, so it is no answer.
    if message.invalid_tool_calls or unparsed(response) is not None:
        return {"status": "abstained"}
    if message.tool_calls or response.structured_response is not None or message.text or _shows(message):
        return {}
    return {"status": "failed", "fault": "empty"}


def _shows(message: AIMessage) -> bool:
    """Whether a message without text holds something else to see or hear."""
    blocks = message.content if isinstance(message.content, list) else []
    return any(isinstance(block, dict) and block.get("type") not in _SILENT for block in blocks)
