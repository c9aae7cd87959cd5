"""The tree of AB-MCTS-A: which answer to continue, and what each score says of the branches above it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ._beliefs import Belief

K = TypeVar("K")


class Node:
    """An answer, and the arms that one may pull at it. The root is the call itself."""

    __slots__ = ("arms", "children", "cont", "gen", "parent", "subtree", "value")

    def __init__(self, belief: Callable[[], Belief], value: Any = None, parent: Node | None = None) -> None:
        self.value = value
        """What the node stands for; None at the root."""
        self.parent = parent
        self.children: list[Node] = []
        self.arms: list[Belief] = []
        """What is believed of each child: of its own score and all below it."""
        self.gen = belief()
        """GEN: scores of what was made directly from here."""
        self.cont = belief()
        """CONT: scores of what was made further down."""
        self.subtree = belief()
        """What is believed of this node, as its parent's arm."""


class Tree(Generic[K]):
    """Where to go on, by Thompson sampling: at each node wider (GEN) or deeper (CONT), and into which child.

    What is under way leaves no mark: where several draws are asked for before the first of them ends, they differ by
    chance alone, as in a batch of the reference implementation. That is Thompson sampling in batches, which needs no
    invented score for what is not known yet.

    Args:
        belief: makes the posterior of each arm.
        makers: who can make an answer; each has a posterior of its own, over the whole tree.
        chance: where the randomness comes from.
    """

    def __init__(self, belief: Callable[[], Belief], makers: Sequence[K], chance: random.Random) -> None:
        self._belief = belief
        self._chance = chance
        self.root = Node(belief)
        self.makers: Mapping[K, Belief] = {maker: belief() for maker in makers}

    def choose(self) -> tuple[Node, K]:
        """The node to go on from, and who is to; takes time in the children of the nodes that are passed."""
        node = self.root
        # Its first answer has no rival. (Where nothing is below, both are drawn and lead to the same: not drawn here.)
        while node.children and node.gen.draw(self._chance) < node.cont.draw(self._chance):
            node = node.children[self._likeliest(node.arms)]
        return node, self._maker()

    def add(self, parent: Node, maker: K, score: float, value: Any = None) -> Node:
        """Put an answer into the tree, and let all above it know; takes time in its depth.

        Args:
            parent: what it was made from.
            maker: who made it.
            score: from 0 to 1.
            value: what the node stands for.
        """
        node = Node(self._belief, value, parent)
        parent.children.append(node)
        parent.arms.append(node.subtree)
        self.makers[maker].see(score)
        parent.gen.see(score)
        node.subtree.see(score)
        while parent.parent is not None:
            parent.subtree.see(score)
            parent.parent.cont.see(score)
            parent = parent.parent
        return node

    def _likeliest(self, arms: Sequence[Belief]) -> int:
        drawn = arms[0].draws(arms, self._chance)
        return drawn.index(max(drawn))

    def _maker(self) -> K:
        makers = list(self.makers)
        return makers[self._likeliest(list(self.makers.values()))] if len(makers) > 1 else makers[0]
