"""Where more samples or more thinking bought nothing: what a record shows, call site by call site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from ._searches import Search
from ._spent import Spent, add_up

ENOUGH = 5
"""Searches below which nothing is said of a call site."""
_NEARLY_ALWAYS = 0.9


@dataclass(frozen=True)
class Finding:
    """One thing to look at."""

    name: str
    """The function."""
    what: str
    """In three words."""
    said: str
    spent: Spent
    """What was spent on it: the most that could be saved."""


def findings(sites: Mapping[str, Sequence[Search]]) -> list[Finding]:
    """What stands out, the costliest first; a call site has at most one finding about samples and one about thinking.

    None of it is proof: that the first sample won nine times out of ten does not say what the tenth was worth.
    """
    found = [
        finding
        for name, searches in sites.items()
        for finding in (
            _never(name, searches) or _all_alike(name, searches) or _first_wins(name, searches),
            _thinking(name, searches),
        )
        if finding is not None
    ]
    return sorted(found, key=lambda each: (-each.spent.usd, -each.spent.tokens, each.name))


def _never(name: str, searches: Sequence[Search]) -> Finding | None:
    judged = any(search.judged for search in searches)
    if len(searches) < ENOUGH or not judged or any(s.accepted for search in searches for s in search.samples):
        return None
    count = sum(len(search.samples) for search in searches)
    said = (
        f"none of {count:,} samples in {len(searches):,} searches was accepted: the model cannot do it, or the verifier"
        " is wrong"
    )
    return Finding(name, "never accepted", said, add_up(search.total for search in searches))


def _all_alike(name: str, searches: Sequence[Search]) -> Finding | None:
    scored = [[s.score for s in search.samples if s.score is not None] for search in searches]
    several = [(search, scores) for search, scores in zip(searches, scored, strict=True) if len(scores) > 1]
    alike = [search for search, scores in several if len(set(scores)) == 1]
    if len(several) < ENOUGH or len(alike) < _NEARLY_ALWAYS * len(several):
        return None
    said = (
        f"in {len(alike):,} of {len(several):,} searches with several samples all had the same score: the verifier"
        " tells none apart"
    )
    return Finding(name, "all scores equal", said, add_up(search.split["discarded"] for search in alike))


def _first_wins(name: str, searches: Sequence[Search]) -> Finding | None:
    several = [search for search in searches if len(search.samples) > 1 and search.winner is not None]
    first = [search for search in several if search.winner == 0]
    if len(several) < ENOUGH or len(first) < _NEARLY_ALWAYS * len(several):
        return None
    said = (
        f"in {len(first):,} of {len(several):,} searches with several samples the first one won: the others changed"
        f" {len(several) - len(first):,} answers"
    )
    return Finding(name, "first sample wins", said, add_up(search.split["discarded"] for search in several))


def _thinking(name: str, searches: Sequence[Search]) -> Finding | None:
    """Compared within a search, so that a hard question, which takes long and fails, is no argument."""
    more, compared = 0, list[Search]()
    for search in searches:
        judged = [(s.accepted, s.reasoning) for s in search.samples if s.reasoning is not None and s.score is not None]
        right = [thought for accepted, thought in judged if accepted]
        wrong = [thought for accepted, thought in judged if not accepted]
        if right and wrong and max(*right, *wrong) > 0:
            compared.append(search)
            more += mean(right) > mean(wrong)
    if len(compared) < ENOUGH or 2 * more > len(compared):
        return None
    said = (
        f"in {len(compared):,} searches with right and wrong samples the right ones had thought longer in {more:,}:"
        " more thinking did not make an answer right"
    )
    return Finding(name, "thinking made no difference", said, add_up(search.split["reasoning"] for search in compared))
