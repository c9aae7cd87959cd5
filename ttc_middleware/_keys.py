"""Accounts by key: one for each tenant, each user, whatever a tag names."""

from __future__ import annotations

import threading

from ._account import Account, Balance
from ._budget import Budget
from ._ledger import Ledger


class Keys:
    """The accounts of one tag's values, each opened when a call under it comes first.

    They are kept as long as the process lives, about 2 KB each: what somebody has spent must not be forgotten because
    others came meanwhile.

    Args:
        tag: its name.
        budget: limits of each value.
        roots: the accounts of the process, on which all charges land too.
    """

    def __init__(self, tag: str, budget: Budget, roots: tuple[Account, ...]) -> None:
        self.accounts: dict[str, Account] = {}
        """By value."""
        self._tag = tag
        self._limits = budget.limits
        self._roots = roots
        self._lock = threading.Lock()

    def account(self, value: str) -> Account:
        """The account of a value."""
        with self._lock:
            if value not in self.accounts:
                self.accounts[value] = self._opened(value)
            return self.accounts[value]

    def balance(self, value: str) -> Balance:
        """How a value stands; one that nobody has used yet has everything left."""
        return (self.accounts.get(value) or self._opened(value)).balance()

    def reset(self, value: str) -> None:
        """Let a value start anew."""
        if value in self.accounts:
            self.accounts[value].reset()

    def unlock(self) -> None:
        """In a forked child: the lock, which another thread of the parent may have held at that moment."""
        self._lock = threading.Lock()

    def _opened(self, value: str) -> Account:
        name = f"{self._tag} {value!r}"
        if not self._roots:
            return Ledger(self._limits, name=name)
        return self._roots[0].below(self._limits, *self._roots[1:], name=name)
