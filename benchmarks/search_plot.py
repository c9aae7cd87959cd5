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
_HEIGHT, _LEGEND = 3.7, 0.5  # inches


def plot(file: Path, curves: Curves, points: dict[str, list[Any]], baseline: dict[str, list[float]]) -> None:
    """Draw it.

    Args:
        file: a PNG.
        curves: by family and strategy, (N, share right).
        points: by family, the rows of searches over steps.
        baseline: by family, the share right of best-of-1, -2, ….
    """
    mpl.use("Agg")
    searched = {name: [each for each in rows if each.beside] for name, rows in points.items()}
    stepwise = [name for name, rows in searched.items() if rows]
    named = list(dict.fromkeys(row.name for family in stepwise for row in searched[family]))
    down = math.ceil((1 + len(stepwise)) / ACROSS)
    figure, axes = plt.subplots(down, ACROSS, figsize=(5.4 * ACROSS, _HEIGHT * down), squeeze=False)
    places = list(axes.flat)
    _lines(places[0], curves)
    places[0].set_title("best-of-N (solid), majority of N (dashed)", fontsize=10)
    for place, family in zip(places[1:], stepwise, strict=False):
        numbers = range(1, len(baseline[family]) + 1)
        place.plot(numbers, baseline[family], "-", color="grey", label="best-of-N")
        place.plot(*zip(*curves[family]["majority"], strict=True), "--", color="grey", label="majority of N")
        for row in searched[family]:
            number = named.index(row.name)
            beside = row.beside[0]
            at, low, high = beside.least or beside.n, row.right.mean - row.right.low, row.right.high - row.right.mean
            place.errorbar(
                at, row.right.mean, [[low], [high]], fmt="os^DvPX<>"[number % 9], color=f"C{number}", capsize=3,
                label=row.name, mfc="white" if beside.least else None, alpha=0.9,
            )  # fmt: skip
        place.set_title(f"{family}: searches, where best-of-N takes as many tokens", fontsize=10)
    for place in places:
        place.set_xscale("log", base=2)
        place.set_xlim(right=64 if place is places[0] else None)  # room for the names
        place.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        place.yaxis.set_major_formatter(PercentFormatter(1))
        place.set_ylim(-0.03, 1.05)
        place.grid(visible=True, alpha=0.3)
    for place in places[1 + len(stepwise) :]:
        place.set_visible(False)
    for line in axes:
        line[0].set_ylabel("problems that are right")
    for place in axes[-1]:
        place.set_xlabel("N, samples of the whole answer")
    if stepwise:
        shown = {
            label: handle for place in places for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
        }
        labels = [each for each in ("best-of-N", "majority of N", *named) if each in shown]
        handles = [shown[each] for each in labels]
        figure.legend(handles, labels, loc="lower center", ncols=math.ceil(len(labels) / 2), fontsize=9, frameon=False)
    figure.suptitle("SmolLM2-135M, recorded; 95 % intervals; hollow: further right, if anything", fontsize=11)
    figure.tight_layout(rect=(0, _LEGEND / (_HEIGHT * down), 1, 1))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90, metadata={"Software": None})
    plt.close(figure)


def _lines(place: Any, curves: Curves) -> None:
    for number, (family, lines) in enumerate(curves.items()):
        for style, line in zip(STYLES, lines.values(), strict=True):
            place.plot(*zip(*line, strict=True), style, color=f"C{number}", marker=".")
            if style == "-":
                last, height = line[-1]
                place.annotate(f" {family}", (last, height), color=f"C{number}", fontsize=9, va="center")
