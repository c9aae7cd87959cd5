"""MonteCarloValue: what roll-outs say of a prefix, how many there are, and what labels come of them."""

from __future__ import annotations

import json
import math
import random

import pytest

import ttc_middleware as ttc
from ttc_middleware.strategies import step_labels, write_step_labels
from ttc_middleware.testing import Outcome, play

STEPS = ttc.Steps("\n")


def rollouts(value, chances, *, seed=0):
    """How many roll-outs a single step has, and what it is worth, where each is verified with this chance."""
    chance = random.Random(seed)

    def outcome(index, draw):
        if draw.kind == "step":
            return Outcome(output="a")
        return Outcome(output=draw.extend + f"{index}", accepted=chance.random() < chances)

    played = play(ttc.BeamSearch(1, 1, 1, steps=STEPS, value=value), outcome)
    return [sample for sample in played.samples if sample.draw.kind == "answer"][:-1]  # the last is the search's own


@pytest.mark.parametrize(("certify", "drawn"), [(None, 8), (0.3, 3), (0.1, 5), (0.05, 7), (0.01, 8)])
@pytest.mark.parametrize("chances", [0.0, 1.0])
def test_rollouts_that_agree_stop_as_soon_as_the_side_of_one_half_is_settled(certify, drawn, chances):
    value = ttc.MonteCarloValue(8, certify=certify, stop="all")
    assert len(rollouts(value, chances)) == drawn


def test_rollouts_that_do_not_settle_it_are_all_drawn():
    value = ttc.MonteCarloValue(8, certify=0.1, stop="all")
    for seed in range(30):
        found = rollouts(value, 0.5, seed=seed)
        first = {sample.accepted for sample in found[:5]}
        assert (len(found) == 5) == (len(first) == 1)
        if len(first) == 2:
            assert len(found) == 8


@pytest.mark.parametrize("share", [0.5, 0.45, 0.55])
def test_the_chance_to_stop_on_the_wrong_side_of_one_half_is_at_most_certify(share):
    # Exactly, over everything that 40 roll-outs can do; at a share of one half, either side alone is wrong.
    value = ttc.MonteCarloValue(40, certify=0.1)
    reached, above, below = {(0, 0): 1.0}, 0.0, 0.0
    while reached:
        verified, others = min(reached, key=sum)  # whatever leads there has been gone through
        chance = reached.pop((verified, others))
        batch = value._batch(verified, others, 40 - verified - others)
        if not batch and verified + others < 40:
            above, below = above + chance * (verified > others), below + chance * (verified < others)
        for more in range(batch + 1) if batch else ():
            state = verified + more, others + batch - more
            part = math.comb(batch, more) * share**more * (1 - share) ** (batch - more)
            reached[state] = reached.get(state, 0.0) + chance * part
    wrong = max(above, below) if share == 0.5 else above if share < 0.5 else below
    assert 0.02 < wrong <= 0.1


def test_the_value_of_a_step_leads_the_search_where_answers_are_scored_in_between():
    target = "314159"

    def model(seed):
        chance = random.Random(seed)

        def outcome(index, draw):
            digits = (draw.extend or "").split()
            while len(digits) < 6:
                digits.append(chance.choice([target[len(digits)], "0", "7"]))
                if draw.kind == "step":
                    break
            right = sum(a == b for a, b in zip(digits, target, strict=False))
            return Outcome(output="\n".join(digits), score=right / 6, ended=len(digits) == 6)

        return outcome

    value = ttc.MonteCarloValue(12, certify=None)
    guided = [play(ttc.BeamSearch(6, 6, steps=STEPS, value=value), model(seed)) for seed in range(20)]
    budgets = [len(played.samples) for played in guided]
    plain = [play(ttc.BestOfN(n), model(seed)) for seed, n in enumerate(budgets)]  # a draw of it is a whole answer
    found = [sum(played.winner.accepted for played in each) for each in (guided, plain)]
    assert found[0] >= found[1] + 5


def test_a_step_that_is_rolled_out_is_judged_by_nobody_and_an_answer_by_the_call_sites():
    played = play(
        ttc.BeamSearch(1, 1, 1, steps=STEPS, value=ttc.MonteCarloValue(2)),
        lambda index, draw: Outcome(output=f"{index}", score=0.5, ended=index == 1),
    )
    assert [sample.draw.judge for sample in played.samples] == [False, None, None, None]
    assert [sample.score for sample in played.samples] == [None, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("stop", ["first accepted", "all"])
def test_an_accepted_rollout_ends_the_search_unless_all_are_asked_for(stop):
    def outcome(index, draw):
        right = draw.kind == "answer"
        return Outcome(output=(draw.extend or "") + f"{index}", score=float(right), ended=right or None)

    played = play(ttc.MCTS(6, 2, 3, at_once=1, steps=STEPS, value=ttc.MonteCarloValue(4, stop=stop)), outcome)
    assert played.winner.accepted
    steps = [draw for draw in played.draws if draw.kind == "step"]
    assert len(steps) == (1 if stop == "first accepted" else 6)


def test_a_prefix_is_asked_once():
    played = play(
        ttc.BeamSearch(6, 3, 2, steps=STEPS, value=ttc.MonteCarloValue(4, certify=None)),
        lambda index, draw: Outcome(output=(draw.extend or "") + "a", score=0.5, ended=draw.kind == "answer"),
    )
    asked = [draw.extend for draw in played.draws if draw.kind == "answer"]
    assert (asked.count("a\n"), asked.count("a\na\n")) == (4, 4 + 1)


def result_of(played, **said):
    return ttc.Result(
        output=None, accepted=False, bill=ttc.Bill(), samples=played.samples, winner=None, stop_reason="decided", **said
    )


def test_labels_count_the_rollouts_of_each_prefix_and_their_verdicts(tmp_path):
    played = play(
        ttc.BeamSearch(2, 1, 1, steps=STEPS, value=ttc.MonteCarloValue(4, certify=None, stop="all")),
        ["a", "b", *[True, True, False, True], *[False, False, True, False], True],
    )
    result = result_of(played, name="solve")
    rows = step_labels(result)
    found = {row["prefix"]: (row["rollouts"], row["verified"], row["value"]) for row in rows}
    assert found == {"a\n": (4 + 1, 3 + 1, 4 / 5), "b\n": (4, 1, 1 / 4)}
    assert {row["call"] for row in rows} == {"solve"}

    path = tmp_path / "labels.jsonl"
    assert write_step_labels([result, result], path) == 4
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows * 2


def test_what_failed_says_nothing_of_its_prefix_and_what_was_cut_is_not_right():
    outcomes = [
        "a",
        Outcome(status="failed"),
        Outcome(verifier_failed=True),
        Outcome(status="truncated", score=0.0),
        Outcome(score=0.8),
    ]
    played = play(ttc.BeamSearch(1, 1, 1, steps=STEPS, value=ttc.MonteCarloValue(4, certify=None)), outcomes)
    assert step_labels(result_of(played)) == [{"call": "", "prefix": "a\n", "rollouts": 2, "verified": 0, "value": 0.4}]


def test_a_search_over_whole_answers_has_no_labels():
    played = play(ttc.BestOfN(3), [0.1, 0.2, 0.3])
    assert step_labels(result_of(played)) == []
