"""What model calls cost: a `Usage` adds up, and a `Bill` says what it was spent on. Frozen, exact, and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any, Literal


@dataclass(frozen=True)
class Usage:
    """What model calls cost. Adds up; what nobody reported is None and stays None in a sum, never 0."""

    calls: int = 1
    """Model calls, counting each attempt that was sent."""
    input_tokens: int = 0
    """Prompt tokens, cached ones included."""
    output_tokens: int = 0
    """Completion tokens, reasoning included."""
    reasoning_tokens: int | None = None
    """The part of `output_tokens` that was thinking; None where the provider does not say."""
    cached_tokens: int | None = None
    """The part of `input_tokens` that was read from a cache; None where the provider does not say."""
    usd: Decimal | None = None
    """Dollars; None where no price is known."""
    seconds: float = 0.0
    """Time spent inside the calls, summed, so parallel calls count each."""
    cache_write_tokens: int | None = None
    """The part of `input_tokens` that was written to a cache; None where the provider does not say."""
    cache_write_1h_tokens: int | None = None
    """The part of `cache_write_tokens` that is kept for an hour, which costs more; None where nobody says."""

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @classmethod
    def zero(cls) -> Usage:
        """Nothing used, and known to be nothing: the start of a sum."""
        return ZERO

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        if other is ZERO:
            return self
        if self is ZERO:
            return other
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            _plus(self.reasoning_tokens, other.reasoning_tokens),
            _plus(self.cached_tokens, other.cached_tokens),
            None if self.usd is None or other.usd is None else EXACT.add(self.usd, other.usd),
            self.seconds + other.seconds,
            _plus(self.cache_write_tokens, other.cache_write_tokens),
            _plus(self.cache_write_1h_tokens, other.cache_write_1h_tokens),
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types; dollars as a string, so that no cent is rounded; what is unknown is left out."""
        known = {
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cached_tokens": self.cached_tokens,
            "usd": None if self.usd is None else format(self.usd, "f"),
            "seconds": self.seconds,
            "cache_write_tokens": self.cache_write_tokens,
            "cache_write_1h_tokens": self.cache_write_1h_tokens,
        }
        return {name: value for name, value in known.items() if value is not None}


EXACT = Context(prec=50, traps=[InvalidOperation, DivisionByZero, Overflow])
"""How dollars are reckoned, whatever a program's own decimals are rounded to, or must not be."""


def _plus(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


ZERO = Usage(0, 0, 0, 0, 0, Decimal(0), 0.0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What an answer cost: `total = visible + reasoning + discarded + verifying + routing`, in every field."""

    visible: Usage = ZERO
    """What the caller gets to read, with its prompt."""
    reasoning: Usage = ZERO
    """The winner's own hidden thinking; where that was drawn step by step, each step's whole model call."""
    discarded: Usage = ZERO
    """Every losing, failed, retried or cancelled attempt."""
    verifying: Usage = ZERO
    """Judges and reward models."""
    routing: Usage = ZERO
    """Classifiers and planners that chose how to search."""
    plain: Usage = ZERO
    """What the same calls would have cost unscaled: the first draw of each, alone."""
    gaps: Mapping[str, int] = field(default_factory=dict[str, int])
    """What nobody reported, and how many times: {"cancelled": 2, "no usage reported": 1}.

    Where there is any, every figure is the least that it can be, dollars (where a price is known) included.
    """

    @property
    def total(self) -> Usage:
        """Everything."""
        return self.visible + self.reasoning + self.discarded + self.verifying + self.routing

    @property
    def hidden(self) -> Usage:
        """Everything but what the caller gets to read."""
        return self.reasoning + self.discarded + self.verifying + self.routing

    @property
    def status(self) -> Certainty:
        """Whether the total is exact, at least that much, or anybody's guess; `gaps` has the reasons."""
        return certainty(self.gaps, self.total)

    @property
    def multiplier(self) -> float | None:
        """Total tokens over those of one plain call; None where neither is known."""
        return self.total.tokens / self.plain.tokens if self.plain.tokens else None

    def __add__(self, other: Bill) -> Bill:
        if not isinstance(other, Bill):
            return NotImplemented
        gaps = dict(self.gaps)
        for reason, count in other.gaps.items():
            gaps[reason] = gaps.get(reason, 0) + count
        return Bill(
            visible=self.visible + other.visible,
            reasoning=self.reasoning + other.reasoning,
            discarded=self.discarded + other.discarded,
            verifying=self.verifying + other.verifying,
            routing=self.routing + other.routing,
            plain=self.plain + other.plain,
            gaps=gaps,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON types, the derived figures included; where nothing is known, None in place of every figure."""
        parts = ("total", "visible", "reasoning", "discarded", "verifying", "routing", "hidden", "plain")
        known = self.status != "unknown"
        figures: dict[str, Any] = {part: getattr(self, part).to_dict() if known else None for part in parts}
        return {**figures, "multiplier": self.multiplier, "status": self.status, "gaps": dict(self.gaps)}

    def __str__(self) -> str:
        total = self.total
        if self.status == "unknown":
            return f"unknown ({_reasons(self.gaps)})"
        shares = [
            f"{part.tokens:,} {name}"
            for name in ("visible", "reasoning", "discarded", "verifying", "routing")
            if (part := getattr(self, name)).calls or part.tokens
        ]
        least = "" if self.status == "exact" else f" ({self.status}: {_reasons(self.gaps)})"
        times = f", {self.multiplier:.1f} x one plain call" if self.multiplier else ""
        dollars = "" if total.usd is None else f" = ${total.usd:f}"
        calls = f"{total.calls:,} call" + ("" if total.calls == 1 else "s")
        return f"{total.tokens:,} tokens{dollars} in {calls}: {' + '.join(shares) or 'none'}{times}{least}"


Certainty = Literal["exact", "lower bound", "unknown"]


def certainty(gaps: Mapping[str, int], usage: Usage) -> Certainty:
    """What a usage with these gaps is."""
    if not gaps:
        return "exact"
    return "lower bound" if usage.tokens else "unknown"


def _reasons(gaps: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(gaps.items()))
