"""The responses API: how to change a request, and what a response says. Pure; needs no SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttc_middleware import Call, Capability, Draw, Reading, Request, ToolCall
from ttc_middleware.seam import asks_to_think, effort_asked

from ._chat import decoded, prompt_bound
from ._think import Spoken, think
from ._usage import get, read_usage, whole


@dataclass(frozen=True)
class Responses:
    """The adapter of `/responses`. It has no seed, no stop and no `n`.

    Args:
        provider: as in `gen_ai.provider.name`.
        server: the host that is asked.
        slots: requests that the server works on at once; None: any number.
        port: where the server listens.
    """

    provider: str = "openai"
    server: str | None = None
    slots: int | None = None
    port: int | None = None

    can = frozenset(Capability) - {Capability.EXTEND, Capability.CHOICES, Capability.SEED, Capability.STOP}

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The request with the draw's changes."""
        body = dict(call.arguments)
        named = {"model": draw.model, "temperature": draw.temperature, "max_output_tokens": draw.max_tokens}
        body.update({name: value for name, value in named.items() if value is not None})
        if draw.thinks is not None:
            body = think(body, draw.thinks, Spoken("responses", "max_output_tokens", self.provider))
        if draw.instruction is not None:
            said: Any = body.get("input") or []
            before: list[Any] = [{"role": "user", "content": said}] if isinstance(said, str) else list(said)
            body["input"] = [*before, {"role": "user", "content": draw.instruction}]
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
        said: Any = body.get("input")
        items: Sequence[Any] = () if isinstance(said, str) else said or ()
        return Request(
            provider=self.provider,
            model=str(body.get("model") or "unknown"),
            max_tokens=whole(body.get("max_output_tokens")),
            temperature=temperature if isinstance(temperature, (int, float)) else None,
            stream=bool(body.get("stream")),
            tool_results=any(get(item, "type") == "function_call_output" for item in items),
            server=self.server,
            remembered=body.get("conversation") is not None,
            port=self.port,
            messages=({"role": "user", "content": said},) if isinstance(said, str) else items,
            instructions=body.get("instructions"),
            thinks=asks_to_think(body),
            effort=effort_asked(body),
        )

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt; what the server remembers of earlier turns it alone knows."""
        body = call.arguments
        said = body.get("input") or ()
        items = 1 if isinstance(said, str) else len(said)
        return prompt_bound([said, body.get("instructions"), body.get("tools"), body.get("text")]) + 16 * (items + 2)

    def read(self, output: Any, /) -> Reading:
        """What a response says: a parsed one, a raw one, or what a server sent in its place."""
        streamed = getattr(output, "ttc_reading", None)
        if isinstance(streamed, Reading):
            return streamed
        output = decoded(output)
        if isinstance(output, (str, bytes)) or not (hasattr(output, "output") or isinstance(output, Mapping)):
            return Reading(status="failed", fault="malformed")
        known: dict[str, Any] = {
            **read_usage(output)._asdict(),
            "model": get(output, "model"),
            "id": get(output, "id"),
            "finish_reasons": (str(get(output, "status") or "completed"),),
        }
        texts: list[str] = []
        calls: list[ToolCall] = []
        refused = False
        for item in get(output, "output") or ():
            if get(item, "type") == "function_call":
                calls.append(ToolCall(str(get(item, "name")), str(get(item, "arguments") or "")))
            for part in get(item, "content") or ():
                refused = refused or get(part, "type") == "refusal"
                if get(part, "type") == "output_text":
                    texts.append(str(get(part, "text") or ""))
        text = "".join(texts)
        return Reading(text=text, tool_calls=tuple(calls), **known, **_ending(output, text or calls, refused=refused))


def _ending(output: Any, answer: object, *, refused: bool) -> dict[str, Any]:
    status = get(output, "status")
    if status == "incomplete":
        filtered = get(output, "incomplete_details", "reason") == "content_filter"
        return {"status": "abstained", "fault": "filtered"} if filtered else {"status": "truncated"}
    if status in ("queued", "in_progress"):  # background=True: the answer is still to come
        return {}
    if status in ("failed", "cancelled"):
        return {"status": "failed", "fault": "server error"}
    if refused:
        return {"status": "abstained", "fault": "refused"}
    return {} if answer else {"status": "failed", "fault": "empty"}
