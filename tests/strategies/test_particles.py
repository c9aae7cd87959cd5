"""ParticleFilter, played: whom it goes on from, and with which weight."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ttc_middleware as ttc
from ttc_middleware.strategies._smc import Weights
from ttc_middleware.testing import Outcome, play

STEPS = ttc.Steps("\n")


def test_particles_that_do_badly_go_on_from_where_the_others_are():
    scores = [0.99, 0.01, 0.01, 0.01]

    def outcome(index, draw):
        return Outcome(output=(draw.extend or "") + f"s{index}", score=scores[index] if index < 4 else 0.5)

    played = play(ttc.ParticleFilter(4, 2, steps=STEPS), outcome)
    assert [draw.extend for draw in played.draws[4:8]] == ["s0\n"] * 4
    assert [draw.kind for draw in played.draws] == ["step"] * 8 + ["answer"] * 4


def test_what_a_step_was_worth_before_is_not_counted_again():
    # A value of 0.6 to the end, beside one of 0.4: at no step is there reason enough to resample. Counted anew after
    # each step, the odds of 9 to 4 would be 11 to 1 after three.
    def outcome(index, draw):
        first = (draw.extend or f"{index}").splitlines()[0]
        return Outcome(output=(draw.extend or "") + f"{index}", score=0.6 if first in "01" else 0.4)

    played = play(ttc.ParticleFilter(4, 6, resample_below=0.8, steps=STEPS), outcome)
    starts = [draw.extend.splitlines()[0] for draw in played.draws[4:]]
    assert starts == ["0", "1", "2", "3"] * 6


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=2, max_size=5),
    st.integers(0, 9),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_the_weights_are_those_of_sequential_monte_carlo(levels, seed, below):
    scores = iter([score for level in levels for score in level])

    def outcome(index, draw):
        return Outcome(output=(draw.extend or "") + f"{index}", score=next(scores, 0.5), accepted=False)

    played = play(ttc.ParticleFilter(4, len(levels), resample_below=below, seed=seed, steps=STEPS), outcome)

    def log_odds(score):
        kept = min(max(score, 1e-6), 1 - 1e-6)
        return math.log(kept / (1 - kept))

    account, chance, before = Weights(4), random.Random(seed), [0.0] * 4
    for number, level in enumerate(levels):
        now = [log_odds(score) for score in level]
        account.add([after - earlier for after, earlier in zip(now, before, strict=True)])
        chosen = account.resampled(chance, below=below) or range(4)
        before = [now[place] for place in chosen]
        parents = [draw.parent.index for draw in played.draws[4 * number + 4 : 4 * number + 8]]
        assert parents == [4 * number + place for place in chosen]


def test_an_answer_that_has_ended_keeps_competing():
    # Ends at once with a middling score: those that are worth less go on from nowhere, and end with it.
    def outcome(index, draw):
        if index == 0:
            return Outcome(output="done", score=0.9, accepted=False, ended=True)
        return Outcome(output=(draw.extend or "") + f"s{index}", score=0.001)

    played = play(ttc.ParticleFilter(4, 3, steps=STEPS), outcome)
    assert len(played.draws) == 4
    assert played.winner.text == "done"


def test_particles_that_failed_are_replaced_by_the_others():
    def outcome(index, draw):
        if index in (0, 1):
            return Outcome(status="failed")
        return Outcome(output=(draw.extend or "") + f"s{index}", score=0.5)

    played = play(ttc.ParticleFilter(4, 1, resample_below=1.0, steps=STEPS), outcome)
    assert [draw.extend for draw in played.draws[4:]] == ["s2\n", "s2\n", "s3\n", "s3\n"]


def test_it_ends_with_the_first_accepted_answer():
    def outcome(index, draw):
        right = index == 2
        return Outcome(output=f"s{index}", score=1.0 if right else 0.5, ended=right)

    played = play(ttc.ParticleFilter(4, 9, steps=STEPS), outcome)
    assert (played.index, played.winner.accepted, len(played.draws), played.cancelled) == (2, True, 4, (3,))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_seed_resamples_alike(seed):
    def extends(seed):
        chance = random.Random(5)

        def outcome(index, draw):
            return Outcome(output=(draw.extend or "") + f"{index}", score=chance.random() * 0.99)

        played = play(ttc.ParticleFilter(6, 5, resample_below=1.0, seed=seed, steps=STEPS), outcome)
        return [draw.extend for draw in played.draws]

    assert extends(seed) == extends(seed)
    assert extends(seed) != extends(seed + 3)
