"""A calibration as a picture, drawn by matplotlib."""

from __future__ import annotations

import os
from typing import IO, Any

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe and Ito's


def draw(calibration: Any, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write the picture of a `Calibration`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to draw.
        OSError: the file cannot be written.
    """
    points = [(row.tokens.value, row) for row in calibration.rows if row.tokens is not None]
    if not points:
        raise ValueError("there is nothing to draw: no problem is complete, or no tokens were observed")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  # an extra, and slow to import
    except ImportError as error:
        raise ImportError('plot() draws with matplotlib: pip install "ttc-middleware[report]"') from error
    # No pyplot, so no window system, and nothing global.
    picture: Any = Figure(figsize=(8, 4.5), layout="constrained")
    axes = picture.subplots()
    heights = [row.accuracy.value for _, row in points]
    bars = [
        [max(0.0, row.accuracy.value - row.accuracy.low) for _, row in points],
        [max(0.0, row.accuracy.high - row.accuracy.value) for _, row in points],
    ]
    axes.errorbar(
        [x for x, _ in points], heights, yerr=bars, color="black", marker="o", capsize=3, label="longer: one sample"
    )
    for x, row in points:
        text = _plain(row.budget) + (" (sweet spot)" if row.budget == calibration.sweet_spot else "")
        axes.annotate(text, (x, row.accuracy.value), xytext=(5, -12), textcoords="offset points", fontsize=8)
    for place, row in enumerate(calibration.rows):
        line = [each for each in calibration.wider if each.budget == row.budget and each.tokens is not None]
        if len(line) > 1:
            axes.plot(
                [each.tokens for each in line],
                [each.accuracy.value for each in line],
                color=_COLORS[place % len(_COLORS)],
                marker=".",
                linestyle="--",
                label=f"wider: {line[0].n} to {line[-1].n} x {_plain(row.budget)}",
            )
    axes.set_xscale("log")
    axes.set_xlabel("tokens in all")
    axes.set_ylabel("accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    said = "declines with more thinking" if calibration.declines else "no significant decline"
    axes.set_title(
        _plain(f"{calibration.name}: {calibration.problems:,} problems, {said}"), loc="left", fontsize=10, wrap=True
    )
    axes.legend(fontsize=8, frameon=False)
    picture.savefig(path, format="png", dpi=150)


def _plain(text: str) -> str:
    """Text that is no mathematics: matplotlib sets what stands between two dollars."""
    return text.replace("$", r"\$")
