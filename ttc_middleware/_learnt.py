"""What efforts have cost in this process, and so which of them keeps to a number of tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from ._context import TAB, Tab
from ._types import Reading, Request
from ._usage import Usage
from .thinking._amount import Effort
from .thinking._efforts import EffortQuantiles

KEPT = 0.95
"""How often a call keeps to the tokens that it was given an effort for."""

_ENOUGH = math.ceil(KEPT / (1 - KEPT) - 1e-9)  # fewer calls know no such quantile

SEEN = EffortQuantiles()


def effort_within(model: str) -> Callable[[int, Sequence[Effort], Effort], Effort]:
    """Which effort keeps to so many tokens, as this call site has seen the model think.

    Args:
        model: its name.

    Returns:
        A function of tokens, of efforts from the least to the most, and of the one to begin with: that is taken until
        it has been seen often enough, then the most that keeps to the tokens, and the next lower one where none does.
    """
    return partial(_within, model, _site(TAB.get()))


def learn(request: Request, tab: Tab | None, reading: Reading, usage: Usage) -> None:
    """Take in what the thinking of one call has come to, where it was asked for by an effort."""
    effort, tokens = request.effort, usage.reasoning_tokens
    if effort is not None and tokens is not None and request.choices == 1:
        SEEN.observe(effort, tokens, site=_site(tab), model=request.model, cut=reading.status == "truncated")


def _within(model: str, site: str, tokens: int, efforts: Sequence[Effort], first: Effort) -> Effort:
    found = SEEN.choose(tokens, KEPT, site=site, model=model, among=efforts)
    fits = max((place for place, each in enumerate(efforts) if each == found), default=-1)
    place = efforts.index(first)
    if SEEN.calls(first, site=site, model=model) < _ENOUGH:
        return efforts[max(place, fits)]
    return efforts[fits if fits >= 0 else max(place - 1, 0)]


def _site(tab: Tab | None) -> str:
    return "" if tab is None or tab.among is None else tab.among.name
