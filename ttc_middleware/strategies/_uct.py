"""The tree of a Monte-Carlo tree search: selection by upper confidence bounds, and back-propagation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(eq=False)
class Node(Generic[Item]):
    """One place of the tree."""

    item: Item | None
    """None: the root."""
    parent: Node[Item] | None
    depth: int
    free: int
    """Children that may still be asked for."""
    room: int
    """Children that may be asked for until the tree is widened; 0: it never has any."""
    visits: int = 0
    """Simulations that have ended here or below; the children's add up to it, but for the one that made this node."""
    total: float = 0.0
    """The sum of the values of these."""
    pending: int = 0
    """Simulations under way here or below: each counts as a visit of value 0 until it ends (virtual loss)."""
    asked: int = 0
    """Children under way."""
    unclosed: int = 0
    """Children with something left to look at."""
    children: list[Node[Item]] = field(default_factory=list["Node[Item]"])

    @property
    def closed(self) -> bool:
        """Whether there is nothing left to look at."""
        return not (self.free or self.asked or self.unclosed)

    @property
    def mean(self) -> float:
        """The mean value of the visits."""
        return self.total / self.visits if self.visits else 0.0

    def path(self) -> Iterator[Node[Item]]:
        """From here up to the root."""
        node: Node[Item] | None = self
        while node is not None:
            yield node
            node = node.parent


class Tree(Generic[Item]):
    """A tree that grows by one node a simulation; each costs its depth times the branching, however large the tree.

    Args:
        branching: children of the root at most.
        exploration: the constant of UCB1.
    """

    def __init__(self, branching: int, exploration: float) -> None:
        self.root: Node[Item] = Node(None, None, 0, branching, branching)
        self.size = 0
        """Nodes, but for the root."""
        self.exploration = exploration

    def select(self) -> Node[Item] | None:
        """The node that a new simulation is to grow, which is expected to end in `add()` or `drop()`.

        Goes down by the highest bound, to the first node that has room for a child: what was never tried comes first.

        Returns:
            None: everything is closed, or waits for a simulation under way.
        """
        stack = [self.root]
        while stack:
            node = stack.pop()
            if node.free:
                node.free -= 1
                node.asked += 1
                for each in node.path():
                    each.pending += 1
                return node
            # Last in, first out: the best child is looked at first, the next one where all below it is under way.
            stack += sorted((each for each in reversed(node.children) if not each.closed), key=self._bound)
        return None

    def add(self, parent: Node[Item], item: Item, value: float, free: int) -> Node[Item]:
        """End a simulation: the child that it drew, what that is worth, and how many children that may have."""
        child = Node(item, parent, parent.depth + 1, free, free)
        self.size += 1
        parent.children.append(child)
        parent.unclosed += 1
        for each in child.path():
            each.visits += 1
            each.total += value
        self._settle(parent)
        self._close(child)
        return child

    def drop(self, parent: Node[Item]) -> None:
        """End a simulation that drew nothing of use."""
        self._settle(parent)
        self._close(parent)

    def widen(self) -> None:
        """Give every node that may have children as many more; to be asked when all is closed."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            stack += node.children
            node.free = node.room
            node.unclosed = sum(child.room > 0 for child in node.children)

    def best_path(self) -> list[Item]:
        """The items on the way down by the most visits; ties go to the higher mean, then to the earlier child."""
        node, items = self.root, list[Item]()
        while node.children:
            node = max(node.children, key=lambda each: (each.visits, each.mean))
            if node.item is not None:
                items.append(node.item)
        return items

    def _bound(self, node: Node[Item]) -> float:
        above = node.parent or node
        tries = node.visits + node.pending
        return node.total / tries + self.exploration * math.sqrt(math.log(above.visits + above.pending) / tries)

    @staticmethod
    def _settle(parent: Node[Item]) -> None:
        parent.asked -= 1
        for each in parent.path():
            each.pending -= 1

    @staticmethod
    def _close(node: Node[Item]) -> None:
        """Tell the nodes above, as far as it closes them too."""
        while node.closed and node.parent is not None:
            node = node.parent
            node.unclosed -= 1
