"""What travels with a call in context variables: the enclosing blocks (`Scope`) and the draw under way (`Tab`)."""

from __future__ import annotations

import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import anyio
import anyio.lowlevel

from ._account import Account
from ._errors import BudgetExceeded
from ._keys import Keys
from ._ledger import Ledger
from ._types import Draw, Fault
from ._usage import Bill, Usage

if TYPE_CHECKING:
    from .prices._price import Price

Role = Literal["sample", "verifier", "routing"]
_NO_TAGS: Mapping[str, str] = MappingProxyType({})
_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class Tracker(Protocol):
    """Where bills add up: `tracking()`."""

    def add(self, bill: Bill) -> None:
        """Add what was spent."""
        ...

    def found(self, result: Any) -> None:
        """Be told how a search has ended."""
        ...


@dataclass(frozen=True)
class Scope:
    """What the enclosing blocks say. Frozen: a block sets a new one and puts the old one back."""

    policy: Any = None
    """The innermost `policy()` block."""
    model_calls: Any = None
    """How to scale each model call (a `Site`), inside a function of `scale(scope="model_calls")`."""
    around: Mapping[str, Any] = field(default_factory=lambda: _NO_ARGUMENTS)
    """That function's arguments."""
    ledger: Account | None = None
    """The innermost block's account; None: only the process's limits hold, if any."""
    deadline: float | None = None
    """On `time.monotonic()`'s clock."""
    seconds: float = 0.0
    """How long before the deadline its block or call began."""
    waits: bool = True
    """Calls may wait for room; not below an event loop that stands still, since others' room comes back only there."""
    trackers: tuple[Tracker, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: _NO_TAGS)
    outer: Scope | None = None
    """What held before this block."""

    @property
    def charged(self) -> Account | None:
        """The account that a model call here is charged to; None: nothing is limited."""
        return self.ledger or SETTINGS.ledger

    def below(self, limits: Mapping[str, int]) -> Account | None:
        """A new account below this one, for a block or a search: where several share a limit, they take turns."""
        above = SETTINGS.roots if self.ledger is None else (self.ledger,)
        if above:
            return above[0].below(limits, *above[1:])
        return Ledger(limits) if limits else None

    def until(self, seconds: float | None) -> Scope:
        """The same with so many seconds to go, unless less is left anyway."""
        ends = math.inf if seconds is None else time.monotonic() + seconds
        if seconds is None or (self.deadline is not None and self.deadline <= ends):
            return self
        return replace(self, deadline=ends, seconds=seconds)

    @property
    def limited(self) -> bool:
        """Whether a budget holds here, of whatever kind."""
        if self.ledger is not None or self.deadline is not None:
            return True
        process = SETTINGS.ledger  # of draws in flight it may well limit only those
        return process is not None and process.limited("tokens", "usd")

    def over(self, slack: float = 0.0) -> BudgetExceeded | None:
        """The error of a deadline that has passed; None: it has not, or there is none.

        Args:
            slack: seconds by which the clock of an event loop may be ahead.
        """
        late = -1.0 if self.deadline is None else time.monotonic() - self.deadline + slack
        return None if late < 0 else BudgetExceeded("seconds", round(self.seconds, 3), round(self.seconds + late, 3))


SCOPE: ContextVar[Scope] = ContextVar("ttc_scope", default=Scope())  # noqa: B039  # frozen
TAB: ContextVar[Tab | None] = ContextVar("ttc_tab", default=None)
OWNED: ContextVar[bool] = ContextVar("ttc_owned", default=False)
"""An outer layer (litellm over openai, a framework over both) accounts for the call that is being made."""

LARGEST: ContextVar[int | None] = ContextVar("ttc_largest", default=None)
"""Bytes that the response of the call that is being made may have; None: nobody asks."""


class Witness:
    """Sees whether an SDK's seam accounts for a call that somebody else watches too.

    Args:
        room: calls that it is for: those of a batch begin before the first is sent.
    """

    __slots__ = ("room", "seen")

    def __init__(self, room: int) -> None:
        self.room: int = room
        self.seen: bool = False


WITNESS: ContextVar[Witness | None] = ContextVar("ttc_witness", default=None)
"""Of the call that is being watched."""


@dataclass(frozen=True)
class Entry:
    """One model call that has ended."""

    usage: Usage
    """What is known of its cost."""
    answered: bool
    """It gave the function something to go on with; failed, retried and cancelled attempts did not."""
    reasoning_usd: Decimal | None = None
    priced: Literal["provider", "local"] | None = None
    """Who says what it cost; None where nobody does."""
    fault: Fault | None = None
    gap: str | None = None
    """Why the cost is not wholly known."""
    logprob: float | None = None
    """The mean log-probability of its tokens."""
    model: str | None = None
    provider: str | None = None
    ended: float = 0.0
    """When, on `time.monotonic()`'s clock; as the two before, only for the run record."""


class Tab:
    """What one draw, or one verification, has run up so far.

    Shared by everything that runs inside, in whatever task or thread; appending to a list is atomic.

    Args:
        draw: what this draw asks of its model calls.
        whole: streams are to be read to their end, because several compete or a verifier waits.
        trackers: how many of the enclosing trackers get the bill of the search; those opened inside get each call's.
        later: another draw of the search came before, a question about how to search aside.
    """

    __slots__ = (
        "among", "callbacks", "closed", "draw", "entries", "first_model", "index", "instructed", "later",
        "parent", "pending", "role", "tools_ran", "trackers", "whole",
    )  # fmt: skip

    def __init__(
        self,
        draw: Draw,
        *,
        index: int = 0,
        role: Role = "sample",
        whole: bool = False,
        parent: Tab | None = None,
        among: Among | None = None,
        trackers: int = 0,
        later: bool = False,
    ) -> None:
        self.draw: Draw = draw
        self.index: int = index
        self.later: bool = later
        self.role: Role = role
        self.whole: bool = whole
        self.parent: Tab | None = parent
        self.among: Among | None = among
        self.trackers: int = trackers
        self.entries: list[Entry] = []
        self.pending: set[object] = set()
        """Model calls under way: a thread that blocks goes on after its search has ended."""
        self.callbacks: list[Callable[[], Any]] = []
        self.first_model: str | None = None
        self.instructed: bool = False
        self.tools_ran: bool = False
        self.closed: bool = False
        """The search has gone on without this draw: nothing more may be sent for it."""

    def record(self, entry: Entry) -> None:
        """Note a model call, here and on the draw that this one is part of."""
        self.entries.append(entry)
        if self.parent is not None:
            self.parent.record(entry)

    def ended(self) -> None:
        """Note that this draw leaves its share of the budget to the others."""
        if self.among is not None:
            self.among.count -= 1

    @property
    def spent(self) -> Usage:
        """The sum of what is known."""
        total = Usage.zero()
        for entry in self.entries:
            total += entry.usage
        return total

    @property
    def gaps(self) -> dict[str, int]:
        """Why the sum is not the whole cost, and how often."""
        reasons = [entry.gap for entry in self.entries if entry.gap]
        return {reason: reasons.count(reason) for reason in reasons}

    @property
    def fault(self) -> Fault | None:
        """What was wrong with the last model call."""
        return self.entries[-1].fault if self.entries else None


class Among:
    """How many draws of a search are under way: what is not spent of a budget is shared among them."""

    __slots__ = ("count", "name")

    def __init__(self, name: str) -> None:
        self.name: str = name
        """Of the call site."""
        self.count: int = 0


@dataclass
class Settings:
    """What `configure()` has set for the process."""

    policies: Mapping[str, Any] = field(default_factory=dict[str, Any])
    default: Any = None
    process: Account | None = None
    """The process's budget."""
    seats: Account | None = None
    """The process's limit of draws in flight."""
    roots: tuple[Account, ...] = ()
    """Both of these, as far as there are: everything is opened below them."""
    ledger: Account | None = None
    """What calls outside of blocks are charged to: below all of these; None where there are none."""
    keys: Mapping[str, Keys] = field(default_factory=dict[str, Keys])
    """By the name of a tag: the accounts of its values."""
    instrument: bool = True
    prices: Mapping[str, Price] = field(default_factory=dict[str, "Price"])
    spans: str = os.environ.get("TTC_OTEL_SPANS", "").strip().lower() or "own"
    """Whose spans tell the usage of model calls: "own" or "adopt"."""
    recorder: Any = None
    """The run record; None: there is none."""


SETTINGS = Settings()


def _forked() -> None:
    """A child has none of the threads that hold something or wait."""
    for keys in SETTINGS.keys.values():
        keys.unlock()
    keyed = [account for keys in SETTINGS.keys.values() for account in keys.accounts.values()]
    for account in (*keyed, SETTINGS.ledger, SCOPE.get().ledger):
        if account is not None:
            account.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

_warned: set[tuple[str, str]] = set()


def on_a_loop() -> bool:
    """Whether an event loop runs in this thread, and stands still until this returns."""
    try:
        anyio.lowlevel.current_token()
    except Exception:  # noqa: BLE001  # no loop, however it is said
        return False
    return True


def here() -> tuple[int, int]:
    """The thread, and the task if there is one, that this runs in."""
    try:
        task = anyio.get_current_task().id
    except Exception:  # noqa: BLE001  # as above
        task = 0
    return threading.get_ident(), task


def warn_once(topic: str, about: str, message: str) -> None:
    """Warn, but only the first time for this topic and call site."""
    if (topic, about) not in _warned:
        _warned.add((topic, about))
        warnings.warn(message, UserWarning, stacklevel=2)
