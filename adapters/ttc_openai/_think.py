"""Writing into a request how much its model is to think."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from ttc_middleware import Thinking
from ttc_middleware.seam import Api, Backend, Dial, dial, effort_within, get, scratchpad, warn_once, whole, written

_FREE = (None, "auto", "none")
_PROMPTED = ("chat", "messages", "litellm")


class Spoken(NamedTuple):
    """What a request is written in."""

    api: Api
    limit: str
    """What its limit of tokens is called."""
    provider: str
    """As in `gen_ai.provider.name`."""
    backend: Backend | None = None


def think(body: dict[str, Any], asked: Thinking, spoken: Spoken, model: str | None = None) -> dict[str, Any]:
    """The request, asking to think so much; says once for each model what it cannot do.

    Args:
        body: the request's keywords.
        asked: how much to think.
        spoken: what it is written in.
        model: the model's name, where the request has another one for it.
    """
    named = model or str(body.get("model") or "unknown")
    if asked.prompted:
        body = with_scratchpad(body, asked, spoken, named)
    told = told_to(body, asked, spoken, named)
    new = written(body, told, spoken.provider, api=spoken.api, backend=spoken.backend)
    if told.max_tokens is not None:
        new[spoken.limit] = told.max_tokens
    note(named, told, lost=[name for name in body if name not in new and name in ("temperature", "top_p", "top_k")])
    return new


def with_scratchpad(body: dict[str, Any], asked: Thinking, spoken: Spoken, model: str) -> dict[str, Any]:
    """The request with a system prompt that asks for a scratchpad; where the answer has to be JSON, as it is."""
    text = scratchpad(asked)
    if get(body.get("response_format"), "type") not in (None, "text") or spoken.api not in _PROMPTED:
        why = "this API is not asked for a scratchpad" if spoken.api not in _PROMPTED else "the answer has to be JSON"
        warn_once("scratchpad", model, f"{model} does not take {asked!r}: {why}")
        return body
    if spoken.api == "messages":
        system = body.get("system")
        if isinstance(system, list):
            return {**body, "system": [*cast("list[Any]", system), {"type": "text", "text": text}]}
        return {**body, "system": f"{system}\n\n{text}" if system else text}
    messages: list[Any] = list(body.get("messages") or ())
    first = messages[0] if messages else None
    said = get(first, "content")
    if get(first, "role") == "system" and isinstance(said, str):
        messages[0] = {"role": "system", "content": f"{said}\n\n{text}"}
    else:
        messages.insert(0, {"role": "system", "content": text})
    return {**body, "messages": messages}


def told_to(body: Mapping[str, Any], asked: Thinking, spoken: Spoken, model: str) -> Dial:
    """What the model of this request is told."""
    choice = body.get("tool_choice")
    kind = choice if isinstance(choice, str) else get(choice, "type")
    return dial(
        asked,
        model,
        spoken.provider,
        api=spoken.api,
        backend=spoken.backend,
        max_tokens=whole(body.get(spoken.limit)),
        tools=bool(body.get("tools")),
        forced=kind not in _FREE,
        stream=bool(body.get("stream")),
        fits=effort_within(model),
    )


def note(model: str, told: Dial, lost: list[str]) -> None:
    """Warn of what a model cannot do, once for each model."""
    if told.said is not None:
        warn_once("thinking", model, told.said)
    if lost:
        state = "while it thinks" if told.on else "at all"
        warn_once("sampling", model, f"{model} takes no {' and no '.join(lost)} {state}: left out")
