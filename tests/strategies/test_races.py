"""What acts on the order in which samples finish: FirstFinished and Race."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies._certificate import Certificate, evidence
from ttc_middleware.testing import Outcome, play

STATES = ["abstained", "truncated", "failed"]


def test_the_first_m_answers_to_finish_vote_and_the_rest_are_cancelled():
    played = play(ttc.FirstFinished(3, 6), list("aabbba"), arrival=[5, 3, 2])
    assert (played.index, played.winner.text) == (3, "b")
    assert (len(played.draws), played.cancelled) == (6, (0, 1, 4))


def test_with_m_1_whatever_finishes_first_wins():
    assert play(ttc.FirstFinished(1, 4), list("aaab"), arrival=[3]).index == 3


def test_what_is_no_answer_is_no_finish():
    outcomes = [*(Outcome(output="b", status=status) for status in STATES), "a", "c", "a"]
    played = play(ttc.FirstFinished(2, 6), outcomes)
    assert [sample.index for sample in played.samples] == [0, 1, 2, 3, 4]
    assert played.index == 3


def test_an_output_that_by_cannot_read_is_no_finish():
    played = play(ttc.FirstFinished(1, 3, by=int), ["none", "7", "8"])
    assert (played.index, len(played.samples)) == (1, 2)
    with pytest.raises(ValueError, match="invalid literal"):
        play(ttc.FirstFinished(1, 2, by=int), ["x", "y"])


@pytest.mark.parametrize("strategy", [ttc.FirstFinished(4, 4), ttc.Race(4, lead=4)], ids=repr)
def test_a_tie_goes_to_the_class_that_finished_first(strategy):
    assert play(strategy, list("abba"), arrival=[2, 0, 3, 1]).index == 2


def test_a_verifier_decides_among_those_that_have_finished():
    outcomes = [Outcome(output="a", score=0.0), Outcome(output="a", score=0.0), Outcome(output="b", score=1.0), "c"]
    assert play(ttc.FirstFinished(3, 4), outcomes).winner.text == "b"
    assert play(ttc.FirstFinished(2, 4), outcomes).winner.text == "a"


def test_where_the_time_is_up_what_has_finished_votes():
    assert play(ttc.FirstFinished(5, 8), list("abbaaaaa"), ends_after=3).winner.text == "b"
    assert play(ttc.Race(8, first=8, lead=5), list("abbaaaaa"), ends_after=3).winner.text == "b"


def test_a_race_ends_when_one_answer_is_far_enough_ahead():
    played = play(ttc.Race(40, first=10, lead=3), list("abaaaaaaaa"))
    assert (played.winner.text, len(played.samples), len(played.draws)) == ("a", 5, 10)


def test_a_race_starts_more_as_soon_as_agreement_of_those_under_way_would_decide_nothing():
    ballots = ["a", "b", "c", "a", *"a" * 20]
    played = play(ttc.Race(20, first=4, more=3, lead=3), ballots)
    # After a, b, c the last of the first four cannot lead by three; a fifth to seventh can.
    assert (len(played.draws), len(played.samples)) == (7, 5 + 1)
    assert played.winner.text == "a"


def test_a_race_that_nothing_decides_ends_with_its_n_samples():
    played = play(ttc.Race(9, first=3, more=2, lead=3), list("abcabcabc"))
    assert (len(played.samples), played.index) == (9, 0)


def test_a_race_without_a_lead_to_win_ends_when_nobody_can_catch_up():
    played = play(ttc.Race(8, first=8, lead=8), list("aabaaaaa"))
    assert len(played.samples) == len("aabaaa")


@thorough(80)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.data())
def test_a_lead_out_of_reach_is_just_self_consistency_in_any_order(ballots, data):
    arrival = data.draw(st.permutations(range(len(ballots))))
    raced = play(ttc.Race(len(ballots), first=len(ballots), lead=99), ballots, arrival=arrival)
    votes = {text: ballots.count(text) for text in ballots}
    assert votes[raced.winner.text] == max(votes.values())


def test_what_a_verifier_rejected_does_not_count_towards_the_lead():
    outcomes = [*[Outcome(output="a", score=0.0)] * 5, *[Outcome(output="b", score=1.0)] * 3]
    played = play(ttc.Race(8, first=8, lead=3), outcomes)
    assert (played.winner.text, len(played.samples)) == ("b", 7)


def test_a_certified_race_goes_by_the_order_of_launch_whatever_finishes_first():
    race = ttc.Race(20, first=12, certify=0.05)
    ballots = ["a"] * 8 + ["b"] * 12
    played = play(race, ballots, arrival=[8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7])
    assert played.winner.text == "a"
    assert race.certified(played.samples) == "a"


def test_a_lead_among_those_that_finish_first_is_no_certificate():
    race = ttc.Race(20, first=12, lead=5)
    played = play(race, ["a"] * 12, arrival=[11, 10, 9, 8, 7, 6, 5, 4])
    assert (played.winner.text, race.certified(played.samples)) == ("a", None)


def test_eight_in_agreement_are_certified_at_five_percent_and_seven_are_not():
    race = ttc.Race(20, first=8)
    samples = play(ttc.BestOfN(8, stop="all"), ["a"] * 8).samples
    assert race.certified(samples[:8]) == "a"
    assert race.certified(samples[:7]) is None
    assert race.certified(samples[:7], error=0.1) == "a"


def test_the_evidence_is_the_integral_that_it_claims_to_be():
    for ahead, behind in [(1, 0), (4, 0), (8, 1), (5, 3)]:
        steps = 2_000
        points = [0.5 + (k + 0.5) / steps / 2 for k in range(steps)]
        mean = sum((2 * x) ** ahead * (2 - 2 * x) ** behind for x in points) / steps
        assert float(evidence(ahead, behind)) == pytest.approx(mean, rel=1e-5)
    assert evidence(0, 3) == Fraction(0)


@pytest.mark.parametrize("answers", ["ab", "abc", "aabbc"])
def test_a_tie_is_rarely_certified(answers):
    chance, wrong, runs = random.Random(7), 0, 400
    for _ in range(runs):
        certificate = Certificate(0.1)
        for k in range(60):
            certificate.add(k, chance.choice(answers))
        wrong += certificate.answer is not None  # neither leader is more frequent than the other
    assert wrong <= 0.1 * runs


@pytest.mark.parametrize(("field", "value"), [("n", 0), ("first", 0), ("more", 1.5), ("lead", True)])
def test_counts_of_a_race_must_be_whole_numbers_from_1(field, value):
    with pytest.raises(ValueError, match=rf"Race\({field}=\) must be a whole number from 1, got {value!r}"):
        ttc.Race(**{"n": 3, field: value})


@pytest.mark.parametrize("error", [0, 1, -0.1, float("nan"), True])
def test_an_error_lies_between_0_and_1(error):
    with pytest.raises(ValueError, match=r"Race\(certify=\) must lie between 0 and 1"):
        ttc.Race(certify=error)
    with pytest.raises(ValueError, match=r"certified\(error=\) must lie between 0 and 1"):
        ttc.Race().certified([], error=error)


def test_no_more_answers_can_be_waited_for_than_are_drawn():
    with pytest.raises(ValueError, match=r"FirstFinished\(k=\) must not be below m, which is 3; got 2"):
        ttc.FirstFinished(3, 2)
    with pytest.raises(TypeError, match=r"FirstFinished\(by=\) must be a function of the output, got 'answer'"):
        ttc.FirstFinished(by="answer")
    with pytest.raises(TypeError, match=r"Race\(by=\) must be a function of the output, got 'answer'"):
        ttc.Race(by="answer")
