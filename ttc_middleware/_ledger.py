"""`Ledger`: accounts kept in this process. Pure: no clock, no I/O, no event loop.

Budgets are reserved, not checked. Before a model call is sent, its worst case is held on its ledger and on every one
above, in one step; when the call ends, the hold is settled for what it really cost. Calls in flight together can
then never overshoot, however many there are. (Checking what is spent and then calling overshoots by up to
(calls in flight - 1) x the dearest call: `poe bench-budget` shows how much.)

Who does not fit waits at the ledger that has no room, as long as an open hold there could still free some. The
children of a ledger take turns, and within a child it is first come, first served. Whoever is next is never
overtaken, so nobody starves; calls under other ledgers are not held up. Once nothing open could help, the wish is cut
to what is left; below the floor the answer is `BudgetExceeded`.

All amounts are integers: tokens, nano-dollars, samples, seats (draws in flight). A reservation with unknown outcome is
settled for all of it: the money may be gone.

The invariant, for every ledger and resource, always:  spent + reserved <= limit + overrun,  where overrun is what
providers charged beyond a hold (0 while they honour max_tokens).
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from ._account import Account, Ask, Balance, Hold, Ticket
from ._budget import Resource, scaled
from ._errors import BudgetExceeded
from ._line import Line

# One lock for all ledgers: a hold touches a graph of them, and each step is a few additions.
_lock = threading.Lock()
_known: dict[int, Hold | Ticket] = {}
"""By id, what is open or waits: who asks again gets the same."""
_numbers = itertools.count()

_SENT_BACK = 3
"""How often a ticket may be sent back before it goes first everywhere."""


def _unlocked() -> None:
    """In a forked child: the lock, which another thread of the parent may have held at that moment."""
    global _lock  # noqa: PLW0603  # as above
    _lock = threading.Lock()
    for each in _known.values():
        if isinstance(each, Hold):
            each.open = False  # it is the parent's, who will settle it there
    _known.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


class Ledger:
    """The running account of one call, block, process or key, below those that it is part of; see `Account`.

    Args:
        limits: by resource; what is absent is unlimited here.
        parents: the accounts that every charge also lands on.
        name: whose it is, for errors.
    """

    __slots__ = (
        "_number", "growing", "limits", "name", "overrun", "parked", "path", "reserved", "spent", "via",
        "waiting_for_money", "waiting_for_seats",
    )  # fmt: skip

    def __init__(self, limits: Mapping[Resource, int], *parents: Ledger, name: str | None = None) -> None:
        self.limits: dict[Resource, int] = dict(limits)
        self.name: str | None = name
        self.spent: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        self.reserved: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        self.overrun: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        self.parked: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        """The part of `reserved` that nobody may wait for."""
        self.growing: set[Hold] = set()
        """Holds that newcomers leave room for."""
        # Seats queue apart from money: a draw waiting for a seat must not block the call that would free one.
        self.waiting_for_seats: Line[Ledger] = Line()
        self.waiting_for_money: Line[Ledger] = Line()
        self._number: int = next(_numbers)
        self.via: dict[Ledger, Ledger] = {self: self}
        """Through which of its children each ledger above is reached (the first way counts): whose turn it is there."""
        for parent in parents:
            for above, child in parent.via.items():
                self.via.setdefault(above, self if above is parent else child)
        self.path: tuple[Ledger, ...] = tuple(sorted(self.via, key=lambda each: -each._number))  # noqa: SLF001  # as above
        """This ledger and every one above, once each, children before parents: the same order on every path."""

    def below(self, limits: Mapping[Resource, int], *others: Account, name: str | None = None) -> Ledger:
        """See `Account.below`."""
        return Ledger(limits, self, *cast("tuple[Ledger, ...]", others), name=name)

    def limited(self, *resources: Resource) -> bool:
        """See `Account.limited`."""
        return any(resource in node.limits for node in self.path for resource in resources)

    def unspent(self, resource: Resource) -> int | None:
        """See `Account.unspent`."""
        with _lock:
            left = [node.limits[resource] - node.spent[resource] for node in self.path if resource in node.limits]
        return min(left) if left else None

    def exhausted(self) -> BudgetExceeded | None:
        """See `Account.exhausted`."""
        with _lock:
            for node in self.path:
                for resource, limit in node.limits.items():
                    if resource in ("tokens", "usd") and node.spent[resource] >= limit:
                        return node._exceeded(resource, node.spent[resource])  # noqa: SLF001  # same class
        return None

    def reserve(self, ask: Ask, wake: Callable[[], object]) -> Hold | Ticket:
        """See `Account.reserve`."""
        with _lock:
            known = _known.get(ask.id)
            if known is not None:
                return known
            outcome = self.admit(ask, None)
            if isinstance(outcome, BudgetExceeded):
                raise outcome
            if isinstance(outcome, Hold):
                _known[ask.id] = outcome
                return outcome
            ticket = _known[ask.id] = Ticket(self, ask, wake)
            outcome.enqueue(ticket)
        return ticket

    def extend(self, hold: Hold, upto: int) -> int:
        """See `Account.extend`."""
        with _lock:
            if not hold.open:
                return hold.granted
            more = max(0, upto - hold.granted)
            rates = hold.ask.rates
            for node in self.path:
                for resource, limit in node.limits.items():
                    if rate := rates.get(resource, 0):
                        room = limit - node.spent[resource] - node.reserved[resource]
                        more = min(more, max(0, room) // rate)
            self._hold({resource: more * rate for resource, rate in rates.items()}, parked=hold.parked)
            hold.granted += more
        return hold.granted

    def park(self, hold: Hold) -> None:
        """See `Account.park`."""
        with _lock:
            if hold.parked or not hold.open:
                return
            hold.parked = True
            for node in self.path:
                node.growing.discard(hold)
                for resource in node.limits:
                    node.parked[resource] += hold.amounts.get(resource, 0)
            woken = _served(self.path)
        _wake(woken)

    def settle(self, hold: Hold, actual: Mapping[Resource, int] | None = None) -> None:
        """See `Account.settle`."""
        with _lock:
            if not hold.open:
                return
            hold.open = False
            _known.pop(hold.id, None)
            amounts = hold.amounts
            for node in self.path:
                node.growing.discard(hold)
                for resource in node.limits:
                    held = amounts.get(resource, 0)
                    cost = held if actual is None else actual.get(resource, 0)
                    node.reserved[resource] -= held
                    node.parked[resource] -= held if hold.parked else 0
                    node.spent[resource] += cost
                    node.overrun[resource] += max(0, cost - held)
            woken = _served(self.path)
        _wake(woken)

    def withdraw(self, ticket: Ticket) -> None:
        """See `Account.withdraw`."""
        woken: list[Ticket] = []
        with _lock:
            if ticket.outcome is None and ticket.at is not None:
                _known.pop(ticket.ask.id, None)
                _dequeue(ticket, turn=False)
                _calm(ticket)
                woken = _served(self.path)
        _wake(woken)
        if isinstance(ticket.outcome, Hold):
            ticket.outcome.settle({})

    def charge(self, actual: Mapping[Resource, int]) -> None:
        """See `Account.charge`."""
        with _lock:
            for node in self.path:
                for resource, limit in node.limits.items():
                    room = limit + node.overrun[resource] - node.spent[resource] - node.reserved[resource]
                    cost = actual.get(resource, 0)
                    node.spent[resource] += cost
                    node.overrun[resource] += max(0, cost - room)

    def reset(self) -> None:
        """See `Account.reset`."""
        with _lock:
            self.spent = dict.fromkeys(self.limits, 0)
            self.overrun = dict.fromkeys(self.limits, 0)
            woken = _served(self.path)
        _wake(woken)

    def balance(self) -> Balance:
        """See `Account.balance`."""
        with _lock:
            kept = (self.limits, self.spent, self.reserved)
            return Balance(*({name: scaled(name, amount) for name, amount in part.items()} for part in kept))

    def forget(self) -> None:
        """See `Account.forget`."""
        for node in self.path:
            node.reserved = dict.fromkeys(node.limits, 0)
            node.parked = dict.fromkeys(node.limits, 0)
            node.growing = set()
            node.waiting_for_seats, node.waiting_for_money = Line(), Line()

    def line(self, ask: Ask) -> Line[Ledger]:
        """The queue that such an ask stands in."""
        return self.waiting_for_seats if "seats" in ask.fixed else self.waiting_for_money

    def enqueue(self, ticket: Ticket) -> None:
        """Let a ticket wait here, in the queue of the child that it comes through."""
        ticket.at = self
        self.line(ticket.ask).add(_own(ticket).via[self], ticket)

    def admit(self, ask: Ask, ticket: Ticket | None) -> Hold | BudgetExceeded | Ledger:
        """A hold if it fits and it is its turn; an error if it never will fit; else the ledger to wait at.

        Args:
            ask: what is asked.
            ticket: of who waits already, and is next where it stands; it has passed the queues before that ledger.
        """
        wish = self._hoped(ask)
        if isinstance(wish, BudgetExceeded):
            return wish
        passed = None if ticket is None else ticket.at
        for node in self.path:
            line = node.line(ask)
            if ask.patient and line.blocks(ticket) and (passed is None or line.urgent):
                return node
            if not node._fits(ask, wish):  # noqa: SLF001  # same class
                return node
            if node is passed:
                passed = None
        self._hold(ask.amounts(wish), parked=False)
        hold = Hold(self, ask, wish)
        if ask.grows > wish:
            for node in self.path:
                node.growing.add(hold)
        return hold

    def _hoped(self, ask: Ask) -> int | BudgetExceeded:
        """The part of the wish that would fit if every hold that may be waited for came back unspent."""
        wish, floor = ask.wish, min(ask.floor, ask.wish)
        for node in self.path:
            for resource, limit in node.limits.items():
                rate, fixed = ask.rates.get(resource, 0), ask.fixed.get(resource, 0)
                if not rate and not fixed:
                    continue
                stays = node.parked[resource] if ask.patient else node.reserved[resource]
                hoped = _units(limit - node.spent[resource] - stays - fixed, rate, wish)
                if hoped < floor:
                    taken = node.spent[resource] + node.reserved[resource]
                    return node._exceeded(resource, taken, fixed + floor * rate)  # noqa: SLF001  # same class
                wish = min(wish, hoped)
        return wish

    def _fits(self, ask: Ask, wish: int) -> bool:
        """Whether there is room here, now."""
        for resource, limit in self.limits.items():
            fixed, rate = ask.fixed.get(resource, 0), ask.rates.get(resource, 0)
            asked = fixed + wish * rate
            room = limit - self.spent[resource] - self.reserved[resource]
            if asked and asked > room:
                return False
            waits = ask.patient and self.reserved[resource] > self.parked[resource]
            if asked and waits and fixed + max(wish, ask.grows) * rate + self._claimed(resource) > room:
                return False
        return True

    def _claimed(self, resource: Resource) -> int:
        """What open holds are still to grow by."""
        asks = ((hold.ask.grows - hold.granted, hold.ask.rates.get(resource, 0)) for hold in self.growing)
        return sum(max(0, units) * rate for units, rate in asks)

    def _hold(self, amounts: Mapping[Resource, int], *, parked: bool) -> None:
        for node in self.path:
            for resource in node.limits:
                node.reserved[resource] += amounts.get(resource, 0)
                node.parked[resource] += amounts.get(resource, 0) if parked else 0

    def _exceeded(self, resource: Resource, taken: float, needed: float = 0) -> BudgetExceeded:
        limit, taken, needed = (scaled(resource, amount) for amount in (self.limits[resource], taken, needed))
        return BudgetExceeded(resource, limit, taken, needed, self.name)


def _served(nodes: Iterable[Ledger]) -> list[Ticket]:
    """Let in who is next at these ledgers, while they fit; gives whom to wake."""
    woken: list[Ticket] = []
    todo = list(nodes)
    for node in todo:  # which may grow
        for line in (node.waiting_for_seats, node.waiting_for_money):
            while (ticket := line.next(node)) is not None:
                outcome = _own(ticket).admit(ticket.ask, ticket)
                if outcome is node:
                    break
                _dequeue(ticket, turn=True)
                if isinstance(outcome, Ledger):
                    todo += _move(ticket, node, outcome)
                    continue
                ticket.outcome = outcome
                todo += _calm(ticket)
                if isinstance(outcome, Hold):
                    _known[ticket.ask.id] = outcome
                else:
                    _known.pop(ticket.ask.id, None)
                woken.append(ticket)
    return woken


def _wake(woken: Iterable[Ticket]) -> None:
    for ticket in woken:  # outside the lock: waking may run code of an event loop
        ticket.wake()


def _own(ticket: Ticket) -> Ledger:
    return cast("Ledger", ticket.account)


def _dequeue(ticket: Ticket, *, turn: bool) -> None:
    node = cast("Ledger", ticket.at)
    node.line(ticket.ask).remove(_own(ticket).via[node], ticket, turn=turn)
    ticket.at = None


def _move(ticket: Ticket, before: Ledger, after: Ledger) -> tuple[Ledger, ...]:
    """Let a ticket wait at another ledger; gives the ledgers where it may now be next.

    Ledgers may cross: two users of one block, say, who each have others elsewhere. There a ticket can lose its room at
    the first while it waits at the second, and then the other way round. Who has been through that three times goes
    before everybody on its whole path, which holds up others for as long as it takes open holds to come back. The
    oldest of such tickets waits for no other ticket, so that all of them are served in the end.
    """
    own = _own(ticket)
    after.enqueue(ticket)
    if own.path.index(after) > own.path.index(before):
        return ()
    ticket.sent_back += 1
    if ticket.sent_back != _SENT_BACK:
        return ()
    for node in own.path:
        node.line(ticket.ask).hurry(ticket)
    return (after,)


def _calm(ticket: Ticket) -> tuple[Ledger, ...]:
    """Let a ticket that waits no more hurry nobody; gives the ledgers where others may now be next."""
    own = _own(ticket)
    if ticket.sent_back < _SENT_BACK:
        return ()
    for node in own.path:
        node.line(ticket.ask).urgent.remove(ticket)
    return own.path


def _units(room: int, rate: int, wish: int) -> int:
    """How many units at this rate fit; -1 if not even what is fixed does."""
    if room < 0:
        return -1
    return room // rate if rate else wish
