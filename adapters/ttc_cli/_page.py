"""A report as one HTML page: nothing is loaded from anywhere, nothing runs, and it prints."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ._charts import COLORS, Chart, charts
from ._figures import Figures
from ._tables import Table, caveats, four, headline, tables

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5c5c5c; --paper: #fff; --line: #dcdcdc; --card: #f6f6f4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --soft: #a6a6a6; --paper: #16181b; --line: #34383d; --card: #1f2226; } }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --card: #fff; }
  body { max-width: none !important; margin: 0 !important; } figure, tr, .four { break-inside: avoid; }
  h2 { break-after: avoid; } table { font-size: .68rem !important; }
  th, td { padding: .2rem .3rem !important; }
  svg, .key { print-color-adjust: exact; -webkit-print-color-adjust: exact; } .wide { overflow: visible !important; } }
body { margin: 2.5rem auto; max-width: 62rem; padding: 0 1.25rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.55rem; line-height: 1.3; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .5rem; } p, figcaption { color: var(--soft); }
.four { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.6rem 0; }
.four div { flex: 1 1 11rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .8rem 1rem; }
.four b { display: block; font-size: 1.55rem; font-weight: 600; } .four span { color: var(--soft); }
figure { margin: 1.6rem 0; } figcaption { font-weight: 600; color: var(--ink); margin-bottom: .4rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.key { font-size: .85rem; color: var(--soft); } .key i { display: inline-block; width: .75em; height: .75em;
  border-radius: 2px; margin: 0 .35em 0 1em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; color: var(--soft); } .t { text-align: left; overflow-wrap: anywhere; min-width: 7rem; }
td { font-variant-numeric: tabular-nums; } td.n { white-space: nowrap; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_WIDTH, _BAR, _GAP, _LABEL, _SAID = 720, 20, 8, 136, 116


def page(figures: Figures) -> str:
    """The page, as HTML."""
    days = "" if figures.since is None or figures.until is None else _span(figures)
    drawn = [_figure(chart) for chart in charts(figures)]
    tabled = tables(figures, ("function", "model", "day"))
    return document(
        "What test-time compute cost", headline(figures), [days], four(figures), caveats(figures), tabled, _WORDS, drawn
    )


def document(  # noqa: PLR0917  # from its top to its end
    title: str,
    heading: str,
    below: Sequence[str],
    four: Sequence[tuple[str, str]],
    caveats: Sequence[str],
    tables: Sequence[Table],
    words: str,
    drawn: Sequence[str] = (),
) -> str:
    """A page of these parts, all of them text but `drawn`, which is HTML."""
    cards = "".join(f"<div><b>{escape(said)}</b><span>{escape(name)}</span></div>" for name, said in four)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(heading)}</h1>",
        *(f"<p>{escape(said)}</p>" for said in below),
        f'<div class="four">{cards}</div>',
        *(f"<p>{escape(said)}</p>" for said in caveats),
        *drawn,
        *(_table(table) for table in tables),
        f"<p>{escape(words)}</p>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


_WORDS = (
    "Visible: what the caller reads, with its prompt. Reasoning: the thinking of the answers that were returned."
    " Discarded: samples that lost, failed, were retried or cancelled. Verifying: judges. Routing: planners."
    " Unattributed: known only as a sum, or not at all. A percentile is the value that so many calls do not exceed."
)


def _span(figures: Figures) -> str:
    return f"{figures.since:%Y-%m-%d} to {figures.until:%Y-%m-%d} (UTC)"


def _figure(chart: Chart) -> str:
    title = escape(chart.title)
    if not chart.labels:
        return f"<figure><figcaption>{title}</figcaption><p>{escape(chart.empty)}</p></figure>"
    key = "".join(f'<i style="background:{COLORS[name]}"></i>{escape(name)}' for name in chart.series)
    return f'<figure><figcaption>{title}</figcaption>{_svg(chart)}<div class="key">{key}</div></figure>'


def _svg(chart: Chart) -> str:
    """Bars that lie, so that labels have room; the longest fills the width."""
    most = max((sum(values[k] for values in chart.series.values()) for k in range(len(chart.labels))), default=0) or 1
    room = _WIDTH - _LABEL - _SAID
    drawn: list[str] = []
    for k, label in enumerate(chart.labels):
        top, x = k * (_BAR + _GAP), float(_LABEL)
        middle = top + _BAR / 2 + 4
        drawn.append(f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>')
        for name, values in chart.series.items():
            width = room * values[k] / most
            if width <= 0:
                continue
            hint = f"{name}: {_number(values[k])}"
            drawn.append(
                f'<rect x="{x:.2f}" y="{top}" width="{width:.2f}" height="{_BAR}" fill="{COLORS[name]}">'
                f"<title>{escape(hint)}</title></rect>"
            )
            x += width
        drawn.append(f'<text x="{x + 8:.2f}" y="{middle}">{escape(chart.said[k])}</text>')
    height = len(chart.labels) * (_BAR + _GAP)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(chart.title)}">'
        + "".join(drawn)
        + "</svg>"
    )


def _number(value: float) -> str:
    return f"{value:.1%}" if value <= 1 else f"{value:,.0f}"


def _table(table: Table) -> str:
    kinds = ["t" if k < table.left else "n" for k in range(len(table.columns))]
    head = _cells("th", table.columns, kinds)
    body = "".join(f"<tr>{_cells('td', row, kinds)}</tr>" for row in table.rows)
    return (
        f'<h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(tag: str, cells: Sequence[str], kinds: Sequence[str]) -> str:
    return "".join(f'<{tag} class="{kind}">{escape(cell)}</{tag}>' for cell, kind in zip(cells, kinds, strict=True))
