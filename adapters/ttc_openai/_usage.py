"""Reading usage in OpenAI's shapes, as many providers send them with small differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from ttc_middleware import Usage


def get(thing: Any, *path: str) -> Any:
    """Follow names through objects and mappings; None where the way ends."""
    for name in path:
        if isinstance(thing, dict):
            value = cast("dict[str, Any]", thing).get(name)
        else:
            value = getattr(thing, name, None)
            if value is None and isinstance(thing, Mapping):
                value = cast("Mapping[str, Any]", thing).get(name)
        if value is None:
            return None
        thing = value
    return thing


def _fields(thing: Any) -> Mapping[str, Any]:
    """The fields of a mapping or an object, those that its class does not know included.

    To ask a pydantic model for one that it lacks costs as much as reading all.
    """
    if isinstance(thing, Mapping):
        return cast("Mapping[str, Any]", thing)
    known: dict[str, Any] = getattr(thing, "__dict__", {})
    extra: dict[str, Any] | None = getattr(thing, "__pydantic_extra__", None)
    return {**known, **extra} if extra else known


def read_usage(usage: Any) -> Usage | None:
    """The usage of a chat completion or a response; None where there is none, or it is no usage.

    Reasoning tokens are part of the output with OpenAI and most others, and beside it with some (xAI): the total that
    they send tells which, by arithmetic.
    """
    usage = _fields(usage)
    given = whole(usage.get("prompt_tokens")), whole(usage.get("completion_tokens"))
    details, prompt_details = "completion_tokens_details", "prompt_tokens_details"
    if given == (None, None):
        given = whole(usage.get("input_tokens")), whole(usage.get("output_tokens"))
        details, prompt_details = "output_tokens_details", "input_tokens_details"
    prompt, output = given
    if prompt is None and output is None:
        return None
    prompt, output = prompt or 0, output or 0
    reasoning = whole(get(usage.get(details), "reasoning_tokens"))
    total = whole(usage.get("total_tokens"))
    if reasoning and total == prompt + output + reasoning:
        output += reasoning
    cached = whole(get(usage.get(prompt_details), "cached_tokens"))
    if cached is None:
        cached = whole(usage.get("prompt_cache_hit_tokens"))  # DeepSeek
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        reasoning_tokens=None if reasoning is None else min(reasoning, output),
        cached_tokens=None if cached is None else min(cached, prompt),
        usd=_dollars(usage),
    )


def whole(value: object) -> int | None:
    """A count; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _dollars(usage: Mapping[str, Any]) -> Decimal | None:
    """What the provider itself says that the call cost."""
    ticks = whole(usage.get("cost_in_usd_ticks"))  # xAI: ten thousand millionths of a dollar
    if ticks is not None:
        return Decimal(ticks).scaleb(-10)
    cost = usage.get("cost")  # OpenRouter
    known = isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost < math.inf
    return Decimal(str(cost)) if known else None
