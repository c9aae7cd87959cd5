"""A vote in the order in which samples finish, which races decide by."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from ttc_middleware._answers import answer_key
from ttc_middleware._search import best
from ttc_middleware._types import Sample


class Arrivals:
    """What has finished so far: only answers vote, and those that a verifier rejected only if it let nothing through.

    Args:
        by: the answer that an output stands for, as in `SelfConsistency(by=)`.
    """

    def __init__(self, by: Callable[[Any], Hashable | None] | None) -> None:
        self._key = answer_key(by)
        self._unread: list[Exception] = []
        # Two polls, as in SelfConsistency; classes, and the samples in each, in order of arrival.
        self._polls: dict[bool, dict[Hashable, list[Sample[Any]]]] = {True: {}, False: {}}
        self.samples: list[Sample[Any]] = []
        """Everything that has finished, answers or not."""
        self.voted = 0
        """Samples that have an answer."""

    def add(self, sample: Sample[Any]) -> Hashable | None:
        """Count a sample; returns its answer, None where it has none or a verifier rejected it."""
        self.samples.append(sample)
        try:
            answer = self._key(sample)
            if answer is None or sample.status != "answer":
                return None
            let_through = sample.verdict is None or sample.verdict.failed or sample.accepted
            self._polls[let_through].setdefault(answer, []).append(sample)
        except Exception as error:  # noqa: BLE001  # `by` cannot read this output, or its answer cannot be compared
            self._unread.append(error)
            return None
        self.voted += 1
        return answer if let_through else None

    @property
    def counts(self) -> tuple[int, int]:
        """Votes of the leading class and of the next one, without those that a verifier rejected."""
        first, second = sorted([0, 0, *(len(each) for each in self._polls[True].values())])[:-3:-1]
        return first, second

    def winner(self, answer: Hashable | None = None) -> Sample[Any]:
        """The first to finish of the class with most votes, or of the given one; ties go to what finished first.

        Raises:
            NoSamples: there are none.
            Exception: what `by` raised, where it could read no output at all.
        """
        if answer is not None:
            return self._polls[True][answer][0]
        classes = self._polls[True] or self._polls[False]
        if classes:
            return max(classes.values(), key=len)[0]  # max keeps the earliest of equals
        if self._unread:  # not one was read, so the mistake is in `by`
            raise self._unread[0]
        return best(self.samples)


def check_by(strategy: object, by: object) -> None:
    """Raise unless `by` is a function or None."""
    if by is not None and not callable(by):
        raise TypeError(f"{type(strategy).__name__}(by=) must be a function of the output, got {by!r}")
