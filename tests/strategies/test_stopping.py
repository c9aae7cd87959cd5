"""Rules that end a vote early, against what their papers say, one sample at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies import ESC, AdaptiveConsistency
from ttc_middleware.testing import Outcome, play

STREAMS = st.lists(st.sampled_from(["a", "a", "b", "c", None]), min_size=1, max_size=30)
CONFIDENCES = st.sampled_from([0.5, 0.6, 0.75, 0.9, 0.95, 0.99, 0.999])


def outcomes_of(stream):
    return [Outcome(status="abstained") if each is None else Outcome(output=each) for each in stream]


def posterior(first, second):
    """1 - I_1/2(first + 1, second + 1): a regularised incomplete beta function of whole numbers, as a sum."""
    tosses = first + second + 1
    return 1 - sum(comb(tosses, heads) for heads in range(first + 1, tosses + 1)) / 2**tosses


def adaptive(stream, confidence):
    """The paper's loop: draw one, look, go on."""
    for drawn in range(1, len(stream) + 1):
        votes = sorted(Counter(each for each in stream[:drawn] if each is not None).values(), reverse=True)
        first, second = [*votes, 0, 0][:2]
        if posterior(first, second) > confidence:
            return drawn
    return len(stream)


def esc(stream, window):
    for start in range(0, len(stream), window):
        seen = stream[start : start + window]
        if len(seen) == window and seen[0] is not None and len(set(seen)) == 1:
            return start + window
    return len(stream)


def majority(stream):
    votes = Counter(each for each in stream if each is not None)
    return max(votes, key=votes.__getitem__, default=None)  # ties: the first to be seen


def won(played):
    return played.winner.text if played.winner.status == "answer" else None


@thorough(50)
@given(STREAMS, CONFIDENCES, st.none() | st.integers(1, 4), st.data())
def test_adaptive_consistency_stops_where_one_at_a_time_would_with_the_same_winner(stream, confidence, at_once, data):
    arrival = data.draw(st.permutations(range(len(stream))))
    strategy = ttc.SelfConsistency(len(stream), stop=AdaptiveConsistency(confidence), at_once=at_once)
    played = play(strategy, outcomes_of(stream), arrival=arrival)
    drawn = adaptive(stream, confidence)
    assert len(played.draws) == len(played.samples) == drawn
    assert won(played) == majority(stream[:drawn])


@thorough(50)
@given(STREAMS, st.integers(1, 6), st.data())
def test_esc_stops_with_the_first_window_in_agreement_and_votes_over_all(stream, window, data):
    arrival = data.draw(st.permutations(range(len(stream))))
    played = play(ttc.SelfConsistency(len(stream), stop=ESC(window)), outcomes_of(stream), arrival=arrival)
    drawn = esc(stream, window)
    assert len(played.draws) == len(played.samples) == drawn
    assert won(played) == majority(stream[:drawn])


@thorough(50)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=20), CONFIDENCES)
def test_no_fewer_votes_than_it_asks_for_could_end_it(answers, confidence):
    rule = AdaptiveConsistency(confidence)
    more = rule.more(answers)
    leader = majority(answers) or "a"
    if more:
        assert all(rule.more([*answers, *[each] * (more - 1)]) for each in "abc")
        assert rule.more([*answers, *[leader] * more]) == 0
    votes = sorted(Counter(each for each in answers if each is not None).values(), reverse=True)
    assert (more == 0) == (posterior(*[*votes, 0, 0][:2]) > confidence)


def test_four_that_agree_are_enough_at_95_percent_and_are_asked_for_at_once():
    strategy = ttc.SelfConsistency(40, stop=AdaptiveConsistency())
    step = next(strategy.search(ttc.Call(name="f")))
    assert len(step) == 4
    assert len(play(strategy, ["a"] * 40).draws) == 4
    # Three to one has 0.81, four to one 0.89, five to one 0.94, six to one 0.96.
    assert len(play(strategy, ["a", "b", *["a"] * 38]).draws) == 7


def rounds(strategy, stream):
    """How often samples are asked for, one round after the other."""
    steps = strategy.search(ttc.Call(name="f"))
    asked, launched, step = 0, 0, next(steps)
    try:
        while True:
            asked += 1
            batch = range(launched, launched + len(step))
            launched += len(step)
            for place in batch:
                step = steps.send(
                    ttc.Sample(index=place, draw=ttc.Draw(), call=ttc.Call(name="f"), output=stream[place])
                )
    except StopIteration:
        return asked


def test_looking_ahead_takes_a_few_rounds():
    strategy = ttc.SelfConsistency(40, stop=AdaptiveConsistency())
    assert rounds(strategy, ["a"] * 40) == 1
    assert rounds(strategy, ["a", "b", *["a"] * 38]) == 2
    assert rounds(strategy, ["a", "b"] * 20) <= 10


def test_what_a_verifier_rejected_does_not_count_towards_the_end():
    stream = [Outcome(output="a", score=0.0)] * 6 + [Outcome(output="b", score=1.0)] * 6
    played = play(ttc.SelfConsistency(12, stop=AdaptiveConsistency()), stream)
    assert (len(played.draws), played.winner.text) == (10, "b")
    assert len(play(ttc.SelfConsistency(12, stop=ESC(3)), stream).draws) == 9


def test_answers_that_a_function_calls_the_same_agree():
    stream = ["7", "7.0", "seven", "vii", "8", "8"]
    strategy = ttc.SelfConsistency(6, same=lambda one, other: "8" not in (one, other), stop=ESC(4))
    assert len(play(strategy, stream).draws) == 4


def test_the_end_of_a_budget_ends_it():
    strategy = ttc.SelfConsistency(40, stop=AdaptiveConsistency())
    assert play(strategy, ["a", "b", "b"]).winner.text == "b"
    assert play(strategy, ["a", "b"] * 20, ends_after=5).winner.text == "a"


@dataclass(frozen=True)
class AtTwo:
    """Ends as soon as two have voted."""

    def more(self, answers):
        return max(0, 2 - sum(each is not None for each in answers))


def test_any_object_with_a_rule_will_do():
    stream = ["a", Outcome(status="abstained"), "b", "c"]
    assert len(play(ttc.SelfConsistency(4, stop=AtTwo()), stream).draws) == 3


@pytest.mark.parametrize("confidence", [0.49, 1, 1.0, float("nan"), True, "0.9", None])
def test_a_confidence_is_from_one_half_and_below_1(confidence):
    with pytest.raises(ValueError, match=r"AdaptiveConsistency\(confidence=\) must be from 0.5 and below 1, got"):
        AdaptiveConsistency(confidence)


@pytest.mark.parametrize("window", [0, 2.0, True])
def test_a_window_is_a_whole_number_from_1(window):
    with pytest.raises(ValueError, match=r"ESC\(window=\) must be a whole number from 1, got"):
        ESC(window)


@pytest.mark.parametrize("stop", [0.95, "first accepted", ESC, AdaptiveConsistency])
def test_what_stops_a_vote_is_a_rule(stop):
    with pytest.raises(TypeError, match=r"SelfConsistency\(stop=\) must be a rule like ttc.strategies.ESC\(5\), got"):
        ttc.SelfConsistency(8, stop=stop)


@pytest.mark.parametrize("more", [{"weight": "score"}, {"by": "fields"}, {"by": "universal"}])
def test_a_rule_that_counts_votes_goes_with_votes_that_count_one(more):
    with pytest.raises(ValueError, match="does not go with"):
        ttc.SelfConsistency(8, stop=ESC(5), **more)


@pytest.mark.parametrize("said", [None, 1.5, "1"])
def test_a_rule_that_gives_no_number_is_told_so(said):
    class Wrong:
        def more(self, answers):
            return said

    with pytest.raises(TypeError, match=r"more\(\) of .* must return a whole number, got "):
        play(ttc.SelfConsistency(3, stop=Wrong()), ["a"])
