"""An audit in words: what the terminal and the page both show, every cell plain text."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from ._audit_advice import rules
from ._audit_figures import Audit, Place
from ._spent import Spent, add_up, said_tokens, said_usd
from ._spreads import quantile
from ._tables import Table

NOTES = (
    "Hidden: thinking, and all of calls that failed or were cut. What an SDK tries again by itself is one call here."
    f" {rules()}"
)
_START = (
    "not a Python program, or one that is started with -I, -E or -S, or with another environment, where the audit"
    " cannot be loaded"
)


def headline(audit: Audit) -> str:
    """The audit in a sentence."""
    calls, total = audit.log.calls, audit.total
    if not calls:
        return f"No model call was observed: {_why_none(audit)}."
    tokens = f"{said_tokens(total)} tokens" if said_tokens(total) != "unknown" else "nobody knows how many tokens"
    priced = "" if said_usd(total) == "unknown" else f" ({said_usd(total)})"
    hidden = "" if audit.hidden is None else f"; nobody reads {audit.hidden:.0%} of them"
    sites = count(len(audit.places), "call site")
    return f"{count(len(calls), 'model call')} from {sites} spent {tokens}{priced}{hidden}."


def _why_none(audit: Audit) -> str:
    log = audit.log
    if not log.pythons:
        return _START
    ran = f"{count(len(log.pythons), 'Python process', 'Python processes')} ran"
    if log.sdks:
        return f"{ran} and imported {' and '.join(sorted(log.sdks))}, but made no call of a chat model"
    return f"{ran} and imported none of openai, litellm and anthropic"


def caveats(audit: Audit) -> list[str]:
    """What the figures leave out, and what could not be watched."""
    calls, said = audit.log.calls, list[str]()
    unseen = sum(bool(call.called.gap) for call in calls)
    if unseen:
        said.append(f"{count(unseen, 'call')} did not tell all of their usage: figures with ≥ are the least.")
    unpriced = sum(bool(call.spent.unpriced) for call in calls)
    if unpriced:
        knows = "" if find_spec("genai_prices") else ' (pip install "ttc-middleware[prices]" knows most)'
        said.append(f"{count(unpriced, 'call')} had no price: no sum of dollars has them{knows}.")
    if audit.roles:
        parts = ", ".join(f"{count:,} as {role}" for role, count in sorted(audit.roles.items()))
        said.append(f"{count(sum(audit.roles.values()), 'call')} were made in searches of ttc: {parts}.")
    if audit.log.others:
        said.append(f"Calls by {', '.join(sorted(audit.log.others))}, which was imported, are not seen.")
    said += [f"{problem} ({number:,} times)" for problem, number in sorted(audit.log.problems.items())]
    return said


def four(audit: Audit) -> list[tuple[str, str]]:
    """The figures that one reads first, each with its name."""
    total, again = audit.total, add_up(call.spent for place in audit.places for call in place.repeats)
    return [
        ("dollars", said_usd(total)),
        ("tokens", said_tokens(total)),
        ("read by nobody", "unknown" if audit.hidden is None else f"{audit.hidden:.0%}"),
        ("tokens of requests answered before", said_tokens(again)),
    ]


def tables(audit: Audit) -> list[Table]:
    """All tables; those that would be empty are left out."""
    found = [_places(audit), _repeats(audit), _faults(audit), _worth(audit)]
    return [table for table in found if table.rows]


def _places(audit: Audit) -> Table:
    columns = (
        "call site", "function", "model", "calls", "input", "output", "thinking", "dollars", "output p50", "p95",
        "hidden", "seconds",
    )  # fmt: skip
    rows = [[each.name, each.function, ", ".join(each.models), *_figures(each)] for each in audit.places]
    if len(rows) > 1:
        whole = Place("total", "", audit.log.calls, [])
        rows.append(["total", "", "", *_figures(whole)])
    return Table("Call sites", columns, rows, left=3)


def _figures(place: Place) -> list[str]:
    spent, outputs = place.spent, place.outputs
    unknown = sum(call.called.answered and call.called.reasoning is None for call in place.calls)
    thinking = "unknown" if place.reasoning is None else f"{'≥ ' if unknown else ''}{place.reasoning:,}"
    return [
        f"{len(place.calls):,}",
        said_tokens(Spent(input=spent.input, unseen=spent.unseen)),
        said_tokens(Spent(output=spent.output, unseen=spent.unseen)),
        thinking,
        said_usd(spent),
        f"{quantile(outputs, 0.5):,.0f}" if outputs else "",
        f"{quantile(outputs, 0.95):,.0f}" if outputs else "",
        "" if place.hidden is None else f"{place.hidden:.0%}",
        f"{spent.seconds:,.1f}",
    ]


def _repeats(audit: Audit) -> Table:
    rows: list[list[str]] = []
    for place in audit.places:
        again = place.repeats
        if again:
            spent, cold = add_up(call.spent for call in again), sum(call.temperature == 0 for call in again)
            counts = [f"{len(again):,}", f"{place.asked_again:,}", f"{cold:,}"]
            rows.append([place.name, *counts, said_tokens(spent), said_usd(spent)])
    columns = ("call site", "calls", "requests", "at temperature 0", "tokens", "dollars")
    return Table("Asked again after an answer (a cache would save)", columns, rows)


def _faults(audit: Audit) -> Table:
    rows = [
        [place.name, fault, f"{number:,}", f"{len(place.calls):,}"]
        for place in audit.places
        for fault, number in sorted(place.faults.items())
    ]
    return Table("Calls that brought nothing", ("call site", "fault", "calls", "of"), rows, left=2)


def _worth(audit: Audit) -> Table:
    rows = [[each.name, each.what, each.said, said_tokens(each.spent), _stake(each.spent)] for each in audit.findings]
    columns: Sequence[str] = ("call site", "try", "what the audit saw", "tokens at stake", "dollars")
    return Table("Worth a test", columns, rows, left=3)


def _stake(spent: Spent) -> str:
    return "" if not spent.tokens or (spent.unpriced and not spent.usd) else said_usd(spent)


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """A number of things."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"
