"""Monte-Carlo tree search over steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ttc_middleware._search import gather
from ttc_middleware._types import Sample

from ._check import count, number
from ._lanes import Part
from ._pool import pooled
from ._steps import Steps, StepSearch, Value, Walk, can_go_on, check_steps
from ._uct import Node, Tree


@dataclass(frozen=True, repr=False)
class MCTS(StepSearch):
    """Grow a tree of steps where it is promising, and go back where it is not.

    Kocsis and Szepesvári 2006, "Bandit based Monte-Carlo Planning" (UCT); over steps of an answer as in RAP (Hao et al.
    2023, arXiv:2305.14992). One **simulation** goes down from the root by UCB1 to the first node that has room for a
    child, draws that child (one step, one model call), asks what it is worth, and adds this to every node on the way
    back up. So a node's children are drawn before any of them is gone into, a step is paid once, and `simulations` are
    at most so many draws besides roll-outs; with a `MonteCarloValue` each adds those of one prefix. A child that ends
    the answer is worth its own score; whatever has nothing left to draw is not visited again. A step that says what its
    sibling says, or that fails, takes up a place among its parent's children and is not visited. When all is drawn,
    each node may have as many children again, a coarse form of progressive widening (Coulom 2007, "Computing Elo
    Ratings of Move Patterns in the Game of Go"): soon so where a verifier proves steps wrong.

    Ends with the first accepted answer; else, when the simulations are used up or widening has brought nothing new, the
    path of the most visits is drawn to its end if it has none, and the answer with the highest score is returned.

    Several simulations run side by side; one that is under way counts as a visit of value 0 on its path (virtual loss),
    so that the next one looks elsewhere. It acts on the order in which samples arrive.

    For servers that continue a partial answer. Where it fails: slow, each simulation waits for its step, and its value,
    and few are as good as many only where values tell prefixes apart; on one that is wrong about a prefix it spends all
    that it has. With values close to each other the exploration term rules, and it is a breadth-first search.

    Args:
        simulations: at most, from 1.
        branching: children of a node, from 1; as many more whenever the whole tree is drawn.
        depth: steps of an answer at most, from 1; then a child is all that is missing, in one go.
        exploration: the constant of UCB1, from 0; the square root of 2 is that of the paper, for values in 0 to 1.
        at_once: simulations under way at a time, from 1; 1 is the algorithm of the papers.
        steps: how answers are cut into steps.
        value: a verifier of prefixes, or a `MonteCarloValue`: `MonteCarloValue(1)` is the textbook's roll-out; None:
            the call site's own verifier, which then has to make sense of what is not finished.

    Raises:
        ValueError: a number is out of its range.
        TypeError: `steps` or `value` is no such thing.
    """

    simulations: int = 50
    branching: int = 3
    depth: int = 20
    exploration: float = 1.414
    at_once: int = field(default=4, kw_only=True)
    steps: Steps = field(default=Steps(), kw_only=True)
    value: Value | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, simulations=self.simulations, branching=self.branching, depth=self.depth, at_once=self.at_once)
        number(self, 0, math.inf, exploration=self.exploration)
        check_steps(self, self.steps, self.value)

    def walk(self, walk: Walk) -> Part:
        """All simulations; then the best path to its end."""
        yield from walk.lanes.run(self._grown(walk))

    def _grown(self, walk: Walk) -> Part:
        tree: Tree[Sample[Any]] = Tree(self.branching, self.exploration)
        left, before = self.simulations, 0

        def more() -> Part | None:
            nonlocal left, before
            node = tree.select() if left else None
            if node is None and left and tree.root.closed and tree.size > before:
                before = tree.size
                tree.widen()
                node = tree.select()
            if node is None:
                return None
            left -= 1
            return self._simulation(walk, tree, node)

        yield from pooled(more, at_once=self.at_once, until=walk.decides)
        path = tree.best_path()
        if walk.won is None and path and can_go_on(path[-1]):
            yield from gather([walk.rest(path[-1])])
        return path

    def _simulation(self, walk: Walk, tree: Tree[Sample[Any]], node: Node[Sample[Any]]) -> Part:
        """Draw one child of this node, and say what it is worth."""
        above, steps = node.item, walk.steps
        over = above is not None and (node.depth >= self.depth or walk.over(above))
        draw = walk.rest(above) if above is not None and over else walk.step(above)
        drawn: list[Sample[Any]] = yield from gather([draw])
        texts = [steps.text(each.item) for each in node.children if each.item is not None]
        usable = [each for each in drawn if each.status in ("answer", "truncated") and steps.text(each) not in texts]
        if not usable:
            tree.drop(node)
            return
        sample = usable[0]
        value: float = yield from walk.value_of(sample)
        places = 0 if not can_go_on(sample) else 1 if walk.over(sample) else self.branching
        tree.add(node, sample, value, places)
