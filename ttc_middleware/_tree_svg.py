"""A tree as a picture: depth from left to right, one row a leaf, each parent in the middle of its children."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ._brief import short
from ._tree import Tree, TreeNode, cost, new_text, summary

_LABELLED = 80
"""Up to this many leaves each has a row that text fits into."""
_ROW = 30.0
_TALLEST = 2_400.0
"""Pixels that more leaves share, as long as each can be seen."""
_THINNEST = 4.0
_COLUMN, _WIDEST, _NARROWEST = 170.0, 3_400.0, 16.0
_TEXT_COLUMN = 120.0
"""From this width on, text fits between a parent and its children."""
_LEFT, _TOP, _RIGHT, _BOTTOM = 40.0, 96.0, 430.0, 24.0
_SMALLEST, _LARGEST = 1.8, 13.0
_COLORS = ((0x44, 0x01, 0x54), (0x3B, 0x52, 0x8B), (0x21, 0x91, 0x8C), (0x5E, 0xC9, 0x62), (0xFD, 0xE7, 0x25))
"""Viridis: its order is seen in grey, and with any colour vision."""
_STYLE = """
svg { background: #ffffff; font: 11px system-ui, sans-serif }
text { fill: #24292f; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round; paint-order: stroke }
.dim { fill: #57606a }
.title { font-size: 15px; font-weight: 600 }
.edge { fill: none; stroke: #afb8c1 }
.node { stroke: #57606a; stroke-width: .8 }
.none { fill: #ffffff; stroke: #57606a; stroke-width: 1.4 }
.failed { fill: none; stroke: #8c959f; stroke-width: 1.6 }
.edge.chosen { stroke: #d55e00; stroke-width: 3.2 }
.node.chosen { stroke: #d55e00; stroke-width: 2.6 }
text.chosen { font-weight: 700 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } text { fill: #e6edf3; stroke: #0d1117 }
.dim { fill: #9198a1 } .none { fill: #0d1117; stroke: #9198a1 }
.edge { stroke: #4d5560 } .node { stroke: #9198a1 } .edge.chosen, .node.chosen { stroke: #ff9e4a } }
""".strip()


@dataclass(frozen=True)
class _Layout:
    """Where everything is, in pixels."""

    column: float
    row: float
    rows: int
    deepest: int
    places: dict[int, float]
    """The height of each node, by its launch order."""

    @property
    def width(self) -> float:
        return max(720.0, self.x(self.deepest) + _RIGHT)

    @property
    def height(self) -> float:
        return _TOP + max(1, self.rows) * self.row + _BOTTOM

    def x(self, depth: int) -> float:
        return _LEFT + (depth + 1) * self.column

    def size(self, node: TreeNode) -> float:
        smallest = min(4.5, max(_SMALLEST, self.row * 0.42))
        return min(_LARGEST, smallest + 1.3 * math.log2(node.visits))


def svg(tree: Tree) -> str:
    """The picture, as a document of its own."""
    layout = _laid_out(tree)
    call = _middle([layout.places[root.sample.index] for root in tree.roots])
    title = escape(short(tree.strategy, 110))
    width, height = f"{layout.width:.0f}", f"{layout.height:.0f}"
    frame = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="16" y="26">{title}</text>',
        f'<text class="dim" x="16" y="44">{escape(summary(tree))}</text>',
        *_legend(),
        f'<g stroke-width="{min(1.2, max(0.4, layout.row / 12)):.1f}">',
        *_edges(tree, layout, call),
        "</g>",
        f'<rect class="none" x="{_LEFT - 5}" y="{call - 5:.1f}" width="10" height="10" rx="2"/>',
        *(_mark(node, layout) for node in sorted(tree.nodes, key=lambda each: each.chosen)),
        *_labels(tree, layout),
        "</svg>\n",
    ])  # fmt: skip


def _laid_out(tree: Tree) -> _Layout:
    above: list[TreeNode] = []
    stack = list(tree.roots[::-1])
    while stack:
        node = stack.pop()
        above.append(node)
        stack += node.children[::-1]
    rows = sum(not node.children for node in above)
    row = _ROW if rows <= _LABELLED else max(_THINNEST, _TALLEST / rows)
    places: dict[int, float] = {}
    leaves = rows
    for node in reversed(above):  # children before their parent, the last row first
        if node.children:
            places[node.sample.index] = _middle([places[child.sample.index] for child in node.children])
        else:
            leaves -= 1
            places[node.sample.index] = _TOP + (leaves + 0.5) * row
    deepest = max((node.depth for node in above), default=0)
    column = max(_NARROWEST, min(_COLUMN, _WIDEST / (deepest + 1)))
    return _Layout(column, row, rows, deepest, places)


def _middle(heights: list[float]) -> float:
    return (heights[0] + heights[-1]) / 2 if heights else _TOP + _ROW / 2


def _edges(tree: Tree, layout: _Layout, call: float) -> Iterator[str]:
    for node in sorted(tree.nodes, key=lambda each: each.chosen):  # the winner's path lies on top
        start = call if node.parent is None else layout.places[node.parent]
        x0, x1, y1 = layout.x(node.depth - 1), layout.x(node.depth), layout.places[node.sample.index]
        bend = (x0 + x1) / 2
        chosen = " chosen" if node.chosen else ""
        curve = f"M{x0:.1f} {start:.1f}C{bend:.1f} {start:.1f} {bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        yield f'<path class="edge{chosen}" d="{curve}"/>'


def _mark(node: TreeNode, layout: _Layout) -> str:
    x, y, r = layout.x(node.depth), layout.places[node.sample.index], layout.size(node)
    told = f"<title>{escape(_told(node))}</title>"
    chosen = " chosen" if node.chosen else ""
    if node.sample.status == "failed":
        cross = f"M{x - r:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}M{x - r:.1f} {y + r:.1f}L{x + r:.1f} {y - r:.1f}"
        return f'<path class="failed" d="{cross}">{told}</path>'
    if node.score is None:
        return f'<circle class="none node{chosen}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}">{told}</circle>'
    fill = _color(node.score)
    return f'<circle class="node{chosen}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{fill}">{told}</circle>'


def _told(node: TreeNode) -> str:
    """What shows on pointing at a node."""
    sample = node.sample
    score = "not judged" if node.score is None else f"score {node.score:.2f}"
    status = sample.status if sample.fault is None else f"{sample.status} ({sample.fault})"
    return f"{sample.index}: {status}, {score}, {cost(node)}\n{short(new_text(sample), 300)}"


def _labels(tree: Tree, layout: _Layout) -> Iterator[str]:
    for node in tree.nodes:
        x, y, r = layout.x(node.depth), layout.places[node.sample.index], layout.size(node)
        chosen = ' class="chosen"' if node.chosen else ""
        if not node.children and (layout.rows <= _LABELLED or node.chosen):
            said = escape(_leaf(node))
            yield f'<text{chosen} x="{x + r + 6:.1f}" y="{y + 4:.1f}">{said}</text>'
        elif node.children and layout.rows <= _LABELLED and layout.column >= _TEXT_COLUMN:
            yield f'<text{chosen} x="{x:.1f}" y="{y - r - 4:.1f}" text-anchor="middle">{escape(_inner(node))}</text>'


def _score(node: TreeNode) -> str:
    sample = node.sample
    if sample.status != "answer":
        return sample.fault or sample.status
    return "" if node.score is None else f"{node.score:.2f}"


def _leaf(node: TreeNode) -> str:
    said = short(new_text(node.sample), 36)
    return " · ".join(part for part in (_score(node), cost(node), said) if part)


def _inner(node: TreeNode) -> str:
    own = "" if node.sample.billed == "unknown" else f"{node.sample.usage.tokens:,} of {node.usage.tokens:,} tok"
    return " · ".join(part for part in (_score(node), own) if part)


def _legend() -> Iterator[str]:
    stops = "".join(f'<stop offset="{place / 4:.2f}" stop-color="{_color(place / 4)}"/>' for place in range(5))
    yield f'<defs><linearGradient id="scores">{stops}</linearGradient></defs>'
    yield '<g class="legend"><text x="16" y="73">score 0</text>'
    yield '<rect x="60" y="64" width="110" height="11" rx="2" fill="url(#scores)"/><text x="176" y="73">1</text>'
    yield '<circle class="none node" cx="206" cy="69" r="4.5"/><text x="216" y="73">not judged</text>'
    yield '<path class="failed" d="M288 65L296 73M288 73L296 65"/><text x="302" y="73">failed</text>'
    yield '<circle class="none node" cx="350" cy="69" r="3"/><circle class="none node" cx="364" cy="69" r="7"/>'
    yield '<text x="376" y="73">visits</text><path class="edge chosen" d="M420 69H450"/>'
    yield '<text x="456" y="73">the winner, and what it was drawn from</text></g>'


def _color(score: float) -> str:
    """The colour of a score from 0 to 1."""
    place = min(max(score, 0.0), 1.0) * (len(_COLORS) - 1)
    low = min(int(place), len(_COLORS) - 2)
    parts = zip(_COLORS[low], _COLORS[low + 1], strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - low)):02x}" for a, b in parts)
