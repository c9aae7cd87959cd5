"""The budgets of the process and of its keys: set by `configure()`, chosen by `tags()`, seen with `balance()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ._account import Account, Balance
from ._budget import Budget
from ._context import SETTINGS, Scope
from ._keys import Keys
from ._ledger import Ledger


def check_limits(budget: object, budget_per: object) -> None:
    """Raise unless these are what `configure()` takes."""
    if budget_per is not None and not isinstance(budget_per, Mapping):
        raise TypeError(f'configure(budget_per=) must be {{"user": ttc.Budget(…)}}, got {budget_per!r}')
    named = cast("Mapping[object, object]", budget_per or {})
    for tag, each in {"": budget, **named}.items():
        where = f"configure(budget_per={{{tag!r}: …}})" if tag else "configure(budget=)"
        if not isinstance(tag, str):
            raise TypeError(f"configure(budget_per=) goes by the names of tags, got {tag!r}")
        if each is None and not tag:
            continue
        if not isinstance(each, Budget):
            raise TypeError(f"{where} must be a ttc.Budget, got {each!r}")
        if each.seconds is not None:
            raise ValueError(
                f"{where} cannot limit seconds: a process or a key has no start to count from; give Budget(seconds=) to"
                f" a call or a block, got {each!r}"
            )


def limit_process(budget: Budget | None, concurrency: int | None, budget_per: Mapping[str, Budget] | None) -> None:
    """Open the accounts that were configured anew; the others stay as they are."""
    if budget is not None:
        SETTINGS.process = Ledger(budget.limits, name="the process")
    if concurrency is not None:
        SETTINGS.seats = Ledger(Budget(concurrency=concurrency).limits)
    if budget is not None or concurrency is not None:
        SETTINGS.roots = tuple(each for each in (SETTINGS.process, SETTINGS.seats) if each is not None)
        SETTINGS.ledger = SETTINGS.roots[0].below({}, *SETTINGS.roots[1:])
    if budget_per is not None:
        SETTINGS.keys = {tag: Keys(tag, each, SETTINGS.roots) for tag, each in budget_per.items()}


def keyed(values: Mapping[str, str], outer: Scope) -> Account | None:
    """The account for what runs below these tags: those of their keys, beside the enclosing one."""
    accounts = [SETTINGS.keys[tag].account(value) for tag, value in values.items() if tag in SETTINGS.keys]
    if not accounts:
        return outer.ledger
    # The keys first: where many share what is above, it is the keys that take turns.
    others = accounts[1:] if outer.ledger is None else [*accounts[1:], outer.ledger]
    return accounts[0].below({}, *others)


def balance(**key: str) -> Balance:
    """How the budget of the process, or of a key, stands: `ttc.balance(user="ann").left["usd"]`.

    Args:
        key: a tag of `configure(budget_per=)` and its value; none for `configure(budget=)`.

    Returns:
        Limits, what is spent, held and left, by resource: "tokens", "usd" (dollars), "samples", "seats".

    Raises:
        ValueError: no such budget is configured, or more than one key is given.
    """
    found = _found(key)
    return found[0].balance(found[1]) if isinstance(found, tuple) else found.balance()


def reset_budget(**key: str) -> None:
    """Let the budget of the process, or of a key, start anew: a new day, say. What is held for calls stays held.

    Args:
        key: as in `balance()`.

    Raises:
        ValueError: as in `balance()`.
    """
    found = _found(key)
    if isinstance(found, tuple):
        found[0].reset(found[1])
    else:
        found.reset()


def _found(key: Mapping[str, str]) -> Account | tuple[Keys, str]:
    if not key:
        if SETTINGS.process is None:
            raise ValueError("the process has no budget: give it one with ttc.configure(budget=ttc.Budget(…))")
        return SETTINGS.process
    if len(key) > 1:
        raise ValueError(f"a budget goes by one key, got {', '.join(key)}")
    tag, value = next(iter(key.items()))
    if tag not in SETTINGS.keys:
        known = ", ".join(SETTINGS.keys) or "none"
        raise ValueError(f"no budget goes by {tag!r} (there are: {known}): see ttc.configure(budget_per=)")
    return SETTINGS.keys[tag], str(value)
