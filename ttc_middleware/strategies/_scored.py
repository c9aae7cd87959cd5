"""Choosing an answer class by the scores of its samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from ttc_middleware._types import Sample

_CLIP = 0.001  # a score of 1 is no certainty

Class = list[Sample[Any]]


def weightiest(samples: Iterable[Sample[Any]], key: Callable[[Sample[Any]], Hashable | None]) -> Class:
    """The class whose scores add up to most; empty where nothing has an answer.

    Raises:
        Exception: what `key` raised, where it could read no output at all.
    """
    return _leading(samples, key, math.fsum)


def likeliest(samples: Iterable[Sample[Any]], key: Callable[[Sample[Any]], Hashable | None]) -> Class:
    """The class with the highest log of its votes plus mean log-odds of its scores; otherwise like `weightiest()`."""
    return _leading(samples, key, lambda scores: math.log(len(scores)) + math.fsum(map(_odds, scores)) / len(scores))


def _leading(
    samples: Iterable[Sample[Any]],
    key: Callable[[Sample[Any]], Hashable | None],
    worth: Callable[[list[float]], float],
) -> Class:
    """The class that is worth most, of those with an accepted sample if there are any; ties go to the earliest."""
    classes: dict[Hashable, Class] = {}
    unread: list[Exception] = []
    for sample in sorted(samples, key=lambda each: each.index):
        try:
            answer = key(sample) if sample.status == "answer" else None
            if answer is not None:
                classes.setdefault(answer, []).append(sample)
        except Exception as error:  # noqa: BLE001, PERF203  # each on its own: `by` cannot read it, or it has no hash
            unread.append(error)
    if not classes:
        if unread:  # not one was read, so the mistake is in `by`
            raise unread[0]
        return []
    known = [each.score for votes in classes.values() for each in votes if each.score is not None]
    # A sample on which the verifier broke is worth as much as the others on the whole.
    mean = math.fsum(known) / len(known) if known else 0.5
    accepted = [votes for votes in classes.values() if any(each.accepted for each in votes)]
    return max(
        accepted or list(classes.values()),
        key=lambda votes: worth([mean if each.score is None else each.score for each in votes]),
    )


def _odds(score: float) -> float:
    clipped = min(max(score, _CLIP), 1 - _CLIP)
    return math.log(clipped / (1 - clipped))
