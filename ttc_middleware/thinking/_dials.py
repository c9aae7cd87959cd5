"""How much to think, in the words of each API. Pure.

`dial()` decides by the family of the model: a budget, an effort or an off switch. `written()` puts that into the
request, in the parameters of the API that is spoken, and takes out those that it would refuse beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

from ._amount import EFFORTS, Effort, Thinking
from ._families import Backend, Family, family_of

Api = Literal["chat", "responses", "messages", "litellm", "native"]
"""What is spoken: OpenAI's two APIs, Anthropic's, litellm's keywords; "native": a framework writes by itself."""

Fits: TypeAlias = Callable[[int, Sequence[Effort], Effort], Effort]
"""Which of some efforts, from the least to the most, keeps to so many tokens, and the one to begin with."""

ROOM = 256
"""Tokens of the caller's own limit that thinking always leaves for the answer."""
ANSWER = 4_096
"""Tokens for the answer beside the thinking, where the caller sets no limit."""
NOMINAL: Mapping[str, int] = {
    "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 65_536,
}  # fmt: skip
"""The budget that an effort stands for, where a model takes tokens only."""
_STEPS = ((1_024, "low"), (8_192, "medium"))
"""The effort that tokens stand for; never above "high": what lies above it has no size that anybody names."""
SAMPLING = (
    "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
)  # fmt: skip
_WORDS = (
    "reasoning_effort", "thinking", "enable_thinking", "thinking_budget", "thinking_token_budget",
    "reasoning_budget_tokens",
)  # fmt: skip


@dataclass(frozen=True)
class Dial:
    """What one model is told about thinking.

    Args:
        family: of the model.
        on: it is told to think, or not to; None: nothing.
        tokens: of a budget; None: it gets none.
        effort: that it gets; None: none.
        max_tokens: the limit of the whole answer, where the caller sets none.
        said: what it cannot do, and what it is told instead; None: it is told what was asked.
    """

    family: Family
    on: bool | None = None
    tokens: int | None = None
    effort: Effort | None = None
    max_tokens: int | None = None
    said: str | None = None

    @property
    def samples(self) -> bool:
        """Whether it takes a temperature and the like."""
        if self.on is None:
            return True
        return self.family.samples if self.on else self.family.samples_unthinking


def dial(
    asked: Thinking,
    model: str,
    provider: str = "",
    *,
    api: Api = "chat",
    backend: Backend | None = None,
    max_tokens: int | None = None,
    tools: bool = False,
    forced: bool = False,
    stream: bool = False,
    fits: Fits | None = None,
) -> Dial:
    """Decide what a model is told.

    Args:
        asked: how much to think.
        model: its name.
        provider: as in `gen_ai.provider.name`.
        api: what is spoken.
        backend: what serves it, where that is one's own server and is known.
        max_tokens: the caller's own limit, in which thinking counts.
        tools: the model may call tools.
        forced: it must.
        stream: the answer is streamed.
        fits: which of some efforts keeps to so many tokens, where that is known.
    """
    family = family_of(model, provider, backend, messages=api == "messages")
    if api == "responses" and family.tokens and not family.efforts:
        family = replace(family, efforts=EFFORTS[2:5], tokens=None)
    made = _made(asked, family, api, max_tokens, fits, tools=tools, forced=forced, stream=stream)
    return (
        made if made.said is None else replace(made, said=f"{model} does not take thinking={asked.said}: {made.said}")
    )


def _made(
    asked: Thinking, family: Family, api: Api, room: int | None, fits: Fits | None,
    *, tools: bool, forced: bool, stream: bool,
) -> Dial:  # fmt: skip
    if asked.prompted:
        return Dial(family, max_tokens=None if room is not None else _whole(asked.tokens, family))
    if asked.is_off:
        if not family.thinks or not family.dial:
            return Dial(family, said=None if not family.thinks else "it thinks as it does anyway")
        return _off(family)
    if not family.thinks:
        return Dial(family, said="it never thinks")
    limit = None if room is not None else _whole(asked.tokens, family)
    if not family.dial:
        return Dial(family, max_tokens=limit, said="it thinks as it does anyway")
    if forced and not family.forced:
        return replace(_off(family), max_tokens=limit, said="it does not think where it must call a tool")
    if family.whole_off and not stream:
        return replace(_off(family), max_tokens=limit, said="it thinks in streams only")
    if tools and api == "chat" and not family.chat_tools:
        none = Dial(family, max_tokens=limit, said="chat completions take no effort beside tools; responses do")
        return replace(none, on=False) if family.off else none
    if family.tokens is not None and (asked.tokens is not None or not family.efforts):
        return _budget(asked, family, room)
    return _effort(asked, family, room, limit, api, fits=fits)


def _whole(tokens: int | None, family: Family) -> int | None:
    """The limit of an answer that so many tokens of thinking go before."""
    return None if tokens is None else min(tokens + ANSWER, family.most or tokens + ANSWER)


def _off(family: Family) -> Dial:
    if family.off:
        return Dial(family, on=False)
    if family.tokens is not None:
        least = family.tokens[0]
        return Dial(family, on=True, tokens=least, said=f"it always thinks, so about the least, {least:,} tokens")
    effort = family.efforts[0]
    return Dial(family, on=True, effort=effort, said=f"it always thinks, so at its least effort, {effort}")


def _budget(asked: Thinking, family: Family, room: int | None) -> Dial:
    assert family.tokens is not None
    least, most = family.tokens
    wanted = NOMINAL[asked.effort or "low"] if asked.tokens is None else asked.tokens
    most = most if family.most is None else min(most, family.most - ROOM)
    tokens = max(least, min(wanted, most))
    said = None
    if tokens != wanted and asked.tokens is not None:
        said = f"it takes {least:,} to {most:,} tokens, so {tokens:,}"
    if room is not None and tokens > room - ROOM:
        tokens = room - ROOM
        said = f"max_tokens={room} leaves room for {tokens:,} tokens of it"
        if tokens < least:
            no_room = f"max_tokens={room} leaves no room to think beside an answer"
            return replace(_off(family), said=no_room)
    limit = _whole(tokens, family) if room is None else None  # litellm would set one that the model may not take
    return Dial(family, on=True, tokens=tokens, max_tokens=limit, said=said)


def _effort(
    asked: Thinking, family: Family, room: int | None, limit: int | None, api: Api, *, fits: Fits | None
) -> Dial:
    efforts = family.efforts if api not in ("chat", "litellm") or family.chat_max else _up_to_xhigh(family.efforts)
    if not efforts:  # on or off, and no more
        return Dial(family, on=True, max_tokens=limit, said=None if asked.effort else "it thinks, or does not")
    tokens = asked.tokens
    if tokens is None:
        assert asked.effort is not None
        effort = _nearest(asked.effort, efforts)
        said = None if effort == asked.effort else f"it takes the efforts {', '.join(efforts)}, so {effort}"
        return Dial(family, on=True, effort=effort, said=said)
    fitting = tokens if room is None else min(tokens, room - ROOM)
    if fitting <= 0:
        return replace(_off(family), said=f"max_tokens={room} leaves no room to think beside an answer")
    step = next((word for most, word in _STEPS if fitting <= most), "high")
    effort = _nearest(cast("Effort", step), efforts)
    if fits is not None:
        effort = fits(fitting, efforts, effort)
    cap = limit or room
    said = f"it takes efforts, so {effort}, and at most max_tokens={cap:,} in all"
    return Dial(family, on=True, effort=effort, max_tokens=limit, said=said)


def _up_to_xhigh(efforts: tuple[Effort, ...]) -> tuple[Effort, ...]:
    return tuple(each for each in efforts if each != "max")


def _nearest(wanted: Effort, efforts: tuple[Effort, ...]) -> Effort:
    """The effort next to the one that is wanted; of two, the lesser."""
    place = EFFORTS.index(wanted)
    return min(efforts, key=lambda each: (abs(EFFORTS.index(each) - place), EFFORTS.index(each)))


# Written into requests.


def written(
    body: Mapping[str, Any], told: Dial, provider: str = "", *, api: Api = "chat", backend: Backend | None = None
) -> dict[str, Any]:
    """A request with what its model is told, and without what that makes it refuse; its limit is the adapter's to set.

    Args:
        body: the request's keywords.
        told: by `dial()`.
        provider: as in `gen_ai.provider.name`.
        api: what is spoken.
        backend: what serves the model, where that is one's own server and is known.
    """
    if told.on is None:
        return dict(body)
    left = {name: value for name, value in body.items() if told.samples or name not in SAMPLING}
    if api == "responses":
        effort = told.effort if told.on else "none"
        return _merged(left, {} if effort is None else {"reasoning": {"effort": effort}})
    before = _inner(left, "thinking")
    for name in _WORDS:
        left.pop(name, None)
    if api == "messages":
        return _messages(left, told, before)
    if api == "litellm":
        return _litellm(left, told, provider, backend)
    return _merged(left, _chat(told, provider, backend))


def _inner(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    given = body.get(name)
    return dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else {}


def _merged(body: dict[str, Any], words: Mapping[str, Any]) -> dict[str, Any]:
    """Both, and what both hold of a mapping."""
    for name, value in words.items():
        deep = isinstance(value, Mapping) and name != "thinking"
        body[name] = _merged(_inner(body, name), cast("Mapping[str, Any]", value)) if deep else value
    return body


def _chat(told: Dial, provider: str, backend: Backend | None) -> dict[str, Any]:  # one line a dialect
    """The words of OpenAI's chat completions as each server speaks it."""
    on, tokens, effort = bool(told.on), told.tokens, told.effort
    if backend is not None:
        return _served(tokens if on else 0, backend)
    if provider == "openrouter":
        if not on:
            return {"reasoning": {"enabled": False}}
        return {"reasoning": {"effort": effort} if tokens is None else {"max_tokens": tokens}}
    if provider == "alibaba_cloud":
        return {"enable_thinking": True, "thinking_budget": tokens} if on else {"enable_thinking": False}
    if provider == "deepseek":
        switch = {"thinking": {"type": "enabled" if on else "disabled"}}
        return {**switch, "reasoning_effort": effort} if on and effort else switch
    if provider in ("gcp.gemini", "gcp.vertex_ai") and tokens is not None:
        return {"extra_body": {"google": {"thinking_config": {"thinking_budget": tokens}}}}
    if tokens is not None:
        return {"thinking": {"type": "enabled", "budget_tokens": tokens}}
    if not on:
        return {"reasoning_effort": "none"}
    return {} if effort is None else {"reasoning_effort": effort}


def _served(tokens: int | None, backend: Backend) -> dict[str, Any]:
    """A model of one's own: exact where the server was started for it (`--reasoning-config`, strict thinking)."""
    template: dict[str, Any] = {"enable_thinking": bool(tokens)}
    if backend == "llama.cpp":
        return {"reasoning_budget_tokens": tokens, "chat_template_kwargs": template}
    if not tokens:
        return {"chat_template_kwargs": template}
    if backend == "vllm":
        return {"thinking_token_budget": tokens, "chat_template_kwargs": template}
    return {
        "chat_template_kwargs": {**template, "thinking_budget": tokens},
        "custom_params": {"thinking_budget": tokens},
    }


def _messages(body: dict[str, Any], told: Dial, before: Mapping[str, Any]) -> dict[str, Any]:
    family, config = told.family, _inner(body, "output_config")
    shown = {"display": before["display"]} if "display" in before else {}
    if not told.on:
        if family.high_off and config.get("effort") in EFFORTS[5:]:
            body["output_config"] = {**config, "effort": "high"}
        return {**body, "thinking": {"type": "disabled"}}
    if not family.adaptive:
        return {**body, "thinking": {"type": "enabled", "budget_tokens": told.tokens, **shown}}
    return {**body, "thinking": {"type": "adaptive", **shown}, "output_config": {**config, "effort": told.effort}}


def _litellm(body: dict[str, Any], told: Dial, provider: str, backend: Backend | None) -> dict[str, Any]:
    """Keywords of litellm, which it writes in the provider's words; what it has none for goes into `extra_body`."""
    family = told.family
    if backend is not None or provider in ("openrouter", "alibaba_cloud"):
        return _merged(body, {"extra_body": _chat(told, provider, backend)})
    if provider == "deepseek":  # of an effort, litellm keeps only whether it is none
        switch: dict[str, Any] = {"thinking": {"type": "enabled" if told.on else "disabled"}}
        return _merged(body, {**switch, "extra_body": {"reasoning_effort": told.effort}} if told.on else switch)
    if told.tokens is not None:
        return {**body, "thinking": {"type": "enabled", "budget_tokens": told.tokens}}
    if not told.on:
        if family.adaptive:
            return {**body, "thinking": {"type": "disabled"}}
        if not family.samples and family.tokens is not None:  # Claude that does not think unless it is told to
            return body
        return {**body, "reasoning_effort": "none"}
    return {**body, "reasoning_effort": told.effort}


# A limit that comes later.

_PLACES: tuple[tuple[str, ...], ...] = (
    ("thinking", "budget_tokens"),
    ("thinking_budget",),
    ("thinking_token_budget",),
    ("reasoning_budget_tokens",),
    ("reasoning", "max_tokens"),
    ("chat_template_kwargs", "thinking_budget"),
    ("custom_params", "thinking_budget"),
    ("google", "thinking_config", "thinking_budget"),
)
_LEAST = 1_024  # Anthropic takes no fewer


def fitted(body: Mapping[str, Any], max_tokens: int, *, off: bool = True) -> dict[str, Any]:
    """A request whose budgets of thinking leave room for an answer within a limit; one too small for both is off.

    Args:
        body: the request's keywords.
        max_tokens: the new limit.
        off: an off switch may be written for Anthropic's `thinking`; False: it is left out.
    """
    new = dict(body)
    for path in _PLACES:
        new = _fitted(new, path, max_tokens - ROOM, off=off)
    if isinstance(new.get("extra_body"), Mapping):
        new["extra_body"] = fitted(_inner(new, "extra_body"), max_tokens, off=off)
    return new


def _fitted(body: dict[str, Any], path: tuple[str, ...], most: int, *, off: bool) -> dict[str, Any]:
    name, *inside = path
    value = body.get(name)
    if inside:
        if not isinstance(value, Mapping):
            return body
        inner = _fitted(dict(cast("Mapping[str, Any]", value)), tuple(inside), most, off=off)
        if name == "thinking" and cast("int", inner.get("budget_tokens", _LEAST)) < _LEAST:
            rest = {key: each for key, each in body.items() if key != name}
            return {**rest, "thinking": {"type": "disabled"}} if off else rest
        return {**body, name: inner}
    if not isinstance(value, int) or isinstance(value, bool) or value <= most:
        return body
    return {**body, name: max(most, 1)}


def asks_to_think(body: Mapping[str, Any]) -> bool:
    """Whether a request says that the model is to think, in any of these words."""
    effort = _inner(body, "reasoning").get("effort") or body.get("reasoning_effort")
    if effort not in (None, "none") or _inner(body, "thinking").get("type") in ("enabled", "adaptive"):
        return True
    budgets = (_inner(body, "reasoning").get("max_tokens"), *(body.get(name) for name in _WORDS[2:]))
    return any(isinstance(each, int) and each > 0 for each in budgets)


def effort_asked(body: Mapping[str, Any]) -> str | None:
    """The effort that a request asks for, in any of these words; None: it names none."""
    found = _inner(body, "reasoning").get("effort") or _inner(body, "output_config").get("effort")
    found = found or body.get("reasoning_effort") or _inner(body, "extra_body").get("reasoning_effort")
    return found if isinstance(found, str) and found in EFFORTS[1:] else None
