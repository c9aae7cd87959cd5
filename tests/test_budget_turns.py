"""Who is next: children take turns, nobody is overtaken, and everybody is served in the end."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightly import examples

import ttc_middleware as ttc
from ttc_middleware import _ledger
from ttc_middleware._account import Ask, Hold, Ticket
from ttc_middleware._ledger import Ledger


def ask(tokens, **more):
    return Ask({"tokens": tokens}, **more)


class Queues:
    """Callers that wait at accounts, and the order in which they are let in."""

    def __init__(self) -> None:
        self.order: list[object] = []
        self.open: list[Hold] = []

    def ask(self, account, tokens, label):
        tickets: list[Ticket] = []
        outcome = account.reserve(ask(tokens), lambda: self.answered(tickets[0].outcome, label))
        if isinstance(outcome, Ticket):
            tickets.append(outcome)
            return outcome
        self.answered(outcome, label)
        return None

    def answered(self, outcome, label):
        self.order.append(label)
        if isinstance(outcome, Hold):
            self.open.append(outcome)

    def settle(self, place=0):
        self.open.pop(place).settle({})


@settings(max_examples=examples(60), deadline=None, database=None)
@given(
    children=st.integers(2, 6),
    waiting=st.lists(st.integers(1, 8), min_size=6, max_size=6),
    size=st.integers(1, 30),
    chance=st.randoms(use_true_random=False),
)
def test_children_that_always_have_somebody_waiting_get_turns_alike(children, waiting, size, chance):
    root = Ledger({"tokens": 30})
    accounts = [Ledger({}, root) for _ in range(children)]
    queues = Queues()
    for _ in range(30 // size):
        queues.ask(root, size, "first")
    for child in range(children):  # however many of its calls each lets wait at once
        for _ in range(waiting[child]):
            queues.ask(accounts[child], size, child)
    served: list[int] = []
    while len(served) < 40:
        queues.settle(chance.randrange(len(queues.open)))
        while queues.order:
            child = queues.order.pop(0)
            if child != "first":
                served.append(child)
                queues.ask(accounts[child], size, child)
                counts = [served.count(each) for each in range(children)]
                assert max(counts) - min(counts) <= 1, "one child got more than a turn ahead of another"


def test_within_a_child_it_is_first_come_first_served():
    root = Ledger({"tokens": 10})
    child, queues = Ledger({}, root), Queues()
    queues.ask(root, 10, "open")
    for place in range(5):
        queues.ask(child, 10, place)
    for _ in range(5):
        queues.settle()
    assert queues.order == ["open", 0, 1, 2, 3, 4]


def test_a_child_of_many_calls_does_not_hold_up_a_child_of_one():
    root = Ledger({"tokens": 10})
    greedy, modest, queues = Ledger({}, root), Ledger({}, root), Queues()
    queues.ask(root, 10, "open")
    for _ in range(20):
        queues.ask(greedy, 10, "greedy")
    queues.ask(modest, 10, "modest")
    for _ in range(3):
        queues.settle()
    assert queues.order == ["open", "greedy", "modest", "greedy"]


def test_keys_take_turns_however_many_searches_each_has():
    process = Ledger({"tokens": 10})
    users = {name: Ledger({"tokens": 1_000}, process) for name in ("ann", "bob")}
    queues = Queues()
    queues.ask(process, 10, "open")
    for name, searches in (("ann", 6), ("bob", 2)):
        for _ in range(searches):
            queues.ask(Ledger({}, users[name]), 10, name)
    for _ in range(4):
        queues.settle()
    assert queues.order == ["open", "ann", "bob", "ann", "bob"]


def test_a_child_that_comes_late_does_not_overtake_who_is_next():
    root = Ledger({"tokens": 10})
    queues = Queues()
    queues.ask(root, 6, "open")
    queues.ask(Ledger({}, root), 9, "next")
    for place in range(5):
        queues.ask(Ledger({}, root), 1, f"small {place}")
    assert queues.order == ["open"]
    queues.settle()
    assert queues.order == ["open", "next", "small 0"]


def test_who_gives_up_costs_its_child_no_turn():
    root = Ledger({"tokens": 10})
    one, other, queues = Ledger({}, root), Ledger({}, root), Queues()
    queues.ask(root, 10, "open")
    given_up = queues.ask(one, 10, "given up")
    queues.ask(one, 10, "one")
    queues.ask(other, 10, "other")
    given_up.withdraw()
    queues.settle()
    assert queues.order == ["open", "one"]


def test_an_account_that_is_reached_by_two_ways_is_charged_once():
    root = Ledger({"tokens": 100})
    left, right = Ledger({"tokens": 100}, root), Ledger({"tokens": 100}, root)
    both = Ledger({}, left, right)
    assert both.path == (both, right, left, root)
    held = both.reserve(ask(30), lambda: None)
    assert [each.reserved["tokens"] for each in (left, right, root)] == [30, 30, 30]
    held.settle({"tokens": 20})
    assert [each.spent["tokens"] for each in (left, right, root)] == [20, 20, 20]
    both.charge({"tokens": 5})
    assert [each.spent["tokens"] for each in (left, right, root)] == [25, 25, 25]


def crossing():
    """Two blocks and two users, each user in both blocks."""
    blocks, users = ([Ledger({"tokens": 10}) for _ in range(2)] for _ in range(2))
    return blocks, users, {(b, u): Ledger({}, users[u], blocks[b]) for b in range(2) for u in range(2)}


def test_nobody_is_sent_back_and_forth_for_ever_between_accounts_that_cross():
    blocks, users, meets = crossing()
    queues = Queues()
    in_block, for_user = blocks[0].reserve(ask(10), print), users[0].reserve(ask(10), print)
    unlucky = queues.ask(meets[0, 0], 10, "unlucky")
    rounds = 0
    while "unlucky" not in queues.order:
        rounds += 1
        assert rounds < 20, "starved"
        # Whenever one of its two accounts has room, others who need only that one have asked before.
        others = (meets[0, 1], meets[1, 0]) if rounds % 2 else (meets[1, 0], meets[0, 1])
        for each in others:
            queues.ask(each, 10, "other")
        if in_block.open:
            in_block.settle({})
        elif for_user.open:
            for_user.settle({})
        else:
            queues.settle()
    assert isinstance(unlucky.outcome, Hold)
    while queues.open:
        queues.settle()
    for ledger in (*blocks, *users, *meets.values()):
        assert not ledger.waiting_for_money
        assert not ledger.waiting_for_money.urgent
        assert not any(ledger.reserved.values())


def test_who_was_sent_back_three_times_goes_before_everybody_and_then_lets_all_in():
    blocks, users, meets = crossing()
    queues = Queues()
    queues.ask(blocks[0], 10, "open")
    unlucky = queues.ask(meets[0, 0], 10, "unlucky")
    for node in meets[0, 0].path:
        node.waiting_for_money.hurry(unlucky)
    unlucky.sent_back = 3
    waits = queues.ask(meets[1, 0], 10, "the user's other call")  # there is room for it, but it is not its turn
    assert (waits.at, waits.outcome) == (users[0], None)
    queues.settle()
    assert queues.order == ["open", "unlucky"]
    queues.settle()
    assert queues.order == ["open", "unlucky", "the user's other call"]


def test_who_goes_before_everybody_and_gives_up_holds_nobody_up():
    blocks, _, meets = crossing()
    queues = Queues()
    queues.ask(blocks[0], 10, "open")
    unlucky = queues.ask(meets[0, 0], 10, "unlucky")
    for node in meets[0, 0].path:
        node.waiting_for_money.hurry(unlucky)
    unlucky.sent_back = 3
    queues.ask(meets[1, 0], 10, "the user's other call")
    unlucky.withdraw()
    assert queues.order == ["open", "the user's other call"]


@pytest.mark.parametrize("seed", range(examples(40)))
def test_everybody_is_served_in_the_end_however_accounts_cross(seed):
    chance = random.Random(seed)
    above = [Ledger({"tokens": chance.randint(5, 20)}, name=str(place)) for place in range(4)]
    accounts = [Ledger({}, *chance.sample(above, chance.randint(1, 3))) for _ in range(6)]
    queues, asked = Queues(), 0
    for label in range(200):
        account = chance.choice(accounts)
        limit = min(node.limits["tokens"] for node in account.path if node.limits)
        queues.ask(account, chance.randint(1, limit), label)
        asked += 1
        if queues.open and chance.random() < 0.6:
            queues.settle(chance.randrange(len(queues.open)))
    while queues.open:
        queues.settle(chance.randrange(len(queues.open)))
    assert sorted(queues.order) == list(range(asked))
    assert not any(ledger.waiting_for_money.urgent for ledger in (*above, *accounts))


def test_a_limit_names_whose_it_is():
    ledger = Ledger({"tokens": 5}, name="user 'ann'")
    with pytest.raises(ttc.BudgetExceeded, match="budget of 5 tokens for user 'ann' leaves no room") as caught:
        Ledger({"tokens": 50}, ledger).reserve(ask(6), print)
    assert caught.value.whose == "user 'ann'"


def test_the_same_question_again_gets_the_same_answer():
    ledger = Ledger({"tokens": 10})
    first, second = ask(6), ask(6)
    held, ticket = ledger.reserve(first, print), ledger.reserve(second, print)
    assert ledger.reserve(first, print) is held
    assert ledger.reserve(second, print) is ticket
    assert (ledger.reserved["tokens"], len(ledger.waiting_for_money)) == (6, 1)
    held.settle({})
    assert ledger.reserve(second, print) is ticket.outcome
    assert ledger.reserved["tokens"] == 6


def test_a_hold_grows_to_what_is_wanted_or_what_there_is():
    ledger = Ledger({"tokens": 100, "usd": 1_000})
    held = ledger.reserve(Ask({"tokens": 10}, 20, {"tokens": 1, "usd": 10}), print)
    assert [held.extend(upto) for upto in (30, 25, 30, 95)] == [30, 30, 30, 90]
    assert (ledger.reserved, held.amounts) == ({"tokens": 100, "usd": 900}, {"tokens": 100, "usd": 900})
    held.settle({"tokens": 50, "usd": 100})
    assert held.extend(200) == 90
    assert ledger.reserved == {"tokens": 0, "usd": 0}


def test_a_reset_forgives_what_is_spent_and_lets_in_who_waits():
    root = Ledger({"tokens": 10})
    child, queues = Ledger({"tokens": 10}, root), Queues()
    queues.ask(child, 4, "spent")
    queues.open.pop().settle({"tokens": 5})
    assert child.overrun["tokens"] == 1
    queues.ask(child, 4, "open")
    queues.ask(child, 5, "waits")
    root.reset()
    assert queues.order == ["spent", "open"]
    child.reset()
    assert queues.order == ["spent", "open", "waits"]
    assert child.balance() == ttc.Balance({"tokens": 10}, {"tokens": 0}, {"tokens": 9})
    assert (child.balance().left, child.overrun["tokens"]) == ({"tokens": 1}, 0)


def test_a_forked_child_has_nothing_held_and_nobody_waiting():
    ledger = Ledger({"tokens": 10, "seats": 1})
    ledger.reserve(ask(5), print).park()
    ledger.reserve(Ask({"seats": 1}), print)
    ledger.reserve(Ask({"seats": 1}), print)
    ledger.forget()
    assert (ledger.reserved, ledger.parked) == ({"tokens": 0, "seats": 0}, {"tokens": 0, "seats": 0})
    assert not ledger.waiting_for_seats
    assert isinstance(ledger.reserve(ask(10), print), Hold)


def test_what_a_ledger_limits_but_nobody_asks_for_stays_as_it_is():
    ledger = Ledger({"tokens": 10, "usd": 10, "samples": 3})
    ledger.reserve(Ask({"usd": 10}), print).settle({"usd": 0})
    held = ledger.reserve(Ask({}, 5, {"tokens": 1}), print)
    full = ledger.reserve(Ask({"usd": 10}), print)
    assert held.extend(7) == 7
    full.settle({})
    assert ledger.reserved == {"tokens": 7, "usd": 0, "samples": 0}
    held.park()
    assert held.extend(8) == 8
    assert ledger.parked == {"tokens": 8, "usd": 0, "samples": 0}
    held.settle()
    ledger.charge({"usd": 4})
    assert ledger.spent == {"tokens": 8, "usd": 4, "samples": 0}
    assert set(ledger.reserved.values()) == set(ledger.parked.values()) == set(ledger.overrun.values()) == {0}


def test_what_is_charged_beyond_the_limit_is_an_overrun_once():
    ledger = Ledger({"tokens": 10})
    overruns = []
    for cost in (6, 6, 3, 0):
        ledger.charge({"tokens": cost})
        overruns.append(ledger.overrun["tokens"])
    assert overruns == [0, 2, 5, 5]


def test_what_is_granted_is_a_whole_number():
    ledger = Ledger({"usd": 100})
    held = ledger.reserve(Ask({}, 40, {"usd": 7}), print)
    assert (held.granted, type(held.granted)) == (14, int)


def test_nothing_is_remembered_of_what_is_over():
    ledger, queues = Ledger({"tokens": 10}), Queues()
    before = dict(_ledger._known)
    queues.ask(ledger, 10, "open")
    given_up, _, refused = (queues.ask(ledger, tokens, "waits") for tokens in (3, 4, 8))
    assert len(_ledger._known) == len(before) + 4
    given_up.withdraw()
    given_up.withdraw()
    queues.open.pop().settle({"tokens": 5})
    assert isinstance(refused.outcome, ttc.BudgetExceeded)
    queues.settle()
    assert _ledger._known == before
    with pytest.raises(ttc.BudgetExceeded):
        ledger.reserve(ask(20), print)
    assert _ledger._known == before


def test_a_balance_is_in_the_units_that_people_use():
    ledger = Ledger(ttc.Budget(usd="0.50", tokens=900).limits)
    ledger.reserve(Ask({"usd": 100_000_000, "tokens": 300}), print).settle({"usd": 200_000_000, "tokens": 100})
    ledger.reserve(Ask({"usd": 50_000_000}), print)
    balance = ledger.balance()
    assert balance.limits == {"usd": 0.5, "tokens": 900}
    assert balance.spent == {"usd": 0.2, "tokens": 100}
    assert balance.held == {"usd": 0.05, "tokens": 0}
    assert balance.left == {"usd": 0.25, "tokens": 800}


def test_an_account_is_exhausted_once_tokens_or_dollars_are_spent_for_good():
    above = Ledger({"tokens": 10, "usd": 2_000_000_000, "samples": 1}, name="the process")
    ledger = above.below({"tokens": 100})
    ledger.reserve(Ask({"samples": 1, "tokens": 9}), print).settle()
    held = ledger.reserve(ask(1), print)
    assert ledger.exhausted() is None
    held.settle()
    over = ledger.exhausted()
    assert over is not None
    assert (over.resource, over.limit, over.spent, over.needed, over.whose) == ("tokens", 10, 10, 0, "the process")
    above.reset()
    ledger.charge({"usd": 3_000_000_000})
    over = ledger.exhausted()
    assert over is not None
    assert (over.resource, over.limit, over.spent) == ("usd", 2, 3)


def test_an_account_is_opened_below_several_others():
    left, right = Ledger({"tokens": 10}), Ledger({"usd": 10})
    below = left.below({"samples": 4}, right, name="mine")
    assert (below.path, below.limits, below.name) == ((below, right, left), {"samples": 4}, "mine")


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_process_starts_without_what_the_parents_threads_held():
    ledger = Ledger({"tokens": 10})
    ledger.reserve(ask(6), print)
    with _ledger._lock:  # as another thread may, at that moment
        child = os.fork()
        if not child:
            try:
                ledger.forget()
                granted = isinstance(ledger.reserve(ask(10), print), Hold)
                os._exit(0 if granted and len(_ledger._known) == 1 else 1)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
