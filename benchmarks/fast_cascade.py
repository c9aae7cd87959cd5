"""What `ttc.Cascade` draws from recorded streams, without samples, generators or outputs: for choosing among thousands.

`tests/strategies/test_cascade_replay.py` shows that it decides as the strategy does.
"""

from __future__ import annotations

from collections.abc import Sequence

Stream = Sequence[tuple["str | None", int]]
"""Answers (None abstains) with the tokens that each took, in launch order."""


def tier(votes: dict[str, int], stream: Stream, lead: int, cap: int) -> tuple[int, bool]:
    """Vote until one leads by so many, or the cap; adds to the votes. Gives the tokens, and whether it is decided."""
    tokens = drawn = 0
    while True:
        first = second = 0
        for each in votes.values():
            if each > first:
                first, second = each, first
            elif each > second:
                second = each
        if first - second >= lead:
            return tokens, True
        if drawn == cap:
            return tokens, False
        answer, took = stream[drawn]
        drawn += 1
        tokens += took
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1


def leader(votes: dict[str, int]) -> str | None:
    """The answer with most votes; ties go to the one that was seen first."""
    return max(votes, key=lambda answer: votes[answer], default=None)


def cascade(tiers: Sequence[tuple[int, int]], streams: Sequence[Stream]) -> tuple[str | None, int]:
    """The answer and the tokens of (lead, cap) after (lead, cap), each on a stream of its own."""
    votes: dict[str, int] = {}
    tokens = 0
    for (lead, cap), stream in zip(tiers, streams, strict=True):
        took, decided = tier(votes, stream, lead, cap)
        tokens += took
        if decided:
            break
    return leader(votes), tokens
