from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies.code_search import agreed, contenders
from ttc_middleware.testing import Outcome, check_strategy, play
from ttc_middleware.verifiers import Behaviour, UnitTests

ON_SOME = Behaviour([1, 2, 3])
FAILED = Outcome(status="failed")


def programs(*endings):
    return sorted(play(ttc.BestOfN(len(endings), stop="all"), endings).samples, key=lambda sample: sample.index)


def world(answers, behaviours):
    """Draws end as the answers say, and the programs of the choice do, in launch order, what the behaviours say."""
    left = iter(behaviours)

    def ending(index, draw):
        return next(left) if draw.kind == "routing" else answers(index, draw)

    return ending


def routed(played):
    return [draw for draw in played.draws if draw.kind == "routing"]


# The search


def test_every_program_is_drawn_before_the_first_is_revised_and_each_is_revised_until_it_is_accepted():
    def answers(index, draw):
        rounds = 0 if draw.parent is None else 1 + (draw.parent.draw.parent is not None)
        return Outcome(output=f"code {index}", score=1.0 if rounds == 2 else 0.5 + rounds / 10, feedback="no")

    played = play(ttc.CodeSearch(3, 2, behaviour=ON_SOME), world(answers, "aab"))
    drawn = [draw for draw in played.draws if draw.kind == "answer"]
    assert drawn[:3] == [ttc.Draw()] * 3
    assert len(drawn) == 9
    for index, draw in enumerate(drawn[3:], start=3):
        assert draw.parent.index == index - 3
        assert f"code {index - 3}" in draw.instruction


def test_of_the_accepted_the_earliest_of_those_that_do_the_same_wins():
    played = play(ttc.CodeSearch(5, 0, behaviour=ON_SOME), world(lambda i, _: i != 1, ["x", "y", "z", "y"]))
    assert played.index == 2  # the second of those that were accepted
    assert len(routed(played)) == 4


def test_where_none_is_accepted_agreement_counts_times_the_share_of_tests_passed():
    scores = [0.9, 0.4, 0.4, 0.1, 0.1]
    strategy = ttc.CodeSearch(5, 0, behaviour=ON_SOME)
    assert play(strategy, world(lambda i, _: scores[i], "abbcc")).index == 0  # 0.9 > 2 x 0.4
    scores = [0.7, 0.4, 0.4, 0.1, 0.1]
    assert play(strategy, world(lambda i, _: scores[i], "abbcc")).index == 1


def test_programs_that_do_nothing_are_no_cluster():
    nothing = FAILED  # as a sandbox that breaks
    strategy = ttc.CodeSearch(4, 0, behaviour=ON_SOME)
    assert play(strategy, world(lambda i, _: True, [nothing, nothing, nothing, "a"])).index == 3
    assert play(strategy, world(lambda i, _: [0.2, 0.6, 0.3, 0.6][i], [nothing] * 4)).index == 1


def test_one_program_is_compared_with_nothing():
    played = play(ttc.CodeSearch(3, 0, behaviour=ON_SOME), [0.2, True, FAILED, True, True])
    assert (played.index, routed(played)) == (1, [])


def test_the_model_is_asked_for_inputs_where_there_are_none_and_they_go_to_every_program():
    strategy = ttc.CodeSearch(3, 0, behaviour=Behaviour())
    played = play(strategy, world(lambda i, _: True, ["[[1], [2]]", "a", "b", "b"]))
    question, *runs = routed(played)
    assert question.run is None
    assert "JSON" in question.instruction
    assert [(draw.run.args, draw.run.keywords) for draw in runs] == [
        ((f"answer {index}", [(1,), (2,)]), {"arguments": {}}) for index in range(3)
    ]
    assert played.index == 1


@pytest.mark.parametrize("reply", ["I would test 3 and 4.", "{}", "[]", "[1", FAILED], ids=repr)
def test_inputs_that_cannot_be_read_leave_the_choice_to_the_verifier(reply):
    played = play(ttc.CodeSearch(3, 0, behaviour=Behaviour()), world(lambda i, _: [0.2, 0.6, 0.4][i], [reply]))
    assert (played.index, len(routed(played))) == (1, 1)


def test_when_the_budget_ends_the_best_so_far_is_returned():
    strategy = ttc.CodeSearch(3, 2, behaviour=ON_SOME)
    assert play(strategy, [0.1, 0.6]).index == 1
    assert play(strategy, [0.1, 0.6, 0.3, 0.2, 0.2, 0.9]).index == 5
    assert play(strategy, [True, True, True]).index == 0  # none is left to compare with
    assert play(strategy, [True, True, True, "a", "b", "b"], ends_after=4).index == 0


def test_inputs_are_a_function_of_the_call_and_what_is_wrong_with_them_is_said_before_anything_is_drawn():
    strategy = ttc.CodeSearch(2, 0, behaviour=Behaviour(lambda sizes: [(size, []) for size in sizes]))
    call = ttc.Call(name="f", arguments={"sizes": [3, 4], "more": 1})
    played = play(strategy, [True, True, "a", "b"], call=call)
    assert routed(played)[0].run.args[1] == [(3, []), (4, [])]
    assert routed(played)[0].run.keywords == {"arguments": call.arguments}
    with pytest.raises(ValueError, match="inputs is empty"):
        next(strategy.search(ttc.Call(name="f", arguments={"sizes": []})))


def test_it_keeps_the_contract_with_inputs_of_its_own():
    check_strategy(ttc.CodeSearch(4, 1, behaviour=ON_SOME), examples=40)


def test_it_asks_for_no_instruction_where_nothing_is_said_to_the_model():
    assert ttc.CodeSearch(4, 0, behaviour=ON_SOME).needs == frozenset()
    assert ttc.CodeSearch(4, 1, behaviour=ON_SOME).needs == {ttc.Capability.INSTRUCTION}
    assert ttc.CodeSearch(4, 0, behaviour=Behaviour()).needs == {ttc.Capability.INSTRUCTION}
    assert ttc.CodeSearch.needs_verifier


def test_a_function_without_the_arguments_that_inputs_are_made_of_is_refused_at_decoration():
    strategy = ttc.CodeSearch(2, behaviour=Behaviour(lambda sizes: sizes, entry=lambda name: name))
    with pytest.raises(TypeError, match=r"CodeSearch\(.*asks for name, sizes, which .*write does not have"):

        @ttc.scale(strategy, verifier=UnitTests(["assert f(1) == 1"]))
        def write(task):
            return task


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((0,), ValueError, r"CodeSearch\(n=\) must be a whole number from 1, got 0"),
        ((3, -1), ValueError, r"CodeSearch\(rounds=\) must be a whole number from 0, got -1"),
        ((3, True), ValueError, r"CodeSearch\(rounds=\) must be a whole number from 0, got True"),
    ],
)
def test_what_it_cannot_search_by_is_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        ttc.CodeSearch(*arguments, behaviour=ON_SOME)


@pytest.mark.parametrize("behaviour", [None, Behaviour, [1, 2]], ids=repr)
def test_what_cannot_compare_programs_is_refused(behaviour):
    with pytest.raises(TypeError, match=r"CodeSearch\(behaviour=\) must be like ttc.verifiers.Behaviour\(\), got"):
        ttc.CodeSearch(3, behaviour=behaviour)


# The choice

DONE = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=12)


@given(DONE)
@thorough(80)
def test_among_the_accepted_the_largest_cluster_wins_and_of_equals_the_first(done):
    found = agreed(programs(*[True] * len(done)), done).index
    sizes = {what: done.count(what) for what in done if what is not None}
    if not sizes:
        assert found == 0
        return
    assert found == min(done.index(what) for what, size in sizes.items() if size == max(sizes.values()))


@given(DONE, st.permutations("abc"))
@thorough(40)
def test_the_choice_does_not_depend_on_what_behaviours_are_called(done, names):
    renamed = [what and dict(zip("abc", names, strict=True))[what] for what in done]
    samples = programs(*[True] * len(done))
    assert agreed(samples, done) is agreed(samples, renamed)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.25, 0.5])), min_size=1, max_size=12))
@thorough(80)
def test_nobody_has_more_agreement_times_tests_passed_than_the_winner(scored):
    samples = programs(*[score for _, score in scored])
    winner = agreed(samples, [what for what, _ in scored])
    worth = {each: scored.count(each) * each[1] for each in scored}
    assert worth[scored[winner.index]] == max(worth.values())
    assert winner.index == min(scored.index(each) for each in scored if worth[each] == max(worth.values()))


def test_an_answer_that_was_not_accepted_takes_no_part_beside_one_that_was():
    kinds = [0.9, Outcome(status="truncated", score=0.1, accepted=False), FAILED, True, 0.2]
    assert [sample.index for sample in contenders(programs(*kinds))] == [3]
    assert [sample.index for sample in contenders(programs(*kinds[:3], 0.2))] == [0, 3]
