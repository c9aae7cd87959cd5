from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

SCORES = st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0]), min_size=1, max_size=11)


def test_the_first_accepted_sample_to_arrive_wins_and_the_rest_is_cancelled():
    played = play(ttc.BestOfN(4), [True, False, True, True], arrival=[1, 3, 0, 2])
    assert (played.index, played.cancelled) == (3, (0, 2))


def test_with_stop_all_every_sample_is_waited_for_and_the_highest_score_wins():
    played = play(ttc.BestOfN(4, stop="all"), [0.2, 1.0, 0.4, 1.0], arrival=[3, 2, 1, 0])
    assert (played.index, len(played.samples), played.cancelled) == (1, 4, ())


@thorough(60)
@given(SCORES, st.data())
def test_with_stop_all_the_winner_is_the_highest_score_and_ties_go_to_the_earliest_launched(scores, data):
    arrival = data.draw(st.permutations(range(len(scores))))
    assert play(ttc.BestOfN(len(scores), stop="all"), scores, arrival=arrival).index == scores.index(max(scores))


@thorough(60)
@given(SCORES, st.integers(1, 4))
def test_no_more_than_at_once_are_under_way_and_none_is_started_after_the_accepted_one(scores, at_once):
    played = play(ttc.BestOfN(12, at_once=at_once), [*scores, 1.0])
    accepted = [*scores, 1.0].index(1.0)
    assert played.index == accepted
    assert len(played.draws) == min(accepted + at_once, len(scores) + 1, 12)


@thorough(60)
@given(SCORES, st.integers(0, 12))
def test_when_the_time_is_up_the_best_so_far_wins(scores, ends_after):
    played = play(ttc.BestOfN(12), scores, ends_after=ends_after)
    seen = [sample.score for sample in played.samples]
    assert played.index == (seen.index(max(seen)) if seen else None)


def test_an_accepted_sample_wins_over_a_higher_score_that_is_not():
    outcomes = [Outcome(score=0.9, accepted=False), Outcome(score=0.8, accepted=True)]
    assert play(ttc.BestOfN(2, stop="all"), outcomes).index == 1


def test_an_answer_wins_over_what_is_none():
    states = ["failed", "abstained", "truncated", "answer"]
    outcomes = [Outcome(status=status) for status in states]
    assert play(ttc.BestOfN(4, stop="all"), outcomes).index == 3
    assert play(ttc.BestOfN(3, stop="all"), outcomes).index == 2
    assert play(ttc.BestOfN(2, stop="all"), outcomes).index == 1


def test_a_sample_on_which_the_verifier_broke_is_no_rejection():
    outcomes = [Outcome(score=0.0), Outcome(verifier_failed=True), Outcome(score=0.1)]
    assert play(ttc.BestOfN(2, stop="all"), outcomes).index == 1
    assert play(ttc.BestOfN(3, stop="all"), outcomes).index == 2


def test_only_waiting_for_all_at_once_lets_draws_share_a_request():
    assert ttc.BestOfN(8, stop="all").wants_all
    assert not ttc.BestOfN(8).wants_all
    assert not ttc.BestOfN(8, stop="all", at_once=4).wants_all


@pytest.mark.parametrize("n", [0, -1, 1.0, None, "8", True])
def test_n_must_be_a_whole_number_from_1(n):
    with pytest.raises(ValueError, match=r"BestOfN\(n=\) must be a whole number from 1, got") as caught:
        ttc.BestOfN(n)
    assert repr(n) in str(caught.value)


@pytest.mark.parametrize("at_once", [0, -2, 2.5, False])
def test_at_once_must_be_a_whole_number_from_1(at_once):
    with pytest.raises(ValueError, match=r"BestOfN\(at_once=\) must be a whole number from 1, got") as caught:
        ttc.BestOfN(4, at_once=at_once)
    assert repr(at_once) in str(caught.value)


def test_stop_is_one_of_two_words():
    with pytest.raises(ValueError, match=r'must be "first accepted" or "all", got \'first\''):
        ttc.BestOfN(4, stop="first")


# Choosing by answer.

CLASSES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.integers(0, 8)).map(
            lambda each: Outcome(output=each[0], score=each[1] / 8, accepted=False)
        ),
        st.just(Outcome(status="failed")),
        st.just(Outcome(output="a", score=1.0, status="truncated", accepted=False)),
    ),
    min_size=1,
    max_size=10,
)


def odds(score):
    clipped = min(max(score, 0.001), 0.999)
    return math.log(clipped / (1 - clipped))


def chosen(outcomes, worth):
    """The definition: the answer that is worth most, by the scores of its samples, and its best sample."""
    scores = {}
    for each in outcomes:
        if each.status == "answer":
            scores.setdefault(each.output, []).append(each.score)
    answer = max(scores, key=lambda each: worth(scores[each]))
    own = [
        (-each.score, place) for place, each in enumerate(outcomes) if (each.status, each.output) == ("answer", answer)
    ]
    return min(own)[1]


@pytest.mark.parametrize(
    ("select", "worth"),
    [
        ("weighted", math.fsum),
        ("votes and likelihood", lambda own: math.log(len(own)) + math.fsum(map(odds, own)) / len(own)),
    ],
)
@thorough(50)
@given(CLASSES, st.data())
def test_selecting_by_answer_is_its_definition_in_any_order(select, worth, outcomes, data):
    arrival = data.draw(st.permutations(range(len(outcomes))))
    played = play(ttc.BestOfN(len(outcomes), select=select), outcomes, arrival=arrival)
    if any(each.status == "answer" for each in outcomes):
        assert played.index == chosen(outcomes, worth)
    else:
        assert played.winner.status != "answer"


def scored(*each, accepted=None):
    return [Outcome(output=text, score=score, accepted=accepted) for text, score in each]


def test_each_selection_finds_another_winner():
    outcomes = scored(("a", 0.4), ("a", 0.4), ("a", 0.4), ("b", 0.65), ("b", 0.6), ("c", 0.7))
    picked = [
        play(ttc.BestOfN(6, stop="all", select=select), outcomes).winner.text
        for select in ("highest score", "weighted", "votes and likelihood")
    ]
    assert picked == ["c", "b", "b"]  # sums 1.2, 1.25, 0.7
    assert play(ttc.SelfConsistency(6), outcomes).winner.text == "a"
    tired = scored(("a", 0.3), ("a", 0.3), ("a", 0.3), ("b", 0.8))
    assert play(ttc.BestOfN(4, select="weighted"), tired).winner.text == "a"  # 0.9 and 0.8
    assert play(ttc.BestOfN(4, select="votes and likelihood"), tired).winner.text == "b"  # 0.25 and 1.39


def test_an_accepted_sample_still_ends_it_and_wins():
    outcomes = scored(("a", 0.9), ("a", 0.9), ("a", 0.9), ("b", 1.0), ("a", 0.9))
    played = play(ttc.BestOfN(5, select="weighted"), outcomes)
    assert (played.index, len(played.samples)) == (3, 4)
    # Where all are waited for, the answers of which one was accepted come before the others.
    assert play(ttc.BestOfN(5, stop="all", select="weighted"), outcomes).index == 3


def test_a_sample_on_which_the_verifier_broke_counts_as_the_others_on_the_whole():
    broken = Outcome(output="a", verifier_failed=True)
    outcomes = [broken, broken, *scored(("b", 0.5), ("c", 0.3))]  # a weighs 0.8
    assert play(ttc.BestOfN(4, select="weighted"), outcomes).index == 0


def test_by_says_what_an_answer_is_and_what_it_cannot_read_has_none():
    outcomes = scored(("7", 0.4), ("7.0", 0.4), ("eight", 0.9), ("8", 0.6))
    assert play(ttc.BestOfN(4, select="weighted", by=float), outcomes).index == 0
    assert play(ttc.BestOfN(4, select="weighted", by=lambda text: [text] if text != "8" else text), outcomes).index == 3
    with pytest.raises(ValueError, match="could not convert"):
        play(ttc.BestOfN(2, select="weighted", by=float), scored(("x", 0.1), ("y", 0.2)))


def test_what_is_selected_by_is_a_known_word_and_by_needs_answers():
    with pytest.raises(ValueError, match=r"BestOfN\(select=\) must be one of 'highest score', .* got 'vote'"):
        ttc.BestOfN(4, select="vote")
    with pytest.raises(ValueError, match=r"BestOfN\(by=\) compares answers"):
        ttc.BestOfN(4, by=len)
    with pytest.raises(TypeError, match=r"BestOfN\(by=\) must be a function of the output, or|must be a function"):
        ttc.BestOfN(4, select="weighted", by="answer")
