"""`ttc trace`: searches of a run record as trees: what was drawn, what was called, what it cost, what won."""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ttc_middleware.seam import record_lines

from ._demo import console_for
from ._report import searches
from ._searches import Called, Sampled, Search
from ._spent import add_up, said_tokens, said_usd

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

_BAR = 20


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "trace", help="show searches as trees, from a run record", description=__doc__
    )
    parser.add_argument("record", metavar="RECORD", help="what configure(record=DIR) has written; a folder or a file")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--last", type=int, default=1, metavar="N", help="the last N searches (1)")
    which.add_argument("--id", metavar="SPAN", help="those of a span, or of a trace, by its hexadecimal id")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the trees.

    Raises:
        OSError: there is no record.
        ValueError: it has no such search, or the number is below 1.
        ImportError: rich is not installed.
    """
    if given.last < 1:
        raise ValueError(f"--last must be at least 1, got {given.last}")
    console = console_for(to_stderr=False)
    chosen = _chosen(searches(record_lines(given.record)), given.last, given.id)
    if not chosen:
        raise ValueError(f"no such search in {given.record}" + ("" if given.id is None else f": {given.id}"))
    for search in chosen:
        console.print(tree_of(search))
    return 0


def _chosen(found: Iterable[Search], last: int, asked: str | None) -> list[Search]:
    if asked is not None:
        return [search for search in found if asked.lower() in (search.span_id, search.trace_id)]
    # Of two that ended in the same millisecond, the one that was written later is the later one.
    latest = heapq.nlargest(last, enumerate(found), key=lambda each: (each[1].at, each[0]))
    return [search for _, search in reversed(latest)]


def tree_of(search: Search) -> Tree:
    """A search as a tree."""
    from rich.tree import Tree  # noqa: PLC0415  # an extra

    tree = Tree(_search(search))
    finished = {sample.index: sample for sample in search.samples}
    started = {call.sample for call in search.calls if call.sample is not None}
    whole = max((call.after + call.spent.seconds for call in search.calls), default=Decimal(0))
    for n in sorted({*finished, *started}):
        line = _sample(finished.get(n), n, won=n == search.winner, bar=_bar(_calls(search, "sample", n), whole))
        branch = tree.add(line)
        for call in _calls(search, "sample", n):
            branch.add(_call(call))
        _verified(branch, finished.get(n), _calls(search, "verifier", n))
    for call in search.calls:
        if call.role == "routing":
            tree.add(_call(call, "routing "))
    if search.unlisted.calls or search.unlisted.unseen:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(search.gaps.items()))
        tree.add(_text((f"not observed: {reasons}", "yellow")))
    return tree


def _search(search: Search) -> Text:
    verdict = "accepted" if search.accepted else "not accepted" if search.judged else "not verified"
    plain = f", {search.total.tokens / search.plain:.1f} x one plain call" if search.plain else ""
    least = "" if search.status == "exact" else f" ({search.status})"
    return _text(
        (search.name, "bold"),
        (f" {search.strategy} ", "dim"),
        (verdict, "green" if search.accepted else "yellow"),
        (f" ({search.stop_reason}), {search.seconds:,.2f} s, {said_tokens(search.total)} tokens,", ""),
        (f" {_usd(said_usd(search.total))}{plain}{least}", ""),
        (f" {search.error}" if search.error else "", "red"),
        (f" [{search.at:%Y-%m-%d %H:%M:%S} UTC]", "dim"),
        (f" span {search.span_id}" if search.span_id else "", "dim"),
    )


def _sample(sample: Sampled | None, index: int, *, won: bool, bar: str) -> Text:
    mark = ("★ " if won else "  ", "green bold")
    if sample is None:
        return _text(mark, (f"sample {index} ", ""), ("not finished", "yellow"), (f" {bar}", "blue"))
    fault = f" ({sample.fault})" if sample.fault else ""
    score = "" if sample.score is None else f", score {sample.score:.2f}"
    outcome = "" if not sample.judged or sample.broken else ", accepted" if sample.accepted else ", rejected"
    return _text(
        mark,
        (f"sample {index} ", "bold" if won else ""),
        (f"{sample.status}{fault}", "" if sample.status == "answer" else "red"),
        (f"{score}{outcome}, {said_tokens(sample.spent)} tokens", ""),
        (f" {bar}", "blue"),
    )


def _verified(branch: Tree, sample: Sampled | None, calls: Sequence[Called]) -> None:
    if not calls and (sample is None or not sample.judged):
        return
    said = "verified" if sample is None or not sample.broken else "the verifier broke"
    weak = ", weakly" if sample is not None and sample.weak else ""
    cost = add_up(call.spent for call in calls)
    paid = f", {said_tokens(cost)} tokens, {_usd(said_usd(cost))}" if calls else ""
    below = branch.add(_text((f"{said}{weak}{paid}", "cyan")))
    for call in calls:
        below.add(_call(call))


def _call(call: Called, role: str = "") -> Text:
    spent = call.spent
    thought = "" if call.reasoning is None else f" ({call.reasoning:,} of them thinking)"
    fault = call.fault or call.gap
    return _text(
        (f"{role}{call.model or 'model not named'} ", ""),
        (f"{spent.input:,} in, {spent.output:,} out{thought}, {_usd(said_usd(spent))}, {spent.seconds:,.2f} s", "dim"),
        (f" {fault}" if fault else "" if call.answered else " not used", "red"),
    )


def _calls(search: Search, role: str, sample: int) -> list[Called]:
    return [call for call in search.calls if call.role == role and call.sample == sample]


def _bar(calls: Sequence[Called], whole: Decimal) -> str:
    """When a sample's model calls ran, on the search's own time: "  ▇▇▇   0.41 s"."""
    if not calls or not whole:
        return ""
    cells = [" "] * _BAR
    for call in calls:
        first = min(_BAR - 1, int(_BAR * call.after / whole))
        last = max(first + 1, round(_BAR * (call.after + call.spent.seconds) / whole))
        cells[first:last] = "▇" * (last - first)
    return f"{''.join(cells)} {add_up(call.spent for call in calls).seconds:,.2f} s"


def _usd(said: str) -> str:
    return f"{said} dollars" if said == "unknown" else said


def _text(*parts: tuple[str, str]) -> Text:
    # Text, never markup: what a record says is anybody's.
    from rich.text import Text  # noqa: PLC0415  # an extra

    return Text.assemble(*(part for part in parts if part[0]))
