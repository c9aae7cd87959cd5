from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies.refine import revision
from ttc_middleware.testing import Outcome, play


def test_an_accepted_first_answer_is_not_revised():
    played = play(ttc.Refine(3), [True])
    assert (played.index, len(played.draws)) == (0, 1)


def test_it_stops_at_the_first_accepted_revision():
    played = play(ttc.Refine(5), [0.2, 0.4, 1.0, 1.0])
    assert (played.index, len(played.draws)) == (2, 3)


def test_it_draws_once_and_then_as_many_rounds_as_it_was_given():
    assert len(play(ttc.Refine(3), [0.1] * 9).draws) == 4


def test_the_feedback_and_the_answer_go_back_to_the_model():
    _, revised = play(ttc.Refine(1), [Outcome(output="4", score=0.2, feedback="2 + 3 is not 4"), 1.0]).draws
    assert revised.parent.text == "4"
    assert "2 + 3 is not 4" in revised.instruction
    assert "4\n" in revised.instruction


@thorough(60)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75]), min_size=1, max_size=8))
def test_a_revision_counts_only_if_its_score_is_higher_so_each_round_starts_from_the_best_so_far(scores):
    played = play(ttc.Refine(7), scores)
    for round_, draw in enumerate(played.draws[1:], start=1):
        assert draw.parent.index == scores.index(max(scores[:round_]))
    assert played.index == scores.index(max(scores))


def test_a_failed_draw_is_asked_again_as_it_was():
    first, second = play(ttc.Refine(1), [Outcome(status="failed"), 1.0]).draws
    assert first == second == ttc.Draw()


def test_a_failed_revision_does_not_replace_what_it_revised():
    played = play(ttc.Refine(2), [0.2, Outcome(status="failed"), Outcome(status="failed")])
    assert played.index == 0
    assert [draw.parent and draw.parent.index for draw in played.draws] == [None, 0, 0]


def test_an_answer_that_its_function_could_not_parse_is_revised_too():
    rejected = Outcome(status="abstained", score=0.0, feedback="no JSON")
    _, revised = play(ttc.Refine(1), [rejected, 1.0]).draws
    assert "no JSON" in revised.instruction


def test_when_the_budget_ends_the_best_so_far_is_returned():
    assert play(ttc.Refine(5), [0.1, 0.6, 0.3]).index == 1
    assert play(ttc.Refine(5), [0.1, 0.6, 0.3, 1.0], ends_after=2).index == 1


def test_feedback_without_words_still_says_that_it_was_wrong():
    sample = play(ttc.Single(), [0.2]).winner
    assert "answer 0" in revision(sample)
    assert "not right" in revision(sample)


def test_an_output_that_is_no_text_is_shown_as_its_repr():
    sample = play(ttc.Single(), [Outcome(output={"total": 3}, score=0.2)]).winner
    assert "{'total': 3}" in revision(sample)


def test_it_needs_a_verifier_and_an_adapter_that_takes_instructions():
    assert ttc.Refine.needs_verifier
    assert ttc.Refine.needs == {ttc.Capability.INSTRUCTION}


@pytest.mark.parametrize("rounds", [0, -1, 1.5, True, "3"])
def test_rounds_must_be_a_whole_number_from_1(rounds):
    with pytest.raises(ValueError, match=r"Refine\(rounds=\) must be a whole number from 1, got"):
        ttc.Refine(rounds)
