"""What AB-MCTS's own bookkeeping costs, without any model: milliseconds a step, beside the authors' treequest.

    uv run --with treequest==0.3.3 python benchmarks/abmcts.py [--nodes 1000] [--runs 3]

A step chooses where to go on and takes in one score. Its time goes with the children of the nodes that it passes, so it
depends on the shape of the tree, and that on the scores: *flat* ones are chance, *deeper* ones grow with depth, *yes or
no* ones are 1 three times in ten, *none* are all 0. Figures are the mean of the last fifth of the steps, the best of
the runs, since a busy machine only ever adds; treequest is left out where it is not installed, and has one run.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import time
from collections.abc import Callable
from typing import Any

from ttc_middleware.strategies._abmcts_tree import Tree
from ttc_middleware.strategies._beliefs import BELIEFS, BeliefName

Score = Callable[[random.Random, float], float]
WORLDS: dict[str, Score] = {
    "flat": lambda chance, above: chance.random(),  # noqa: ARG005  # as the others
    "deeper": lambda chance, above: min(1.0, max(0.0, above + chance.gauss(0.05, 0.1))),
    "yes or no": lambda chance, above: float(chance.random() < 0.3),  # noqa: ARG005  # as the others
    "none": lambda chance, above: 0.0,  # noqa: ARG005  # as the others
}


def ours(kind: BeliefName, score: Score, nodes: int) -> tuple[float, int]:
    """Milliseconds a step, and the children of the root at the end."""
    tree, scores, spent = Tree(BELIEFS[kind], ["model"], random.Random(1)), random.Random(2), 0.0
    for step in range(nodes):
        start = time.perf_counter()
        node, model = tree.choose()
        chosen = time.perf_counter() - start
        reached = score(scores, node.value or 0.0)
        start = time.perf_counter()
        tree.add(node, model, reached, reached)
        if step >= nodes * 4 // 5:
            spent += chosen + time.perf_counter() - start
    return 1e3 * spent / (nodes - nodes * 4 // 5), len(tree.root.children)


def theirs(kind: BeliefName, score: Score, nodes: int) -> float:
    """Milliseconds a step."""
    treequest: Any = importlib.import_module("treequest")
    algorithm, scores, spent = treequest.ABMCTSA(dist_type=kind), random.Random(2), 0.0
    state = algorithm.init_tree()
    for step in range(nodes):
        start = time.perf_counter()
        state, trial = algorithm.ask(state, ["model"])
        chosen = time.perf_counter() - start
        reached = score(scores, trial.parent_state or 0.0)
        start = time.perf_counter()
        state = algorithm.tell(state, trial.trial_id, (reached, reached))
        if step >= nodes * 4 // 5:
            spent += chosen + time.perf_counter() - start
    return 1e3 * spent / (nodes - nodes * 4 // 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    there = importlib.util.find_spec("treequest") is not None
    print(f"| posterior | scores | children of the root | ms a step at {asked.nodes:,} nodes | treequest |")
    print("|---|---|---|---|---|")
    for kind in BELIEFS:
        for name, score in WORLDS.items():
            runs = [ours(kind, score, asked.nodes) for _ in range(asked.runs)]
            other = f"{theirs(kind, score, asked.nodes):.2f}" if there else "not installed"
            print(f"| {kind} | {name} | {runs[0][1]} | {min(ms for ms, _ in runs):.3f} | {other} |", flush=True)


if __name__ == "__main__":
    main()
