"""Calls that are cancelled anywhere: nothing stays held, nobody stays in a queue, and nothing goes over."""

from __future__ import annotations

import random
from contextlib import suppress

import anyio
import pytest
from fake_model import Completion, Model, fresh, steps  # noqa: F401  # a fixture
from nightly import NIGHTLY

import ttc_middleware as ttc
from ttc_middleware import _ledger
from ttc_middleware._context import SCOPE

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

AT_ONCE = 10  # schedules in one test, which saves starting a loop for each


@pytest.mark.parametrize("first", range(0, 1_000 if NIGHTLY else 30, AT_ONCE))
async def test_whatever_is_cancelled_and_whenever_the_account_is_right_in_the_end(first):
    for seed in range(first, first + AT_ONCE):
        await schedule(random.Random(seed))


async def schedule(chance):  # noqa: C901  # one story, told in order
    known = dict(_ledger._known)
    process, user, block = (chance.randint(300, 3_000) for _ in range(3))
    ttc.configure(
        budget=ttc.Budget(tokens=process),
        concurrency=chance.randint(1, 6),
        budget_per={"user": ttc.Budget(tokens=user)},
    )

    async def script(body, number):
        await steps(chance.randint(0, 6))
        if chance.random() < 0.1:
            raise ValueError("no")
        return Completion(("ok",), output_tokens=chance.randint(1, body["max_tokens"]), silent=chance.random() < 0.1)

    model = Model(script)

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: True, budget=ttc.Budget(tokens=900))
    async def search(most):
        return await model(max_tokens=most)

    async def call(name, place, most):
        wanted = {"most" if place % 3 else "max_tokens": most}
        with anyio.CancelScope() as scopes[place], ttc.tags(user=name), suppress(ttc.BudgetExceeded, ValueError):
            await (search if place % 3 else model)(**wanted)

    scopes: dict[int, anyio.CancelScope] = {}
    with ttc.policy(budget=ttc.Budget(tokens=block)):
        ledger = SCOPE.get().ledger
        async with anyio.create_task_group() as group:
            for place in range(chance.randint(3, 12)):
                group.start_soon(call, chance.choice(["ann", "bob"]), place, chance.randint(1, 400))
            for _ in range(chance.randint(1, 20)):
                await steps(chance.randint(0, 3))
                if scopes and chance.random() < 0.5:
                    chance.choice(list(scopes.values())).cancel()
            if chance.random() < 0.2:
                group.cancel_scope.cancel()
    balances = [ledger.balance(), ttc.balance(), ttc.balance(user="ann"), ttc.balance(user="bob")]
    assert all(not any(balance.held.values()) for balance in balances)
    assert all(balance.spent["tokens"] <= balance.limits["tokens"] for balance in balances)
    assert balances[0].spent == balances[1].spent
    assert balances[0].spent["tokens"] == sum(balance.spent["tokens"] for balance in balances[2:])
    assert model.billed <= balances[0].spent["tokens"], "something that was made is on no account"
    for node in ledger.path:
        for line in (node.waiting_for_money, node.waiting_for_seats):
            assert not line
            assert not line.urgent
    assert _ledger._known == known
