"""Self-consistency: the answer that most samples agree on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from ttc_middleware._answers import answer_key
from ttc_middleware._brief import Brief
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Draw, Sample, Search, T

from ._check import count


@dataclass(frozen=True, repr=False)
class SelfConsistency(Brief):
    r"""Draw N samples and return the answer that most of them agree on.

    Wang et al. 2022 (arXiv:2203.11171). Only answers vote: abstentions, truncated and failed samples do not, though
    they are billed. With a verifier, samples that it rejected vote only if it accepted none. Ends as soon as no
    remaining sample can change the winning answer class, which gives exactly the class that all N would have given.
    The order in which samples arrive does not matter; ties go to the class with the earliest launched sample.

    Where it fails: the most frequent answer is wrong (more samples make it more surely wrong); free-form text, where no
    two answers are alike and every vote is a tie.

    Args:
        n: samples at most, from 1; 40 in the paper, odd numbers avoid ties.
        by: the answer that an output stands for, as a hashable value; None abstains. A function of the output, or of
            the sample if its first parameter is annotated `ttc.Sample`. What it raises on counts as an abstention, and
            comes out if it raises on all. By default: the tool calls; else what follows `\boxed` or "the answer is",
            numbers by value, labels without their brackets; else the whole text or value, ignoring case and spaces.
        at_once: draws under way at a time, from 1; None: all n.

    Raises:
        ValueError: `n` or `at_once` is below 1.
        TypeError: `by` cannot be called.
    """

    n: int = 8
    by: Callable[[Any], Hashable | None] | None = field(default=None, kw_only=True)
    at_once: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, n=self.n, at_once=self.n if self.at_once is None else self.at_once)
        if self.by is not None and not callable(self.by):
            raise TypeError(f"SelfConsistency(by=) must be a function of the output, got {self.by!r}")

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw until the vote is decided."""
        key = answer_key(self.by)
        vote = Vote(self.n)
        unread: list[Exception] = []

        def decided(sample: Sample[Any]) -> bool:
            try:
                vote.add(sample, key(sample))
            except Exception as error:  # noqa: BLE001  # `by` cannot read this output: it has no vote
                unread.append(error)
                vote.add(sample, None)
            return vote.decided

        samples: list[Sample[Any]] = yield from gather([Draw()] * self.n, until=decided, at_once=self.at_once)
        if vote.winner is None and unread:  # not one was read, so the mistake is in `by`
            raise unread[0]
        return vote.winner or best(samples)


class Vote:
    """A running count of answer classes over `n` ballots, whatever their order.

    Args:
        n: how many samples will have been cast at the end.
    """

    def __init__(self, n: int) -> None:
        self._left = n
        # Two polls: what the verifier rejected counts only if it let nothing through.
        self._polls: dict[bool, dict[Hashable, list[Sample[Any]]]] = {True: {}, False: {}}

    def add(self, sample: Sample[Any], answer: Hashable | None) -> None:
        """Count a sample; None abstains. What cannot be compared with the other answers is not counted, and raises."""
        if answer is not None and sample.status == "answer":
            rejected = sample.verdict is not None and not sample.verdict.failed and not sample.accepted
            self._polls[not rejected].setdefault(answer, []).append(sample)
        self._left -= 1

    @property
    def winner(self) -> Sample[Any] | None:
        """The earliest launched sample of the leading class; None if nobody voted."""
        ranked = sorted((self._polls[True] or self._polls[False]).values(), key=_standing)
        return min(ranked[0], key=lambda sample: sample.index) if ranked else None

    @property
    def decided(self) -> bool:
        """Whether no remaining sample can change the winning class."""
        if not self._left:
            return True
        votes = sorted((len(each) for each in self._polls[True].values()), reverse=True)[:2]
        # At worst every remaining sample votes for the runner-up, and wins the tie by having been launched earlier.
        return bool(votes) and votes[0] > self._left + (votes[1] if len(votes) > 1 else 0)


def _standing(votes: list[Sample[Any]]) -> tuple[int, int]:
    """Sorts the leading class first: most votes, then the earliest launched."""
    return -len(votes), min(sample.index for sample in votes)
