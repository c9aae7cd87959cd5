from __future__ import annotations

import itertools

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict
from ttc_middleware.verifiers.goal_state import GoalState

pytestmark = pytest.mark.anyio


def pour(jugs, action):
    """Two jugs of three and five litres."""
    small, big = jugs
    match action.split():
        case ["fill", "small"]:
            return 3, big
        case ["fill", "big"]:
            return small, 5
        case ["empty", "small"]:
            return 0, big
        case ["pour", "big"]:
            moved = min(big, 3 - small)
            return small + moved, big - moved
        case ["drink", _]:
            raise PermissionError("it is not for drinking")
    return None


FOUR = "fill big\npour big\nempty small\npour big\nfill big\npour big"


@pytest.fixture
def jugs():
    return GoalState((0, 0), pour, lambda jugs: 4 in jugs)


async def test_a_plan_that_leads_to_the_goal_is_right(jugs):
    assert await jugs.check(FOUR) == Verdict(1.0, accepted=True)
    assert (await jugs.check(FOUR.splitlines())).accepted
    assert (await jugs.check(f"\n  {FOUR}\n\n")).accepted


async def test_a_plan_that_falls_short_scores_its_steps_and_the_goal_is_one_more(jugs):
    verdict = await jugs.check("\n".join(FOUR.split("\n")[:3]))
    assert verdict == Verdict(3 / 4, "The goal is not reached after 3 steps.", accepted=False)
    assert await jugs.check("") == Verdict(0.0, "The goal is not reached after 0 steps.", accepted=False)
    assert (await jugs.check("fill big")).feedback == "The goal is not reached after 1 step."


async def test_passing_through_the_goal_is_not_enough(jugs):
    assert not (await jugs.check(f"{FOUR}\nempty small\npour big")).accepted


async def test_the_first_illegal_step_is_named_with_the_reason(jugs):
    verdict = await jugs.check("fill big\nswap jugs\npour big")
    assert verdict == Verdict(1 / 4, "Step 2, 'swap jugs', is illegal", accepted=False)
    verdict = await jugs.check("drink big")
    assert verdict == Verdict(
        0.0, "Step 1, 'drink big', is illegal: PermissionError: it is not for drinking", accepted=False
    )


async def test_a_step_may_change_its_state_since_each_check_has_its_own():
    start = {"at": []}

    def go(state, action):
        state["at"].append(action)
        return state

    verifier = GoalState(start, go, lambda state: state["at"] == ["a", "b"])
    for _ in range(2):
        assert (await verifier.check("a\nb")).accepted
    assert start == {"at": []}


async def test_state_step_and_goal_may_depend_on_the_call():
    verifier = GoalState(
        lambda board: board,
        lambda state, action, board: state + int(action) if int(action) <= board else None,
        lambda state, target: state == target,
    )
    assert verifier.parameters == {"board", "target"}
    assert (await verifier.check("2\n1", arguments={"board": 2, "target": 5})).accepted
    assert not (await verifier.check("2\n1", arguments={"board": 1, "target": 4})).accepted


async def test_a_state_may_be_false():
    assert (await GoalState(1, lambda state, action: state - 1, lambda state: state == 0).check("x")).accepted


async def test_a_plan_that_cannot_be_read_is_rejected():
    verifier = GoalState(0, lambda state, action: state, lambda state: True, parse=lambda text: text["plan"])
    assert (await verifier.check({})).feedback == "The plan cannot be read: KeyError: 'plan'"
    plain = GoalState(0, lambda state, action: state, lambda state: True)
    assert (await plain.check(7)).feedback.startswith("The plan cannot be read: TypeError")
    assert (await plain.check(None)).accepted is False


async def test_a_plan_has_no_more_steps_than_allowed():
    verifier = GoalState(0, lambda state, action: state + 1, lambda state: state > 2, limit=3)
    assert (await verifier.check("a\nb\nc")).accepted
    assert (await verifier.check("a\nb\nc\nd")).feedback == "The plan has more than 3 steps."
    assert not (await verifier.check(itertools.count())).accepted  # it is not run to its end


async def test_a_broken_goal_is_no_fault_of_the_plan():
    with pytest.raises(VerifierFailed, match="True or False, not None"):
        await GoalState(0, lambda state, action: state, lambda state: None).check("")
    with pytest.raises(ZeroDivisionError):
        await GoalState(0, lambda state, action: state, lambda state: 1 / 0).check("")


async def test_feedback_is_short_and_shows_any_action():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    verifier = GoalState(0, lambda state, action: None, lambda state: True)
    assert (await verifier.check([Odd()])).feedback == "Step 1, a Odd, is illegal"
    assert len((await verifier.check(["x" * 10_000])).feedback) < 150
    assert (await verifier.check([("move", "A")])).feedback == "Step 1, ('move', 'A'), is illegal"


def test_wrong_arguments_are_refused():
    async def later(state, action):
        return state

    with pytest.raises(ValueError, match="limit is a number of steps from 1, not 0"):
        GoalState(0, pour, bool, limit=0)
    with pytest.raises(TypeError, match="step is a plain function"):
        GoalState(0, later, bool)
    with pytest.raises(TypeError, match="step takes 2 values"):
        GoalState(0, lambda state: state, bool)
    with pytest.raises(TypeError, match="goal is a plain function"):
        GoalState(0, pour, {1})


ACTIONS = ["fill small", "fill big", "empty small", "pour big", "drink big", "nonsense"]


@given(st.lists(st.sampled_from(ACTIONS), max_size=12))
def test_only_what_reaches_the_goal_scores_one(actions):
    verifier = GoalState((0, 0), pour, lambda jugs: 4 in jugs)
    verdict = anyio.run(verifier.check, actions)
    legal = list(itertools.takewhile(lambda action: action in ACTIONS[:4], actions))
    state = (0, 0)
    for action in legal:
        state = pour(state, action)
    reached = legal == actions and 4 in state
    assert verdict.accepted is reached
    assert verdict.score == (1.0 if reached else len(legal) / (len(actions) + 1))
