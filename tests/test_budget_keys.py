"""Limits of a process and of its keys: tenants, users, whatever a tag names."""

from __future__ import annotations

import os
import pickle  # noqa: TID251  # what users do with exceptions

import anyio
import pytest
from fake_model import Completion, Model, fresh, steps  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

PROMPT = "a b c d e"


def talks(tokens=100):
    return Model(lambda body, number: Completion(("ok",), output_tokens=tokens))


async def until_refused(model, most=50):
    calls = 0
    with pytest.raises(ttc.BudgetExceeded) as caught:
        while calls < most:
            await model(PROMPT, max_tokens=100)
            calls += 1
    return calls, caught.value


async def test_a_process_has_a_budget_that_plain_calls_share_too():
    ttc.configure(budget=ttc.Budget(tokens=550))
    model = talks()
    calls, error = await until_refused(model)
    assert (calls, model.billed, error.whose) == (5, 525, "the process")
    assert str(error).startswith("the budget of 550 tokens for the process leaves no room: 525 are spent")
    assert ttc.balance().spent == {"tokens": 525}
    assert ttc.balance().left == {"tokens": 25}


async def test_searches_count_against_the_process_beside_their_own_budgets():
    ttc.configure(budget=ttc.Budget(tokens=1_000))
    model = talks()

    @ttc.scale(ttc.BestOfN(4, stop="all"), verifier=lambda output: True, budget=ttc.Budget(tokens=430))
    async def ask():
        return await model(PROMPT, max_tokens=100)

    with ttc.policy(budget=ttc.Budget(tokens=900)):
        await ask()
        await ask()
    assert ttc.balance().spent == {"tokens": model.billed}
    assert model.billed == 840


async def test_each_value_of_a_tag_has_a_budget_of_its_own():
    ttc.configure(budget_per={"user": ttc.Budget(tokens=330)})
    model = talks()
    with ttc.tags(user="ann"):
        calls, error = await until_refused(model)
    assert (calls, error.whose) == (3, "user 'ann'")
    assert "330 tokens for user 'ann' leaves no room" in str(error)
    with ttc.tags(user="bob"):
        assert await model(PROMPT, max_tokens=100) == "ok"
    assert ttc.balance(user="ann").spent == {"tokens": 315}
    assert ttc.balance(user="bob").left == {"tokens": 225}
    assert ttc.balance(user="never seen").left == {"tokens": 330}
    assert [await model(PROMPT, max_tokens=100) for _ in range(5)] == ["ok"] * 5, "without the tag there is no limit"


async def test_a_key_and_the_process_both_hold_whatever_is_tighter():
    ttc.configure(
        budget=ttc.Budget(tokens=550), budget_per={"user": ttc.Budget(tokens=330), "tenant": ttc.Budget(tokens=440)}
    )
    model = talks()
    with ttc.tags(tenant="acme"):
        with ttc.tags(user="ann"):
            assert [(calls, error.whose) for calls, error in [await until_refused(model)]] == [(3, "user 'ann'")]
        with ttc.tags(user="bob"):
            assert [(calls, error.whose) for calls, error in [await until_refused(model)]] == [(1, "tenant 'acme'")]
    with ttc.tags(user="bob"):
        assert [(calls, error.whose) for calls, error in [await until_refused(model)]] == [(1, "the process")]
    assert ttc.balance(tenant="acme").spent == {"tokens": 420}
    assert ttc.balance(user="bob").spent == {"tokens": 210}
    assert ttc.balance().spent == {"tokens": 525} == {"tokens": model.billed}


@pytest.mark.parametrize("tags_first", [True, False])
async def test_blocks_and_keys_cross_and_charge_each_account_once(tags_first):
    ttc.configure(budget=ttc.Budget(tokens=5_000), budget_per={"user": ttc.Budget(tokens=2_000)})
    model, blocks = talks(), (ttc.policy(budget=ttc.Budget(tokens=1_000)), ttc.tags(user="ann"))
    first, second = blocks[::-1] if tags_first else blocks
    with first, second:
        with ttc.tags(user="ann"):
            await model(PROMPT, max_tokens=100)
        block = [node for node in SCOPE.get().ledger.path if node.limits == {"tokens": 1_000}]
        assert [node.spent["tokens"] for node in block] == [105]
    assert ttc.balance(user="ann").spent == ttc.balance().spent == {"tokens": 105}


async def test_calls_of_one_key_at_once_never_cost_more_than_its_budget():
    ttc.configure(budget_per={"user": ttc.Budget(tokens=1_000)})

    async def script(body, number):
        await steps(number % 5)
        return Completion(("ok",), output_tokens=body["max_tokens"])

    model, refused = Model(script), []

    async def one(user):
        with ttc.tags(user=user):
            try:
                await model(PROMPT, max_tokens=90)
            except ttc.BudgetExceeded as error:
                refused.append(error.whose)

    async with anyio.create_task_group() as group:
        for place in range(60):
            group.start_soon(one, ("ann", "bob")[place % 2])
    for user in ("ann", "bob"):
        assert 900 < ttc.balance(user=user).spent["tokens"] <= 1_000
        assert ttc.balance(user=user).held == {"tokens": 0}
    assert set(refused) == {"user 'ann'", "user 'bob'"}


async def test_a_budget_starts_anew():
    ttc.configure(budget=ttc.Budget(tokens=1_000), budget_per={"user": ttc.Budget(tokens=110)})
    model = talks()
    for _ in range(2):
        with ttc.tags(user="ann"):
            assert (await until_refused(model))[0] == 1
        ttc.reset_budget(user="ann")
    ttc.reset_budget(user="never seen")
    assert ttc.balance(user="ann").spent == {"tokens": 0}
    assert ttc.balance().spent == {"tokens": 210}
    ttc.reset_budget()
    assert ttc.balance().spent == {"tokens": 0}


async def test_a_process_can_limit_samples_and_seats_beside_tokens():
    ttc.configure(budget=ttc.Budget(samples=3, tokens=10_000), concurrency=2)
    model = Model(lambda body, number: steps(2))

    @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=lambda output: False)
    async def ask():
        await model.send({"prompt": PROMPT})
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return "x"

    result = await ask.run()
    assert (len(result.samples), result.stop_reason, model.peak) == (3, "budget", 2)
    assert ttc.balance().left["samples"] == 0


def test_what_is_configured_later_leaves_the_rest_as_it_is():
    ttc.configure(budget=ttc.Budget(tokens=100))
    with ttc.policy(budget=ttc.Budget(tokens=50)):
        SCOPE.get().ledger.charge({"tokens": 7})
    ttc.configure(concurrency=3)
    assert ttc.balance().spent == {"tokens": 7}
    ttc.configure(budget=ttc.Budget(tokens=200))
    assert ttc.balance().spent == {"tokens": 0}


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        ({"budget": ttc.Budget(seconds=3)}, ValueError, r"configure\(budget=\) cannot limit seconds"),
        (
            {"budget_per": {"user": ttc.Budget(seconds=3)}},
            ValueError,
            r"budget_per=\{'user': …\}\) cannot limit seconds",
        ),
        ({"budget": 5}, TypeError, r"configure\(budget=\) must be a ttc.Budget, got 5"),
        ({"budget_per": {"user": "1"}}, TypeError, r"must be a ttc.Budget, got '1'"),
        ({"budget_per": {"user": None}}, TypeError, r"must be a ttc.Budget, got None"),
        ({"budget_per": ttc.Budget(tokens=1)}, TypeError, r"configure\(budget_per=\) must be \{"),
        ({"budget_per": {7: ttc.Budget(tokens=1)}}, TypeError, r"goes by the names of tags, got 7"),
    ],
)
def test_what_cannot_be_a_limit_of_a_process_is_said_at_once(wrong, kind, says):
    with pytest.raises(kind, match=says):
        ttc.configure(**wrong)
    with pytest.raises(ValueError, match="the process has no budget"):
        ttc.balance()


def test_a_budget_that_is_not_there_cannot_be_looked_at():
    ttc.configure(budget_per={"user": ttc.Budget(tokens=1)})
    with pytest.raises(ValueError, match=r"no budget goes by 'tenant' \(there are: user\)"):
        ttc.balance(tenant="acme")
    with pytest.raises(ValueError, match="goes by one key, got user, tenant"):
        ttc.reset_budget(user="ann", tenant="acme")


def test_an_error_of_a_key_survives_pickling():
    error = ttc.BudgetExceeded("tokens", 10, 8, 5, "user 'ann'")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.whose) == (str(error), "user 'ann'")


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_a_copy_and_without_what_was_held():
    ttc.configure(budget=ttc.Budget(tokens=1_000), budget_per={"user": ttc.Budget(tokens=100)})
    from ttc_middleware._account import Ask  # noqa: PLC0415

    with ttc.tags(user="ann"):
        SCOPE.get().ledger.charge({"tokens": 10})
        SCOPE.get().ledger.reserve(Ask({"tokens": 80}), print)
    child = os.fork()
    if not child:
        try:
            here = ttc.balance(user="ann"), ttc.balance()
            os._exit(0 if [each.held["tokens"] + each.spent["tokens"] for each in here] == [10, 10] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert ttc.balance(user="ann").held == {"tokens": 80}
