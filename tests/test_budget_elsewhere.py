"""Accounts that are kept elsewhere: the engine needs no more of them than `Account` says."""

from __future__ import annotations

import random

import anyio
import pytest
from fake_model import Completion, Model, steps
from fake_model import fresh as fresh_fixture
from far_accounts import Store
from nightly import NIGHTLY

import ttc_middleware as ttc
from ttc_middleware import _account, _ledger
from ttc_middleware._account import Ask, Hold, Ticket
from ttc_middleware._context import SCOPE

PROMPT = "a b c d e"


fresh = fresh_fixture


@pytest.fixture
def store():
    with Store() as store:
        yield store


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.anyio
async def test_searches_blocks_and_plain_calls_keep_a_budget_that_is_elsewhere(store, late, fresh):
    shared = store.root({"tokens": 3_000, "samples": 30, "seats": 3}, "everybody", late=late)
    fresh.roots, fresh.ledger = (shared,), shared

    async def script(body, number):
        await steps(number % 4)
        return Completion(("ok",), output_tokens=body["max_tokens"])

    model, refused, known = Model(script), [], dict(_ledger._known)

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: True, budget=ttc.Budget(tokens=700))
    async def ask():
        return await model(PROMPT, max_tokens=200)

    async def one(place):
        try:
            with ttc.policy(budget=ttc.Budget(tokens=1_000)):
                await (ask() if place % 2 else model(PROMPT, max_tokens=200))
        except ttc.BudgetExceeded as error:
            refused.append(error.whose)

    async with anyio.create_task_group() as group:
        for place in range(30):
            group.start_soon(one, place)
    balance = shared.balance()
    assert 2_700 < balance.spent["tokens"] == model.billed <= 3_000
    assert balance.held == {"tokens": 0, "samples": 0, "seats": 0}
    assert set(refused) == {"everybody"}
    assert _ledger._known == known, "something was kept here"


@pytest.mark.anyio
async def test_who_stops_waiting_for_an_answer_leaves_nothing_held_elsewhere(store, fresh):
    shared = store.root({"tokens": 300}, late=True)
    fresh.roots, fresh.ledger = (shared,), shared
    model = Model(lambda body, number: steps(3))
    held = store.root({}).below({}, shared)
    held.late = False
    open_hold = held.reserve(Ask({"tokens": 250}), print)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: model(PROMPT, max_tokens=200))
            while not shared.waiting:  # noqa: ASYNC110  # it is another process that says so
                await anyio.sleep(0.005)
            scope.cancel()
    assert (shared.waiting, shared.reserved) == ([], {"tokens": 250})
    open_hold.settle({})
    assert shared.balance().left == {"tokens": 300}


def test_blocking_calls_keep_it_too(store, fresh):
    shared = store.root({"tokens": 600}, late=True)
    fresh.roots, fresh.ledger = (shared,), shared
    model = Model(lambda body, number: Completion(("ok",), output_tokens=body["max_tokens"]))
    with ttc.policy(budget=ttc.Budget(tokens=5_000)):
        assert SCOPE.get().ledger.store is store
        with pytest.raises(ttc.BudgetExceeded):
            for _ in range(9):
                model.sync(PROMPT, max_tokens=250)
    assert model.billed == shared.balance().spent["tokens"] <= 600


# The same random schedules for both kinds of account, step by step.


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100 if NIGHTLY else 6))
def test_both_kinds_of_account_say_the_same_at_every_step(store, seed):  # noqa: C901, PLR0912  # what can happen
    chance = random.Random(seed)
    near, far = [], []
    for place in range(5):
        above = [each for each in range(place) if chance.random() < 0.5][:2]
        limits = {name: chance.randint(20, 90) for name in ("tokens", "usd") if chance.random() < 0.6}
        near.append(_ledger.Ledger(limits, *(near[each] for each in above)))
        far.append(far[above[0]].below(limits, *(far[each] for each in above[1:])) if above else store.root(limits))
    holds: list[tuple[Hold, Hold]] = []
    tickets: list[tuple[Ticket, Ticket]] = []

    def answered():
        for pair in list(tickets):
            told = [granted(ticket.outcome) for ticket in pair]
            assert told[0] == told[1]
            if told[0] is not None:
                tickets.remove(pair)
                holds.extend([tuple(ticket.outcome for ticket in pair)] if isinstance(pair[0].outcome, Hold) else [])

    for _ in range(60):
        what, where = chance.random(), chance.randrange(5)
        if what < 0.55:
            wish = {"wish": chance.randint(0, 40), "floor": chance.randint(0, 20), "patient": chance.random() < 0.8}
            fixed = {"tokens": chance.randint(0, 9), "usd": chance.randint(0, 9)}
            pair = tuple(asked(each[where], Ask(fixed, rates={"tokens": 1, "usd": 1}, **wish)) for each in (near, far))
            assert granted(pair[0]) == granted(pair[1])
            holds += [pair] if isinstance(pair[0], Hold) else []
            tickets += [pair] if isinstance(pair[0], Ticket) else []
        elif what < 0.85 and holds:
            pair = holds.pop(chance.randrange(len(holds)))
            actual = chance.choice([None, {}, {"tokens": 3, "usd": 2}])
            for hold in pair:
                hold.settle(actual)
        elif what < 0.9 and holds:
            pair, upto = chance.choice(holds), chance.randint(0, 60)
            assert len({hold.extend(upto) for hold in pair}) == 1
        elif what < 0.94 and holds:
            for hold in chance.choice(holds):
                hold.park()
        elif what < 0.97 and tickets:
            for ticket in tickets.pop(chance.randrange(len(tickets))):
                ticket.withdraw()
        else:
            for each in (near, far):
                each[where].charge({"tokens": 2})
        answered()
        for one, other in zip(near, far, strict=True):
            assert (one.spent, one.reserved, one.overrun) == (other.spent, other.reserved, other.overrun)
            assert len(one.waiting_for_money) == len(other.waiting)


def asked(account, ask):
    try:
        return account.reserve(ask, lambda: None)
    except ttc.BudgetExceeded as refusal:
        return refusal


def granted(outcome):
    if isinstance(outcome, Hold):
        return outcome.granted
    return str(outcome) if isinstance(outcome, ttc.BudgetExceeded) else None


def test_the_ledger_here_is_an_account_like_any_other():
    kind: type[_account.Account] = _ledger.Ledger
    promised = {name for name in vars(_account.Account) if not name.startswith("_")}
    assert promised <= set(dir(kind))
