"""The picture of `poe bench-search`: accuracy against the number of samples, and against tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

Curves = dict[str, dict[str, list[tuple[int, float]]]]
STYLES = ("-", "--")


def plot(
    file: Path, curves: Curves, points: dict[str, list[Any]], baseline: dict[str, list[tuple[float, float]]]
) -> None:
    """Draw it.

    Args:
        file: a PNG.
        curves: by family and strategy, (N, share right).
        points: by family, the rows of searches over steps.
        baseline: by family, (mean tokens, share right) of best-of-N.
    """
    mpl.use("Agg")
    stepwise = [name for name, rows in points.items() if rows]
    figure, axes = plt.subplots(1, 1 + len(stepwise), figsize=(5 * (1 + len(stepwise)), 4.2), squeeze=False)
    for number, (family, lines) in enumerate(curves.items()):
        for style, line in zip(STYLES, lines.values(), strict=True):
            label = family if style == "-" else None
            axes[0][0].plot(*zip(*line, strict=True), style, color=f"C{number}", marker=".", label=label)
    axes[0][0].set_title("solid: best-of-N; dashed: majority of N", fontsize=10)
    axes[0][0].set_xlabel("N, samples of the whole answer")
    for place, family in zip(axes[0][1:], stepwise, strict=True):
        place.plot(*zip(*baseline[family], strict=True), "-", color="grey", marker=".", label="best-of-N")
        for number, row in enumerate(points[family]):
            low, high = row.right.mean - row.right.low, row.right.high - row.right.mean
            name = row.name.partition(" (")[0]
            place.errorbar(
                row.tokens, row.right.mean, [[low], [high]], fmt="o", color=f"C{number}", capsize=3, label=name
            )
        place.set_title(f"searches over steps: {family}", fontsize=10)
        place.set_xlabel("tokens a problem, prompts and cached ones included")
    for place in axes[0]:
        place.set_xscale("log", base=2 if place is axes[0][0] else 10)
        place.set_ylim(-0.03, 1.03)
        place.grid(visible=True, alpha=0.3)
        place.legend(fontsize=8)
    axes[0][0].set_ylabel("share of problems that are right")
    figure.suptitle("SmolLM2-135M, recorded; 95 % intervals by a bootstrap of problems", fontsize=11)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90, metadata={"Software": None})
    plt.close(figure)
