"""The account: nothing is ever overspent, nobody waits for nothing, and everything comes back."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from nightly import NIGHTLY, thorough

import ttc_middleware as ttc
from ttc_middleware._account import Ask, Hold, Ticket
from ttc_middleware._budget import NANO
from ttc_middleware._ledger import Ledger


def tokens(amount, *, floor=None):
    """An ask for so many tokens, to be cut down to the floor if need be."""
    return Ask({}, wish=amount, rates={"tokens": 1}, floor=amount if floor is None else floor)


def never():
    raise AssertionError("nobody was to be woken")


def hold(ledger, ask, wake=never):
    outcome = ledger.reserve(ask, wake)
    assert isinstance(outcome, Hold)
    return outcome


def queue(ledger, ask, wake=lambda: None):
    outcome = ledger.reserve(ask, wake)
    assert isinstance(outcome, Ticket)
    assert outcome.outcome is None
    return outcome


def test_a_hold_is_reserved_until_it_is_settled_for_what_it_really_cost():
    ledger = Ledger({"tokens": 100})
    held = hold(ledger, tokens(80))
    assert (ledger.reserved["tokens"], ledger.spent["tokens"]) == (80, 0)
    held.settle({"tokens": 30})
    assert (ledger.reserved["tokens"], ledger.spent["tokens"], ledger.unspent("tokens")) == (0, 30, 70)


def test_a_hold_with_unknown_outcome_is_charged_whole():
    ledger = Ledger({"tokens": 100})
    hold(ledger, tokens(80)).settle()
    assert ledger.spent["tokens"] == 80


def test_a_second_settlement_does_nothing():
    ledger = Ledger({"tokens": 100})
    held = hold(ledger, tokens(80))
    held.settle({"tokens": 30})
    held.settle({"tokens": 50})
    held.settle()
    assert (ledger.reserved["tokens"], ledger.spent["tokens"]) == (0, 30)


def test_what_a_provider_charges_beyond_the_hold_is_an_overrun():
    ledger = Ledger({"tokens": 100})
    hold(ledger, tokens(80)).settle({"tokens": 130})
    assert (ledger.spent["tokens"], ledger.overrun["tokens"]) == (130, 50)


def test_a_wish_is_cut_to_what_is_left_but_not_below_the_floor():
    ledger = Ledger({"tokens": 100})
    hold(ledger, tokens(70)).settle({"tokens": 70})
    assert hold(ledger, tokens(50, floor=30)).granted == 30
    with pytest.raises(ttc.BudgetExceeded) as caught:
        ledger.reserve(tokens(50, floor=31), never)
    assert (caught.value.resource, caught.value.limit, caught.value.spent, caught.value.needed) == (
        "tokens",
        100,
        100,
        31,
    )


def test_a_small_wish_is_its_own_floor():
    ledger = Ledger({"tokens": 100})
    assert hold(ledger, tokens(10, floor=256)).granted == 10


def test_a_limit_says_its_dollars_in_dollars():
    ledger = Ledger(ttc.Budget(usd="0.05").limits)
    with pytest.raises(ttc.BudgetExceeded, match=r"budget of 0.05 usd leaves no room.*needs at least 0.06"):
        ledger.reserve(Ask({"usd": 60_000_000}), never)


def test_who_does_not_fit_waits_while_an_open_hold_could_free_room():
    ledger, woken = Ledger({"tokens": 100}), []
    held = hold(ledger, tokens(80))
    ticket = queue(ledger, tokens(50), lambda: woken.append(1))
    held.settle({"tokens": 10})
    assert woken == [1]
    assert ticket.outcome.granted == 50


def test_who_waits_gets_what_is_left_in_the_end_or_is_refused():
    ledger = Ledger({"tokens": 100})
    held = hold(ledger, tokens(80))
    cut, refused = queue(ledger, tokens(50, floor=10)), queue(ledger, tokens(50, floor=40))
    held.settle({"tokens": 70})
    assert cut.outcome.granted == 30
    assert isinstance(refused.outcome, ttc.BudgetExceeded)


def test_nobody_overtakes_at_the_same_ledger():
    ledger, order = Ledger({"tokens": 100}), []
    held = hold(ledger, tokens(60))
    big = queue(ledger, tokens(90), lambda: order.append("big"))
    small = queue(ledger, tokens(5), lambda: order.append("small"))
    held.settle({})
    assert order == ["big", "small"]
    assert isinstance(big.outcome, Hold)
    assert isinstance(small.outcome, Hold)


def test_nobody_overtakes_who_has_moved_up_to_the_ledger_above():
    root = Ledger({"tokens": 100})
    low = Ledger({"tokens": 90}, root)
    in_low, in_root = hold(low, tokens(60)), hold(root, tokens(40))
    first, second = queue(low, tokens(80)), queue(low, tokens(10))
    in_low.settle({})
    assert (first.at, first.outcome, second.at, second.outcome) == (root, None, root, None)
    in_root.settle({})
    assert isinstance(first.outcome, Hold)
    assert isinstance(second.outcome, Hold)


def test_calls_under_another_ledger_are_not_held_up():
    root = Ledger({"tokens": 1_000})
    crowded, free = Ledger({"tokens": 100}, root), Ledger({"tokens": 100}, root)
    hold(crowded, tokens(80))
    queue(crowded, tokens(50))
    assert hold(free, tokens(50)).granted == 50


def test_a_draw_waiting_for_a_seat_does_not_block_the_call_that_would_free_one():
    ledger = Ledger({"seats": 1, "tokens": 100})
    hold(ledger, Ask({"seats": 1}))
    queue(ledger, Ask({"seats": 1}))
    assert hold(ledger, tokens(50)).granted == 50


def test_every_ledger_above_is_charged_too():
    root = Ledger({"tokens": 100, "usd": 500})
    child = Ledger({"tokens": 80}, root)
    hold(child, Ask({"tokens": 10, "usd": 100}, wish=20, rates={"tokens": 1, "usd": 10})).settle(
        {"tokens": 15, "usd": 120}
    )
    assert (child.spent, root.spent) == ({"tokens": 15}, {"tokens": 15, "usd": 120})


def test_a_wish_moves_to_the_ledger_that_has_no_room_for_it_and_keeps_its_rank():
    root = Ledger({"tokens": 100})
    low = Ledger({"tokens": 90}, root)
    in_low, in_root = hold(low, tokens(60)), hold(root, tokens(40))
    first = queue(low, tokens(80))
    assert first.at is low
    in_low.settle({})
    assert first.at is root
    later = queue(root, tokens(10))
    in_root.settle({})
    assert isinstance(first.outcome, Hold)
    assert isinstance(later.outcome, Hold)


def test_a_withdrawn_ticket_lets_the_next_one_in():
    ledger = Ledger({"tokens": 100})
    hold(ledger, tokens(60))
    big, small = queue(ledger, tokens(90)), queue(ledger, tokens(30))
    big.withdraw()
    assert isinstance(small.outcome, Hold)
    assert not ledger.waiting_for_money


def test_a_ticket_withdrawn_after_its_hold_was_granted_gives_it_back():
    ledger = Ledger({"tokens": 100})
    held, ticket = hold(ledger, tokens(60)), queue(ledger, tokens(90))
    held.settle({})
    ticket.withdraw()
    ticket.withdraw()
    assert (ledger.reserved["tokens"], ledger.spent["tokens"]) == (0, 0)


def test_samples_are_taken_and_never_given_back():
    root = Ledger({"samples": 3})
    child = Ledger({"samples": 2}, root)
    for ledger in (child, child, root):
        hold(ledger, Ask({"samples": 1}, patient=False)).settle()
    for ledger in (child, root):
        with pytest.raises(ttc.BudgetExceeded, match="samples leaves no room"):
            ledger.reserve(Ask({"samples": 1}, patient=False), never)
    assert root.spent["samples"] == 3


def test_what_was_spent_without_a_hold_is_charged_afterwards():
    ledger = Ledger({"tokens": 100})
    held = hold(ledger, tokens(80))
    ledger.charge({"tokens": 50})
    assert (ledger.spent["tokens"], ledger.overrun["tokens"], ledger.reserved["tokens"]) == (50, 30, 80)
    held.settle({"tokens": 10})
    with pytest.raises(ttc.BudgetExceeded):
        ledger.reserve(tokens(60), never)


def test_an_account_without_limits_holds_everything():
    ledger = Ledger({})
    assert hold(ledger, tokens(10**12)).granted == 10**12
    assert ledger.unspent("tokens") is None
    assert not ledger.limited("tokens", "usd")
    assert Ledger({}, Ledger({"usd": 1})).limited("usd")


def test_reservations_from_many_threads_never_overshoot():
    ledger = Ledger({"tokens": 1_000})
    peak = []

    def work():
        for _ in range(200):
            woken = threading.Event()
            outcome = ledger.reserve(tokens(90), woken.set)
            if isinstance(outcome, Ticket):
                assert woken.wait(30)
                outcome = outcome.outcome
            peak.append(ledger.reserved["tokens"])
            outcome.settle({})

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(peak) <= 1_000
    assert (ledger.reserved["tokens"], ledger.spent["tokens"], len(peak)) == (0, 0, 3_200)


def test_who_cannot_wait_is_cut_to_what_is_free_or_refused():
    ledger = Ledger({"tokens": 1_000})
    ledger.reserve(tokens(700), lambda: None)
    cut = ledger.reserve(Ask({}, 900, {"tokens": 1}, floor=256, patient=False), lambda: None)
    assert (cut.granted, ledger.reserved["tokens"]) == (300, 1_000)
    with pytest.raises(ttc.BudgetExceeded, match="leaves no room"):
        ledger.reserve(Ask({}, 900, {"tokens": 1}, floor=256, patient=False), lambda: None)


def test_nobody_waits_for_a_hold_that_is_parked():
    ledger, woken = Ledger({"tokens": 1_000}), []
    held = ledger.reserve(tokens(700), lambda: None)
    ticket = ledger.reserve(tokens(500), lambda: woken.append(1))
    assert isinstance(ticket, Ticket)
    held.park()
    assert (woken, type(ticket.outcome)) == ([1], ttc.BudgetExceeded)
    assert ledger.reserve(Ask({}, 500, {"tokens": 1}, floor=256), lambda: None).granted == 300
    held.settle({"tokens": 100})
    assert (ledger.reserved["tokens"], ledger.parked["tokens"], ledger.spent["tokens"]) == (300, 0, 100)


# What `Budget` accepts.


def test_a_budget_keeps_dollars_exactly():
    assert ttc.Budget(usd=0.1).usd == Decimal("0.1")
    assert ttc.Budget(usd="0.05").limits == {"usd": 50_000_000}
    assert ttc.Budget(usd=Decimal("1e-9")).limits == {"usd": 1}


def test_a_budget_without_limits_limits_nothing():
    assert ttc.Budget().limits == {}
    assert ttc.Budget(seconds=3).limits == {}


@pytest.mark.parametrize("name", ["samples", "tokens", "concurrency"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, float("nan")], ids=repr)
def test_a_budget_counts_in_whole_numbers_from_1(name, value):
    with pytest.raises(ValueError, match=rf"Budget\({name}=\) must be a whole number from 1, or None; got") as caught:
        ttc.Budget(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "value", [0, -1, "0", "-0.5", float("nan"), float("inf"), "much", Decimal("NaN"), True, [1]], ids=repr
)
def test_a_budget_of_dollars_is_positive(value):
    with pytest.raises(ValueError, match=r"Budget\(usd=\) must be a positive number of dollars, or None; got"):
        ttc.Budget(usd=value)


@pytest.mark.parametrize("value", [0, -1.5, float("nan"), float("inf"), "3", True], ids=repr)
def test_a_budget_of_seconds_is_positive(value):
    with pytest.raises(ValueError, match=r"Budget\(seconds=\) must be a positive number, or None; got"):
        ttc.Budget(seconds=value)


# Against a plain model: a log of what was held and spent, added up anew after every step.


@dataclass
class Open:
    """A hold that the model knows of."""

    hold: Hold
    exact: bool = True


RESOURCES = ("tokens", "usd")
LIMITS = st.fixed_dictionaries({}, optional={"tokens": st.integers(1, 60), "usd": st.integers(1, 400)})


# By number, the accounts above each: a tree, one with crossing keys, and one where all ways lead up twice.
SHAPES = [
    [(), (0,), (0,), (1,), (1,), (2,)],
    [(), (0,), (0,), (0,), (1, 3), (2, 3)],
    [(), (), (0, 1), (1, 0), (2, 3), (3, 4)],
]


class Accounts(RuleBasedStateMachine):
    holds = Bundle("holds")
    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.ledgers: list[Ledger] = []
        self.granted: list[Hold] = []
        self.waiting: list[Ticket] = []
        self.log: list[tuple[Ledger, dict[str, int]]] = []
        self.unheld: set[int] = set()  # ledgers that were charged beyond a hold
        self.forgiven: dict[tuple[int, str], int] = {}  # what was spent before a reset
        self.answered: list[Ticket] = []

    @initialize(shape=st.sampled_from(SHAPES), limits=st.lists(LIMITS, min_size=6, max_size=6))
    def accounts(self, shape, limits):
        self.ledgers = []
        for above, limit in zip(shape, limits, strict=True):
            self.ledgers.append(Ledger(limit, *(self.ledgers[place] for place in above)))

    asks = st.builds(
        Ask,
        fixed=st.fixed_dictionaries({"tokens": st.integers(0, 10), "usd": st.integers(0, 50)}),
        wish=st.integers(0, 70),
        rates=st.fixed_dictionaries({"tokens": st.integers(0, 1), "usd": st.integers(0, 7)}),
        floor=st.integers(0, 20),
        patient=st.sampled_from([True, True, False]),
    )

    @rule(target=tickets, where=st.integers(0, 5), ask=asks)
    def reserve(self, where, ask):
        ledger = self.ledgers[where]
        hoped = self.hoped(ledger, ask)
        ahead = [ticket for ticket in self.waiting if ticket.account is ledger and not ticket.sent_back]
        ticket: list[Ticket] = []
        try:
            outcome = ledger.reserve(ask, lambda: self.wake(ticket[0]))
        except ttc.BudgetExceeded as refusal:
            assert hoped < min(ask.floor, ask.wish), "refused although the floor could still fit"
            assert refusal.resource in RESOURCES  # noqa: PT017  # refused or not, the machine goes on
            return multiple()
        if isinstance(outcome, Ticket):
            assert ask.patient, "made somebody wait who cannot"
            ticket.append(outcome)
            self.waiting.append(outcome)
            return outcome
        assert not (ahead and ask.patient), "overtook who waits at the same ledger"
        self.grant(outcome, ask)
        return multiple()

    def hoped(self, ledger, ask):
        """Units that would fit if every hold that one may wait for came back unspent; -1: not even what is fixed."""
        units = [ask.wish]
        for node in ledger.path:
            for resource, limit in node.limits.items():
                rate, fixed = ask.rates[resource], ask.fixed[resource]
                stays = self.held(node, resource, parked=True if ask.patient else None)
                left = limit - self.spent(node, resource) - stays - fixed
                if rate or fixed:
                    units.append(-1 if left < 0 else left // rate if rate else ask.wish)
        return min(units)

    def grant(self, hold, ask):
        assert min(ask.floor, ask.wish) <= hold.granted <= ask.wish
        assert hold.amounts == {name: ask.fixed[name] + hold.granted * ask.rates[name] for name in RESOURCES}
        self.granted.append(hold)

    def wake(self, ticket):
        assert ticket.outcome is not None, "woken before the outcome was there"
        assert ticket in self.waiting, "woken twice"
        ahead = [other for other in self.waiting if other.account is ticket.account and other.ask.id < ticket.ask.id]
        ahead = [other for other in ahead if other.outcome is None and not other.sent_back]
        assert not (ahead and isinstance(ticket.outcome, Hold)), "overtook who waits at the same ledger"
        self.waiting.remove(ticket)
        self.answered.append(ticket)
        if isinstance(ticket.outcome, Hold):
            self.grant(ticket.outcome, ticket.ask)

    @rule(which=st.integers(0, 30), share=st.sampled_from([0.0, 0.3, 0.7, 1.0, None, 1.5]))
    def settle(self, which, share):
        if not self.granted:
            return
        hold = self.granted.pop(which % len(self.granted))
        actual = {name: int(amount * (1 if share is None else share)) for name, amount in hold.amounts.items()}
        self.log.append((hold.account, actual))
        if share == 1.5:
            self.unheld |= {id(node) for node in hold.account.path}
        hold.settle(None if share is None else actual)
        hold.settle(actual)  # a second time does nothing

    @rule(which=st.integers(0, 30))
    def park(self, which):
        if self.granted:
            self.granted[which % len(self.granted)].park()

    @rule(which=st.integers(0, 30), upto=st.integers(0, 90))
    def extend(self, which, upto):
        if not self.granted:
            return
        hold = self.granted[which % len(self.granted)]
        before, free = hold.granted, self.free(hold)
        assert hold.extend(upto) == hold.granted == before + min(max(0, upto - before), free)

    def free(self, hold):
        """Units that fit beside all that is held."""
        units = [1_000]
        for node in hold.account.path:
            for resource, limit in node.limits.items():
                rate = hold.ask.rates[resource]
                if rate:
                    units.append(max(0, limit - self.spent(node, resource) - self.held(node, resource)) // rate)
        return min(units)

    @rule(where=st.integers(0, 5))
    def reset(self, where):
        node = self.ledgers[where]
        for name in RESOURCES:
            before = self.forgiven.get((id(node), name), 0)
            self.forgiven[id(node), name] = before + self.spent(node, name)
        node.reset()

    @rule(ticket=consumes(tickets))
    def withdraw(self, ticket):
        if ticket in self.waiting:
            self.waiting.remove(ticket)
        elif ticket.outcome in self.granted:
            self.granted.remove(ticket.outcome)
        elif isinstance(ticket.outcome, Hold):
            return  # settled long ago
        ticket.withdraw()

    @rule(where=st.integers(0, 5), cost=st.fixed_dictionaries({"tokens": st.integers(0, 5), "usd": st.integers(0, 20)}))
    def charge(self, where, cost):
        ledger = self.ledgers[where]
        self.log.append((ledger, cost))
        self.unheld |= {id(node) for node in ledger.path}
        ledger.charge(cost)

    def spent(self, node, resource):
        all_time = sum(cost[resource] for ledger, cost in self.log if node in ledger.path)
        return all_time - self.forgiven.get((id(node), resource), 0)

    def held(self, node, resource, *, parked=None):
        """What open holds weigh on a ledger: all of them, or only those that are parked."""
        below = [hold for hold in self.granted if node in hold.account.path]
        return sum(hold.amounts[resource] for hold in below if parked is None or hold.parked is parked)

    @invariant()
    def nothing_is_overspent_and_everything_adds_up(self):
        for node in self.ledgers:
            for resource, limit in node.limits.items():
                assert node.reserved[resource] == self.held(node, resource)
                assert node.parked[resource] == self.held(node, resource, parked=True)
                assert node.spent[resource] == self.spent(node, resource)
                assert node.overrun[resource] >= 0
                assert node.spent[resource] + node.reserved[resource] <= limit + node.overrun[resource]
                if id(node) not in self.unheld:
                    assert node.overrun[resource] == 0

    @invariant()
    def nobody_waits_for_nothing(self):
        queued = [ticket.ask.id for node in self.ledgers for ticket in node.waiting_for_money]
        assert sorted(queued) == sorted(ticket.ask.id for ticket in self.waiting)
        for node in self.ledgers:
            ticket = node.waiting_for_money.next(node)
            if ticket is not None:
                assert any(
                    node.reserved[name] > node.parked[name]
                    for name in node.limits
                    if ticket.ask.rates[name] or ticket.ask.fixed[name]
                )
            assert all(urgent in self.waiting for urgent in node.waiting_for_money.urgent)

    def teardown(self):
        while self.granted:
            self.settle(0, 0.7)
        assert not self.waiting
        for node in self.ledgers:
            assert not any(node.reserved.values())
            assert not node.waiting_for_money
            assert not node.waiting_for_seats


TestAccounts = pytest.mark.timeout(3_600 if NIGHTLY else 120)(Accounts.TestCase)
TestAccounts.settings = thorough(60, steps=30)


@pytest.mark.parametrize("seed", range(1_000 if NIGHTLY else 60))
def test_it_holds_in_long_random_schedules_too(seed):
    chance = random.Random(seed)
    state = Accounts()
    limits = [("tokens", chance.randint(1, 60)), ("usd", chance.randint(1, 400))]
    some = [dict(limits[: chance.randint(0, 2)]) if chance.random() < 0.5 else dict(limits[1:]) for _ in range(6)]
    state.accounts(chance.choice(SHAPES), some)
    tickets = []
    for _ in range(chance.choice([20, 60, 150])):
        kind = chance.random()
        if kind < 0.5:
            ask = Ask(
                fixed={"tokens": chance.randint(0, 10), "usd": chance.randint(0, 50)},
                wish=chance.randint(0, 70),
                rates={"tokens": chance.randint(0, 1), "usd": chance.randint(0, 7)},
                floor=chance.randint(0, 20),
                patient=chance.random() < 0.7,
            )
            outcome = state.reserve(where=chance.randrange(6), ask=ask)
            tickets += [outcome] if isinstance(outcome, Ticket) else []
        elif kind < 0.6:
            state.park(which=chance.randrange(30))
        elif kind < 0.85:
            state.settle(which=chance.randrange(30), share=chance.choice([0.0, 0.3, 0.7, 1.0, None, 1.5]))
        elif kind < 0.88:
            state.extend(which=chance.randrange(30), upto=chance.randint(0, 90))
        elif kind < 0.89:
            state.reset(where=chance.randrange(6))
        elif kind < 0.95 and tickets:
            state.withdraw(ticket=tickets.pop(chance.randrange(len(tickets))))
        else:
            state.charge(where=chance.randrange(6), cost={"tokens": chance.randint(0, 5), "usd": chance.randint(0, 20)})
        state.nothing_is_overspent_and_everything_adds_up()
        state.nobody_waits_for_nothing()
    state.teardown()


def test_nano_dollars_are_whole():
    assert ttc.Budget(usd="0.000000001").limits["usd"] * 10**9 == NANO
