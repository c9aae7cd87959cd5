"""Answers that a function calls the same, in classes."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies._equivalence import Equivalence
from ttc_middleware.testing import Outcome, play

KEYS = range(7)
RELATIONS = st.sets(st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)), max_size=8)


def close(one, other):
    return abs(one - other) <= 1


def classes_of(same, keys):
    groups = Equivalence(same)
    for key in keys:
        groups.add(key, key)
    return {frozenset(each for each in keys if groups.of(each) == groups.of(key)) for key in keys}


def connected(pairs, keys):
    """The definition: components of the graph of what is the same, whichever way round."""
    groups = [{key} for key in keys]
    for one, other in pairs:
        first = next(group for group in groups if one in group)
        second = next(group for group in groups if other in group)
        if first is not second:
            groups = [group for group in groups if group not in (first, second)] + [first | second]
    return {frozenset(group) for group in groups}


@thorough(50)
@given(RELATIONS, st.permutations(KEYS))
def test_whatever_the_function_says_the_classes_part_the_answers_and_their_order_makes_no_difference(pairs, keys):
    found = classes_of(lambda one, other: (one, other) in pairs, keys)
    assert found == connected(pairs, KEYS)
    assert sorted(key for each in found for key in each) == list(KEYS)


@thorough(50)
@given(st.lists(st.sampled_from(KEYS), min_size=1, max_size=9), RELATIONS, st.data())
def test_the_class_that_wins_is_the_one_that_all_n_would_have_given_in_any_order(drawn, pairs, data):
    arrival = data.draw(st.permutations(range(len(drawn))))
    strategy = ttc.SelfConsistency(len(drawn), by=int, same=lambda one, other: (one, other) in pairs)
    won = int(play(strategy, [Outcome(output=str(each)) for each in drawn], arrival=arrival).winner.text)
    seen = set(drawn)
    classes = connected([pair for pair in pairs if set(pair) <= seen], seen)
    votes = {each: sum(key in each for key in drawn) for each in classes}
    most = [each for each in classes if votes[each] == max(votes.values())]
    assert won in min(most, key=lambda each: min(place for place, key in enumerate(drawn) if key in each))


def test_a_chain_of_same_ones_is_one_class():
    assert classes_of(close, [1, 3, 2, 9]) == {frozenset({1, 2, 3}), frozenset({9})}


def test_open_answers_vote_by_what_they_mean():
    texts = ["Yes, certainly.", "no", "Certainly yes", "It certainly is", "no"]

    def same(one, other):
        return ("certainly" in one.lower()) == ("certainly" in other.lower())

    assert play(ttc.SelfConsistency(5), texts).winner.text == "no"
    assert play(ttc.SelfConsistency(5, same=same), texts).index == 0


def test_each_two_different_texts_are_asked_about_both_ways_and_equal_ones_not_at_all():
    asked = []

    def same(one, other):
        asked.append((one, other))
        return False

    play(ttc.SelfConsistency(5, same=same), ["a", "b", "a", "c", "b"])
    assert sorted(asked) == sorted(pair for two in combinations("abc", 2) for pair in (two, two[::-1]))


def test_it_gets_what_by_has_made_of_them():
    strategy = ttc.SelfConsistency(3, by=float, same=lambda one, other: abs(one - other) < 0.01)
    assert play(strategy, ["2", "1.000", "1.001"]).winner.text == "1.000"


def test_it_ends_early_only_where_no_answer_can_join_the_others_any_more():
    strategy = ttc.SelfConsistency(7, same=str.__eq__)
    assert len(play(strategy, ["a"] * 7).samples) == 4
    # Three, two and one: a seventh could be like both of the others.
    assert len(play(strategy, ["a", "a", "a", "b", "b", "c", "a"]).samples) == 7


def test_what_it_raises_counts_as_not_the_same_and_is_told():
    strategy = ttc.SelfConsistency(3, same=lambda one, other: 1 / 0)
    with pytest.warns(UserWarning, match=r"same=\) has raised ZeroDivisionError.* counts as not the same"):
        assert play(strategy, ["b", "a", "a"]).winner.text == "a"


async def by_case(texts):
    lower = [text.lower() for text in texts]
    return [lower.index(text) if text.strip() else None for text in lower]


ALL_AT_ONCE = ttc.SelfConsistency(5, same=by_case)


def test_a_function_of_all_texts_is_asked_once_at_the_end_about_those_that_differ():
    texts = ["b", "a+", "b", "A/", "a-"]
    said = [0, 1, 1, 1]
    played = play(ALL_AT_ONCE, [*texts, Outcome(output=said)])
    assert [draw.kind for draw in played.draws] == ["answer"] * 5 + ["routing"]
    assert played.draws[-1].run.args == (["b", "a+", "A/", "a-"],)
    assert played.index == 1
    assert play(ttc.SelfConsistency(5), texts).index == 0


def test_it_is_not_asked_where_it_cannot_matter():
    assert [draw.kind for draw in play(ALL_AT_ONCE, ["a"] * 5).draws] == ["answer"] * 5
    assert len(play(ALL_AT_ONCE, ["a"] * 5).samples) == 3


@pytest.mark.parametrize("wrong", [Outcome(status="failed"), Outcome(output=[0, 0]), Outcome(output=7)])
def test_where_it_fails_equal_answers_vote(wrong):
    with pytest.warns(UserWarning, match=r"same=\) has raised"):
        assert play(ALL_AT_ONCE, ["c", "a", "a", "b", "b", wrong]).winner.text == "a"


def test_where_no_budget_is_left_to_ask_equal_answers_vote():
    assert play(ALL_AT_ONCE, ["c", "a", "a", "b", "b"]).winner.text == "a"


async def pairwise(one, other):
    return one == other


@pytest.mark.parametrize("same", ["math", 0.9, pairwise])
def test_what_compares_is_a_function_of_two_or_an_async_one_of_all(same):
    with pytest.raises(TypeError, match=r"SelfConsistency\(same=\)"):
        ttc.SelfConsistency(3, same=same)


def test_what_compares_at_the_end_does_not_go_with_a_rule_that_looks_before():
    with pytest.raises(ValueError, match="does not go with stop="):
        ttc.SelfConsistency(8, same=by_case, stop=ttc.strategies.ESC(4))
