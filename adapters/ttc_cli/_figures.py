"""From searches to figures: pure functions, whose parts add up to the bills of the searches exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from ._searches import PARTS, UNSPLIT, Search
from ._spent import NOTHING, Spent, add_up
from ._spreads import Spread, spreads
from ._waste import Finding, findings

UNNAMED = "model not named"
UNLISTED = "not observed"
_COSTLIEST = 10


@dataclass(frozen=True)
class Row:
    """One row of spend: a function, a model or a day."""

    name: str
    spent: Spent
    searches: int | None = None
    """None for models: a search may ask several."""
    hidden: int | None = None
    accepted: int | None = None
    """None where there is no verifier."""
    multiplier: float | None = None


@dataclass(frozen=True)
class Figures:
    """What a record says, all of it."""

    since: datetime | None
    until: datetime | None
    searches: int
    judged: int
    """Searches of functions with a verifier."""
    accepted: int
    bounds: Mapping[str, int]
    """Searches by the status of their bill: "exact", "lower bound", "unknown"."""
    gaps: Mapping[str, int]
    """What nobody reported, and how often."""
    total: Spent
    split: Mapping[str, Spent]
    hidden: float | None
    """The share of tokens that no caller reads, 0 to 1; of those that are known."""
    multiplier: float | None
    """Tokens over those of plain calls, where both are known."""
    by: Mapping[str, Sequence[Row]]
    """Rows of "function", "model" and "day"."""
    spreads: Mapping[str, Mapping[str, Spread]]
    """For each function those of "tokens", "usd" and "seconds"."""
    acceptance: Mapping[int, int]
    """Searches by the samples drawn up to the first that was accepted."""
    never: int
    """Searches with a verifier and no accepted sample."""
    costliest: Sequence[Search]
    findings: Sequence[Finding]
    unread: Mapping[str, int] = field(default_factory=dict[str, int])
    """Lines of the record that say nothing, by why: "cut", "of a later version"."""

    @property
    def judged_spend(self) -> Spent:
        """What the searches with a verifier have cost, those that failed included."""
        return add_up(row.spent for row in self.by["verified"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        judged = self.judged_spend
        return {
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "searches": self.searches,
            "verified": self.judged,
            "accepted": self.accepted,
            "status": dict(self.bounds),
            "gaps": dict(self.gaps),
            "unread_lines": dict(self.unread),
            "total": self.total.to_dict(),
            "split": {part: spent.to_dict() for part, spent in self.split.items()},
            "hidden_share": self.hidden,
            "multiplier": self.multiplier,
            "spend_of_verified": judged.to_dict(),
            "tokens_per_accepted": None if not self.accepted else judged.tokens / self.accepted,
            "usd_per_accepted": _per(judged, self.accepted),
            "by": {
                kind: [{**asdict(row), "spent": row.spent.to_dict()} for row in rows]
                for kind, rows in self.by.items()
                if kind != "verified"
            },
            "spreads": {
                name: {kind: {**asdict(each), "times": each.times} for kind, each in spreads.items()}
                for name, spreads in self.spreads.items()
            },
            "samples_to_acceptance": {**{str(n): count for n, count in self.acceptance.items()}, "never": self.never},
            "costliest": [_told(search) for search in self.costliest],
            "findings": [
                {"function": each.name, "what": each.what, "said": each.said, "at_stake": each.spent.to_dict()}
                for each in self.findings
            ],
        }


def figures(searches: Iterable[Search]) -> Figures:
    """Everything; searches inside others are left out, since their calls are on the outer one's bill."""
    outer = sorted((search for search in searches if not search.inside), key=lambda search: search.at)
    judged = [search for search in outer if search.judged]
    tried = [first_accepted(search) for search in judged]
    sites = grouped(outer, lambda search: search.name)
    split = {part: add_up(search.split[part] for search in outer) for part in (*PARTS, UNSPLIT)}
    known = sum(spent.tokens for part, spent in split.items() if part != UNSPLIT)
    gaps: Counter[str] = Counter()
    for search in outer:
        gaps.update(search.gaps)
    return Figures(
        since=outer[0].at if outer else None,
        until=outer[-1].at if outer else None,
        searches=len(outer),
        judged=len(tried),
        accepted=sum(search.accepted for search in judged),
        bounds=Counter(search.status for search in outer),
        gaps=gaps,
        total=add_up(search.total for search in outer),
        split=split,
        hidden=(known - split["visible"].tokens) / known if known else None,
        multiplier=multiplier(outer),
        by={
            "function": rows(outer, lambda search: search.name),
            "model": by_model(outer),
            "day": sorted(rows(outer, lambda search: search.at.date().isoformat()), key=lambda row: row.name),
            "verified": rows(judged, lambda search: search.name),
        },
        spreads={name: spreads(mine) for name, mine in sites.items()},
        acceptance=dict(sorted(Counter(n for n in tried if n is not None).items())),
        never=sum(n is None for n in tried),
        costliest=sorted(outer, key=lambda each: (each.total.usd, each.total.tokens), reverse=True)[:_COSTLIEST],
        findings=findings(sites),
    )


def grouped(searches: Iterable[Search], key: Callable[[Search], str]) -> dict[str, list[Search]]:
    """The searches by something of theirs."""
    found: dict[str, list[Search]] = {}
    for search in searches:
        found.setdefault(key(search), []).append(search)
    return found


def rows(searches: Iterable[Search], key: Callable[[Search], str]) -> list[Row]:
    """Spend by something of the searches, the costliest first."""
    found = [
        Row(
            name,
            add_up(search.total for search in mine),
            searches=len(mine),
            hidden=sum(search.hidden for search in mine),
            accepted=sum(search.accepted for search in mine) if any(search.judged for search in mine) else None,
            multiplier=multiplier(mine),
        )
        for name, mine in grouped(searches, key).items()
    ]
    return _costliest(found)


def by_model(searches: Iterable[Search]) -> list[Row]:
    """Spend by model; what no model call accounts for has a row of its own."""
    found: dict[str, Spent] = {}
    for search in searches:
        for call in search.calls:
            name = call.model or UNNAMED
            found[name] = found.get(name, NOTHING) + call.spent
        rest = search.unlisted
        if rest.calls or rest.tokens or rest.usd or rest.unseen:
            found[UNLISTED] = found.get(UNLISTED, NOTHING) + rest
    return _costliest([Row(name, spent) for name, spent in found.items()])


def multiplier(searches: Iterable[Search]) -> float | None:
    """Tokens of these searches over those of a plain call each, where the latter are known."""
    known = [search for search in searches if search.plain]
    return sum(each.total.tokens for each in known) / sum(each.plain for each in known) if known else None


def first_accepted(search: Search) -> int | None:
    """How many samples had been launched with the first that was accepted; None: none was."""
    found = [sample.index for sample in search.samples if sample.accepted]
    return min(found) + 1 if found else None


def _costliest(found: list[Row]) -> list[Row]:
    return sorted(found, key=lambda row: (-row.spent.usd, -row.spent.tokens, row.name))


def _per(spent: Spent, count: int) -> str | None:
    """Dollars for each; the least of them where some calls have no price (`usd_exact` says so)."""
    if not count or (spent.unpriced and not spent.usd):
        return None
    return format(Decimal(spent.usd / count), "f")


def _told(search: Search) -> dict[str, Any]:
    return search.total.to_dict() | {
        "at": search.at.isoformat(),
        "function": search.name,
        "strategy": search.strategy,
        "accepted": search.accepted if search.judged else None,
        "samples": len(search.samples),
        "took_seconds": float(search.seconds),
        "status": search.status,
        "trace_id": search.trace_id or None,
        "span_id": search.span_id or None,
    }
