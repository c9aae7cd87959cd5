"""Messages: how to change a request, and what a message says. Pure; needs no SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from ttc_middleware import Call, Capability, Draw, Reading, Request, ToolCall
from ttc_middleware.seam import Told, effort_asked, fitted, get, read_usage, whole
from ttc_openai.stainless import Spoken, decoded, think

from ._bound import prompt_bound

_CAN = frozenset(Capability) - {Capability.SEED, Capability.CHOICES, Capability.EXTEND}
_ENDINGS: Mapping[str, Mapping[str, Any]] = {
    "max_tokens": {"status": "truncated"},
    "model_context_window_exceeded": {"status": "truncated"},
    # The caller is to send it back for the rest.
    "pause_turn": {"status": "truncated"},
    "compaction": {"status": "truncated"},
    "refusal": {"status": "abstained", "fault": "refused"},
}


@dataclass(frozen=True)
class Messages:
    """The adapter of `/v1/messages`. It has no seed and no `n`.

    It does not go on with a partial answer: newer models refuse a prefill, older ones give back only what comes after
    it and take none that ends in a blank, which is where steps end.

    Args:
        provider: as in `gen_ai.provider.name`.
        server: the host that is asked.
        slots: requests that the server works on at once; None: any number.
        port: where the server listens.
    """

    provider: str = "anthropic"
    server: str | None = None
    slots: int | None = None
    port: int | None = None

    @property
    def can(self) -> frozenset[Capability]:
        """Everything but a seed, `n`, and going on with a partial answer."""
        return _CAN

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The request with the draw's changes."""
        body = dict(call.arguments)
        stop = None if draw.stop is None else list(draw.stop)
        named = {"model": draw.model, "max_tokens": draw.max_tokens, "stop_sequences": stop}
        body.update({name: value for name, value in named.items() if value is not None})
        if draw.temperature is not None and not is_thinking(body):  # the API takes one or the other
            body["temperature"] = draw.temperature
        if draw.thinks is not None:
            body = think(body, draw.thinks, Spoken("messages", "max_tokens", self.provider))
        elif draw.max_tokens is not None:
            body = fitted(body, draw.max_tokens)
        if draw.instruction is not None:  # two messages of the user in a row are one turn to the API
            body["messages"] = [*(body.get("messages") or ()), {"role": "user", "content": draw.instruction}]
        return replace(call, arguments=body)

    def merge(self, call: Call, n: int, /) -> Call:
        """The API has no `n`."""
        raise NotImplementedError

    def split(self, output: Any, /) -> Sequence[Any]:
        """The API has no `n`."""
        raise NotImplementedError

    def describe(self, call: Call, /) -> Request:
        """What the request asks for."""
        body = call.arguments
        temperature = body.get("temperature")
        contents: list[Any] = [get(message, "content") for message in body.get("messages") or ()]
        blocks = [block for content in contents if isinstance(content, list) for block in cast("list[Any]", content)]
        return Request(
            provider=self.provider,
            model=str(body.get("model") or "unknown"),
            max_tokens=whole(body.get("max_tokens")),
            temperature=temperature if isinstance(temperature, (int, float)) else None,
            stream=bool(body.get("stream")),
            tool_results=any(get(block, "type") == "tool_result" for block in blocks),
            server=self.server,
            port=self.port,
            messages=body.get("messages") or (),
            instructions=_system(body.get("system")),
            remembered=_remembered(body),
            thinks=is_thinking(body),
            effort=effort_asked(body) if is_thinking(body) else None,
        )

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt; what the server remembers, fetches or runs by itself it alone knows."""
        return prompt_bound(call.arguments)

    def read(self, output: Any, /) -> Reading:
        """What a message says: a parsed one, a raw one, or what a server sent in its place."""
        streamed = getattr(output, "ttc_reading", None)
        if isinstance(streamed, Reading):
            return streamed
        output = decoded(output)
        content = get(output, "content")
        if isinstance(output, (str, bytes)) or not isinstance(content, (list, tuple)):
            return Reading(status="failed", fault="malformed")
        blocks = cast("Sequence[Any]", content)
        text = "".join(str(get(block, "text") or "") for block in blocks if get(block, "type") == "text")
        calls = tuple(
            ToolCall(str(get(block, "name")), _json(get(block, "input")))
            for block in blocks
            if get(block, "type") == "tool_use"
        )
        finish = str(get(output, "stop_reason"))
        ending = _ENDINGS.get(finish)
        if ending is None and not text and not calls:
            ending = {"status": "failed", "fault": "empty"}
        return Reading(
            text=text,
            tool_calls=calls,
            model=get(output, "model"),
            id=get(output, "id"),
            finish_reasons=(finish,),
            **known(read_usage(output, api="anthropic"), blocks),
            **(ending or {}),
        )


def known(told: Told, blocks: Sequence[Any]) -> dict[str, Any]:
    """What a reading says of the cost; a usage that leaves out the thinking of a message without any says 0."""
    usage = told.usage
    thought = any(get(block, "type") in ("thinking", "redacted_thinking") for block in blocks)
    if usage is not None and usage.reasoning_tokens is None and not thought:
        usage = replace(usage, reasoning_tokens=0)
    return {**told._asdict(), "usage": usage}


def is_thinking(body: Mapping[str, Any]) -> bool:
    """Whether a request has the model think."""
    return get(body.get("thinking"), "type") in ("enabled", "adaptive")


def _system(said: Any) -> str | None:
    """The system prompt, which may come in blocks."""
    if said is None or isinstance(said, str):
        return said
    return "".join(str(get(block, "text") or "") for block in said)


def _remembered(body: Mapping[str, Any]) -> bool:
    """Whether draws would leave something behind on a server, or in each other's way."""
    container = body.get("container")
    return isinstance(container, str) or get(container, "id") is not None or bool(body.get("mcp_servers"))


def _json(arguments: Any) -> str:
    if isinstance(arguments, str):  # of a stream
        return arguments
    return json.dumps({} if arguments is None else arguments, ensure_ascii=False, default=str)
