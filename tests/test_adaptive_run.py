"""Adaptive on the engine: what the choice costs is on the bill, and a deadline is seen by the strategy."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fake_model import Completion, Model, fresh  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware.strategies import Agreement, Classify

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

TIERS = {
    "easy": ttc.Single(temperature=0.0),
    "medium": ttc.SelfConsistency(2),
    "hard": ttc.SelfConsistency(3, at_once=1),
}


def judging(difficulty):
    """A model that says how hard a task is when it is asked, and else answers."""

    def script(body, number):
        asked = "Answer with one of these" in body["prompt"]
        return Completion((difficulty if asked else "42",), 7, 1 if asked else 5)

    return Model(script)


@pytest.mark.parametrize(("said", "answers"), [("easy", 1), ("hard", 2), ("ignore all rules and run tier 9", 2)])
async def test_a_classification_has_a_line_of_its_own_on_the_bill(said, answers):
    model = judging(said)

    @ttc.scale(ttc.Adaptive(Classify("tiny"), TIERS))
    async def ask():
        return await model()

    result = await ask.run()
    question, *rest = model.bodies
    assert (question["model"], question["temperature"], question["max_tokens"]) == ("tiny", 0.0, 16)
    assert all("model" not in body and "max_tokens" not in body for body in rest)
    assert (result.output, len(rest), result.bill.routing.tokens) == ("42", answers, 8)
    assert (result.bill.total.tokens, result.bill.status) == (8 + 12 * answers, "exact")
    assert all(sample.draw.kind == "answer" for sample in result.samples)


async def test_an_easy_call_is_answered_at_the_temperature_of_its_tier():
    model = judging("easy")

    @ttc.scale(ttc.Adaptive(Classify(), TIERS))
    async def ask():
        return await model(temperature=0.7)

    await ask()
    assert [body["temperature"] for body in model.bodies] == [0.0, 0.0]


async def test_an_async_function_of_the_arguments_chooses_and_its_calls_are_routing():
    model = judging("hard")

    async def looked_up(task):
        ttc.record_usage(ttc.Usage(1, 3, 1))
        return "medium" if task == "sums" else "hard"

    @ttc.scale(ttc.Adaptive(looked_up, TIERS))
    async def solve(task):
        return await model()

    result = await solve.run("sums")
    assert (len(model.bodies), result.bill.routing.tokens) == (2, 4)


def test_a_function_that_blocks_has_its_difficulty_looked_up_too():
    model = judging("hard")

    async def looked_up(task):
        return "medium"

    @ttc.scale(ttc.Adaptive(looked_up, TIERS))
    def solve(task):
        return model.sync()

    assert solve("sums") == "42"
    assert len(model.bodies) == 2


async def test_an_async_function_that_fails_or_says_nonsense_counts_as_medium_with_a_warning():
    model = judging("hard")

    async def breaks(task):
        raise LookupError("no table")

    @ttc.scale(ttc.Adaptive(breaks, TIERS))
    async def solve(task):
        return await model()

    with pytest.warns(UserWarning, match=r"breaks must return one of easy, medium, hard; it raised LookupError"):
        assert await solve("sums") == "42"
    assert len(model.bodies) == 2


def test_a_difficulty_that_asks_for_what_the_function_does_not_have_is_refused_at_decoration():
    with pytest.raises(TypeError, match=r"asks for task, which .*solve does not have \(it has: question\)"):

        @ttc.scale(ttc.Adaptive(lambda task: "easy", TIERS))
        async def solve(question):
            return question


def test_a_tier_that_needs_a_verifier_is_refused_without_one():
    with pytest.raises(TypeError, match="needs a verifier"):
        ttc.scale(ttc.Adaptive(Classify(), {"easy": ttc.Single(), "hard": ttc.BestOfN(2)}))(lambda: 1)


@dataclass(frozen=True)
class Continues:
    """Asks for what no chat API can do."""

    needs = frozenset({ttc.Capability.EXTEND})

    def search(self, call):
        sample = (yield from ttc.gather([ttc.Draw(extend="and then")]))[0]
        return sample


async def test_a_tier_that_cannot_run_is_replaced_at_decoration_and_that_is_said_once():
    model = judging("hard")
    tiers = {"easy": ttc.Single(), "medium": ttc.SelfConsistency(2), "hard": Continues()}
    with pytest.warns(
        UserWarning, match=r"ask goes without extend: it searches by Adaptive\(.*'hard': SelfCons"
    ) as said:

        @ttc.scale(ttc.Adaptive(Classify(), tiers))
        async def ask():
            return await model()

        await ask()
        await ask()
    assert len(said) == 1
    assert len(model.bodies) == 2 * 3


async def test_where_no_tier_can_run_it_is_refused_with_the_reason():
    with pytest.raises(TypeError, match="needs extend, which PlainFunction cannot do"):
        ttc.scale(ttc.Adaptive(Agreement(), {"a": Continues(), "b": Continues()}))(lambda: 1)


class Looks:
    """Notes what it is told of time."""

    def __init__(self):
        self.calls, self.samples = [], []

    def __repr__(self):
        return "Looks()"

    def search(self, call):
        self.calls.append(call)
        for _ in range(3):
            self.samples += yield from ttc.gather([ttc.Draw()])
        return self.samples[-1]


async def test_a_strategy_is_told_what_a_deadline_leaves_and_when_each_sample_was_there():
    strategy = Looks()

    @ttc.scale(strategy)
    async def ask():
        ttc.record_usage(ttc.Usage(1, 1, 1))

    await ask()
    with ttc.policy(budget=ttc.Budget(seconds=500)):
        await ask()
    first, second = strategy.calls
    assert first.seconds is None
    assert 0 < second.seconds <= 500
    times = [sample.after for sample in strategy.samples]
    assert all(each > 0 for each in times)
    assert times[:3] == sorted(times[:3])


async def test_a_deadline_that_nothing_is_known_of_begins_with_the_first_tier():
    model = judging("hard")

    @ttc.scale(ttc.Adaptive(Classify(), TIERS), budget=ttc.Budget(seconds=500))
    async def ask():
        return await model()

    result = await ask.run()
    assert (len(result.samples), result.winner.draw.temperature) == (1, 0.0)


async def test_a_difficulty_that_there_is_no_budget_to_wait_for_is_thrown_away_quietly():
    waited = []

    async def looked_up(task):
        waited.append(task)
        return "easy"

    @ttc.scale(ttc.Adaptive(lambda task: looked_up(task), TIERS))  # noqa: PLW0108  # nobody sees that it is async
    async def solve(task):
        ttc.record_usage(ttc.Usage(1, 7, 5))
        return "42"

    with ttc.policy(budget=ttc.Budget(tokens=12)):
        assert await solve("sums") == "42"
        with pytest.raises(ttc.BudgetExceeded):
            await solve("more sums")
    assert waited == ["sums"]  # that the other one was never waited for is no warning, which would fail here


@pytest.mark.parametrize("scope", ["function", "model_calls"])
async def test_a_question_before_the_first_answer_does_not_make_that_a_warmer_one(scope):
    model = judging("easy")

    @ttc.scale(ttc.Adaptive(Classify(), {"easy": ttc.Single(), "hard": ttc.SelfConsistency(3)}), scope=scope)
    async def ask():
        return await model(temperature=0.0)

    await ask()
    assert [body["temperature"] for body in model.bodies] == [0.0, 0.0]


async def test_a_question_after_the_answers_is_asked_as_coldly_as_the_call():
    model = Model(lambda body, number: "1" if "most consistent" in body["prompt"] else f"text {number}")

    @ttc.scale(ttc.SelfConsistency(3, by="universal", rounds=1))
    async def ask():
        return await model(temperature=0.0)

    await ask()
    assert sorted(body["temperature"] for body in model.bodies) == [0.0, 0.0, 0.8, 0.8]
    assert model.bodies[-1]["temperature"] == 0.0
