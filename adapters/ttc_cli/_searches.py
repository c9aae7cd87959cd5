"""A line of the run record as a checked object: what it holds is anybody's text, and figures out of range are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from ._checked import a_count, a_dict, a_number, a_text, a_time, dicts, some_seconds, some_usd
from ._spent import NOTHING, Spent, add_up

PARTS = ("visible", "reasoning", "discarded", "verifying", "routing")
UNSPLIT = "unattributed"
"""What is known only as a sum, or not at all."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A sample."""

    index: int
    status: str
    fault: str
    score: float | None
    accepted: bool
    judged: bool
    broken: bool
    """The verifier failed."""
    weak: bool
    """The checks ran where the output could have tampered with them."""
    spent: Spent
    reasoning: int | None


@dataclass(frozen=True, slots=True)
class Called:
    """A model call."""

    role: str
    sample: int | None
    model: str
    fault: str
    gap: str
    answered: bool
    spent: Spent
    reasoning: int | None
    after: Decimal
    """Seconds from the start of the search until it was sent."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search: what it was, and what it spent."""

    at: datetime
    name: str
    strategy: str
    judged: bool
    """There is a verifier; where every sample failed, it has judged nothing."""
    accepted: bool
    stop_reason: str
    error: str
    seconds: Decimal
    """On the clock."""
    winner: int | None
    samples: tuple[Sampled, ...]
    calls: tuple[Called, ...]
    split: Mapping[str, Spent]
    """By part of the bill; the parts add up to `total`."""
    unlisted: Spent
    """What is in the total and in none of the calls: nobody saw them, or they were still running."""
    plain: int
    """Tokens of one plain call; 0 where nobody knows."""
    gaps: Mapping[str, int]
    trace_id: str
    span_id: str
    inside: bool
    """It ran inside another search, whose line has its calls too."""
    total: Spent

    @property
    def hidden(self) -> int:
        """Tokens that the caller does not get to read."""
        return self.total.tokens - self.split["visible"].tokens - self.split[UNSPLIT].tokens

    @property
    def status(self) -> str:
        """As the bill says it."""
        return ("lower bound" if self.total.tokens else "unknown") if self.total.unseen else "exact"


def search_of(line: Mapping[str, Any]) -> Search | None:
    """What a line tells; None if it is not that of a search."""
    at, bill = a_time(line.get("at")), line.get("bill")
    if at is None or not isinstance(bill, dict) or not isinstance(line.get("name"), str):
        return None
    told = a_dict(cast("Any", bill))
    calls = tuple(called_of(each) for each in dicts(line.get("calls")))
    listed = add_up(call.spent for call in calls)
    parts = _priced({part: _spent(a_dict(told[part])) if told.get(part) else NOTHING for part in PARTS})
    gaps = {a_text(reason): a_count(count) for reason, count in a_dict(told.get("gaps")).items()}
    total = _total(add_up(parts.values()), listed, sum(gaps.values()))
    rest = total - add_up(parts.values())
    return Search(
        at=at,
        name=a_text(line["name"]),
        strategy=a_text(line.get("strategy")),
        judged=line.get("verified") is True,
        accepted=line.get("accepted") is True,
        stop_reason=a_text(line.get("stop_reason")),
        error=a_text(line.get("error")),
        seconds=some_seconds(line.get("seconds")),
        winner=a_number(line.get("winner")),
        samples=tuple(_sampled(each) for each in dicts(line.get("samples"))),
        calls=calls,
        split={**parts, UNSPLIT: replace(rest, unpriced=max(0, rest.unpriced))},
        unlisted=total - listed,
        plain=_tokens(told.get("plain")),
        gaps=gaps,
        trace_id=a_text(line.get("trace_id")),
        span_id=a_text(line.get("span_id")),
        inside=line.get("inside") is True,
        total=total,
    )


def _priced(parts: dict[str, Spent]) -> dict[str, Spent]:
    """The parts; where thinking has no price of its own, its dollars are on what is visible, and neither is known."""
    visible, reasoning = parts["visible"], parts["reasoning"]
    if not reasoning.tokens or reasoning.usd or not visible.usd:
        return parts
    return parts | {
        "visible": replace(visible, usd=Decimal(0), unpriced=1),
        "reasoning": replace(reasoning, usd=Decimal(0), unpriced=1),
    }


def _total(parts: Spent, listed: Spent, gaps: int) -> Spent:
    """The whole: of a bill that nobody knows, what its calls say; of one with a part without a price, their dollars."""
    more = max(0, gaps - listed.unseen)
    whole = listed if parts == NOTHING else parts
    usd = listed.usd if parts.unpriced else whole.usd
    return replace(whole, usd=usd, unpriced=listed.unpriced + more, unseen=listed.unseen + more)


def _sampled(told: Mapping[str, Any]) -> Sampled:
    usage, verdict = a_dict(told.get("usage")), a_dict(told.get("verdict"))
    score = told.get("score")
    share = isinstance(score, (int, float)) and not isinstance(score, bool) and 0 <= score <= 1
    return Sampled(
        index=a_count(told.get("index")),
        status=a_text(told.get("status")),
        fault=a_text(told.get("fault")),
        score=float(cast("float", score)) if share else None,
        accepted=told.get("accepted") is True,
        judged=bool(verdict) or share,
        broken=verdict.get("failed") is True,
        weak=verdict.get("trust") == "weak",
        spent=_spent(usage),
        reasoning=a_number(usage.get("reasoning_tokens")),
    )


def called_of(told: Mapping[str, Any]) -> Called:
    """What is told of a model call."""
    usage, gap = a_dict(told.get("usage")), a_text(told.get("gap"))
    spent = _spent(usage)
    if gap:
        spent = replace(spent, unseen=1, unpriced=max(1, spent.unpriced))
    return Called(
        role=a_text(told.get("role")),
        sample=a_number(told.get("sample")),
        model=a_text(told.get("model")),
        fault=a_text(told.get("fault")),
        gap=gap,
        answered=told.get("answered") is True,
        spent=spent,
        reasoning=a_number(usage.get("reasoning_tokens")),
        after=some_seconds(told.get("after")),
    )


def _spent(usage: Mapping[str, Any]) -> Spent:
    calls, usd = a_count(usage.get("calls")), some_usd(usage.get("usd"))
    return Spent(
        calls,
        a_count(usage.get("input_tokens")),
        a_count(usage.get("output_tokens")),
        usd or Decimal(0),
        max(1, calls) if usd is None else 0,
        0,
        some_seconds(usage.get("seconds")),
    )


def _tokens(usage: Any) -> int:
    return _spent(a_dict(usage)).tokens
