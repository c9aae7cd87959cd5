"""The tree of MCTS: whatever is grown in whatever order, the books are right."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from ttc_middleware.strategies._uct import Tree


def nodes(node):
    yield node
    for child in node.children:
        yield from nodes(child)


def below(node):
    """The values of all simulations that ended here or below, told apart from the tree's own sums."""
    return [each.item for each in nodes(node) if each.item is not None]


MOVES = st.lists(
    st.one_of(
        st.just("select"),
        st.tuples(st.just("add"), st.integers(0, 9), st.floats(0, 1), st.integers(0, 3)),
        st.tuples(st.just("drop"), st.integers(0, 9)),
        st.just("widen"),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(st.integers(1, 4), MOVES)
def test_visits_and_values_add_up_however_simulations_overlap(branching, moves):
    tree = Tree(branching, 1.4)
    under_way, widened = [], 1
    for move in moves:
        if move == "widen":
            if tree.root.closed:
                tree.widen()
                widened += 1
                assert tree.root.free == branching
        elif move == "select":
            node = tree.select()
            if node is not None:
                under_way.append(node)
            else:
                assert under_way or tree.root.closed
        elif under_way:
            node = under_way.pop(move[1] % len(under_way))
            if move[0] == "add":
                tree.add(node, move[2], move[2], move[3])
            else:
                tree.drop(node)
    for node in nodes(tree.root):
        values = below(node)
        assert node.visits == len(values) == (node is not tree.root) + sum(each.visits for each in node.children)
        assert math.isclose(node.total, math.fsum(values), abs_tol=1e-9)
        assert node.pending == sum(node in each.path() for each in under_way)
        assert node.asked == under_way.count(node)
        assert node.unclosed == sum(not each.closed for each in node.children)
        assert len(node.children) <= widened * max(branching, 3)
    assert tree.size == tree.root.visits


def test_the_bound_chooses_as_ucb1_does():
    tree = Tree(2, 1.0)
    first, second = tree.select(), tree.select()
    good, bad = tree.add(first, "good", 0.9, 9), tree.add(second, "bad", 0.1, 9)
    chosen = []
    for _ in range(30):
        bound = {each: each.mean + math.sqrt(math.log(tree.root.visits) / each.visits) for each in (good, bad)}
        node = tree.select()
        assert node is max(bound, key=bound.get)
        chosen.append(node)
        tree.add(node, "more", 0.9 if node is good else 0.1, 0)
        if not node.free:
            break
    assert {good, bad} == set(chosen)
    assert chosen.count(good) > chosen.count(bad)


def test_a_simulation_under_way_sends_the_next_one_elsewhere():
    tree = Tree(2, 0.5)
    left, right = (tree.add(node, name, 0.5, 5) for node, name in ((tree.select(), "left"), (tree.select(), "right")))
    assert [tree.select() for _ in range(4)] == [left, right, left, right]


def test_what_has_nothing_left_is_not_visited_again():
    tree = Tree(2, 1.4)
    nodes_ = [tree.select(), tree.select()]
    tree.add(nodes_[0], "ended", 1.0, 0)
    going = tree.add(nodes_[1], "going", 0.0, 1)
    assert tree.select() is going
    assert tree.select() is None
    tree.drop(going)
    assert tree.root.closed
    assert tree.select() is None


def test_the_best_path_goes_by_visits_then_by_value():
    tree = Tree(2, 0.0)
    first, second = tree.select(), tree.select()
    tree.add(first, "a", 0.4, 1)
    b = tree.add(second, "b", 0.6, 1)
    assert tree.best_path() == ["b"]
    assert tree.select() is b
    tree.add(b, "b1", 0.0, 0)
    assert tree.best_path() == ["b", "b1"]


def test_a_simulation_costs_no_more_in_a_large_tree_than_in_a_small_one():
    looked_at = []

    class Counting(Tree):
        def _bound(self, node):
            looked_at[-1] += 1
            return super()._bound(node)

    tree = Counting(3, 1.4)
    deepest = 0
    for number in range(3_000):
        looked_at.append(0)
        node = tree.select()
        deepest = max(deepest, node.depth)
        tree.add(node, number, (number % 7) / 7, 3)
    assert max(looked_at) <= 3 * deepest
    assert deepest < 60
