"""The arithmetic of particle filters, against a hidden Markov model whose likelihood is known exactly."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttc_middleware.strategies._smc import Weights, systematic

START = (0.7, 0.3)
MOVES = ((0.8, 0.2), (0.3, 0.7))
"""From each of two states, the chance of the next."""
SEEN = ((0.9, 0.1), (0.2, 0.8))
"""In each state, the chance of either observation."""
OBSERVED = (1, 0, 1, 1, 0, 1)
PARTICLES, RUNS = 8, 3_000


def likelihood():
    """The chance of what was observed, by the forward algorithm."""
    alpha = [START[state] * SEEN[state][OBSERVED[0]] for state in (0, 1)]
    for each in OBSERVED[1:]:
        alpha = [SEEN[to][each] * sum(alpha[at] * MOVES[at][to] for at in (0, 1)) for to in (0, 1)]
    return sum(alpha)


class NeverEqual(Weights):
    """Resamples, and leaves the weights as they were: each is counted twice."""

    def resampled(self, chance, *, below):
        before = list(self.logs)
        chosen = super().resampled(chance, below=below)
        if chosen is not None:
            self.logs = [before[place] for place in chosen]
        return chosen


def estimate(seed, *, below=0.5, weights=Weights, replaced=False):
    """The likelihood, as one particle filter estimates it.

    Args:
        seed: of the filter.
        below: when it resamples.
        weights: the account that it keeps.
        replaced: each step weighs with all that a particle is worth, not with what the step has added.
    """
    chance = random.Random(seed)
    account = weights(PARTICLES)
    states = [int(chance.random() >= START[0]) for _ in range(PARTICLES)]
    worth = [0.0] * PARTICLES
    for step, each in enumerate(OBSERVED):
        if step:
            states = [int(chance.random() >= MOVES[state][0]) for state in states]
        now = [before + math.log(SEEN[state][each]) for before, state in zip(worth, states, strict=True)]
        account.add(now if replaced else [after - before for after, before in zip(now, worth, strict=True)])
        chosen = account.resampled(chance, below=below) or range(PARTICLES)
        states, worth = [states[place] for place in chosen], [now[place] for place in chosen]
    return math.exp(account.log_evidence)


def measured(runs=RUNS, **variant):
    """The mean of all runs over the exact likelihood, and its standard error."""
    found = [estimate(seed, **variant) / likelihood() for seed in range(runs)]
    return statistics.fmean(found), statistics.stdev(found) / math.sqrt(runs)


@pytest.mark.parametrize("below", [0.0, 0.5, 1.0], ids=["never resampled", "as by default", "at every step"])
def test_the_estimate_of_the_evidence_is_unbiased(below):
    mean, error = measured(below=below)
    assert abs(mean - 1) < 3 * error
    # The power: a bias of 10 % is at least 4 standard errors, so it is found five times in six; 12 %, 19 times in 20.
    assert error < 0.025


@pytest.mark.parametrize("wrong", [{"replaced": True}, {"weights": NeverEqual}], ids=["replaced", "not made equal"])
def test_the_same_test_catches_weights_that_count_something_twice(wrong):
    mean, error = measured(runs=300, **wrong)
    assert abs(mean - 1) > 30 * error


SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda raw: sum(raw) > 0.01)


@given(SHARES, st.floats(0, 1, exclude_max=True))
def test_systematic_resampling_takes_each_as_often_as_its_share_says_rounded(raw, start):
    shares = [each / math.fsum(raw) for each in raw]
    chosen = systematic(shares, start)
    assert len(chosen) == len(shares)
    assert chosen == sorted(chosen)
    for place, share in enumerate(shares):
        assert abs(chosen.count(place) - share * len(shares)) < 1 + 1e-9
        assert share or place not in chosen


def test_on_average_over_its_start_systematic_resampling_takes_exactly_the_shares():
    shares, starts = [0.1, 0.55, 0.05, 0.3], 1_000
    counts = [0, 0, 0, 0]
    for start in range(starts):
        for each in systematic(shares, start / starts):
            counts[each] += 1
    assert counts == pytest.approx([share * 4 * starts for share in shares], abs=2)


def test_the_effective_number_is_n_for_equal_weights_and_1_where_one_has_all():
    weights = Weights(4)
    assert weights.effective == pytest.approx(4)
    weights.add([0.0, -math.inf, -math.inf, -math.inf])
    assert weights.effective == pytest.approx(1)
    assert weights.resampled(random.Random(0), below=0.5) == [0, 0, 0, 0]
    assert weights.logs == [0.0] * 4
    weights.add([-math.inf] * 4)
    assert weights.log_evidence == -math.inf


def test_nothing_is_resampled_while_the_weights_are_even_enough():
    weights = Weights(4)
    weights.add([0.1, 0.0, 0.0, 0.1])
    assert weights.resampled(random.Random(0), below=0.5) is None
    assert weights.logs == [0.1, 0.0, 0.0, 0.1]
