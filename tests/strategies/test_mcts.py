"""MCTS, played: what it draws, in which order, and when it ends."""

from __future__ import annotations

import pytest

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

STEPS = ttc.Steps("\n")


def letters(values, *, length=3, whole=0.5):
    """The n-th child of a prefix adds the n-th letter; a prefix is worth its last letter's value, an answer `whole`."""
    children = {}

    def outcome(index, draw):
        before = draw.extend or ""
        children[before] = children.get(before, -1) + 1
        letter = "abcdefgh"[children[before]]
        ended = draw.kind == "answer" or before.count("\n") == length - 1
        return Outcome(output=before + letter, score=whole if ended else values.get(letter, 0.0), ended=ended)

    return outcome


def test_children_are_drawn_before_any_is_gone_into_and_the_best_is_gone_into_first():
    played = play(ttc.MCTS(7, 3, 5, 0.1, at_once=1, steps=STEPS), letters({"a": 0.2, "b": 0.9, "c": 0.1}))
    assert [draw.extend for draw in played.draws[:6]] == [None, None, None, "b\n", "b\n", "b\n"]


def test_without_exploration_it_is_greedy_and_with_much_of_it_it_looks_everywhere():
    def gone_into(exploration):
        played = play(ttc.MCTS(30, 2, 6, exploration, at_once=1, steps=STEPS), letters({"a": 0.9, "b": 0.8}, length=9))
        return {draw.extend[0] for draw in played.draws if draw.extend}

    assert gone_into(0.0) == {"a"}
    assert gone_into(5.0) == {"a", "b"}


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("simulations", [1, 7, 50])
def test_a_simulation_is_one_draw_and_the_best_path_one_more(simulations, at_once):
    played = play(
        ttc.MCTS(simulations, 3, 9, at_once=at_once, steps=STEPS), letters({"a": 0.5, "b": 0.4, "c": 0.3}, length=99)
    )
    assert len(played.draws) == simulations + 1
    assert [draw.kind for draw in played.draws[-1:]] == ["answer"]
    assert played.index == simulations


def test_with_rollouts_a_simulation_is_so_many_draws_more():
    value = ttc.MonteCarloValue(3, certify=None)
    played = play(ttc.MCTS(5, 2, 9, steps=STEPS, value=value), letters({}, length=99))
    assert [draw.kind for draw in played.draws].count("step") == 5
    assert [draw.kind for draw in played.draws].count("answer") == 5 * 3 + 1


def test_several_simulations_are_under_way_and_look_at_different_places():
    search = ttc.MCTS(12, 3, 9, at_once=3, steps=STEPS).search(ttc.Call(name="f"))
    assert len(next(search)) == 3  # the root has room for three, and what these bring is not there yet


def test_it_ends_with_the_first_accepted_answer():
    played = play(ttc.MCTS(50, 2, 9, at_once=4, steps=STEPS), letters({"a": 0.5, "b": 0.4}, length=2, whole=1.0))
    assert played.winner.accepted
    assert len(played.draws) < 12


def test_a_tree_that_is_all_drawn_is_widened_until_the_simulations_are_used_up():
    played = play(ttc.MCTS(15, 2, 9, at_once=1, steps=STEPS), letters({"a": 0.5, "b": 0.4}, length=2))
    below = [draw.extend for draw in played.draws]
    assert below[:8] == [None] * 2 + ["a\n", "b\n"] * 2 + [None] * 2
    assert len(below) == 15
    assert {draw.parent.text for draw in played.draws if draw.parent} == {"a", "b", "c", "d"}
    assert played.winner.whole


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_tree_that_widening_brings_nothing_new_to_ends_the_search(at_once):
    def outcome(index, draw):
        before = draw.extend or ""
        return Outcome(output=before + "a", score=0.5, ended=before.count("\n") == 1)

    played = play(ttc.MCTS(50, 2, 9, at_once=at_once, steps=STEPS), outcome)
    assert len(played.draws) == 8  # two and two, twice: the same each time
    assert played.winner.text == "a\na"


def test_where_all_is_wrong_it_is_drawn_again_until_something_is_right():
    def outcome(index, draw):
        if draw.extend:
            return Outcome(output=draw.extend + "b", score=1.0, ended=True)
        return Outcome(output=f"s{index}", score=0.1, first_bad=None if index == 7 else 0)

    played = play(ttc.MCTS(50, 3, 9, at_once=1, steps=STEPS), outcome)
    assert played.winner.text == "s7\nb"
    assert len(played.draws) == 10  # the root's third three, then one below what is right


def test_what_a_sibling_has_said_already_is_not_visited():
    played = play(
        ttc.MCTS(6, 3, 9, at_once=1, steps=STEPS), lambda index, draw: Outcome(output=(draw.extend or "") + "a")
    )
    assert [draw.extend for draw in played.draws] == [None] * 3 + ["a\n"] * 3 + ["a\na\n"]


def test_where_every_draw_fails_it_gives_up_after_as_many_as_the_root_has_places():
    played = play(ttc.MCTS(50, 3, steps=STEPS), lambda index, draw: Outcome(status="failed"))
    assert (len(played.draws), played.index) == (3, 0)


def test_a_step_that_adds_nothing_is_drawn_to_its_end_once():
    def outcome(index, draw):
        if draw.kind == "answer":
            return Outcome(output=draw.extend + "end", score=0.7)
        return Outcome(output=(draw.extend or "a").strip(), score=0.5)

    played = play(ttc.MCTS(9, 2, 9, at_once=1, steps=STEPS), outcome)
    assert [draw.kind for draw in played.draws].count("answer") == 1
    assert played.winner.draw.kind == "answer"


def test_the_most_visited_path_is_drawn_to_its_end_where_nothing_has_ended():
    played = play(ttc.MCTS(9, 2, 9, 0.1, at_once=1, steps=STEPS), letters({"a": 0.9, "b": 0.1}, length=99, whole=0.0))
    assert played.draws[-1].kind == "answer"
    assert played.draws[-1].extend.startswith("a\na\n")
