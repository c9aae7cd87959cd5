"""A report's charts as one PNG, drawn by matplotlib."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ._charts import COLORS, Chart, charts
from ._figures import Figures
from ._tables import headline


def figure_class() -> Any:
    """What draws, imported before anything is read, so that a missing package is said at once.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  # an extra, and slow to import
    except ImportError as error:
        raise ImportError('--png draws with matplotlib: pip install "ttc-middleware[report]"') from error
    return Figure


def draw(figures: Figures, file: Path) -> None:
    """Write the four charts of the page to a file.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    drawn = charts(figures)
    heights = [max(2, len(chart.labels)) for chart in drawn]
    # No pyplot, so no window system, and nothing global.
    picture = figure_class()(figsize=(9, 2.4 + 0.4 * sum(heights)), layout="constrained")
    picture.suptitle(_plain(headline(figures)), fontsize=10, wrap=True)
    for axes, chart in zip(picture.subplots(len(drawn), 1, gridspec_kw={"height_ratios": heights}), drawn, strict=True):
        _axes(axes, chart)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box is drawn in its place
        picture.savefig(file, format="png", dpi=150)


def _axes(axes: Any, chart: Chart) -> None:
    axes.set_title(_plain(chart.title), loc="left", fontsize=10, fontweight="bold")
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    if not chart.labels:
        axes.set_yticks([])
        axes.text(0, 0.5, _plain(chart.empty), transform=axes.transAxes)
        return
    starts = [0.0] * len(chart.labels)
    places = list(range(len(chart.labels)))
    for name, values in chart.series.items():
        axes.barh(places, values, left=starts, color=COLORS[name], label=_plain(name), height=0.7)
        starts = [start + value for start, value in zip(starts, values, strict=True)]
    for place, end, said in zip(places, starts, chart.said, strict=True):
        axes.annotate(_plain(said), (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(places, [_plain(label) for label in chart.labels], fontsize=9)
    axes.tick_params(left=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.14 * (max(starts) or 1))
    axes.legend(loc="lower right", fontsize=8, frameon=False, ncols=len(chart.series), bbox_to_anchor=(1, 1))


def _plain(text: str) -> str:
    """Text that is no mathematics: matplotlib sets what stands between two dollars."""
    return text.replace("$", r"\$")
