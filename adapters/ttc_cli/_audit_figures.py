"""From observed calls to figures by call site: pure functions, whose parts add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._audit_calls import Log, Observed
from ._spent import Spent, add_up
from ._spreads import quantile
from ._waste import Finding


@dataclass(frozen=True)
class Place:
    """One call site."""

    name: str
    """`file:line`."""
    function: str
    calls: Sequence[Observed]
    """In the order in which they began."""
    repeats: Sequence[Observed]
    """Those whose very request had been answered before, somewhere in the program; no retries, no draws of ttc."""

    @property
    def spent(self) -> Spent:
        """What its calls cost."""
        return add_up(call.spent for call in self.calls)

    @property
    def models(self) -> list[str]:
        """Which it asks, the most used first."""
        return [name for name, _ in Counter(call.called.model for call in self.calls).most_common()]

    @property
    def faults(self) -> Mapping[str, int]:
        """What went wrong with the calls that brought nothing."""
        return Counter(call.called.fault or "no answer" for call in self.calls if not call.called.answered)

    @property
    def reasoning(self) -> int | None:
        """Thinking tokens of the calls that report them; None where none does."""
        known = [call.called.reasoning for call in self.calls if call.called.reasoning is not None]
        return sum(known) if known else None

    @property
    def outputs(self) -> list[int]:
        """Output tokens of each call that was answered and reports them."""
        return [call.spent.output for call in self.calls if call.called.answered and not call.spent.unseen]

    @property
    def hidden(self) -> float | None:
        """The share of tokens that nobody reads, 0 to 1; of those that are known."""
        tokens = self.spent.tokens
        return sum(call.hidden for call in self.calls) / tokens if tokens else None

    @property
    def asked_again(self) -> int:
        """How many different requests its repeats are of."""
        return len({call.asked for call in self.repeats})

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        outputs = self.outputs
        return {
            "place": self.name,
            "function": self.function,
            "models": self.models,
            "spent": self.spent.to_dict(),
            "reasoning_tokens": self.reasoning,
            "hidden_share": self.hidden,
            "output_p50": quantile(outputs, 0.5) if outputs else None,
            "output_p95": quantile(outputs, 0.95) if outputs else None,
            "failed": dict(self.faults),
            "truncated": sum(call.truncated for call in self.calls),
            "repeats": {
                "requests": self.asked_again,
                "calls": len(self.repeats),
                "at_temperature_0": sum(call.temperature == 0 for call in self.repeats),
                "spent": add_up(call.spent for call in self.repeats).to_dict(),
            },
        }


@dataclass(frozen=True)
class Audit:
    """All figures of an audit."""

    log: Log
    places: Sequence[Place]
    """The costliest first."""
    findings: Sequence[Finding]

    @property
    def total(self) -> Spent:
        """What all calls cost."""
        return add_up(place.spent for place in self.places)

    @property
    def hidden(self) -> float | None:
        """The share of tokens that nobody reads, 0 to 1; of those that are known."""
        tokens = self.total.tokens
        return sum(call.hidden for call in self.log.calls) / tokens if tokens else None

    @property
    def roles(self) -> Mapping[str, int]:
        """Calls inside searches of ttc: "sample", "verifier", "routing"."""
        return Counter(call.called.role for call in self.log.calls if not call.alone)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        gaps = Counter(call.called.gap for call in self.log.calls if call.called.gap)
        return {
            "total": self.total.to_dict(),
            "hidden_share": self.hidden,
            "gaps": dict(gaps),
            "call_sites": [place.to_dict() for place in self.places],
            "worth_a_test": [
                {"place": each.name, "what": each.what, "said": each.said, "at_stake": each.spent.to_dict()}
                for each in self.findings
            ],
            "in_searches": dict(self.roles),
            "python_processes": len(self.log.pythons),
            "sdks": sorted(self.log.sdks),
            "sdks_not_seen": sorted(self.log.others),
            "problems": dict(self.log.problems),
        }


def places(calls: Sequence[Observed]) -> list[Place]:
    """The call sites, the costliest first."""
    repeats = {id(call) for call in repeated(calls)}
    found: dict[tuple[str, str], list[Observed]] = {}
    for call in calls:
        found.setdefault((call.place, call.function), []).append(call)
    made = [
        Place(name, function, mine, [call for call in mine if id(call) in repeats])
        for (name, function), mine in found.items()
    ]
    return sorted(made, key=lambda each: (-each.spent.usd, -each.spent.tokens, each.name))


def repeated(calls: Iterable[Observed]) -> list[Observed]:
    """The calls whose request had been answered before."""
    answered: set[str] = set()
    found: list[Observed] = []
    for call in calls:
        if call.asked and call.alone and call.called.answered:
            if call.asked in answered:
                found.append(call)
            answered.add(call.asked)
    return found


def runs(place: Place) -> list[list[Observed]]:
    """Equal requests in a row, those at once included, two or more: a retry, a vote or a best-of by hand."""
    found: list[list[Observed]] = []
    for pid in {call.pid for call in place.calls}:
        mine = [call for call in place.calls if call.pid == pid and call.alone and call.asked]
        row: list[Observed] = []
        for call in mine:
            if row and call.asked != row[-1].asked:
                found.append(row)
                row = []
            row.append(call)
        found.append(row)
    return [row for row in found if len(row) > 1]
