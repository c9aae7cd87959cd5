"""What a model charges, as a user says it, or as a public table does."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import NamedTuple, Protocol, Union

from ttc_middleware._budget import NANO
from ttc_middleware._usage import EXACT, Usage

MILLION = 10**6
Amount = Union[Decimal, str, float]


class Cost(NamedTuple):
    """Dollars of one call. `reasoning` is the part of `output` that was thinking."""

    total: Decimal
    input: Decimal
    output: Decimal
    reasoning: Decimal


class Prices(Protocol):
    """What one model charges."""

    def cost(self, usage: Usage, tier: str | None = None) -> Cost:
        """The dollars that one call costs, served as `tier`; None: as the standard."""
        ...

    def rates(self, prompt: int | None = None) -> tuple[int, int]:
        """Nano-dollars per input and per output token, at most, with a prompt of at most so many tokens."""
        ...


@dataclass(frozen=True)
class Price:
    """What a model charges, in dollars per million tokens.

    Args:
        input: for prompt tokens.
        output: for completion tokens.
        cached: for prompt tokens read from a cache; None: as `input`.
        reasoning: for thinking, where it has a price of its own; None: as `output`.
        cache_write: for prompt tokens written to a cache; None: as `input`.
        cache_write_1h: for those that the cache keeps for an hour; None: as `cache_write`.
        above: prices of calls whose whole prompt is longer than so many tokens: {200_000: Price(…)}.
        tiers: prices of calls that the response says were served as "batch", "flex", "priority" or "fast":
            {"batch": Price(…)}; others cost what is said here.

    Raises:
        ValueError: a price is negative or not a number, or a length is not a number of tokens from 1.
    """

    input: Amount
    output: Amount
    cached: Amount | None = None
    reasoning: Amount | None = None
    cache_write: Amount | None = None
    cache_write_1h: Amount | None = None
    above: Mapping[int, Price] = field(default_factory=dict[int, "Price"], hash=False)
    tiers: Mapping[str, Price] = field(default_factory=dict[str, "Price"], hash=False)

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "reasoning", "cache_write", "cache_write_1h"):
            value = getattr(self, name)
            if value is not None or name in ("input", "output"):
                object.__setattr__(self, name, _dollars(name, value))
        for length in self.above:
            if isinstance(length, bool) or not isinstance(length, int) or length < 1:
                raise ValueError(f"Price(above=) maps a number of prompt tokens from 1 to a Price, got {length!r}")
        for name, prices in (("above", self.above), ("tiers", self.tiers)):
            for value in prices.values():
                if not isinstance(value, Price):
                    raise ValueError(f"Price({name}=) maps to a Price, got {value!r}")  # noqa: TRY004  # as the others

    def cost(self, usage: Usage, tier: str | None = None) -> Cost:
        """The dollars that one call costs, served as `tier`; None: as the standard."""
        with localcontext(EXACT):
            return _cost(self, usage, tier)

    def rates(self, prompt: int | None = None) -> tuple[int, int]:
        """Nano-dollars per input and per output token, at most, with a prompt of at most so many tokens.

        Which tier a call is served in and what is written to a cache is known only afterwards: the dearest counts.
        """
        inputs: list[Decimal] = []
        outputs: list[Decimal] = []
        for price in _possible(self, prompt):
            inputs += map(_decimal, (price.input, price.cached or 0, price.cache_write or 0, price.cache_write_1h or 0))
            outputs += map(_decimal, (price.output, price.reasoning or 0))
        return _nano(max(inputs)), _nano(max(outputs))


def _cost(price: Price, usage: Usage, tier: str | None) -> Cost:
    own = None if tier is None else price.tiers.get(tier)
    if own is not None:
        return _cost(own, usage, None)
    length = max((length for length in price.above if usage.input_tokens > length), default=None)
    if length is not None:
        return _cost(price.above[length], usage, tier)
    each, out = _decimal(price.input), _decimal(price.output)
    short = each if price.cache_write is None else _decimal(price.cache_write)
    long = short if price.cache_write_1h is None else _decimal(price.cache_write_1h)
    cached_each = each if price.cached is None else _decimal(price.cached)
    thinking_each = out if price.reasoning is None else _decimal(price.reasoning)
    cached, thinking = usage.cached_tokens or 0, usage.reasoning_tokens or 0
    written, kept = usage.cache_write_tokens or 0, usage.cache_write_1h_tokens or 0
    fresh = max(0, usage.input_tokens - cached - written)
    prompt = (fresh * each + cached * cached_each + (written - kept) * short + kept * long) / MILLION
    reasoning = thinking * thinking_each / MILLION
    output = (usage.output_tokens - thinking) * out / MILLION + reasoning
    return Cost(prompt + output, prompt, output, reasoning)


def _possible(price: Price, prompt: int | None) -> Generator[Price, None, None]:
    """A price, and those of its tiers and longer prompts."""
    yield price
    for own in price.tiers.values():
        yield from _possible(own, prompt)
    for length, longer in price.above.items():
        if prompt is None or prompt > length:
            yield from _possible(longer, prompt)


def _dollars(name: str, value: Amount | None) -> Decimal:
    try:
        dollars = Decimal(str(value))
    except ArithmeticError:
        dollars = Decimal("nan")
    if not dollars.is_finite() or dollars < 0:
        raise ValueError(f"Price({name}=) must be dollars per million tokens from 0, got {value!r}")
    return dollars


def _decimal(value: Amount) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _nano(per_million: Decimal) -> int:
    with localcontext(EXACT):
        return math.ceil(per_million * NANO / MILLION)
