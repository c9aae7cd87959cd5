"""`ttc report`: what a run record says of tokens, dollars and seconds, as tables, a page or a picture."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ttc_middleware.seam import record_lines

from ._charts import charts
from ._demo import console_for
from ._figures import Figures, figures
from ._page import page
from ._picture import draw, figure_class
from ._searches import Search, search_of
from ._tables import Table, caveats, headline, tables

if TYPE_CHECKING:
    from rich.console import Console

KINDS = ("function", "model", "day")
_BAR = 40
_STEP = 1_000
"""Lines; reading them takes about half a second."""
_T = TypeVar("_T")


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report", help="what it cost, from a run record", description=__doc__
    )
    parser.add_argument("record", metavar="DIR", help="what configure(record=DIR) has written; a folder or a file")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page that needs nothing else")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write the charts as a picture")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--by", choices=KINDS, help="print spend by this alone (all three)")
    parser.add_argument("--since", type=_date, metavar="DATE", help="only from then on, like 2026-11-22 (UTC)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Report; fails where the record has no search.

    Raises:
        OSError: there is no record, or a file cannot be written.
        ValueError: the record has no search, or none since then.
        ImportError: rich, or matplotlib for a picture, is not installed.
    """
    if given.png is not None:
        figure_class()
    unread: list[str] = []
    with _no_collection():
        found = figures(since(searches(counted(record_lines(given.record, unread.append))), given.since))
    if not found.searches:
        when = "" if given.since is None else f" since {given.since:%Y-%m-%d %H:%M} (UTC)"
        raise ValueError(f"no search is on record in {given.record}{when}")
    found = replace(found, unread=Counter(unread))
    if given.html is not None:
        given.html.write_text(page(found), encoding="utf-8")
    if given.png is not None:
        draw(found, given.png)
    if given.json:
        sys.stdout.write(json.dumps(found.to_dict(), indent=2) + "\n")
        return 0
    show(console_for(to_stderr=False), found, KINDS if given.by is None else (given.by,))
    return 0


@contextmanager
def _no_collection() -> Generator[None, None, None]:
    """Let nobody look for cycles among millions of objects that have none: that takes a quarter of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def counted(lines: Iterable[_T]) -> Iterator[_T]:
    """The same, while a terminal shows how far it has got."""
    if not sys.stderr.isatty():
        yield from lines
        return
    n = 0
    for n, line in enumerate(lines, start=1):  # the last is said
        yield line
        if n % _STEP == 0:
            sys.stderr.write(f"\r{n:,} lines read")
    if n >= _STEP:
        sys.stderr.write("\r" + " " * len(f"{n:,} lines read") + "\r")


def searches(lines: Iterable[dict[str, Any]]) -> Iterator[Search]:
    """The searches among the lines."""
    for line in lines:
        search = search_of(line)
        if search is not None:
            yield search


def since(found: Iterable[Search], date: datetime | None) -> Iterator[Search]:
    """Those that ended at that time or later; None: all."""
    return (search for search in found if date is None or search.at >= date)


def show(console: Console, found: Figures, kinds: Iterable[str]) -> None:
    """Print the report."""
    from rich.text import Text  # noqa: PLC0415  # an extra

    console.print(Text(headline(found), style="bold"))
    for said in caveats(found):
        console.print(Text(said, style="yellow"))
    for table in tables(found, tuple(kinds)):
        console.print(drawn(table, console.width))
    _histogram(console, found)


def drawn(table: Table, width: int) -> Any:
    """A table as rich draws it, for a terminal of so many columns."""
    # Text, never str: a name from a record is no markup.
    from rich.table import Table as Drawn  # noqa: PLC0415  # an extra
    from rich.text import Text  # noqa: PLC0415  # an extra

    grid = Drawn(title=Text(table.title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    needed = sum(max(map(len, cells)) + 2 for cells in zip(table.columns, *table.rows, strict=True)) - 2
    for k, column in enumerate(table.columns):
        if k < table.left:
            grid.add_column(Text(column), overflow="fold")
        else:  # half a number is another number: where there is too little room, names are folded
            head = "\n".join(column.rsplit(" ", 1)) if needed > width else column
            grid.add_column(Text(head), justify="right", no_wrap=True)
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row), style="bold" if row[0] == "total" else None)
    return grid


def _histogram(console: Console, found: Figures) -> None:
    from rich.text import Text  # noqa: PLC0415  # an extra

    *_, chart = charts(found)
    console.print(Text(f"\n{chart.title}", style="bold"))
    if not chart.labels:
        console.print(Text(chart.empty))
    values = [sum(series[k] for series in chart.series.values()) for k in range(len(chart.labels))]
    for label, value, said in zip(chart.labels, values, chart.said, strict=False):
        console.print(Text(f"{label:>8} {'█' * round(_BAR * value / (max(values) or 1))} {said}"))


def _date(text: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"a date is like 2026-11-22 or 2026-11-22T08:30, got {text!r}") from error
    return date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date
