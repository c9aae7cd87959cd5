"""A report in words: the tables that the terminal and the page both show, every cell plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ._figures import Figures, Row
from ._searches import UNSPLIT
from ._spent import Spent, dollars, said_tokens, said_usd
from ._spreads import Spread


@dataclass(frozen=True)
class Table:
    """Rows of text; all columns but the first `left` are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


def tables(figures: Figures, kinds: Sequence[str]) -> list[Table]:
    """All tables, with spend by these kinds of row; those that would be empty are left out."""
    found = [_spend(kind, figures.by[kind], figures) for kind in kinds]
    found += [_split(figures), *_spreads(figures), _accepted(figures), _costliest(figures), _findings(figures)]
    return [table for table in found if table.rows]


def headline(figures: Figures) -> str:
    """The report in a sentence or two."""
    total, least = figures.total, "at least " if figures.total.unseen else ""
    if not figures.searches:
        return "No search is on record."
    spent = f"{least}{total.tokens:,} tokens" if total.tokens or not total.unseen else "nobody knows how many tokens"
    priced = "" if total.unpriced and not total.usd else f" ({said_usd(total)})"
    bought = f"{_count(figures.searches, 'call')} spent {spent}{priced}"
    hidden = "" if figures.hidden is None else f"; nobody reads {figures.hidden:.0%} of the tokens"
    if not figures.judged:
        return f"{bought}{hidden}."
    verified = "All calls" if figures.judged == figures.searches else f"{figures.judged:,} calls"
    return f"{bought}{hidden}. {verified} had a verifier, which accepted {_count(figures.accepted, 'answer')}."


def caveats(figures: Figures) -> list[str]:
    """What the figures leave out."""
    said: list[str] = []
    bounds = figures.bounds
    if bounds.get("lower bound") or bounds.get("unknown"):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(figures.gaps.items()))
        said.append(
            f"Of {figures.searches:,} bills {bounds.get('exact', 0):,} are exact, {bounds.get('lower bound', 0):,} a"
            f" lower bound (≥) and {bounds.get('unknown', 0):,} unknown: {reasons}."
        )
    if figures.total.unpriced:
        calls = _count(figures.total.unpriced, "model call")
        said.append(f"Nobody says what {calls} cost in dollars: no sum of dollars has them.")
    if figures.unread:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(figures.unread.items()))
        said.append(f"{_count(sum(figures.unread.values()), 'line')} of the record cannot be read: {reasons}.")
    return said


def four(figures: Figures) -> list[tuple[str, str]]:
    """The four figures that one reads first, each with its name."""
    per = figures.judged_spend
    spent = figures.total
    priced = not (spent.unpriced and not spent.usd)
    return [
        ("spent", said_usd(spent) if priced else f"{said_tokens(spent)} tokens"),
        ("read by nobody", "unknown" if figures.hidden is None else f"{figures.hidden:.0%}"),
        ("tokens, next to one plain call each", times(figures.multiplier) or "unknown"),
        ("per accepted answer", _per(per, figures.accepted)),
    ]


def times(value: float | None) -> str:
    """A multiple."""
    return "" if value is None else f"{value:,.1f} x"


def _per(spent: Spent, count: int) -> str:
    """Dollars for each, or tokens where no dollars are known."""
    if not count:
        return "none accepted"
    if spent.unseen and not spent.tokens:
        return "unknown"
    if spent.unpriced and not spent.usd:
        return f"{'≥ ' if spent.unseen else ''}{spent.tokens / count:,.0f} tokens"
    return f"{'≥ ' if spent.unpriced else ''}{dollars(Decimal(spent.usd / count))}"


def _spend(kind: str, rows: Sequence[Row], figures: Figures) -> Table:
    title = f"Spend by {kind}"
    money: Callable[[Spent], list[str]] = lambda spent: [f"{spent.calls:,}", said_tokens(spent), said_usd(spent)]  # noqa: E731  # two lines use it
    if kind == "model":
        named = [[row.name, *money(row.spent)] for row in rows]
        return Table(title, (kind, "model calls", "tokens", "dollars"), [*named, ["total", *money(figures.total)]])
    body = [
        [row.name, f"{row.searches:,}", "" if row.accepted is None else f"{row.accepted:,}", *money(row.spent),
         _share(row.hidden or 0, row.spent.tokens), times(row.multiplier)]
        for row in rows
    ]  # fmt: skip
    shown = "" if not figures.judged else f"{figures.accepted:,}"
    hidden = "" if figures.hidden is None else f"{figures.hidden:.0%}"
    total = ["total", f"{figures.searches:,}", shown, *money(figures.total), hidden, times(figures.multiplier)]
    columns = (kind, "calls", "accepted", "model calls", "tokens", "dollars", "hidden", "multiplier")
    return Table(title, columns, [*body, total])


def _split(figures: Figures) -> Table:
    rows: list[list[str]] = []
    for part, spent in figures.split.items():
        if part == UNSPLIT and not (spent.calls or spent.tokens or spent.usd or spent.unseen):
            continue
        share = _share(spent.tokens, figures.total.tokens)
        rows.append([part, said_tokens(spent), share, said_usd(spent), f"{spent.seconds:,.1f}"])
    total = figures.total
    rows.append(["total", said_tokens(total), "", said_usd(total), f"{total.seconds:,.1f}"])
    return Table("Where it went", ("part", "tokens", "share", "dollars", "seconds inside calls"), rows)


def _spreads(figures: Figures) -> list[Table]:
    """One for tokens, one for dollars, one for seconds."""
    words: dict[str, tuple[str, Callable[[float], str]]] = {
        "tokens": ("Tokens of a call", lambda value: f"{value:,.0f}"),
        "usd": ("Dollars of a call", lambda value: dollars(Decimal(value))),
        "seconds": ("Seconds of a call, on the clock", lambda value: f"{value:,.2f}"),
    }
    return [
        Table(
            title,
            ("function", "calls", "lower bounds", "p50", "p95", "least", "most", "most ÷ least"),
            [[name, *_spread(each[kind], said)] for name, each in figures.spreads.items() if kind in each],
        )
        for kind, (title, said) in words.items()
    ]


def _spread(each: Spread, said: Callable[[float], str]) -> list[str]:
    counts = [f"{each.known:,}", f"{each.bounds:,}"]
    return [*counts, said(each.p50), said(each.p95), said(each.least), said(each.most), times(each.times)]


def _accepted(figures: Figures) -> Table:
    rows = [
        [row.name, f"{row.searches:,}", f"{row.accepted or 0:,}", _per(row.spent, row.accepted or 0)]
        for row in figures.by["verified"]
    ]
    return Table("What an accepted answer costs", ("function", "verified calls", "accepted", "per accepted"), rows)


def _costliest(figures: Figures) -> Table:
    rows = [
        [f"{each.at:%Y-%m-%d %H:%M:%S}", each.name, each.strategy, f"{len(each.samples):,}", said_tokens(each.total),
         said_usd(each.total), f"{each.seconds:,.1f}", each.trace_id]
        for each in figures.costliest
    ]  # fmt: skip
    columns: Sequence[str] = ("at (UTC)", "function", "strategy", "samples", "tokens", "dollars", "seconds", "trace")
    if not any(each.trace_id for each in figures.costliest):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table("The costliest calls", columns, rows, left=3)


def _findings(figures: Figures) -> Table:
    rows = [
        [each.name, each.what, each.said, said_tokens(each.spent), said_usd(each.spent)] for each in figures.findings
    ]
    columns = ("function", "what", "what the record shows", "tokens at stake", "dollars")
    return Table("Where more samples or thinking bought nothing", columns, rows, left=3)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
