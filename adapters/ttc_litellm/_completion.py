"""litellm's chat completions: how to change a call's keywords, and what a response says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttc_middleware import Call, Draw, Reading, Request, Thinking, Usage
from ttc_middleware.seam import Backend, asks_to_think, effort_asked, fitted, warn_once, written
from ttc_openai.protocol import Chat, Spoken, get, note, told_to, with_scratchpad

from ._providers import fate, target, without_estimate

_CHAT = Chat()
_LIMITS = ("max_completion_tokens", "max_tokens")
_SAMPLING = ("temperature", "seed")
_BACKENDS: dict[str, Backend] = {"hosted_vllm": "vllm", "vllm": "vllm"}  # by litellm's names
_KEYWORDS = ("thinking", "reasoning_effort")
_TOOL_PROMPT = 1_024  # tokens: what providers put in front of tools on their own account


@dataclass(frozen=True)
class Completion:
    """The adapter of `litellm.completion()` and `acompletion()`.

    What a model does not take is left out of a draw's wishes, with one warning.

    Args:
        slots: requests that the server works on at once; None: any number.
    """

    slots: int | None = None

    can = _CHAT.can

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The call with the draw's changes."""
        body = dict(call.arguments)
        if draw.model is not None:
            body["model"] = draw.model
        if draw.max_tokens is not None:
            body = _limited(body, draw.max_tokens)
        if draw.thinks is not None:
            body = _thinking(body, draw.thinks)
        for name in _SAMPLING:
            _sample(body, name, getattr(draw, name))
        if draw.stop is not None:
            body["stop"] = list(draw.stop)
        if draw.instruction is not None:
            body["messages"] = [*(body.get("messages") or []), {"role": "user", "content": draw.instruction}]
        return replace(call, arguments=body)

    def merge(self, call: Call, n: int, /) -> Call:
        """The call with `n`."""
        return _CHAT.merge(call, n)

    def split(self, output: Any, /) -> Sequence[Any]:
        """One response for each choice, as a call of its own would have brought it."""
        return _CHAT.split(output)

    def describe(self, call: Call, /) -> Request:
        """What the call asks for."""
        body, where = call.arguments, target(call.arguments)
        limits = [body[name] for name in _LIMITS if body.get(name) is not None]
        return replace(
            _CHAT.describe(call),
            provider=where.name,
            model=where.model,
            server=where.server,
            port=where.port,
            max_tokens=min(limits, default=None),
            thinks=asks_to_think(body) or asks_to_think(body.get("extra_body") or {}),
            effort=effort_asked(body),
        )

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt: no tokenizer over bytes makes more tokens of them."""
        body = dict(call.arguments)
        # A conversation often holds litellm's own `Message` objects.
        body["messages"] = [_plain(message) for message in body.get("messages") or ()]
        return _CHAT.bound(replace(call, arguments=body)) + (_TOOL_PROMPT if body.get("tools") else 0)

    def read(self, output: Any, /) -> Reading:
        """What a response says."""
        reading = _CHAT.read(output)
        if getattr(output, "ttc_reading", None) is not None:
            return reading
        if get(output, "_hidden_params", "cache_hit") is True:
            return replace(reading, usage=Usage.zero())  # litellm's own cache: nothing was sent
        message = get((get(output, "choices") or (None,))[0], "message")
        if reading.usage is not None and get(message, "thinking_blocks"):
            thought = str(get(message, "reasoning_content") or "")
            reading = replace(reading, usage=without_estimate(reading.usage, thought))
        if reading.fault == "empty" and _refusal(output):
            reading = replace(reading, status="abstained", fault="refused")
        return reading


def _refusal(output: Any) -> object:
    """The refusal of a model of OpenAI's, which litellm puts among what only some providers have."""
    choices = get(output, "choices") or (None,)
    return get(choices[0], "message", "provider_specific_fields", "refusal")


def _plain(message: Any) -> Any:
    return message.model_dump() if hasattr(message, "model_dump") else message


def _sample(body: dict[str, Any], name: str, value: float | None) -> None:
    if value is None:
        return
    if fate(body, name, value) == "taken":
        body[name] = value
        return
    model = target(body).model
    warn_once("refused", model, f"{model} does not take {name}: its parallel draws may be alike")


def _thinking(body: dict[str, Any], asked: Thinking) -> dict[str, Any]:
    """The call, asking to think so much; what litellm would refuse or drop for this model is left out."""
    where = target(body)
    backend = _BACKENDS.get(where.provider)
    limit = next((name for name in _LIMITS if body.get(name) is not None), None) or _limit_name(body)
    spoken = Spoken("litellm", limit, where.name, backend)
    if asked.prompted:
        body = with_scratchpad(body, asked, spoken, where.model)
    told = told_to(body, asked, spoken, where.model)
    new = written(body, told, where.name, api="litellm", backend=backend)
    bare = {name: value for name, value in new.items() if name not in _KEYWORDS}
    for name in _KEYWORDS:
        if name in new and name not in body and fate(bare, name, new[name]) != "taken":
            if told.on and told.said is None:
                warn_once(
                    "thinking", where.model, f"{where.model} does not take thinking={asked.said}: litellm says so"
                )
            del new[name]
    if told.max_tokens is not None:
        new[limit] = told.max_tokens
    note(where.model, told, lost=[name for name in body if name not in new and name in ("temperature", "top_p")])
    return new


def _limited(body: dict[str, Any], most: int) -> dict[str, Any]:
    for name in [name for name in _LIMITS if body.get(name) is not None] or [_limit_name(body)]:
        body[name] = most
    return fitted(body, most, off=False)


def _limit_name(body: dict[str, Any]) -> str:
    # OpenAI's newer models refuse the old name, and other providers do not all know the new one.
    return "max_completion_tokens" if target(body).name in ("openai", "azure.ai.openai") else "max_tokens"
