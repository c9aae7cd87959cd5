"""The votes of one search, from its samples."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Literal, TypeAlias, Union

from ttc_middleware._answers import answer_key, stated_answer
from ttc_middleware._search import Drawing, gather
from ttc_middleware._types import Draw, Sample

from ._equivalence import Equivalence, whole_answer
from ._fields import FieldVote
from ._vote import Vote
from ._weights import Weight, reads_text, weigher_of, without_confidence

By: TypeAlias = Union[Callable[[Any], Union[Hashable, None]], Literal["fields", "universal"], None]
Same: TypeAlias = Union[
    Callable[[Any, Any], object], Callable[[Sequence[str]], Awaitable[Sequence[Union[Hashable, None]]]]
]


class Tally:
    """The votes of one search.

    Args:
        n: how many samples will have been cast at the end.
        by: as in `SelfConsistency`, like the others.
        same: which answers are one.
        weight: what a vote weighs.
    """

    def __init__(self, n: int, by: By, same: Same | None, weight: Weight | None) -> None:
        self._weigher = weigher_of(weight)
        self._classes: Callable[..., Any] | None = same if iscoroutinefunction(same) else None
        compare: Callable[..., Any] | None = _apart if self._classes else same
        self._same = None if compare is None else Equivalence(compare)
        self.vote = FieldVote(n, self._weigher) if by == "fields" else Vote(n, self._weigher, self._same)
        self._key = answer_key(by if callable(by) else None)
        if by is None and reads_text(weight):
            self._key = _without_confidence
        self._whole = by is None and same is not None and self._classes is None
        self._reads_whole = by is None
        self._unread: list[Exception] = []

    def add(self, sample: Sample[Any]) -> None:
        """Count a sample."""
        if isinstance(self.vote, FieldVote):
            self.vote.add(sample)
            return
        try:
            if self._whole:
                key, shown = whole_answer(sample) or (None, None)
            else:
                key = shown = self._key(sample)
            self.vote.add(sample, key, shown)
        except Exception as error:  # noqa: BLE001  # `by` cannot read this output: it has no vote
            self._unread.append(error)
            self.vote.add(sample, None)

    def equated(self) -> Drawing:
        """Ask which answers are one, where all are compared at once, and what that is can matter; returns nothing."""
        if self._same is None or self._classes is None or not isinstance(self.vote, Vote) or self.vote.certain:
            return []
        texts: dict[Hashable, str] = {}
        for answer, votes in self.vote.polls.counted().items():
            sample = min((each.sample for each in votes), key=lambda each: each.index)
            texts[answer] = sample.text if self._reads_whole and sample.text is not None else str(answer)
        asked = Draw(kind="routing", run=partial(self._classes, list(texts.values())))
        for reply in (yield from gather([asked] if texts else [])):
            if reply.status == "failed":
                self._same.wrong = reply.error
                continue
            try:
                self._join(list(texts), list(reply.output))
            except Exception as error:  # noqa: BLE001  # what it said is no list of numbers
                self._same.wrong = error
        return []

    def _join(self, answers: list[Hashable], numbers: list[Hashable | None]) -> None:
        """Put answers with the same number into one class."""
        if len(answers) != len(numbers):
            raise ValueError(f"{len(numbers)} classes for {len(answers)} answers")
        assert self._same is not None
        for number in dict.fromkeys(each for each in numbers if each is not None):
            self._same.join([answer for answer, own in zip(answers, numbers, strict=True) if own == number])

    @property
    def candidates(self) -> list[Sample[Any]]:
        """The samples whose votes count."""
        return [each.sample for votes in self.vote.polls.counted().values() for each in votes]

    def answers(self, samples: list[Sample[Any]]) -> list[Hashable | None]:
        """The answer class of each sample, for a rule that ends the vote."""
        return self.vote.answers(samples) if isinstance(self.vote, Vote) else []

    @property
    def winner(self) -> Sample[Any] | None:
        """The winner of the vote; None where nobody voted. Raises what `by` has raised if it could read no output."""
        winner = self.vote.winner
        if winner is None and self._unread:  # not one was read, so the mistake is in `by`
            raise self._unread[0]
        return winner

    def warn(self) -> None:
        """Say once what does not come to what was asked for."""
        weigher = self._weigher
        if self.vote.polls.unweighed and weigher.named != "verifier's score":  # whose failures are told elsewhere
            why = "" if weigher.wrong is None else f": the first said {weigher.wrong!r:.200}"
            _warn(f"SelfConsistency(weight=): no sample has a {weigher.named}, so each has one vote{why}")
        if self._same is not None and self._same.wrong is not None:
            _warn(f"SelfConsistency(same=) has raised {self._same.wrong!r:.200}, which counts as not the same")


def _apart(one: object, other: object) -> bool:  # noqa: ARG001  # told at the end
    return False


def _without_confidence(sample: Sample[Any]) -> Hashable | None:
    return stated_answer(sample if sample.text is None else replace(sample, text=without_confidence(sample.text)))


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=2)
