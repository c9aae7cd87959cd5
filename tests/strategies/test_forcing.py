"""Budget forcing and thinking longer, without a model."""

from __future__ import annotations

import pytest

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play


def test_what_stood_before_is_not_said_twice_whether_or_not_a_server_repeats_it():
    strategy = ttc.BudgetForcing(max_tokens=50, times=1)
    repeats = play(strategy, ["<think>\nab", "<think>\nab\nWait, cd", "7"])
    adds = play(strategy, ["ab", ", cd", "7"])
    for played in (repeats, adds):
        assert [draw.extend for draw in played.draws] == [
            "<think>\n",
            "<think>\nab\nWait",
            "<think>\nab\nWait, cd\n</think>\n\n",
        ]
        assert [draw.kind for draw in played.draws] == ["draft", "draft", "answer"]
        assert [draw.max_tokens for draw in played.draws] == [50, 50, None]
        assert played.index == 2


def test_thinking_that_was_cut_is_ended_and_the_answer_demanded():
    played = play(ttc.BudgetForcing(max_tokens=50), [Outcome(output="ab", status="truncated"), "7"])
    assert played.draws[-1].extend == "<think>\nab\n</think>\n\nFinal Answer:"


def test_a_step_that_fails_is_left_out_and_the_answer_drawn_from_those_before():
    played = play(ttc.BudgetForcing(max_tokens=50), ["ab", Outcome(status="failed"), "7"])
    assert played.draws[-1].extend == "<think>\nab\nWait\n</think>\n\nFinal Answer:"
    assert played.index == 2


def test_a_thought_is_no_answer_where_no_budget_is_left_for_one_or_it_fails():
    assert play(ttc.BudgetForcing(max_tokens=50), ["ab", "cd"]).winner is None
    assert play(ttc.BudgetForcing(max_tokens=50), ["ab", "cd", Outcome(status="failed")]).index == 2


def test_nothing_that_is_only_a_step_is_judged():
    played = play(ttc.BudgetForcing(max_tokens=50, times=0), [1.0, 0.0])
    assert [sample.verdict is None for sample in played.samples] == [True, False]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_tokens": 0}, "max_tokens=. must be a whole number from 1"),
        ({"max_tokens": 5, "min_tokens": 6}, "min_tokens=6. must be at most max_tokens=5"),
        ({"max_tokens": 5, "min_tokens": -1}, "min_tokens=. must be a whole number from 0"),
        ({"max_tokens": 5, "times": -1}, "times=. must be a whole number from 0"),
        ({"max_tokens": 5, "extend": " "}, "extend=. must be a text"),
    ],
)
def test_what_cannot_be_forced_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        ttc.BudgetForcing(**wrong)


def test_each_step_thinks_longer_until_one_is_accepted():
    played = play(ttc.ThinkLonger((100, 200, 300)), [0.2, 1.0, 1.0])
    assert [draw.thinking for draw in played.draws] == [ttc.Thinking(tokens=100), ttc.Thinking(tokens=200)]
    assert (played.index, played.winner.accepted) == (1, True)
    assert play(ttc.ThinkLonger((100, 200)), [0.6, 0.3]).index == 0


@pytest.mark.parametrize("steps", [(), 4_000, ("lots",), (None,)])
def test_steps_must_say_how_much_to_think(steps):
    with pytest.raises(ValueError, match=r"steps=|thinking="):
        ttc.ThinkLonger(steps)
