"""What a model's name says of the parameters that it takes: the API has no other way to know before asking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from ttc_middleware.seam import Thinking, get

# claude-sonnet-4-5-20250929, anthropic.claude-opus-4-6-v1:0, claude-haiku-4-5@20251001, claude-3-5-haiku-latest
_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_ADAPTIVE = (4, 6)
"""From this version on a model thinks as much as it likes, within an effort, and refuses to go on with a prefill."""

LEAST = 1_024
"""The fewest tokens of thinking that the API takes."""
ROOM = 256
"""Tokens of `max_tokens` that thinking always leaves for the answer."""

_BUDGETS: Mapping[str, int] = {
    "minimal": LEAST, "low": LEAST, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 65_536,
}  # fmt: skip
_EFFORTS = ((LEAST, "low"), (8_192, "medium"))


def adaptive(model: str) -> bool:
    """Whether a model takes an effort in place of a number of tokens; others than Claude do not."""
    found = _CLAUDE.search(model)
    if found is None:
        return "claude-" in model  # names without a number came later
    return (int(found[1]), int(found[2] or 0)) >= _ADAPTIVE


def thinking(model: str, wanted: Thinking, max_tokens: int | None, output_config: Any) -> dict[str, Any]:
    """The parameters that make a model think so much.

    Args:
        model: its name.
        wanted: tokens, or an effort.
        max_tokens: the request's own, in which the thinking counts.
        output_config: the request's own, to which an effort is added.
    """
    if wanted in (0, "none"):
        return {"thinking": {"type": "disabled"}}
    if adaptive(model):
        config: dict[str, Any] = {**output_config} if output_config else {}
        return {"thinking": {"type": "adaptive"}, "output_config": {**config, "effort": _effort(wanted)}}
    tokens = _BUDGETS[wanted] if isinstance(wanted, str) else wanted
    return {"thinking": fitting({"type": "enabled", "budget_tokens": max(LEAST, tokens)}, max_tokens)}


def fitting(given: Any, max_tokens: int | None) -> dict[str, Any]:
    """A `thinking=` that leaves room for an answer within `max_tokens`, or is off where that is too small for both."""
    if get(given, "type") != "enabled" or max_tokens is None:
        unchanged: dict[str, Any] = given
        return unchanged
    asked = cast("Mapping[str, Any]", given)
    budget = min(asked.get("budget_tokens") or LEAST, max_tokens - ROOM)
    return {**asked, "budget_tokens": budget} if budget >= LEAST else {"type": "disabled"}


def _effort(wanted: Thinking) -> str:
    if isinstance(wanted, str):
        return "low" if wanted == "minimal" else wanted
    return next((word for most, word in _EFFORTS if wanted <= most), "high")
