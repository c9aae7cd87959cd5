"""What strategies are made of: `gather()` to draw, `best()` to choose."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Optional, Union

from ._errors import TTCError
from ._types import Cancel, Draw, Sample, T


class NoSamples(TTCError):
    """Raised by `best()` when there is nothing to choose from; the engine turns it into the reason why."""


Drawing = Generator[Sequence[Union[Draw, Cancel]], Optional[Sample[Any]], list[Sample[Any]]]


def gather(
    draws: Sequence[Draw],
    *,
    until: Callable[[Sample[Any]], bool] | None = None,
    at_once: int | None = None,
) -> Drawing:
    """Draw, and collect the samples as they finish.

    As in `samples = yield from gather([Draw()] * 8)`.

    Breaking off early leaves the stragglers running for the engine to cancel, so it is for finishing with: what they
    send would be mixed into later yields.

    Args:
        draws: what to start, in launch order.
        until: called with each sample as it arrives; True breaks off.
        at_once: at most so many under way at a time; None: all.

    Returns:
        The samples in launch order; fewer than `draws` when broken off or when the budget or the time ran out.

    Raises:
        ValueError: `at_once` is below 1.
    """
    if at_once is not None and at_once < 1:
        raise ValueError(f"gather(at_once=) must be a whole number from 1, or None; got {at_once!r}")
    first = len(draws) if at_once is None else at_once
    waiting = list(draws[first:])
    under_way = len(draws) - len(waiting)
    samples: list[Sample[Any]] = []
    sample = yield draws[:first]
    while sample is not None:
        samples.append(sample)
        under_way -= 1
        if until is not None and until(sample):
            break
        refill = [waiting.pop(0)] if waiting else []
        under_way += len(refill)
        if not under_way:
            break
        sample = yield refill
    return sorted(samples, key=lambda each: each.index)


def best(samples: Iterable[Sample[T]]) -> Sample[T]:
    """The sample to return: an accepted one before any other, then the highest score; ties go to the earliest launched.

    Answers come before abstentions and truncated outputs, and these before failures. A sample whose verifier broke
    ranks as one that scored 0 and was not rejected.

    Raises:
        NoSamples: there are none.
    """
    ranked = sorted(samples, key=_rank)
    if not ranked:
        raise NoSamples("no sample to choose from")
    return ranked[0]


_ORDER = {"answer": 0, "truncated": 1, "abstained": 2, "failed": 3}


def _rank(sample: Sample[Any]) -> tuple[bool, int, float, bool, int]:
    rejected = sample.verdict is not None and not sample.verdict.failed
    return not sample.accepted, _ORDER[sample.status], -(sample.score or 0.0), rejected, sample.index
