"""The four charts of a report, as numbers: the page and the picture draw the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._figures import Figures
from ._searches import PARTS, UNSPLIT
from ._spent import dollars, said_tokens

COLORS: Mapping[str, str] = {
    # Okabe and Ito's, which the colour-blind tell apart.
    "visible": "#0072b2",
    "hidden": "#e69f00",
    "reasoning": "#cc79a7",
    "discarded": "#e69f00",
    "verifying": "#009e73",
    "routing": "#56b4e9",
    UNSPLIT: "#999999",
    "accepted": "#0072b2",
    "never": "#999999",
    "p50": "#0072b2",
    "p95": "#56b4e9",
    "most": "#d5d5d5",
}
_DAYS = 31
_SITES = 12
_NAME = 17  # characters
_BUCKETS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 8), (9, 16), (17, 32), (33, None))


@dataclass(frozen=True)
class Chart:
    """Bars, each a stack of the series."""

    title: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    """For each series its value in every bar."""
    said: Sequence[str]
    """What is written beside every bar."""
    empty: str = ""
    """What is said where there is nothing to draw."""


def charts(figures: Figures) -> tuple[Chart, Chart, Chart, Chart]:
    """Tokens by day, where everything went, how much calls differ, and samples to acceptance."""
    return _days(figures), _split(figures), _spread(figures), _acceptance(figures)


def _days(figures: Figures) -> Chart:
    rows = figures.by["day"][-_DAYS:]
    hidden = [float(row.hidden or 0) for row in rows]
    title = "Tokens by day (UTC)" + (f", the last {_DAYS} with any" if len(figures.by["day"]) > _DAYS else "")
    visible = [max(0.0, row.spent.tokens - each) for row, each in zip(rows, hidden, strict=True)]
    said = [said_tokens(row.spent) for row in rows]
    return Chart(title, [row.name for row in rows], {"visible": visible, "hidden": hidden}, said, "nothing recorded")


def _split(figures: Figures) -> Chart:
    """Shares of each whole; what is known of none of it has no bar."""
    names = [name for name in (*PARTS, UNSPLIT) if figures.split[name].calls or figures.split[name].tokens]
    total = figures.total
    seconds = sum(float(figures.split[name].seconds) for name in names)
    wholes = {
        "tokens": (float(total.tokens), [float(figures.split[name].tokens) for name in names], said_tokens(total)),
        "seconds": (seconds, [float(figures.split[name].seconds) for name in names], f"{seconds:,.1f} s"),
    }
    if total.usd and not total.unpriced:
        shares = [float(figures.split[name].usd) for name in names]
        wholes["dollars"] = (float(total.usd), shares, dollars(total.usd))
    drawn = {label: whole for label, whole in wholes.items() if whole[0] > 0}
    return Chart(
        f"Where {_listed(list(drawn))} went",
        list(drawn),
        {name: [max(0.0, parts[k]) / whole for whole, parts, _ in drawn.values()] for k, name in enumerate(names)},
        [said for _, _, said in drawn.values()],
        "nothing is known of any call",
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words or ["tokens"])


def _spread(figures: Figures) -> Chart:
    """For each function a bar up to its dearest call, with marks at the median and the 95th percentile."""
    named = [(row.name, figures.spreads[row.name].get("tokens")) for row in figures.by["function"]]
    found = [(name, each) for name, each in named if each is not None][:_SITES]
    said = [f"{each.most:,.0f}" + ("" if each.times is None else f" ({each.times:,.1f} x)") for _, each in found]
    series = {
        "p50": [each.p50 for _, each in found],
        "p95": [each.p95 - each.p50 for _, each in found],
        "most": [each.most - each.p95 for _, each in found],
    }
    costliest = f": the {_SITES} costliest functions" if len(named) > _SITES else ""
    title = f"Tokens of a call, and most ÷ least{costliest}"
    return Chart(title, [_end(name) for name, _ in found], series, said, "nothing is known of any call")


def _end(name: str) -> str:
    """A name short enough to stand beside a bar: its end says most."""
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _acceptance(figures: Figures) -> Chart:
    labels: list[str] = []
    counts: list[int] = []
    for low, high in _BUCKETS:
        within = sum(count for n, count in figures.acceptance.items() if low <= n and (high is None or n <= high))
        labels.append(f"{low}+" if high is None else str(low) if low == high else f"{low} to {high}")
        counts.append(within)
    last = max((k for k, count in enumerate(counts) if count), default=-1) + 1
    labels, counts = labels[:last], counts[:last]
    return Chart(
        "Samples to the first accepted one",
        [*labels, "never"] if figures.judged else [],
        {"accepted": [*map(float, counts), 0.0], "never": [0.0] * last + [float(figures.never)]},
        [f"{count:,}" for count in (*counts, figures.never)],
        "no search had a verifier",
    )
