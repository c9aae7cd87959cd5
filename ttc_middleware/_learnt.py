"""What efforts have cost in this process, and so which of them keeps to a number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ._context import TAB, Tab
from ._efforts import EffortQuantiles
from ._thinking import Effort
from ._types import Reading, Request, Usage

KEPT = 0.95
"""How often a call keeps to the tokens that it was given an effort for."""

SEEN = EffortQuantiles()


def effort_within(model: str) -> Callable[[int, Sequence[Effort]], Effort | None]:
    """Which of some efforts is the most that keeps to so many tokens, as this call site has seen the model think.

    Args:
        model: its name.

    Returns:
        A function of tokens and efforts, from the least to the most; it gives None where too little has been seen.
    """
    return partial(_within, model, _site(TAB.get()))


def learn(request: Request, tab: Tab | None, reading: Reading, usage: Usage) -> None:
    """Take in what the thinking of one call has come to, where it was asked for by an effort."""
    effort, tokens = request.effort, usage.reasoning_tokens
    if effort is not None and tokens is not None and request.choices == 1:
        SEEN.observe(effort, tokens, site=_site(tab), model=request.model, cut=reading.status == "truncated")


def _within(model: str, site: str, tokens: int, efforts: Sequence[Effort]) -> Effort | None:
    found = SEEN.choose(tokens, KEPT, site=site, model=model, among=efforts)
    return next((each for each in efforts if each == found), None)


def _site(tab: Tab | None) -> str:
    return "" if tab is None or tab.among is None else tab.among.name
