"""What strategies are made of: gather() and best()."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import ttc_middleware as ttc
from ttc_middleware._search import NoSamples
from ttc_middleware.testing import Outcome, check_strategy, play


@dataclass(frozen=True)
class Gathers:
    """Shows what gather() returns."""

    draws: int
    at_once: int | None = None
    until: float | None = None

    def search(self, call):
        until = None if self.until is None else lambda sample: sample.score >= self.until
        found = yield from ttc.gather([ttc.Draw()] * self.draws, until=until, at_once=self.at_once)
        gathered.append([sample.index for sample in found])
        return ttc.best(found)


gathered: list[list[int]] = []


@pytest.fixture(autouse=True)
def _forget():
    gathered.clear()


def test_gather_returns_samples_in_launch_order():
    play(Gathers(4), [0.1] * 4, arrival=[3, 1, 0, 2])
    assert gathered == [[0, 1, 2, 3]]


def test_gather_keeps_so_many_under_way():
    played = play(Gathers(6, at_once=2, until=0.9), [0.1, 0.1, 0.9, 0.1, 0.1, 0.1])
    assert gathered == [[0, 1, 2]]
    assert (len(played.draws), played.cancelled) == (4, (3,))


def test_gather_of_nothing_is_nothing():
    assert play(Gathers(0), [0.1]).winner is None
    assert gathered == [[]]


def test_gather_returns_what_arrived_when_the_budget_ends():
    play(Gathers(5), [0.1, 0.2])
    play(Gathers(5), [0.1] * 5, ends_after=3)
    assert gathered == [[0, 1], [0, 1, 2]]


@dataclass(frozen=True)
class Cascade:
    """One strategy after another, until one is accepted."""

    stages: tuple = (ttc.BestOfN(2), ttc.SelfConsistency(3), ttc.Single())
    needs_verifier = True

    def search(self, call):
        found = []
        for stage in self.stages:
            try:
                found.append((yield from stage.search(call)))
            except NoSamples:
                break
            if found[-1].accepted:
                break
        return ttc.best(found)


def test_strategies_compose_with_yield_from():
    played = play(Cascade(), [0.1, 0.2, 0.3, 0.3, 0.3, 1.0], arrival=range(6))
    assert (played.index, len(played.draws)) == (5, 6)


def test_best_of_nothing_says_so():
    with pytest.raises(NoSamples, match="no sample to choose from"):
        ttc.best([])


def test_best_ranks_accepted_then_state_then_score_then_launch():
    ranking = [
        Outcome(score=0.1, accepted=True),
        Outcome(score=0.9, accepted=False),
        Outcome(score=0.5, accepted=False),
        Outcome(verifier_failed=True),
        Outcome(score=0.0),
        Outcome(status="truncated", score=0.9, accepted=False),
        Outcome(status="abstained"),
        Outcome(status="failed"),
    ]
    for better in range(len(ranking)):
        pool = ranking[better:]
        assert play(ttc.BestOfN(len(pool), stop="all"), pool).index == 0
        assert play(ttc.BestOfN(len(pool), stop="all"), pool[::-1]).index == len(pool) - 1


def test_a_composed_strategy_keeps_the_contract():
    check_strategy(Cascade(), examples=30)
