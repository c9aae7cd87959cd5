"""A search as the tree that its draws made: what was drawn from what, what each branch cost, and which one won."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ._brief import short
from ._types import Result, Sample
from ._usage import Usage

_WIDTH = 100
_MOST = 200
"""Samples that print; the others are counted."""
_DEEPEST = 12
"""Levels that are indented; deeper ones say how deep they are."""
_LEAST_TEXT = 12
_LEAST_USD = Decimal("0.000001")


@dataclass(frozen=True, eq=False, repr=False)
class TreeNode:
    """A sample, and what was drawn from it."""

    sample: Sample[Any]
    children: tuple[TreeNode, ...]
    """In launch order."""
    depth: int
    """0 for a sample that was drawn from no other."""
    parent: int | None
    """The launch order of the sample that this one was drawn from; None: of none that is known."""
    visits: int
    """Samples in this part of the tree, this one included."""
    usage: Usage
    """What this part of the tree cost: the sum over its samples, without what verifying them cost."""
    chosen: bool
    """The winner, or a sample that the winner was drawn from, at any remove."""

    @property
    def score(self) -> float | None:
        """The verifier's score of the sample, 0 to 1; None where there is none."""
        return self.sample.score

    def __repr__(self) -> str:
        return f"<TreeNode {self.sample.index}: {self.visits} visits, {len(self.children)} children>"


@dataclass(frozen=True, eq=False, repr=False)
class Tree:
    """The samples of a result by what they were drawn from; made by `Result.tree`.

    Best-of-N is a star, a chain of revisions a line, a search over steps a tree. `print(tree)` shows it in a terminal,
    `draw()` makes a picture, `to_jsonl()` exports one row a sample, for instance as labels of steps. What a model wrote
    is shown in the first two, printable and short.
    """

    name: str
    """Of the call, as in `Result.name`."""
    strategy: str
    """As in `Result.strategy`."""
    nodes: tuple[TreeNode, ...]
    """Every sample once, in launch order."""
    winner: int | None
    """The launch order of the winner."""
    accepted: bool

    @property
    def roots(self) -> tuple[TreeNode, ...]:
        """The samples that were drawn from no other."""
        return tuple(node for node in self.nodes if not node.depth)

    @property
    def usage(self) -> Usage:
        """What all samples cost together, without what verifying them cost; the bill has that."""
        return sum((root.usage for root in self.roots), Usage.zero())

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Write the tree as a picture, an SVG that needs nothing else and suits light and dark pages.

        Colour is the score, size the visits; the winner's path is bold; labels say what a sample cost.

        Args:
            path: where to, ending in ".svg".

        Raises:
            ValueError: another ending.
            OSError: the file cannot be written.
        """
        from ._tree_svg import svg  # noqa: PLC0415  # only those who draw need it

        if Path(path).suffix.lower() != ".svg":
            raise ValueError(f"a tree is drawn as SVG, so the path must end in '.svg', not {os.fspath(path)!r}")
        Path(path).write_text(svg(self), encoding="utf-8")

    def rows(self, *, content: bool = False) -> Iterator[dict[str, Any]]:
        """One row a sample, in launch order, of JSON types.

        `index` and `parent` are launch orders (`parent` None for a root); `kind` is the draw's; `whole` says that it is
        an answer, not just a part of one; then `status`, `score` (0 to 1 or None), `accepted`, `chosen` and `visits`;
        `tokens` are its own (None where nobody knows), `tokens_below` its own and those of everything below.

        Args:
            content: what the model wrote, too, as `text`: the whole partial answer up to there.
        """
        for node in self.nodes:
            sample = node.sample
            row = {
                "index": sample.index,
                "parent": node.parent,
                "kind": sample.draw.kind,
                "whole": sample.whole,
                "status": sample.status,
                "score": sample.score,
                "accepted": sample.accepted,
                "chosen": node.chosen,
                "visits": node.visits,
                "tokens": None if sample.billed == "unknown" else sample.usage.tokens,
                "tokens_below": node.usage.tokens,
            }
            yield {**row, "text": sample.text} if content else row

    def to_dict(self, *, content: bool = False) -> dict[str, Any]:
        """JSON types: the call, the strategy, the winner, and all `rows()`.

        Args:
            content: what the model wrote, too.
        """
        rows = list(self.rows(content=content))
        return {"name": self.name, "strategy": self.strategy, "winner": self.winner, "samples": rows}

    def to_jsonl(self, path: str | os.PathLike[str], *, content: bool = False) -> None:
        """Write `rows()` as JSON Lines, in place of whatever was there.

        Args:
            path: where to.
            content: what the model wrote, too.

        Raises:
            OSError: the file cannot be written.
        """
        lines = [json.dumps(row) + "\n" for row in self.rows(content=content)]
        Path(path).write_text("".join(lines), encoding="utf-8")

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def __repr__(self) -> str:
        return f"<Tree of {self.name}: {len(self.nodes)} samples>"


def tree_of(result: Result[Any]) -> Tree:
    """Build the tree of a result, in time linear in its samples."""
    samples = result.samples
    by_index = {sample.index: place for place, sample in enumerate(samples)}
    parents = [_parent(sample, by_index) for sample in samples]
    below: list[list[int]] = [[] for _ in samples]
    depths = [0] * len(samples)
    # Who is drawn from another is launched later: going up in launch order meets parents first, going down children.
    order = sorted(range(len(samples)), key=lambda place: samples[place].index)
    for place in order:
        parent = parents[place]
        if parent is not None:
            below[parent].append(place)
            depths[place] = depths[parent] + 1
    won = None if result.winner is None else result.winner.index
    step = None if won is None else by_index.get(won)
    path: set[int] = set()
    while step is not None:
        path.add(step)
        step = parents[step]
    nodes: dict[int, TreeNode] = {}
    for place in reversed(order):
        children = tuple(nodes[child] for child in below[place])
        parent = parents[place]
        nodes[place] = TreeNode(
            sample=samples[place],
            children=children,
            depth=depths[place],
            parent=None if parent is None else samples[parent].index,
            visits=1 + sum(child.visits for child in children),
            usage=sum((child.usage for child in children), samples[place].usage),
            chosen=place in path,
        )
    return Tree(result.name, result.strategy, tuple(nodes[place] for place in order), won, result.accepted)


def _parent(sample: Sample[Any], by_index: dict[int, int]) -> int | None:
    parent = sample.draw.parent
    return by_index.get(parent.index) if parent is not None and parent.index < sample.index else None


def summary(tree: Tree) -> str:
    """What all of it came to, in a line."""
    count = f"{len(tree.nodes):,} sample" + ("" if len(tree.nodes) == 1 else "s")
    judged = any(node.sample.verdict is not None for node in tree.nodes)
    verdict = "accepted" if tree.accepted else "not accepted" if judged else "not verified"
    return f"{short(tree.name)}: {verdict}, {count}, {_spent(tree.usage)}"


def cost(node: TreeNode) -> str:
    """Tokens and dollars of a sample, and those of it and all below it."""
    own = _spent(node.sample.usage, known=node.sample.billed != "unknown")
    return f"{own} ({node.visits:,} visits: {_spent(node.usage)})" if node.children else own


def _spent(usage: Usage, *, known: bool = True) -> str:
    if not known:
        return "unknown"
    tokens = f"{usage.tokens:,} token{'' if usage.tokens == 1 else 's'}"
    if not usage.usd:
        return tokens
    if usage.usd >= 1:
        return f"{tokens} ${usage.usd:,.2f}"
    return f"{tokens} ${f'{usage.usd:.6f}'.rstrip('0')}" if usage.usd >= _LEAST_USD else f"{tokens} <${_LEAST_USD}"


def _lines(tree: Tree) -> Iterator[str]:
    yield short(f"{tree.strategy}  {summary(tree)}", _WIDTH)
    shown = _shown(tree)
    roots = [node for node in tree.roots if id(node) in shown]
    stack = _siblings(roots, sum(root.visits for root in tree.roots if id(root) not in shown), "")
    while stack:
        node, guides, bend, hidden = stack.pop()
        if node is None:
            yield f"{_cut(guides)}{bend} … {hidden:,} more"
            continue
        yield _line(node, f"{_cut(guides)}{bend}")
        inside = [child for child in node.children if id(child) in shown]
        hidden = sum(child.visits for child in node.children if id(child) not in shown)
        stack += _siblings(inside, hidden, guides + ("  " if bend == "└" else "│ "))
    won = [node for node in tree.nodes if node.sample.index == tree.winner and id(node) not in shown]
    for node in won:
        yield _line(node, f"winner, {node.depth:,} levels down:")


_Row = tuple["TreeNode | None", str, str, int]


def _siblings(nodes: list[TreeNode], hidden: int, guides: str) -> list[_Row]:
    """Rows of one parent's children, the last first; how many samples are not shown comes as a row of its own."""
    rows: list[_Row] = [(node, guides, "├", 0) for node in nodes]
    if hidden:
        rows.append((None, guides, "├", hidden))
    if rows:
        node, _, _, count = rows[-1]
        rows[-1] = (node, guides, "└", count)
    return rows[::-1]


def _cut(guides: str) -> str:
    deeper = len(guides) // 2 - _DEEPEST
    return guides if deeper <= 0 else f"+{deeper} {guides[-2 * _DEEPEST :]}"


def _shown(tree: Tree) -> set[int]:
    """The nodes that print: the beginning of the winner's path, then level by level."""
    path = [node for node in tree.nodes if node.chosen][: _MOST // 2]
    shown = {id(node) for node in path}
    for node in sorted(tree.nodes, key=lambda each: each.depth):
        if len(shown) >= _MOST:
            break
        shown.add(id(node))
    return shown


def _line(node: TreeNode, start: str) -> str:
    sample = node.sample
    score = "" if node.score is None else f" {node.score:.2f}"
    status = "" if sample.status == "answer" else f" {sample.fault or sample.status}"
    line = f"{start}{'*' if node.chosen else ' '}{sample.index}{score}{status}, {cost(node)}"[:_WIDTH]
    room = _WIDTH - len(line) - 2
    said = short(new_text(sample), room) if room >= _LEAST_TEXT else ""
    return f"{line}: {said}" if said else line


def new_text(sample: Sample[Any]) -> str:
    """What a sample adds to the partial answer that it continues; otherwise all of it."""
    text = sample.text or ""
    return text.removeprefix(sample.draw.extend or "")
