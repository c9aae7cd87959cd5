"""Hard limits: `Budget` says them, `Ledger` keeps them. Pure: no clock, no I/O, no event loop.

Budgets are reserved, not checked. Before a model call is sent, its worst case is held on its ledger and on every one
above, in one step; when the call ends, the hold is settled for what it really cost. Calls in flight together can
then never overshoot, however many there are. (Checking what is spent and then calling overshoots by up to
(calls in flight - 1) x the dearest call: 127 % over with 256 in flight, measured.)

Who does not fit waits, first come, first served, at the ledger that has no room, as long as an open hold there could
still free some. Nobody behind overtakes, so nobody starves; calls under other ledgers are not held up. Once nothing
open could help, the wish is cut to what is left; below the floor the answer is `BudgetExceeded`.

All amounts are integers: tokens, nano-dollars, samples, seats (draws in flight). A reservation with unknown outcome is
settled for all of it: the money may be gone.

The invariant, for every ledger and resource, always:  spent + reserved <= limit + overrun,  where overrun is what
providers charged beyond a hold (0 while they honour max_tokens).
"""

from __future__ import annotations

import bisect
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Union

from ._brief import Brief
from ._errors import BudgetExceeded

NANO = 10**9
"""Nano-dollars in a dollar."""

Resource = str  # "samples", "tokens", "usd" (in nano-dollars) or "seats"

# One lock for all ledgers: a hold touches a path of them, and each step is a few additions.
_lock = threading.Lock()


def _unlocked() -> None:
    """In a forked child: the lock, which another thread of the parent may have held at that moment."""
    global _lock  # noqa: PLW0603  # as above
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


@dataclass(frozen=True, kw_only=True, repr=False)
class Budget(Brief):
    """Limits that hold; None is no limit.

    Args:
        samples: draws launched, from 1.
        tokens: input and output of all model calls, hidden ones included, from 1.
        usd: dollars, above 0; a string or `Decimal` is exact. Needs known prices (`PriceUnknown` otherwise).
        seconds: from the start of the call or block, above 0. Running draws are cancelled and the best answer so far
            is returned.
        concurrency: draws in flight at once, from 1.

    Raises:
        ValueError: a limit is zero, negative or not a number.
    """

    samples: int | None = None
    tokens: int | None = None
    usd: Union[Decimal, str, float, None] = None
    seconds: float | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "tokens", "concurrency"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"Budget({name}=) must be a whole number from 1, or None; got {value!r}")
        if self.usd is not None:
            object.__setattr__(self, "usd", _dollars(self.usd))
        seconds: object = self.seconds
        if seconds is not None and (
            isinstance(seconds, bool)
            or not isinstance(seconds, (int, float))
            or not math.isfinite(seconds)
            or seconds <= 0
        ):
            raise ValueError(f"Budget(seconds=) must be a positive number, or None; got {self.seconds!r}")

    @property
    def limits(self) -> dict[Resource, int]:
        """The limits that a ledger keeps, in its integers; time is kept by the engine."""
        limits: dict[Resource, int] = {}
        if self.samples is not None:
            limits["samples"] = self.samples
        if self.tokens is not None:
            limits["tokens"] = self.tokens
        if isinstance(self.usd, Decimal):
            limits["usd"] = int(self.usd * NANO)
        if self.concurrency is not None:
            limits["seats"] = self.concurrency
        return limits


def _dollars(value: Decimal | str | float) -> Decimal:
    try:
        # A float goes through its shortest text: 0.05 means five cents, not 0.05000000000000000277.
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
        if amount.is_finite() and amount > 0:
            return amount
    except (InvalidOperation, ValueError):
        pass
    raise ValueError(f"Budget(usd=) must be a positive number of dollars, or None; got {value!r}")


@dataclass(frozen=True)
class Ask:
    """What a call wants to hold before it is sent."""

    fixed: Mapping[Resource, int]
    """Needed whole, like the prompt."""
    wish: int = 0
    """Units wanted on top, like `max_tokens`; may be cut."""
    rates: Mapping[Resource, int] = field(default_factory=dict[Resource, int])
    """What one wished unit takes of each resource: {"tokens": 1, "usd": 600}."""
    floor: int = 0
    """Fewer wished units than this are of no use."""
    patient: bool = True
    """May wait for open holds to come back; otherwise it is cut to what is free, or refused."""

    def amounts(self, granted: int) -> dict[Resource, int]:
        """What the hold weighs with so many units granted."""
        held = dict(self.fixed)
        for resource, rate in self.rates.items():
            held[resource] = held.get(resource, 0) + granted * rate
        return held


class Hold:
    """An open reservation; settle it exactly once (a second time does nothing)."""

    __slots__ = ("amounts", "granted", "ledger", "open", "parked")

    def __init__(self, ledger: Ledger, amounts: dict[Resource, int], granted: int) -> None:
        self.ledger: Ledger = ledger
        self.amounts: dict[Resource, int] = amounts
        self.granted: int = granted
        """Wished units that were granted."""
        self.open: bool = True
        self.parked: bool = False

    def park(self) -> None:
        """Say that whoever asks next may be the one who must settle this: nobody is to wait for it any more."""
        self.ledger.park(self)

    def settle(self, actual: Mapping[Resource, int] | None = None) -> None:
        """Give the hold back and charge `actual`; None charges all of it, since what was spent is unknown."""
        self.ledger.settle(self, self.amounts if actual is None else actual)


class Ticket:
    """A place in the queue. `wake` is called once `outcome` is there, from whatever thread settled a hold."""

    __slots__ = ("ask", "at", "ledger", "number", "outcome", "wake")

    def __init__(self, ledger: Ledger, ask: Ask, wake: Callable[[], object]) -> None:
        self.ledger: Ledger = ledger
        self.ask: Ask = ask
        self.wake: Callable[[], object] = wake
        self.number: int = next(_numbers)
        self.at: Ledger | None = None
        """The ledger in whose queue it stands."""
        self.outcome: Hold | BudgetExceeded | None = None

    def __lt__(self, other: Ticket) -> bool:
        return self.number < other.number

    def withdraw(self) -> None:
        """Leave the queue, giving back a hold that was granted in the meantime."""
        self.ledger.withdraw(self)


_numbers = itertools.count()


class Ledger:
    """The running account of one call or block, below the one that it is part of.

    Args:
        limits: by resource; what is absent is unlimited here.
        parent: the account that every charge also lands on.
    """

    __slots__ = (
        "limits", "overrun", "parent", "parked", "reserved", "spent", "waiting_for_money", "waiting_for_seats",
    )  # fmt: skip

    def __init__(self, limits: Mapping[Resource, int], parent: Ledger | None = None) -> None:
        self.limits: dict[Resource, int] = dict(limits)
        self.parent: Ledger | None = parent
        self.spent: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        self.reserved: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        self.overrun: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        self.parked: dict[Resource, int] = dict.fromkeys(self.limits, 0)
        """The part of `reserved` that nobody may wait for."""
        # Seats queue apart from money: a draw waiting for a seat must not block the call that would free one.
        self.waiting_for_seats: list[Ticket] = []
        self.waiting_for_money: list[Ticket] = []

    def path(self) -> Iterator[Ledger]:
        """This ledger and every one above."""
        node: Ledger | None = self
        while node is not None:
            yield node
            node = node.parent

    def limited(self, *resources: Resource) -> bool:
        """Whether a limit on one of these resources holds here or above."""
        return any(resource in node.limits for node in self.path() for resource in resources)

    def unspent(self, resource: Resource) -> int | None:
        """What is left of a resource once all that is held comes back, on the tightest ledger; None: no limit."""
        with _lock:
            left = [node.limits[resource] - node.spent[resource] for node in self.path() if resource in node.limits]
        return min(left) if left else None

    def exhausted(self) -> BudgetExceeded | None:
        """The limit of tokens or dollars that is spent for good, so that no call can be made any more."""
        with _lock:
            for node in self.path():
                for resource, limit in node.limits.items():
                    if resource in ("tokens", "usd") and node.spent[resource] >= limit:
                        unit = NANO if resource == "usd" else 1
                        return BudgetExceeded(resource, _scaled(limit, unit), _scaled(node.spent[resource], unit))
        return None

    def reserve(self, ask: Ask, wake: Callable[[], object]) -> Hold | Ticket:
        """Hold what is asked, or queue for it.

        Returns:
            A `Hold`, or a `Ticket` whose `outcome` is set before `wake()` is called.

        Raises:
            BudgetExceeded: not even the floor fits, and no open hold could free enough.
        """
        with _lock:
            ahead: Ledger | None = None
            if ask.patient:
                ahead = next((node for node in self.path() if node._queue(ask)), None)  # noqa: SLF001  # same tree
            outcome = ahead or self._admit(ask)
            if isinstance(outcome, BudgetExceeded):
                raise outcome
            if isinstance(outcome, Hold):
                return outcome
            ticket = Ticket(self, ask, wake)
            outcome._enqueue(ticket)  # noqa: SLF001  # same tree
        return ticket

    def take(self, resource: Resource) -> bool:
        """Spend one of a resource that is never given back, such as a sample; False: none is left."""
        with _lock:
            nodes = [node for node in self.path() if resource in node.limits]
            if any(node.spent[resource] >= node.limits[resource] for node in nodes):
                return False
            for node in nodes:
                node.spent[resource] += 1
        return True

    def charge(self, actual: Mapping[Resource, int]) -> None:
        """Account for what was spent without a hold, such as usage that a function reports afterwards."""
        with _lock:
            for node in self.path():
                for resource in node.limits:
                    room = (
                        node.limits[resource] + node.overrun[resource] - node.spent[resource] - node.reserved[resource]
                    )
                    cost = actual.get(resource, 0)
                    node.spent[resource] += cost
                    node.overrun[resource] += max(0, cost - room)

    def settle(self, hold: Hold, actual: Mapping[Resource, int]) -> None:
        """Close a hold and charge what it really cost, then let in whoever fits now."""
        with _lock:
            if not hold.open:
                return
            hold.open = False
            for node in self.path():
                for resource in node.limits:
                    held, cost = hold.amounts.get(resource, 0), actual.get(resource, 0)
                    node.reserved[resource] -= held
                    node.parked[resource] -= held if hold.parked else 0
                    node.spent[resource] += cost
                    node.overrun[resource] += max(0, cost - held)
            woken = self._serve()
        for ticket in woken:  # outside the lock: waking may run code of an event loop
            ticket.wake()

    def park(self, hold: Hold) -> None:
        """Let nobody wait for this hold; who does already is cut to what is free, or refused."""
        with _lock:
            if hold.parked or not hold.open:
                return
            hold.parked = True
            for node in self.path():
                for resource in node.limits:
                    node.parked[resource] += hold.amounts.get(resource, 0)
            woken = self._serve()
        for ticket in woken:
            ticket.wake()

    def forget(self) -> None:
        """In a forked child: what the parent's threads hold or wait for will never come back here."""
        for node in self.path():
            node.reserved = dict.fromkeys(node.limits, 0)
            node.parked = dict.fromkeys(node.limits, 0)
            node.waiting_for_seats, node.waiting_for_money = [], []

    def withdraw(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue, or give its hold back."""
        with _lock:
            woken: list[Ticket] = []
            if ticket.at is not None:
                ticket.at._queue(ticket.ask).remove(ticket)  # noqa: SLF001  # same tree
                ticket.at = None
                woken = self._serve()
        for other in woken:
            other.wake()
        if isinstance(ticket.outcome, Hold):
            ticket.outcome.settle({})

    def _queue(self, ask: Ask) -> list[Ticket]:
        return self.waiting_for_seats if "seats" in ask.fixed else self.waiting_for_money

    def _enqueue(self, ticket: Ticket) -> None:
        ticket.at = self
        bisect.insort(self._queue(ticket.ask), ticket)  # a ticket that moves between ledgers keeps its rank

    def _behind(self, ticket: Ticket) -> Ledger | None:
        """The other ledger on a ticket's path where an earlier one waits, which goes first."""
        for node in ticket.ledger.path():
            queue = node._queue(ticket.ask)  # noqa: SLF001  # same tree
            if node is not self and queue and queue[0] < ticket:
                return node
        return None

    def _serve(self) -> list[Ticket]:
        """Let the heads of the queues on this path in while they fit."""
        woken: list[Ticket] = []
        for node in self.path():
            for queue in (node.waiting_for_seats, node.waiting_for_money):
                while queue:
                    ticket = queue[0]
                    outcome = node._behind(ticket) or ticket.ledger._admit(ticket.ask)  # noqa: SLF001  # same tree
                    if outcome is node:
                        break
                    del queue[0]
                    if isinstance(outcome, Ledger):
                        outcome._enqueue(ticket)  # noqa: SLF001  # same tree
                    else:
                        ticket.at, ticket.outcome = None, outcome
                        woken.append(ticket)
        return woken

    def _admit(self, ask: Ask) -> Hold | BudgetExceeded | Ledger:
        """A hold if it fits; an error if it never will; the ledger to wait at if an open hold there could free room."""
        wish = ask.wish
        floor = min(ask.floor, ask.wish)
        for node in self.path():
            for resource, limit in node.limits.items():
                rate, fixed = ask.rates.get(resource, 0), ask.fixed.get(resource, 0)
                # What would fit if every hold that may be waited for came back unspent.
                stays = node.parked[resource] if ask.patient else node.reserved[resource]
                hoped = _units(limit - node.spent[resource] - stays - fixed, rate, wish)
                if (rate or fixed) and hoped < floor:
                    unit = NANO if resource == "usd" else 1
                    taken = node.spent[resource] + node.reserved[resource]
                    return BudgetExceeded(resource, *(_scaled(x, unit) for x in (limit, taken, fixed + floor * rate)))
                wish = min(wish, hoped) if rate or fixed else wish
        for node in self.path():
            for resource, limit in node.limits.items():
                rate, fixed = ask.rates.get(resource, 0), ask.fixed.get(resource, 0)
                room = limit - node.spent[resource] - node.reserved[resource]
                if (rate or fixed) and _units(room - fixed, rate, wish) < wish:
                    return node
        held = ask.amounts(wish)
        for node in self.path():
            for resource in node.limits:
                node.reserved[resource] += held.get(resource, 0)
        return Hold(self, held, wish)


def _units(room: int, rate: int, wish: int) -> int:
    """How many units at this rate fit; -1 if not even what is fixed does."""
    if room < 0:
        return -1
    return room // rate if rate else wish


def _scaled(amount: int, unit: int) -> float:
    return amount if unit == 1 else amount / unit
