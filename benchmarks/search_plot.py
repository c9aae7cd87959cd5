"""The picture of `poe bench-search`: accuracy against the number of samples, and searches where they cost as much."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.ticker import PercentFormatter

Curves = dict[str, dict[str, list[tuple[int, float]]]]
STYLES = ("-", "--")
ACROSS = 2


def plot(file: Path, curves: Curves, points: dict[str, list[Any]], baseline: dict[str, list[float]]) -> None:
    """Draw it.

    Args:
        file: a PNG.
        curves: by family and strategy, (N, share right).
        points: by family, the rows of searches over steps.
        baseline: by family, the share right of best-of-1, -2, ….
    """
    mpl.use("Agg")
    stepwise = [name for name, rows in points.items() if len(rows) > 1]
    down = math.ceil((1 + len(stepwise)) / ACROSS)
    figure, axes = plt.subplots(down, ACROSS, figsize=(5.2 * ACROSS, 3.9 * down), squeeze=False)
    places = list(axes.flat)
    for number, (family, lines) in enumerate(curves.items()):
        for style, line in zip(STYLES, lines.values(), strict=True):
            label = family if style == "-" else None
            places[0].plot(*zip(*line, strict=True), style, color=f"C{number}", marker=".", label=label)
    places[0].set_title("all families: best-of-N (solid), majority of N (dashed)", fontsize=10)
    for place, family in zip(places[1:], stepwise, strict=False):
        numbers = range(1, len(baseline[family]) + 1)
        place.plot(numbers, baseline[family], "-", color="grey", label="best-of-N")
        place.plot(*zip(*curves[family]["majority"], strict=True), "--", color="grey", label="majority of N")
        for number, row in enumerate(each for each in points[family] if each.beside):
            beside = row.beside[0]
            at, low, high = beside.least or beside.n, row.right.mean - row.right.low, row.right.high - row.right.mean
            name = row.name + (" (or further right)" if beside.least else "")
            place.errorbar(
                at, row.right.mean, [[low], [high]], fmt="os^Dv"[number % 5], color=f"C{number}", capsize=3, label=name,
                mfc="white" if beside.least else None, alpha=0.9,
            )  # fmt: skip
        place.set_title(f"{family}: searches over steps, at best-of-N's N for the same tokens", fontsize=10)
    for place in places:
        place.set_xscale("log", base=2)
        place.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        place.yaxis.set_major_formatter(PercentFormatter(1))
        place.set_ylim(-0.03, 1.03)
        place.grid(visible=True, alpha=0.3)
        place.set_xlabel("N, samples of the whole answer", fontsize=9)
    for place in places[: 1 + len(stepwise)]:
        place.legend(fontsize=8, loc="upper left" if place is not places[0] else "center left", framealpha=0.9)
    for place in places[1 + len(stepwise) :]:
        place.set_visible(False)
    for line in axes:
        line[0].set_ylabel("problems that are right")
    figure.suptitle("SmolLM2-135M, recorded; 95 % intervals by a bootstrap of problems", fontsize=11)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90, metadata={"Software": None})
    plt.close(figure)
