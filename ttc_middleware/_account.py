"""What the engine asks of an account: the seam at which a shared one can take the place of the one in this process.

`Account` is the whole of it. `Ledger` keeps accounts in this process; one that keeps them elsewhere, for many
processes together, implements the same methods, and everything below it is opened by its `below()`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Union

from ._budget import Resource
from ._errors import BudgetExceeded

_numbers = itertools.count(1)


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
    grows: int = 0
    """Units that the hold may well come to by `extend()`: while others could give room back, so much is to be free
    for it and for each such hold that is open. Who has begun is to end before newcomers begin."""
    patient: bool = True
    """May wait for open holds to come back; otherwise it is cut to what is free, or refused."""
    id: int = field(default_factory=_numbers.__next__, compare=False)
    """Names the hold that comes of it, and grows with age; unique in this process."""

    def amounts(self, granted: int) -> dict[Resource, int]:
        """What the hold weighs with so many units granted."""
        held = dict(self.fixed)
        for resource, rate in self.rates.items():
            held[resource] = held.get(resource, 0) + granted * rate
        return held


class Hold:
    """An open reservation; settle it exactly once (a second time does nothing)."""

    __slots__ = ("account", "ask", "granted", "open", "parked")

    def __init__(self, account: Account, ask: Ask, granted: int) -> None:
        self.account: Account = account
        self.ask: Ask = ask
        self.granted: int = granted
        """Wished units that were granted, extensions included."""
        self.open: bool = True
        self.parked: bool = False

    @property
    def id(self) -> int:
        """That of its ask."""
        return self.ask.id

    @property
    def amounts(self) -> dict[Resource, int]:
        """What it weighs."""
        return self.ask.amounts(self.granted)

    def extend(self, upto: int) -> int:
        """Hold so many units in all, or as many as there are; returns what is held then."""
        return self.account.extend(self, upto)

    def park(self) -> None:
        """Say that whoever asks next may be the one who must settle this: nobody is to wait for it any more."""
        self.account.park(self)

    def settle(self, actual: Mapping[Resource, int] | None = None) -> None:
        """Give the hold back and charge `actual`; None charges all of it, since what was spent is unknown."""
        self.account.settle(self, actual)


class Ticket:
    """A place in the queue. `wake` is called once `outcome` is there, from whatever thread that came to pass in."""

    __slots__ = ("account", "ask", "at", "outcome", "sent_back", "wake")

    def __init__(self, account: Account, ask: Ask, wake: Callable[[], object]) -> None:
        self.account: Account = account
        self.ask: Ask = ask
        self.wake: Callable[[], object] = wake
        self.outcome: Hold | BudgetExceeded | None = None
        self.at: Account | None = None
        """Where it stands in the queue, if that is anybody's business."""
        self.sent_back: int = 0
        """How many times it had room at one account and then lost it while it waited at another."""

    def withdraw(self) -> None:
        """Leave the queue, giving back a hold that was granted in the meantime."""
        self.account.withdraw(self)


class Account(Protocol):
    """The running account of a call, a block, a process or a key, below those that it is part of.

    Every method may be called from any thread and never blocks, since it is called on event loops: an account that
    has to ask another machine answers `reserve` with a `Ticket`, which is what a caller can wait for without standing
    still, sends `settle` and `charge` without waiting for an answer, and grants `extend` out of what it has fetched
    ahead. Three promises make hard limits of it:

    - *atomic*: a hold is on this account and all above in one step, or on none;
    - *idempotent by `Ask.id`*: a `reserve` that is sent again gives the same hold, `extend` says how much is to be
      held in all, and only the first `settle` of a hold counts. So each may be repeated when an answer was lost;
    - *nothing is forgotten*: a hold that nobody settles is charged in the end, not given back.
    """

    def below(self, limits: Mapping[Resource, int], *others: Account, name: str | None = None) -> Account:
        """Open an account under this one, and others of the same kind.

        Args:
            limits: by resource; what is absent is unlimited there.
            others: further accounts that every charge also lands on, once each, by however many ways they are reached.
            name: whose it is, for errors.
        """
        ...

    def limited(self, *resources: Resource) -> bool:
        """Whether a limit on one of these resources holds here or above."""
        ...

    def unspent(self, resource: Resource) -> int | None:
        """What is left of a resource once all that is held comes back, on the tightest account; None: no limit.

        A hint, for deciding what to ask for: it may be out of date.
        """
        ...

    def exhausted(self) -> BudgetExceeded | None:
        """The limit of tokens or dollars that is spent for good, so that no call can be made any more. A hint, too."""
        ...

    def reserve(self, ask: Ask, wake: Callable[[], object]) -> Union[Hold, Ticket]:
        """Hold what is asked, or queue for it.

        Returns:
            A `Hold`, or a `Ticket` whose `outcome` is set before `wake()` is called, once.

        Raises:
            BudgetExceeded: not even the floor fits, and no open hold could free enough.
        """
        ...

    def extend(self, hold: Hold, upto: int) -> int:
        """Raise a hold to so many units, or to as many as fit now; returns what is held then. Never waits."""
        ...

    def park(self, hold: Hold) -> None:
        """Let nobody wait for this hold; who does already is cut to what is free, or refused."""
        ...

    def settle(self, hold: Hold, actual: Mapping[Resource, int] | None = None) -> None:
        """Close a hold and charge what it really cost, all of it for None; then let in whoever fits."""
        ...

    def withdraw(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue, or give its hold back."""
        ...

    def charge(self, actual: Mapping[Resource, int]) -> None:
        """Account for what was spent without a hold, such as usage that a function reports afterwards."""
        ...

    def reset(self) -> None:
        """Take all that was spent here, not above, as forgiven. What is held stays held."""
        ...

    def balance(self) -> Balance:
        """How this account stands, apart from those above."""
        ...

    def forget(self) -> None:
        """In a forked child: what the parent's threads hold or wait for will never come back here."""
        ...


@dataclass(frozen=True)
class Balance:
    """How an account stands, by resource: "tokens", "usd" (dollars), "samples"; only what is limited is kept."""

    limits: Mapping[Resource, float]
    spent: Mapping[Resource, float]
    """Settled for good; more than the limit only where a provider has charged more than it was asked to."""
    held: Mapping[Resource, float]
    """Reserved for calls that are under way: part of it comes back."""

    @property
    def left(self) -> dict[Resource, float]:
        """What a call could still take now."""
        return {
            name: max(0, round(limit - self.spent[name] - self.held[name], 9)) for name, limit in self.limits.items()
        }
