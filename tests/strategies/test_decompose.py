"""Decompose: what is divided, what each part may spend, and what happens where it does not work."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import examples, thorough

import ttc_middleware as ttc
from ttc_middleware.strategies import Agreement, Solved
from ttc_middleware.strategies.decompose import shares
from ttc_middleware.testing import Outcome, check_strategy, play

FAILED = Outcome(status="failed")


def two_parts():
    return ["left", ("right", 3)]


def answering(*, parts=None, whole=Outcome(output="composed"), plain=Outcome(output="plain"), plan="[]"):  # noqa: B008
    """What each kind of draw brings; parts by what they are told."""

    def outcome(index, draw):
        if draw.kind == "routing":
            return Outcome(output=plan)
        if draw.kind == "draft":
            return next(result for part, result in (parts or {}).items() if part in draw.instruction)
        return plain if draw.instruction is None else whole

    return outcome


RESULTS = {"left": "3", "right": "4"}


def test_each_part_is_solved_on_its_own_and_the_answer_is_composed_of_the_results():
    played = play(ttc.Decompose(two_parts), answering(parts=RESULTS))
    kinds = [each.kind for each in played.draws]
    assert kinds == ["draft"] * 6 + ["answer"]
    assert played.winner.text == "composed"
    told = played.draws[-1].instruction
    assert "Part 1: left\nResult: 3\n\nPart 2: right\nResult: 4" in told
    assert all("Of the task above, solve only this part" in each.instruction for each in played.draws[:-1])


def test_parts_vote_among_themselves():
    places = iter("abbcdd")
    outcomes = [Outcome(output=each) for each in places]
    played = play(ttc.Decompose(two_parts, composer=repr), [*outcomes, "composed"])
    assert played.draws[-1].instruction == repr([Solved("left", "b"), Solved("right", "d")])


def test_nobody_judges_a_part_and_the_composed_answer_is_verified():
    part, whole = Outcome(output="x", score=0.0), Outcome(output="whole", score=1.0)
    played = play(ttc.Decompose(two_parts), answering(parts={"left": part, "right": part}, whole=whole))
    assert {each.verdict for each in played.samples[:-1]} == {None}
    assert played.winner.accepted


@pytest.mark.parametrize(
    "whole", [FAILED, Outcome(output="composed", score=0.2), Outcome(output="", status="abstained")]
)
def test_where_the_composed_answer_fails_or_is_rejected_the_plain_call_is_drawn_too(whole):
    plain = Outcome(output="plain", score=0.9)
    assert play(ttc.Decompose(two_parts), answering(parts=RESULTS, whole=whole, plain=plain)).winner.text == "plain"


def test_the_better_one_of_the_two_is_returned():
    whole, plain = Outcome(output="composed", score=0.5), Outcome(output="plain", score=0.1)
    assert play(ttc.Decompose(two_parts), answering(parts=RESULTS, whole=whole, plain=plain)).winner.text == "composed"


def test_a_part_without_a_result_leads_to_the_plain_call():
    played = play(ttc.Decompose(two_parts), answering(parts={"left": FAILED, "right": "4"}))
    assert (played.winner.text, [each.kind for each in played.draws].count("answer")) == ("plain", 1)


# Plans.


@pytest.mark.parametrize(
    "plan",
    [
        '[{"part": "left", "complexity": 2}, {"part": "right"}]',
        'Sure!\n```json\n["left", "right"]\n```',
        '[["left", 1], ["right", 1e9]]',
        '[["left", 1' + "0" * 400 + '], ["right", -3]]',
        '[{"part": "left", "complexity": "many"}, {"part": " right ", "complexity": NaN}]',
    ],
)
def test_the_model_is_asked_for_a_plan_where_nobody_else_has_one(plan):
    played = play(ttc.Decompose(), answering(plan=plan, parts=RESULTS))
    first = played.draws[0]
    assert (first.kind, first.temperature) == ("routing", 0.0)
    assert "at most 6 parts" in first.instruction
    assert "Part 1: left\nResult: 3\n\nPart 2: right\nResult: 4" in played.draws[-1].instruction


@pytest.mark.parametrize(
    "plan",
    ["", "no", "[", "{}", "[]", '["alone"]', '["a", 3]', '["a", ""]', json.dumps(["x"] * 7),
     json.dumps(["a", "b" * 2_001]), "[" * 5_000 + "]" * 5_000,
     '[{"complexity": 3}, "b"]', '[["a", 1, 2], "b"]', "1e999"],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_not_followed(plan):
    played = play(ttc.Decompose(), answering(plan=plan))
    assert played.winner.text == "plain"
    assert [each.kind for each in played.draws[1:]] == ["answer"] * 3


def test_a_plan_that_fails_is_not_followed():
    assert play(ttc.Decompose(), [FAILED, "a", "a", "b"]).winner.text == "a"


ITEM = st.none() | st.text(max_size=9) | st.floats() | st.booleans()


@thorough(40)
@given(ITEM | st.lists(ITEM | st.lists(ITEM, max_size=3), max_size=5))
def test_whatever_a_reply_holds_ends_in_an_answer(said):
    strategy = ttc.Decompose(parts=3, draws=7)
    played = play(strategy, lambda index, draw: Outcome(output=json.dumps(said)) if index == 0 else "z")
    assert played.winner.text == "z"
    assert sum(each.kind == "draft" for each in played.draws) <= 7


def test_a_planner_reads_the_arguments_of_the_call_by_name():
    strategy = ttc.Decompose(lambda rows: [f"row {each}" for each in rows], parts=4)
    call = ttc.Call(name="f", arguments={"rows": [1, 2], "other": 3})
    played = play(strategy, answering(parts={"row 1": "a", "row 2": "b"}), call=call)
    assert played.winner.text == "composed"
    assert strategy.parameters == {"rows"}
    with pytest.raises(TypeError, match="asks for rows, which the call does not have"):
        play(strategy, ["a"])


@pytest.mark.parametrize("said", ["left and right", None, 3, ["a", None], ["x"] * 7])
def test_a_planner_that_gives_no_parts_divides_nothing_and_a_warning_says_so(said):
    with pytest.warns(UserWarning, match="must return up to 6 texts, or pairs .* so the task is not divided"):
        played = play(ttc.Decompose(lambda: said), answering())
    assert played.winner.text == "plain"


@pytest.mark.parametrize("error", [LookupError("no outline"), TypeError("no outline")])
def test_a_planner_that_raises_divides_nothing_and_a_warning_says_so(error):
    def breaks():
        raise error

    with pytest.warns(UserWarning, match=r"breaks must return .* got (Lookup|Type)Error\('no outline'\)"):
        assert play(ttc.Decompose(breaks), answering()).winner.text == "plain"


def test_one_part_is_the_whole():
    assert [each.kind for each in play(ttc.Decompose(lambda: ["all"]), answering()).draws] == ["answer"] * 3


# Shares.


@thorough(60)
@given(st.lists(st.floats(1, 10), min_size=1, max_size=8), st.integers(0, 60))
def test_shares_add_up_and_leave_nobody_without(weights, spare):
    total = len(weights) + spare
    found = shares(total, weights)
    assert (sum(found), min(found) >= 1) == (total, True)
    for share, weight in zip(found, weights, strict=True):
        assert abs(share - 1 - spare * weight / sum(weights)) <= 1


def test_a_part_starts_no_more_draws_than_its_share_and_the_harder_one_more():
    strategy = ttc.Decompose(two_parts, ttc.SelfConsistency(50), parts=2, draws=10)
    told = []

    def outcome(index, draw):
        told.append(draw.instruction or "")
        return f"answer {index}"

    play(strategy, outcome)
    drafts = [each for each in told if "solve only this part" in each]
    assert [sum(part in each for each in drafts) for part in ("left", "right")] == [3, 7]


@thorough(40)
@given(st.integers(2, 12), st.integers(12, 400), st.integers(1, 6))
def test_what_parts_may_generate_is_never_more_than_the_tokens_for_all(draws, tokens, n):
    strategy = ttc.Decompose(two_parts, ttc.SelfConsistency(n), parts=2, draws=draws, tokens=tokens)
    played = play(strategy, lambda index, draw: f"answer {index}")
    drafts = [each for each in played.draws if each.kind == "draft"]
    assert len(drafts) <= draws
    assert sum(each.max_tokens for each in drafts) <= tokens
    assert all(each.max_tokens >= 1 for each in drafts)


@pytest.mark.parametrize(
    "strategy",
    [
        ttc.Decompose(), ttc.Decompose(two_parts), ttc.Decompose(two_parts, ttc.Single()),
        ttc.Decompose(two_parts, ttc.Race(9, first=4, more=2, lead=3), draws=7, tokens=90),
        ttc.Decompose(two_parts, ttc.FirstFinished(1, 3), "Put it together."),
    ],
    ids=repr,
)  # fmt: skip
def test_it_keeps_the_contract(strategy):
    check_strategy(strategy, examples=examples(30))


def test_parts_are_solved_side_by_side():
    steps = ttc.Decompose(two_parts, ttc.Single()).search(ttc.Call(name="f"))
    assert len(next(steps)) == 2


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"Decompose\(parts=\) must be a whole number from 2, got 1"):
        ttc.Decompose(parts=1)
    with pytest.raises(ValueError, match=r"draws=\) must not be below parts=.*got parts=6, draws=5, tokens=None"):
        ttc.Decompose(draws=5)
    with pytest.raises(ValueError, match=r"nor tokens= below draws="):
        ttc.Decompose(tokens=20)
    with pytest.raises(ValueError, match=r"must choose without a verifier.*got BestOfN\(4\)"):
        ttc.Decompose(two_parts, ttc.BestOfN(4))

    async def later(task):
        return []

    for wrong in ("a, b", later):
        with pytest.raises(TypeError, match=r"Decompose\(planner\) must be a plain function, or None"):
            ttc.Decompose(wrong)
    with pytest.raises(TypeError, match=r"Decompose\(composer=\) must be a text or a function of the results, got 3"):
        ttc.Decompose(composer=3)
    with pytest.raises(TypeError, match="positional only"):
        ttc.Decompose(lambda task, /: [])


def test_it_needs_limits_only_where_it_sets_any():
    instruction, limits = ttc.Capability.INSTRUCTION, ttc.Capability.MAX_TOKENS
    assert ttc.Decompose(two_parts).needs == {instruction}
    assert ttc.Decompose().needs == ttc.Decompose(two_parts, tokens=99).needs == {instruction, limits}


@pytest.mark.parametrize("composer", [lambda solved: 1 / 0, lambda solved: None], ids=["raises", "no text"])
def test_a_composer_that_fails_leads_to_the_plain_call_and_a_warning_says_so(composer):
    with pytest.warns(UserWarning, match="must return a text; got .* so nothing is composed"):
        played = play(ttc.Decompose(two_parts, composer=composer), answering(parts=RESULTS))
    assert played.winner.text == "plain"


@pytest.mark.parametrize(
    "solver",
    [
        ttc.SelfConsistency(3, by="universal"),
        ttc.Adaptive(lambda: "easy", {"easy": ttc.Single(), "hard": ttc.SelfConsistency(2)}),
        ttc.Adaptive(Agreement(), {"easy": ttc.Single(), "hard": ttc.SelfConsistency(3, by="universal")}),
        ttc.Decompose(lambda: ["x", "y"]),
    ],
    ids=["universal", "told", "agreement", "parts of parts"],
)
def test_a_part_may_be_solved_by_a_strategy_that_looks_at_its_own_draws(solver):
    strategy = ttc.Decompose(two_parts, solver)
    check_strategy(strategy, examples=examples(20))

    def outcome(index, draw):
        if draw.kind == "routing":
            assert draw.instruction.startswith("Of the task above, solve only this part")
            return Outcome(output="2")
        return Outcome(output=f"text {index}")

    played = play(strategy, outcome)
    assert played.winner.draw.kind == "answer"
    assert played.draws[-1].instruction.count("Result: text") == 2


def test_what_its_solver_says_of_itself_holds_for_it():
    class Cannot:
        needs = frozenset({ttc.Capability.EXTEND})
        parameters = frozenset({"task"})
        judges = (len,)

        def search(self, call):
            return (yield [ttc.Draw()])

        def suited(self, can):
            return self if self.needs <= can else ttc.Single()

    strategy = ttc.Decompose(lambda rows: rows, Cannot())
    assert (strategy.parameters, strategy.judges) == ({"rows", "task"}, (len,))
    assert strategy.suited(frozenset(ttc.Capability)) is strategy
    assert strategy.suited(frozenset()) == replace(strategy, solver=ttc.Single())
