"""Steps that a small model drafts, and that a large one writes again where they score low."""

from __future__ import annotations

import pytest

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

STEPS = ttc.Steps("\n")
DRAFT = ttc.DraftSteps("small", "large", steps=STEPS)


def models(small, *, length=4, broken=()):
    """The small one writes "s" with these scores, the large one "L" with 0.1, which is enough."""
    scores = iter(small)

    def outcome(index, draw):
        if draw.model in broken:
            return Outcome(status="failed")
        text = (draw.extend or "") + {"small": "s"}.get(draw.model, "L")
        if draw.kind == "answer":
            return Outcome(output=text, score=0.5)
        ended = text.count("\n") == length - 1
        value = next(scores) if draw.model == "small" else 0.1
        return Outcome(output=text, score=value, ended=ended)

    return outcome


def test_the_large_model_writes_a_step_again_where_it_scores_low_and_the_small_one_goes_on():
    played = play(DRAFT, models([0.9, 0.2, 0.8, 0.7]))
    assert [(draw.model, draw.extend) for draw in played.draws] == [
        ("small", None),
        ("small", "s\n"),
        ("large", "s\n"),
        ("small", "s\nL\n"),
        ("small", "s\nL\ns\n"),
    ]
    assert played.winner.text == "s\nL\ns\ns"


def test_good_steps_never_reach_the_large_model():
    played = play(DRAFT, models([0.5] * 4))
    assert [draw.model for draw in played.draws] == ["small"] * 4


def test_an_answer_that_the_small_model_ended_badly_gets_another_last_step():
    played = play(DRAFT, models([0.9, 0.9, 0.9, 0.0]))
    assert [draw.model for draw in played.draws] == ["small"] * 4 + ["large"]
    assert played.winner.text == "s\ns\ns\nL"


def test_an_answer_that_is_accepted_is_not_written_again_whatever_its_score():
    played = play(DRAFT, [Outcome(output="all", score=0.2, accepted=True, ended=True), 1.0])
    assert (len(played.draws), played.winner.accepted) == (1, True)


def test_without_a_name_the_calls_own_model_takes_over():
    played = play(ttc.DraftSteps("small", steps=STEPS), models([0.0] * 4, length=2))
    assert [draw.model for draw in played.draws] == ["small", None] * 2


def test_a_model_that_fails_leaves_the_step_to_the_other():
    assert play(DRAFT, models([], broken={"small"})).winner.text == "L\nL\nL\nL"
    assert play(DRAFT, models([0.1] * 4, broken={"large"})).winner.text == "s\ns\ns\ns"


def test_at_the_depth_the_large_model_draws_the_rest():
    played = play(ttc.DraftSteps("small", "large", depth=2, steps=STEPS), models([0.9] * 2))
    assert [(draw.kind, draw.model) for draw in played.draws] == [("step", "small")] * 2 + [("answer", "large")]


def test_who_has_ended_without_a_word_of_it_draws_the_rest():
    def outcome(index, draw):
        return Outcome(output=draw.extend or "all", score=0.9)

    played = play(DRAFT, outcome)
    assert [(draw.kind, draw.model) for draw in played.draws] == [("step", "small")] * 2 + [("answer", "small")]


def test_a_verifier_that_breaks_leaves_the_small_model_at_work():
    played = play(DRAFT, [Outcome(output="s", verifier_failed=True), Outcome(output="s\ns", score=1, ended=True)])
    assert [draw.model for draw in played.draws] == ["small"] * 2


@pytest.mark.parametrize("wrong", [("",), ("a", "a"), (None,), ("a", "")], ids=repr)
def test_the_models_have_two_names(wrong):
    with pytest.raises(ValueError, match="model"):
        ttc.DraftSteps(*wrong)


def test_it_says_that_it_needs_another_model():
    assert ttc.Capability.MODEL in DRAFT.needs
