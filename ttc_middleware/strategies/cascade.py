"""Cascade: a small model first, a larger one only where the votes are not clear."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ttc_middleware._answers import answer_key
from ttc_middleware._brief import Brief
from ttc_middleware._search import best
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T

from ._arrivals import check_by
from ._check import LARGEST, count, model_name


@dataclass(frozen=True, repr=False)
class Tier(Brief):
    """One model of a `Cascade`, and when its draws are enough.

    Args:
        model: its name, as the call site spells it; None: the model that the call site asks for by itself.
        lead: how far the leading answer is to be ahead of the next one, in votes of all tiers so far, from 1.
        cap: draws of this tier at most, from 1.
        weight: what a vote of this model counts, above 0.

    Raises:
        TypeError: `model` is no name.
        ValueError: a number is out of its range.
    """

    model: str | None = None
    lead: int = field(default=2, kw_only=True)
    cap: int = field(default=5, kw_only=True)
    weight: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        model_name(self, self.model)
        count(self, lead=self.lead, cap=self.cap)
        number = isinstance(self.weight, (int, float)) and not isinstance(self.weight, bool)
        if not number or not 0 < self.weight <= LARGEST:
            raise ValueError(f"Tier(weight=) must be a number above 0, got {self.weight!r}")


@dataclass(frozen=True, repr=False)
class Cascade(Brief):
    """Ask a cheap model until its answers agree, and a larger one only where they do not.

        ttc.Cascade([ttc.strategies.Tier(None, lead=2, cap=5), ttc.strategies.Tier("large", lead=3, cap=20)])

    Chen et al. 2023, "FrugalGPT" (arXiv:2305.05176), with agreement in place of a learnt scorer, or beside one: a tier
    draws until an answer is `lead` votes ahead of every other, and hands over to the next tier at its `cap`. Votes and
    samples are carried forward. With a verifier the first accepted sample to arrive ends the search; what it rejected
    votes only if nothing else did, so a tier whose answers are all rejected hands over as well. A vote is counted as in
    `SelfConsistency`, and as there only answers vote.

    Draws are asked for in look-ahead batches, the fewest that could decide (as in ConSol, Lee et al. 2025,
    arXiv:2503.17587), and the next tier starts as soon as those under way can no longer decide the one before. Without
    a verifier that takes exactly the draws that one at a time would take, and the order of arrival changes nothing:
    ties go to the class with the earliest launched sample, and the winner is the earliest launched of its class.

    What the votes mean: those of several models in one count estimate what the *mixture* that was drawn says most
    often, which no single model may say most often. So there is no certificate as a `Race` has one, and `lead` is no
    error rate: choose the tiers by what they cost and how often they are right on questions of your own.
    `poe bench-cascade` does so on recorded samples, and shows what is left of it on questions that it has not seen.

    Where it fails: a small model that is wrong in agreement with itself is never shown to the larger one; where the
    small model is weak, its tokens come on top and its votes stay in the count (a higher `lead`, or a lower `weight`);
    free-form text, where no two answers are alike and every question climbs to the last cap.

    Args:
        tiers: from the cheapest to the best, at least one.
        by: the answer that an output stands for, as in `SelfConsistency(by=)`.

    Raises:
        ValueError: there is no tier.
        TypeError: `tiers` are none, or `by` cannot be called.
    """

    tiers: Sequence[Tier]
    by: Callable[[Any], Hashable | None] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.tiers, (Tier, str)) or not isinstance(self.tiers, Sequence):
            raise TypeError(f"Cascade(tiers) must be a list of tiers, got {self.tiers!r}")
        object.__setattr__(self, "tiers", tuple(self.tiers))
        if not self.tiers:
            raise ValueError("Cascade(tiers) must have at least one tier")
        for each in self.tiers:
            if not isinstance(each, Tier):
                raise TypeError(f'Cascade(tiers) must be tiers, like ttc.strategies.Tier("small"); got {each!r}')
        check_by(self, self.by)

    @property
    def needs(self) -> frozenset[Capability]:
        """Another model, where a tier names one."""
        return frozenset({Capability.MODEL} if any(each.model is not None for each in self.tiers) else ())

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw tier by tier until the votes are clear."""
        pool = _Pool(self.by)
        weights = [Fraction(each.weight) for each in self.tiers]
        tier_of: list[int] = []  # by launch order
        tier = drawn = 0
        under_way = Fraction(0)  # votes
        while True:
            # What one answer could be ahead by, if all those under way voted for it.
            reach, first = pool.lead + under_way, len(tier_of)
            while tier < len(self.tiers) and reach < self.tiers[tier].lead:
                if drawn == self.tiers[tier].cap:
                    tier, drawn = tier + 1, 0
                    continue
                tier_of.append(tier)
                drawn += 1
                reach += weights[tier]
                under_way += weights[tier]
            if not under_way:
                return pool.winner()
            models = [self.tiers[each].model for each in tier_of[first:]]
            sample = yield [Draw() if model is None else Draw(model=model) for model in models]
            if sample is None:
                return pool.winner()
            weight = weights[tier_of[sample.index]]
            under_way -= weight
            pool.add(sample, weight)
            if sample.accepted:
                return sample


class _Pool:
    """Weighted votes; two polls, since what a verifier rejected counts only if it let nothing through."""

    def __init__(self, by: Callable[[Any], Hashable | None] | None) -> None:
        self._key = answer_key(by)
        self._unread: list[Exception] = []
        self._votes: dict[bool, dict[Hashable, Fraction]] = {True: {}, False: {}}
        self._first: dict[bool, dict[Hashable, Sample[Any]]] = {True: {}, False: {}}
        self._samples: list[Sample[Any]] = []

    def add(self, sample: Sample[Any], weight: Fraction) -> None:
        """Count a sample; what has no answer, or none that can be read and compared, has no vote."""
        self._samples.append(sample)
        if sample.status != "answer":
            return
        rejected = sample.verdict is not None and not sample.verdict.failed and not sample.accepted
        votes, first = self._votes[not rejected], self._first[not rejected]
        try:
            answer = self._key(sample)
            if answer is None:
                return
            votes[answer] = votes.get(answer, Fraction(0)) + weight
        except Exception as error:  # noqa: BLE001  # `by` cannot read this output, or its answer cannot be compared
            self._unread.append(error)
            return
        if answer not in first or sample.index < first[answer].index:
            first[answer] = sample

    @property
    def lead(self) -> Fraction:
        """What the leading answer is ahead by, without what a verifier rejected."""
        first = second = Fraction(0)
        for each in self._votes[True].values():
            if each > first:
                first, second = each, first
            elif each > second:
                second = each
        return first - second

    def winner(self) -> Sample[Any]:
        """The earliest launched sample of the leading class; without a vote, the best of all.

        Raises:
            NoSamples: there are none.
            Exception: what `by` raised, where it could read no output at all.
        """
        let_through = bool(self._votes[True])
        votes, first = self._votes[let_through], self._first[let_through]
        if votes:
            return first[min(votes, key=lambda answer: (-votes[answer], first[answer].index))]
        if self._unread:  # not one was read, so the mistake is in `by`
            raise self._unread[0]
        return best(self._samples)
