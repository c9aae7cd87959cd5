"""Accounts in another process: `Account` implemented a second time, over a pipe, with every message sent twice.

What a shared store would do, in small. The messages are what matters: `reserve`, `extend`, `settle` and `withdraw` by
hold id, each atomic and each without harm when it comes again, as it does from a client whose answer was lost.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Mapping

import ttc_middleware as ttc
from ttc_middleware._account import Account, Ask, Hold, Ticket
from ttc_middleware._ledger import Ledger


class Store:
    """The other process, from here; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._lock = threading.Lock()
        self.names = itertools.count()
        self.tickets: dict[int, tuple[Ticket, Far]] = {}
        self.messages = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def root(self, limits: Mapping[str, int], name: str | None = None, *, late: bool = False) -> Far:
        return Far(self, limits, (), name, late=late)

    def says(self, what: str, *, again: bool = True, **message):
        """Send a message, twice where it may come twice; hand out what it has set free."""
        answers = []
        with self._lock:
            for _ in range(1 + again):
                self.messages += 1
                self._process.stdin.write(json.dumps({"what": what, **message}) + "\n")
                self._process.stdin.flush()
                answers.append(json.loads(self._process.stdout.readline()))
        if "broken" in answers[-1]:
            raise AssertionError(answers[-1]["broken"])
        for answer in answers:
            for number, outcome in answer["woken"]:
                if number in self.tickets:
                    ticket, account = self.tickets.pop(number)
                    ticket.outcome = account.outcome(ticket.ask, outcome)
                    ticket.wake()
        return answers[-1]["answer"]


class Far:
    """An account that is kept over there."""

    def __init__(self, store, limits, parents, name, *, late):
        self.store, self.limits, self.name, self.late = store, dict(limits), name, late
        self.number = next(store.names)
        nodes = {id(node): node for parent in parents for node in parent.path}
        self.path = (self, *sorted(nodes.values(), key=lambda node: -node.number))
        above = [parent.number for parent in parents]
        store.says("open", account=self.number, limits=self.limits, parents=above, name=name, again=False)

    def below(self, limits, *others, name=None):
        return Far(self.store, limits, (self, *others), name, late=self.late)

    def limited(self, *resources):
        return any(resource in node.limits for node in self.path for resource in resources)

    def unspent(self, resource):
        return self._says("unspent", resource=resource)

    def exhausted(self):
        refusal = self._says("exhausted")
        return None if refusal is None else ttc.BudgetExceeded(*refusal)

    def reserve(self, ask, wake):
        ticket = Ticket(self, ask, wake)
        if self.late:  # as over a network: the answer comes when it comes, in another thread
            threading.Thread(target=self._reserve, args=(ask, ticket), daemon=True).start()
            return ticket
        outcome = self._reserve(ask, ticket)
        if isinstance(outcome, ttc.BudgetExceeded):
            raise outcome
        return outcome

    def _reserve(self, ask, ticket):
        self.store.tickets[ask.id] = ticket, self
        question = {name: getattr(ask, name) for name in ("fixed", "wish", "rates", "floor", "patient", "id")}
        answer = self._says("reserve", ask=question)
        if answer == "waits":
            return ticket
        if self.store.tickets.pop(ask.id, None) is None:  # woken between the two messages
            return ticket
        outcome = self.outcome(ask, answer)
        if self.late:
            ticket.outcome = outcome
            ticket.wake()
        return outcome

    def outcome(self, ask, answer):
        return Hold(self, ask, answer) if isinstance(answer, int) else ttc.BudgetExceeded(*answer)

    def extend(self, hold, upto):
        hold.granted = self._says("extend", hold=hold.id, upto=upto)
        return hold.granted

    def park(self, hold):
        hold.parked = True
        self._says("park", hold=hold.id)

    def settle(self, hold, actual=None):
        hold.open = False
        self._says("settle", hold=hold.id, actual=actual)

    def withdraw(self, ticket):
        self.store.tickets.pop(ticket.ask.id, None)
        self._says("withdraw", hold=ticket.ask.id)

    def charge(self, actual):
        self._says("charge", actual=actual, again=False)

    def reset(self):
        self._says("reset")

    def balance(self):
        return ttc.Balance(*self._says("balance"))

    def forget(self):
        raise NotImplementedError

    def _says(self, what, **message):
        return self.store.says(what, account=self.number, **message)

    # For those who look closer.

    spent = property(lambda self: self._says("look")["spent"])
    reserved = property(lambda self: self._says("look")["reserved"])
    parked = property(lambda self: self._says("look")["parked"])
    overrun = property(lambda self: self._says("look")["overrun"])

    @property
    def waiting(self):
        return self._says("look")["waiting"]


_: type[Account] = Far


class Keeper:
    """The store itself, in the other process."""

    def __init__(self) -> None:
        self.accounts: dict[int, Ledger] = {}
        self.holds: dict[int, Hold | Ticket | ttc.BudgetExceeded] = {}  # never forgotten: a message may come late
        self.woken: list[tuple[int, object]] = []

    def handle(self, message):
        what = message.pop("what")
        if what in ("open", "reserve", "extend", "park", "settle", "withdraw", "look"):
            return getattr(self, what)(**message)
        account = self.accounts[message.pop("account")]
        said = getattr(account, what)(**message)
        if what == "balance":
            return [said.limits, said.spent, said.held]
        return said.args if isinstance(said, ttc.BudgetExceeded) else said

    def open(self, account, limits, parents, name):
        self.accounts[account] = Ledger(limits, *(self.accounts[each] for each in parents), name=name)

    def reserve(self, account, ask):
        number = ask["id"]
        if number not in self.holds:
            try:
                self.holds[number] = self.accounts[account].reserve(Ask(**ask), lambda: self.rings(number))
            except ttc.BudgetExceeded as refusal:
                self.holds[number] = refusal
        return self.told(self.holds[number])

    def told(self, outcome):
        if isinstance(outcome, Ticket):
            return "waits" if outcome.outcome is None else self.told(outcome.outcome)
        return outcome.granted if isinstance(outcome, Hold) else outcome.args

    def rings(self, number):
        self.woken.append((number, self.told(self.holds[number])))

    def hold(self, number):
        known = self.holds[number]
        return known.outcome if isinstance(known, Ticket) else known

    def extend(self, account, hold, upto):
        return self.hold(hold).extend(upto)

    def park(self, account, hold):
        self.hold(hold).park()

    def settle(self, account, hold, actual):
        self.hold(hold).settle(actual)

    def withdraw(self, account, hold):
        known = self.holds.get(hold)
        if isinstance(known, Ticket):
            known.withdraw()
        elif isinstance(known, Hold):
            known.settle({})

    def look(self, account):
        node = self.accounts[account]
        waiting = [ticket.ask.id for ticket in node.waiting_for_money]
        return {name: getattr(node, name) for name in ("spent", "reserved", "parked", "overrun")} | {"waiting": waiting}


def serve() -> None:
    keeper = Keeper()
    for line in sys.stdin:
        try:
            answer = {"answer": keeper.handle(json.loads(line))}
        except Exception as error:  # noqa: BLE001  # told to who asked
            answer = {"broken": f"{type(error).__name__}: {error}"}
        print(json.dumps({**answer, "woken": keeper.woken}), flush=True)  # noqa: T201  # the answer
        keeper.woken = []


if __name__ == "__main__":
    serve()
