from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

BALLOTS = st.lists(
    st.one_of(
        st.sampled_from("abc").map(lambda text: Outcome(output=text)),
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 1.0])).map(
            lambda each: Outcome(output=each[0], score=each[1])
        ),
        st.sampled_from("ab").map(lambda text: Outcome(output=text, verifier_failed=True)),
        st.sampled_from(["abstained", "truncated", "failed"]).map(lambda status: Outcome(output="a", status=status)),
    ),
    min_size=1,
    max_size=9,
)


def elected(ballots):
    """The definition, straight from the paper: the class with most votes among what the verifier let through."""
    votes = [(place, each) for place, each in enumerate(ballots) if each.status == "answer"]
    passed = [(place, each) for place, each in votes if each.score is None or each.score == 1 or each.verifier_failed]
    counted = [each.output for _, each in passed or votes]
    most = max(Counter(counted).values(), default=0)
    return next((text for text in counted if counted.count(text) == most), None)


@thorough(150)
@given(BALLOTS, st.data())
def test_stopping_early_elects_exactly_the_class_of_the_full_vote_in_any_order(ballots, data):
    arrival = data.draw(st.permutations(range(len(ballots))))
    played = play(ttc.SelfConsistency(len(ballots)), ballots, arrival=arrival)
    expected = elected(ballots)
    if expected is None:
        assert played.winner.status != "answer"
    else:
        assert (played.winner.status, played.winner.text) == ("answer", expected)


@thorough(60)
@given(BALLOTS, st.integers(1, 3))
def test_drawing_a_few_at_a_time_elects_the_same_class(ballots, at_once):
    played = play(ttc.SelfConsistency(len(ballots), at_once=at_once), ballots)
    assert played.winner.status != "answer" or played.winner.text == elected(ballots)


@pytest.mark.parametrize("arrival", list(permutations(range(4))))
def test_a_tie_goes_to_the_class_with_the_earliest_launched_sample(arrival):
    assert play(ttc.SelfConsistency(4), ["b", "a", "a", "b"], arrival=arrival).winner.text == "b"


def test_the_winner_is_the_earliest_launched_sample_of_its_class():
    assert play(ttc.SelfConsistency(3), ["a", "b", "b"], arrival=[2, 1, 0]).index == 1


def test_it_ends_as_soon_as_no_remaining_sample_can_change_the_class():
    assert len(play(ttc.SelfConsistency(5), ["a"] * 5).samples) == 3
    assert len(play(ttc.SelfConsistency(5), ["a", "a", "b", "b", "a"]).samples) == 5
    # With two left, four to two cannot be caught up with any more; with three left, four to one could be drawn level.
    assert len(play(ttc.SelfConsistency(8), ["a", "b", "a", "a", "a", "b", "a", "a"]).samples) == 7


def test_a_draw_that_cannot_matter_is_never_started():
    played = play(ttc.SelfConsistency(9, at_once=3), ["a"] * 9)
    assert (len(played.samples), len(played.draws)) == (5, 7)


def test_only_answers_vote():
    states = ["abstained", "truncated", "failed"]
    ballots = [
        "a",
        *(Outcome(output="b", status=status) for status in states),
        *(Outcome(output="b", status="failed"),),
    ]
    assert play(ttc.SelfConsistency(5), ballots).winner.text == "a"


def test_where_nobody_votes_an_abstention_comes_before_a_failure():
    assert play(ttc.SelfConsistency(2), [Outcome(status="failed"), Outcome(status="abstained")]).index == 1


def test_what_the_verifier_rejected_does_not_vote_if_it_accepted_anything():
    ballots = [Outcome(output="a", score=0.0), Outcome(output="a", score=0.9), Outcome(output="b", score=1.0)]
    assert play(ttc.SelfConsistency(3), ballots).winner.text == "b"


def test_where_the_verifier_rejected_everything_the_majority_still_wins():
    ballots = [Outcome(output=text, score=0.0) for text in "abb"]
    played = play(ttc.SelfConsistency(3), ballots)
    assert (played.winner.text, played.winner.accepted) == ("b", False)


def test_a_sample_on_which_the_verifier_broke_votes_like_an_unjudged_one():
    ballots = [
        Outcome(output="a", verifier_failed=True),
        Outcome(output="b", score=0.0),
        Outcome(output="b", score=0.0),
    ]
    assert play(ttc.SelfConsistency(3), ballots).winner.text == "a"


def test_by_says_what_answer_an_output_stands_for():
    by_length = ttc.SelfConsistency(3, by=len)
    assert play(by_length, ["aaa", "b", "c"]).winner.text == "b"


def test_by_can_abstain():
    digits_only = ttc.SelfConsistency(3, by=lambda text: int(text) if text.isdigit() else None)
    assert play(digits_only, ["dunno", "no idea", "7"]).winner.text == "7"


def test_by_gets_the_sample_where_it_asks_for_one():
    def by_text(sample: ttc.Sample[str]) -> str:
        assert isinstance(sample, ttc.Sample)
        return sample.text.lower()

    assert play(ttc.SelfConsistency(3, by=by_text), ["A", "b", "a"]).index == 0


def test_by_is_not_asked_about_what_is_no_answer():
    asked = []
    by = ttc.SelfConsistency(2, by=lambda output: asked.append(output) or output)
    play(by, [Outcome(status="failed"), "a"])
    assert asked == ["a"]


def test_an_output_that_by_cannot_read_does_not_vote():
    assert play(ttc.SelfConsistency(4, by=int), ["none", "7", "n/a", "7"]).winner.text == "7"


def test_an_answer_that_cannot_be_counted_does_not_vote():
    assert (
        play(ttc.SelfConsistency(3, by=lambda text: text if text == "b" else [text]), ["a", "a", "b"]).winner.text
        == "b"
    )


def test_where_by_can_read_no_output_at_all_its_own_error_comes_out():
    with pytest.raises(ValueError, match="invalid literal"):
        play(ttc.SelfConsistency(2, by=int), ["x", "y"])


@pytest.mark.parametrize(("field", "value"), [("n", 0), ("n", 2.0), ("at_once", 0), ("at_once", True)])
def test_counts_must_be_whole_numbers_from_1(field, value):
    with pytest.raises(ValueError, match=rf"SelfConsistency\({field}=\) must be a whole number from 1, got {value!r}"):
        ttc.SelfConsistency(**{"n": 3, field: value})


def test_by_must_be_a_function():
    with pytest.raises(TypeError, match=r"SelfConsistency\(by=\) must be a function of the output, .* got 'answer'"):
        ttc.SelfConsistency(3, by="answer")
