"""A queue in which the children of an account take turns."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from ._account import Ticket

C = TypeVar("C")


class Line(Generic[C]):
    """Who waits at an account: its children in turns (round robin), within each first come, first served.

    A child that comes goes behind those that are there, and so does one that has had its turn and has more to come.
    So whoever is next stays next, however many come, and of two children that always have somebody waiting neither
    gets more than one turn ahead of the other.
    """

    __slots__ = ("_children", "urgent")

    def __init__(self) -> None:
        self._children: dict[C, deque[Ticket]] = {}  # in the order of their turns
        self.urgent: list[Ticket] = []
        """Who goes before all others here, wherever it stands now; the oldest first."""

    def __iter__(self) -> Iterator[Ticket]:
        return (ticket for queue in self._children.values() for ticket in queue)

    def __len__(self) -> int:
        return sum(map(len, self._children.values()))

    def next(self, here: C) -> Ticket | None:
        """Who is next here; None where nobody is, or where who is next stands elsewhere."""
        if self.urgent:
            return self.urgent[0] if self.urgent[0].at is here else None
        return next(iter(self), None)

    def blocks(self, ticket: Ticket | None) -> bool:
        """Whether one who comes (a ticket from another queue, or None for a newcomer) has somebody before it."""
        return self.urgent[0] is not ticket if self.urgent else bool(self._children)

    def add(self, child: C, ticket: Ticket) -> None:
        """Let a ticket stand in the queue of its child; one that comes from another queue keeps its rank there."""
        bisect.insort(self._children.setdefault(child, deque()), ticket, key=_age)

    def remove(self, child: C, ticket: Ticket, *, turn: bool) -> None:
        """Take a ticket out; if it has had its turn, the child's next one comes after the others."""
        queue = self._children[child]
        queue.remove(ticket)
        if not queue:
            del self._children[child]
        elif turn:
            self._children[child] = self._children.pop(child)

    def hurry(self, ticket: Ticket) -> None:
        """Let a ticket go before all others."""
        bisect.insort(self.urgent, ticket, key=_age)


def _age(ticket: Ticket) -> int:
    return ticket.ask.id
