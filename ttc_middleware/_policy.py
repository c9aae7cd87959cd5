"""What a deployment decides: blocks, tags, bills and the defaults of the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from types import MappingProxyType, TracebackType
from typing import Any, Literal, cast

from typing_extensions import Self

from ._budget import Budget
from ._context import SCOPE, SETTINGS
from ._instrument import instrument_once
from ._limits import check_limits, keyed, limit_process
from ._plan import OnReject
from ._record import Recorder
from ._strategy import check_strategy
from ._types import Result, Strategy
from ._usage import Bill, Usage
from .prices._price import Price
from .thinking._amount import Thinking, ThinkingLike, thinking_of

PolicyScope = Literal["function", "model_calls"]


@dataclass(frozen=True)
class Policy:
    """How much an answer is worth: made by `policy()`, used as a block or in `configure()`."""

    strategy: Strategy | None = None
    budget: Budget | None = None
    thinking: Thinking | None = None
    on_reject: OnReject | None = None
    scope: PolicyScope | None = None

    def __post_init__(self) -> None:
        if self.strategy is not None:
            check_strategy(self.strategy)
        if self.scope not in (None, "function", "model_calls"):
            raise ValueError(f'scope= must be "function" or "model_calls", got {self.scope!r}')
        check_options(self.budget, self.on_reject)
        object.__setattr__(self, "thinking", thinking_of(self.thinking))

    def __enter__(self) -> Self:
        outer = SCOPE.get()
        inside = replace(outer, policy=self.over(outer.policy), outer=outer)
        if self.scope == "model_calls":
            instrument_once()  # also model calls outside of any decorated function are to be seen
        if self.budget is not None:
            limits = self.budget.limits
            if limits:
                instrument_once()  # it limits plain calls too, which must be seen for that
                inside = replace(inside, ledger=outer.below(limits))
            if self.budget.seconds is not None:
                instrument_once()  # as above
                inside = inside.until(self.budget.seconds)
        SCOPE.set(inside)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _leave()

    def over(self, outer: Policy | None) -> Policy:
        """This policy, with what it leaves open taken from an outer one; the budget of a block stays the block's."""
        if outer is None:
            return self
        open_fields = {each.name for each in fields(self) if getattr(self, each.name) is None} - {"budget"}
        return replace(self, **{name: getattr(outer, name) for name in open_fields})


def _leave() -> None:
    SCOPE.set(SCOPE.get().outer or SCOPE.get())


def policy(
    strategy: Strategy | None = None,
    *,
    budget: Budget | None = None,
    thinking: ThinkingLike | None = None,
    on_reject: OnReject | None = None,
    scope: PolicyScope | None = None,
) -> Policy:
    """Decide for a block what answers are worth: `with ttc.policy(ttc.BestOfN(4), budget=ttc.Budget(tokens=20_000)):`.

    Applies to everything that is scaled or verifiable inside, however deep. Over the strategy of `scale()` the block
    wins. Its budget is shared by all calls inside, and holds beside theirs: the tightest counts.

    Args:
        strategy: how to search; None leaves each call site its own.
        budget: limits for the whole block, time from its start.
        thinking: how much models may think: a `ttc.Thinking`, or tokens or an effort for short.
        on_reject: "best" or "raise", where nothing is accepted.
        scope: "model_calls" calls each decorated function once and scales every model call inside, whichever SDK or
            framework makes it, as well as those outside of any decorated function; "function" draws whole functions
            although they say otherwise; None leaves it to them.

    Raises:
        TypeError: the strategy has no `search()`, or the budget is none.
        ValueError: `on_reject`, `thinking` or `scope` is not one of its values.
    """
    return Policy(strategy, budget, thinking_of(thinking), on_reject, scope)


def check_options(budget: object, on_reject: object) -> None:
    """Raise unless these are what `scale()` and `policy()` take."""
    if budget is not None and not isinstance(budget, Budget):
        raise TypeError(f"budget= must be a ttc.Budget, got {budget!r}")
    if on_reject not in (None, "best", "raise"):
        raise ValueError(f'on_reject= must be "best" or "raise", got {on_reject!r}')


def configure(  # noqa: C901  # one line a setting
    *,
    policies: Mapping[str, Policy] | None = None,
    default: Policy | None = None,
    concurrency: int | None = None,
    budget: Budget | None = None,
    budget_per: Mapping[str, Budget] | None = None,
    instrument: bool | None = None,
    prices: Mapping[str, Price] | None = None,
    record: str | os.PathLike[str] | None = None,
    record_content: bool = False,
    spans: Literal["own", "adopt"] | None = None,
) -> None:
    """Set the defaults of the process, usually once, at its start. What is not given stays as it is.

    Args:
        policies: by name of the call site ("module:qualname", or its `name=`); wins over `scale()`, yields to blocks.
        default: for call sites that say nothing themselves.
        concurrency: draws in flight at once in this process, from 1.
        budget: limits of all calls of this process together, from now on. A forked child goes on with a copy.
        budget_per: limits by key, each value of a tag for itself: with `{"user": ttc.Budget(usd="1")}`, all that runs
            inside `with ttc.tags(user="ann"):` costs a dollar at most, beside all other limits; calls without that tag
            are not limited by it. See `balance()` and `reset_budget()`.
        instrument: False keeps `scale()`, `tracking()` and the budgets of blocks from patching SDKs.
        prices: the user's price table, by "provider/model" or "model".
        record: a folder for the run record, a line of JSON for each search: `ttc report` reads it.
        record_content: also prompts, outputs and feedback.
        spans: whose spans tell the usage of model calls where another instrumentation traces them too: "own" keeps
            that one silent below ours (the default), "adopt" leaves it to it. `TTC_OTEL_SPANS` says the same.

    Raises:
        TypeError: a policy is not one made by `policy()`, a price no `Price`, or a budget no `Budget`.
        ValueError: `concurrency` is below 1, a budget of the process or of keys limits seconds, or `spans` is not one
            of its values.
        OSError: `record` cannot be made or written to.
    """
    for model, price in dict(prices or {}).items():
        if not isinstance(price, Price):
            raise TypeError(f"configure(prices=): {model} must be a ttc.Price(input=…, output=…), got {price!r}")
    _check_policies(policies, default)
    if spans not in (None, "own", "adopt"):
        raise ValueError(f'configure(spans=) must be "own" or "adopt", got {spans!r}')
    check_limits(budget, budget_per)
    if policies is not None:
        SETTINGS.policies = MappingProxyType(dict(policies))
    if default is not None:
        SETTINGS.default = default
    if instrument is not None:
        SETTINGS.instrument = instrument
    if spans is not None:
        SETTINGS.spans = spans
    limit_process(budget, concurrency, budget_per)
    if budget is not None or budget_per is not None:
        instrument_once()  # they limit plain calls too, which must be seen for that
    if record is not None:
        SETTINGS.recorder = Recorder(record, content=record_content)
    if prices is not None:
        SETTINGS.prices = MappingProxyType(dict(prices))


def _check_policies(policies: object, default: object) -> None:
    if policies is not None and not isinstance(policies, Mapping):
        raise TypeError(f'configure(policies=) must be {{"module:function": ttc.policy(…)}}, got {policies!r}')
    named = cast("Mapping[str, object]", policies or {})
    for name, each in {**named, "default": default}.items():
        if each is not None and not isinstance(each, Policy):
            raise TypeError(f"configure(): {name} must be a ttc.policy(…), got {each!r}")


class Tracking:
    """A bill that is still growing: what `tracking()` gives. Reads like a `Bill`."""

    def __init__(self, *, results: bool = False) -> None:
        self.bill = Bill()
        """All that was spent so far; searches are added as they end."""
        self.results: list[Result[Any]] = []
        """The searches that have ended, where they are asked for: what a wrapped client found is nowhere else."""
        self._keeps = results
        self._lock = threading.Lock()

    def add(self, bill: Bill) -> None:
        """Add what was spent."""
        with self._lock:
            self.bill += bill

    def found(self, result: Result[Any]) -> None:
        """Be told how a search has ended."""
        if self._keeps:
            self.results.append(result)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("bill", "results"):  # a copy that is still empty
            raise AttributeError(name)
        return getattr(self.bill, name)

    def __str__(self) -> str:
        return str(self.bill)

    def __repr__(self) -> str:
        return f"<tracking {self.bill}>"

    # Spelled out for type checkers and for who reads the code by completion.

    @property
    def total(self) -> Usage:
        """Everything."""
        return self.bill.total

    @property
    def visible(self) -> Usage:
        """What callers got to read."""
        return self.bill.visible

    @property
    def hidden(self) -> Usage:
        """Everything but that."""
        return self.bill.hidden

    @property
    def usd(self) -> Decimal | None:
        """Dollars in all; None where a price is unknown."""
        return self.bill.total.usd


@contextmanager
def tracking(*, results: bool = False) -> Generator[Tracking, None, None]:
    """Bill everything that runs inside, scaled or not: `with ttc.tracking() as bill: …; print(bill)`.

    Args:
        results: also keep the `Result` of each search, in `bill.results`, as they end: of a wrapped client, which
            returns a plain response, `bill.results[-1].tree` is what was tried for it. They hold all outputs.
    """
    instrument_once()
    bill, outer = Tracking(results=results), SCOPE.get()
    SCOPE.set(replace(outer, trackers=(*outer.trackers, bill), outer=outer))
    try:
        yield bill
    finally:
        _leave()


@contextmanager
def tags(**values: str) -> Generator[None, None, None]:
    """Put tags on every span inside: `with ttc.tags(session="…", user="…"):`.

    `session` and `user` become `session.id` and `user.id`, everything else `ttc.tag.<name>`. A tag that
    `configure(budget_per=)` names also puts all that runs inside under the budget of its value.
    """
    outer = SCOPE.get()
    given = {name: str(value) for name, value in values.items()}
    merged = MappingProxyType({**outer.tags, **given})
    SCOPE.set(replace(outer, tags=merged, ledger=keyed(given, outer), outer=outer))
    try:
        yield
    finally:
        _leave()
