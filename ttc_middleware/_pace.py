"""How fast each model writes, as seen: how long an answer may take that was asked to think."""

from __future__ import annotations

from ._types import Request

_UNSEEN = 128_000 / 3_600
"""Tokens a second of a model that has not been seen: what Anthropic's SDK expects of all of its models."""
_SLACK = 2.0
"""How much slower than so far an answer may be."""
_WEIGHT = 0.3
"""Of the newest call, in the average of all."""
_FEWEST = 32  # tokens: in a shorter answer it is the waiting that one measures

_seen: dict[tuple[str, str | None, str], float] = {}


def saw(request: Request, tokens: int, seconds: float) -> None:
    """Take in a call that brought so many output tokens in so many seconds."""
    if tokens < _FEWEST or seconds <= 0:
        return
    key = (request.provider, request.server, request.model)
    before, now = _seen.get(key), tokens / seconds
    _seen[key] = now if before is None else before + _WEIGHT * (now - before)


def patience(request: Request) -> float | None:
    """Seconds that an answer may take which thinks as long as its limit allows; None: it does not, or has no limit."""
    if not request.thinks or request.max_tokens is None:
        return None
    pace = _seen.get((request.provider, request.server, request.model), _UNSEEN)
    return _SLACK * request.max_tokens / pace
