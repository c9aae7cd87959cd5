"""Early rejection, against a model that writes letters: a prefix scores by the share of them that are right."""

from __future__ import annotations

import pytest

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

STEPS = ttc.Steps("\n")
WORD = "aaaaaa"


def scripted(*answers):
    """Each start gets the next of these answers, a letter a step; "a" is a good step, and only "aaaaaa" is right."""
    begun = iter(answers)
    lines = {}

    def outcome(index, draw):
        before = (draw.extend or "").rstrip("\n")
        if draw.parent is None:
            lines[index] = next(begun)
        answer = lines[index] if draw.parent is None else lines[draw.parent.index]
        lines[index] = answer
        done = before.count("\n") + 2 if before else 1
        if draw.kind == "answer":
            done = len(answer)
        written = answer[:done]
        ended = done == len(answer)
        share = written.count("a") / len(written)
        return Outcome(output="\n".join(written), score=float(written == WORD) if ended else share, ended=ended)

    return outcome


def starts(played):
    return [draw for draw in played.draws if draw.parent is None]


def test_an_answer_that_scores_low_after_so_many_steps_is_dropped_and_another_begun():
    played = play(ttc.EarlyReject(1, below=0.5, after_step=2, steps=STEPS), scripted("bbbbbb", WORD))
    assert played.winner.accepted
    assert [draw.extend for draw in played.draws] == [None, "b\n", None] + ["a\n" * n for n in range(1, 6)]


def test_it_is_looked_at_again_after_every_further_step():
    played = play(ttc.EarlyReject(1, below=0.5, after_step=2, steps=STEPS), scripted("aabbbb", WORD))
    assert [draw.extend for draw in starts(played)] == [None, None]
    assert len(played.draws) == 5 + 6  # a a b b b: 2/5 is the first share below a half


def test_before_that_many_steps_nothing_is_dropped():
    played = play(ttc.EarlyReject(1, below=0.9, after_step=6, steps=STEPS), scripted("bbbbbb", WORD))
    assert len(starts(played)) == 1
    assert played.winner.whole


def test_a_place_that_refills_does_not_wait_for_the_others():
    # The first answer is dropped, and its successor written while the other place waits for its first step.
    played = play(
        ttc.EarlyReject(2, below=0.5, after_step=1, steps=STEPS),
        scripted("bbbbbb", "aaaaab", WORD),
        arrival=[0, 2, 3, 4, 5, 6, 7],
    )
    assert played.winner.accepted
    assert 1 in played.cancelled
    assert len(played.draws) == 1 + 1 + 6


def test_it_costs_fewer_steps_than_to_write_every_answer_to_its_end():
    answers = ["bbbbbb"] * 5 + [WORD]
    rejecting = play(ttc.EarlyReject(1, below=0.5, after_step=1, starts=6, steps=STEPS), scripted(*answers))
    patient = play(ttc.EarlyReject(6, below=0.0, steps=STEPS), scripted(*answers))
    assert rejecting.winner.accepted
    assert patient.winner.accepted
    assert len(rejecting.draws) == 5 + 6
    assert len(patient.draws) == 36


def test_no_more_are_begun_than_starts_and_the_best_prefix_is_then_drawn_to_its_end():
    played = play(
        ttc.EarlyReject(2, below=0.9, after_step=2, starts=3, steps=STEPS), scripted("bbb", "abb", "bab", "aaa")
    )
    assert len(starts(played)) == 3
    last = played.draws[-1]
    assert (last.kind, last.extend) == ("answer", "a\n")
    assert played.winner.text == "a\nb\nb"


def test_of_prefixes_that_score_alike_the_longest_is_drawn_to_its_end():
    played = play(ttc.EarlyReject(1, below=0.9, after_step=3, starts=1, steps=STEPS), scripted("aabb"))
    assert [(draw.kind, draw.extend) for draw in played.draws[3:]] == [("answer", "a\na\n")]


def test_a_verifier_that_breaks_drops_nothing():
    def outcome(index, draw):
        text = (draw.extend or "") + "x"
        return Outcome(output=text, verifier_failed=len(text) < 9, score=0.5, ended=len(text) > 8)

    played = play(ttc.EarlyReject(1, below=0.9, after_step=1, steps=STEPS), outcome)
    assert len(starts(played)) == 1
    assert played.winner.whole


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: ttc.EarlyReject(4, starts=3), "must not be below n=4"),
        (lambda: ttc.EarlyReject(below=1.2), "from 0 to 1"),
        (lambda: ttc.EarlyReject(after_step=0), "whole number from 1"),
        (lambda: ttc.EarlyReject(0), "whole number from 1"),
    ],
    ids=["starts", "below", "after_step", "n"],
)
def test_bad_arguments_are_refused_with_the_rule_and_the_value(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda value: ttc.EarlyReject(value=value),
        lambda value: ttc.SpeculativeRejection(value=value),
        lambda value: ttc.Repair(value=value),
        lambda value: ttc.DraftSteps("small", value=value),
    ],
    ids=["EarlyReject", "SpeculativeRejection", "Repair", "DraftSteps"],
)
def test_what_rejects_by_scores_takes_no_roll_outs_which_cost_more_than_it_could_save(wrong):
    with pytest.raises(TypeError, match="must be a verifier: roll-outs"):
        wrong(ttc.MonteCarloValue(2))
