"""litellm's chat completions: how to change a call's keywords, and what a response says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttc_middleware import Call, Draw, Reading, Request, Usage
from ttc_middleware.seam import Thinking, warn_once
from ttc_openai.protocol import Chat, effort, get

from ._providers import fate, target, without_estimate

_CHAT = Chat()
_LIMITS = ("max_completion_tokens", "max_tokens")
_SAMPLING = ("temperature", "seed")
_LEAST_THINKING = 1_024  # tokens: Anthropic takes no fewer, nor as many as `max_tokens`
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
        if draw.thinking is not None:
            _think(body, draw.thinking)
        for name in _SAMPLING:
            _sample(body, name, getattr(draw, name))
        if draw.stop is not None:
            body["stop"] = list(draw.stop)
        if draw.max_tokens is not None:
            _limit(body, draw.max_tokens)
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


def _think(body: dict[str, Any], thinking: Thinking) -> None:
    """Ask for so much thinking, in words that the model takes: tokens, or an effort."""
    ways: list[tuple[str, Any]] = [("reasoning_effort", effort(thinking))]
    if isinstance(thinking, int) and thinking:
        ways.insert(0, ("thinking", {"type": "enabled", "budget_tokens": thinking}))
    bare = {name: value for name, value in body.items() if name not in ("thinking", "reasoning_effort")}
    for name, value in ways:
        said = fate(bare, name, value)
        if said == "taken" or (value == "none" and said == "dropped"):  # many models do not think unless told to
            body.clear()
            body.update(bare)
            if said == "taken":
                body[name] = value
            return
    model = target(body).model
    warn_once("thinking", model, f"{model} does not take thinking={thinking!r}: it thinks as it does anyway")


def _limit(body: dict[str, Any], most: int) -> None:
    for name in [name for name in _LIMITS if body.get(name) is not None] or [_limit_name(body)]:
        body[name] = most
    asked = get(body, "thinking", "budget_tokens")
    if isinstance(asked, int) and asked >= most:  # thinking is a part of the output, and must leave room for an answer
        half = most // 2
        if half >= _LEAST_THINKING:
            body["thinking"] = {**body["thinking"], "budget_tokens": half}
        else:
            del body["thinking"]


def _limit_name(body: dict[str, Any]) -> str:
    # OpenAI's newer models refuse the old name, and other providers do not all know the new one.
    return "max_completion_tokens" if target(body).name in ("openai", "azure.ai.openai") else "max_tokens"
