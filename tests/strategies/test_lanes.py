"""Searches inside of a search: each must go as it would alone, whatever goes on beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from every_strategy import ALL
from hypothesis import given
from hypothesis import strategies as st
from nightly import examples

import ttc_middleware as ttc
from ttc_middleware import _strategy
from ttc_middleware.strategies._lanes import Lanes
from ttc_middleware.testing import ContractBroken, Outcome, check_strategy, play


@dataclass(frozen=True)
class Inside:
    """One search inside another, after so many draws of the other's own."""

    inner: Any
    before: int = 0

    @property
    def needs(self):
        return _strategy.needs(self.inner)

    def search(self, call):
        lanes = Lanes()
        own = yield from lanes.run(ttc.gather([ttc.Draw()] * self.before))
        if not own and self.before:
            return ttc.best(own)
        return (yield from lanes.run(self.inner.search(call)))


@dataclass(frozen=True)
class Beside:
    """Two of the same side by side."""

    inner: Any

    @property
    def needs(self):
        return _strategy.needs(self.inner)

    def search(self, call):
        lanes = Lanes()
        found = yield from lanes.together([self.inner.search(call), self.inner.search(call)])
        return ttc.best([each for each in found if each is not None])


OUTCOMES = st.lists(
    st.sampled_from([*(Outcome(output=text, score=score) for text in "ab" for score in (0.0, 0.5, 1.0)),
                     Outcome(status="failed"), Outcome(output="a", status="abstained")]),
    max_size=12,
)  # fmt: skip


@pytest.mark.parametrize("strategy", ALL, ids=repr)
@given(outcomes=OUTCOMES, arrival=st.permutations(range(12)), ends_after=st.none() | st.integers(0, 12))
def test_inside_another_it_goes_as_it_does_alone(strategy, outcomes, arrival, ends_after):
    alone = play(strategy, outcomes, arrival=arrival, ends_after=ends_after)
    inside = play(Inside(strategy), outcomes, arrival=arrival, ends_after=ends_after)
    assert inside.index == alone.index
    assert len(inside.draws) == len(alone.draws)
    assert [sample.index for sample in inside.samples] == [sample.index for sample in alone.samples]


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_after_other_draws_it_goes_as_it_does_alone(strategy):
    outcomes = [Outcome(output="abc"[place % 3], score=(0.5, 0.2, 0.9)[place % 3]) for place in range(12)]
    alone = play(strategy, outcomes)
    after = play(Inside(strategy, 3), ["other"] * 3 + outcomes)
    assert after.index == alone.index + 3
    assert len(after.draws) == len(alone.draws) + 3


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_two_side_by_side_keep_the_contract(strategy):
    check_strategy(Beside(strategy), examples=examples(15))


def test_a_search_that_has_ended_early_cancels_its_own_draws_and_no_others():
    class Two:
        def search(self, call):
            lanes = Lanes()
            first, second = yield from lanes.together(
                [ttc.BestOfN(3).search(call), ttc.BestOfN(3, stop="all").search(call)]
            )
            assert first.accepted
            return second

    played = play(Two(), [0.1, 1.0, 0.2, 0.3, 0.4, 0.9])
    assert (played.index, played.cancelled) == (5, (2,))


def test_the_others_are_dropped_where_one_is_enough():
    class First:
        def search(self, call):
            lanes = Lanes()
            searches = [ttc.BestOfN(4, at_once=1).search(call) for _ in range(3)]
            found = yield from lanes.together(searches, until=lambda each: each is not None and each.accepted)
            return ttc.best([each for each in found if each is not None])

    played = play(First(), [0.1, 0.2, 0.3, 0.4, 1.0, 0.5, 0.6, 0.7])
    assert (played.index, played.cancelled) == (4, (5, 6))


def test_draws_of_an_inner_search_name_the_samples_that_the_outer_one_was_sent():
    played = play(Inside(ttc.Refine(2), 2), ["x", "y", 0.1, 0.2, 0.3])
    chain = [draw.parent.index for draw in played.draws if draw.parent is not None]
    assert chain == [2, 3]
    assert all(draw.parent in played.samples for draw in played.draws if draw.parent is not None)


def test_an_inner_search_that_asks_on_for_ever_is_stopped():
    class Endless:
        def search(self, call):
            while True:
                yield []

    with pytest.raises((RuntimeError, ContractBroken), match="goes on asking"):
        play(Inside(Endless()), [])
