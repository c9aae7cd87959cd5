"""Public tables of prices. Nothing here ever asks the network.

genai-prices (extra `prices`) ships its table; litellm's is read only where the program has imported litellm anyway.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

from ttc_middleware._usage import EXACT, Usage

from ._price import MILLION, Cost, Price, Prices

# How genai-prices asks for the price of a tier.
_CONTEXTS: Mapping[str, Mapping[str, str]] = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}
_GENAI = {"x_ai": "x-ai", "moonshot_ai": "moonshotai", "together_ai": "together", "fireworks_ai": "fireworks"}


@dataclass(frozen=True)
class _Genai:
    """The prices of one model, which can depend on the day and the hour."""

    provider: str | None
    model: str

    def cost(self, usage: Usage, tier: str | None = None) -> Cost:
        """The dollars that one call costs now."""
        return self._now().cost(usage, tier)

    def rates(self, prompt: int | None = None) -> tuple[int, int]:
        """Nano-dollars per input and per output token, at most."""
        return self._now().rates(prompt)

    def _now(self) -> Price:
        return _genai_price(self.provider, self.model, int(time.time() // 60))


@lru_cache(maxsize=1024)
def from_genai_prices(provider: str, model: str) -> Prices | None:
    """What genai-prices knows; None: nothing, or it is not installed."""
    if importlib.util.find_spec("genai_prices") is None:
        return None
    for name in (_GENAI.get(provider, provider), None):
        prices = _Genai(name, model)
        try:
            prices.rates()
        except Exception:  # noqa: BLE001, S112  # whatever a table that is not ours cannot tell is unknown
            continue
        return prices
    return None


@lru_cache(maxsize=1024)
def _genai_price(provider: str | None, model: str, _minute: int) -> Price:
    import genai_prices  # noqa: PLC0415  # an extra, and slow to import

    def found(**context: Any) -> Any:
        asked = genai_prices.Usage(input_tokens=1, output_tokens=1)
        with localcontext(EXACT):  # it reckons with the program's own
            return genai_prices.calc_price(asked, model, provider_id=provider, **context).model_price

    standard = found()
    tiers: dict[str, Price] = {}
    for tier, context in _CONTEXTS.items():
        try:
            own = found(price_context=context)
        except TypeError:  # a version that knows no tiers
            break
        if own != standard:
            tiers[tier] = _from_genai(own, {})
    return _from_genai(standard, tiers)


def _from_genai(prices: Any, tiers: Mapping[str, Price]) -> Price:
    """A `genai_prices.ModelPrice` as a price of ours: its steps, too, count for the whole call."""
    names = {
        "input": "input_mtok",
        "output": "output_mtok",
        "cached": "cache_read_mtok",
        "reasoning": "output_reasoning_mtok",
        "cache_write": "cache_write_mtok",
        "cache_write_1h": "cache_write_1h_mtok",
    }
    given = {ours: getattr(prices, theirs, None) for ours, theirs in names.items()}
    if (given["input"] is None and given["output"] is None) or getattr(prices, "requests_kcount", None):
        raise LookupError("it is not priced by tokens alone")
    steps = sorted({step.start for price in given.values() for step in getattr(price, "tiers", ())})

    def price_above(length: int | None, **more: Any) -> Price:
        at: dict[str, Any] = {name: _at(price, length) for name, price in given.items()}
        return Price(at.pop("input") or 0, at.pop("output") or 0, **at, **more)

    return price_above(None, above={max(1, start): price_above(start) for start in steps}, tiers=tiers)


def _at(price: Any, length: int | None) -> Decimal | None:
    """A price, stepped or not, of a prompt just longer than this."""
    if not hasattr(price, "tiers"):
        return None if price is None else Decimal(price)
    reached = [step.price for step in price.tiers if length is not None and step.start <= length]
    return Decimal(reached[-1] if reached else price.base)


# Where litellm's names of providers differ from those of `gen_ai.provider.name`.
_LITELLM = {
    "alibaba_cloud": "dashscope",
    "aws.bedrock": "bedrock",
    "azure.ai.inference": "azure_ai",
    "azure.ai.openai": "azure",
    "gcp.gemini": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "ibm.watsonx.ai": "watsonx",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshot",
    "x_ai": "xai",
}
_SUFFIXES = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
_ABOVE = re.compile(r"input_cost_per_token(_above_(\d+)(k?)_tokens)")


def from_litellm(provider: str, model: str) -> Price | None:
    """What litellm's table says, where the program has imported litellm; None: nothing."""
    table: Mapping[str, Any] = getattr(sys.modules.get("litellm"), "model_cost", {})
    entry = table.get(f"{_LITELLM.get(provider, provider)}/{model}") or table.get(model)
    if not entry or entry.get("input_cost_per_request") or entry.get("litellm_provider") == "perplexity":
        return None  # each request has a price, too, which depends on what was searched
    steps: Sequence[Mapping[str, Any]] = entry.get("tiered_pricing") or ()
    if "input_cost_per_token" not in entry and steps:
        entry = {**entry, **steps[0]}
    if "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    try:
        tiers = {
            tier: _from_litellm(entry, suffix, {})
            for tier, suffix in _SUFFIXES.items()
            if f"input_cost_per_token{suffix}" in entry
        }
        longer = {int(step["range"][0]): _from_litellm({**entry, **step}, "", {}) for step in steps[1:]}
        return _from_litellm(entry, "", tiers, longer)
    except (ValueError, TypeError, LookupError, ArithmeticError):  # a table that is not ours
        return None


def _from_litellm(
    entry: Mapping[str, Any], tier: str, tiers: Mapping[str, Price], longer: Mapping[int, Price] | None = None
) -> Price:
    def price_above(step: str, **more: Any) -> Price:
        def per_million(name: str) -> Decimal | None:
            keys = (f"{name}{step}{tier}", f"{name}{step}", f"{name}{tier}", name)
            value = next((entry[key] for key in keys if entry.get(key) is not None), None)
            return None if value is None else EXACT.multiply(Decimal(str(value)), MILLION)

        reasoning = entry.get("output_cost_per_reasoning_token")
        own = reasoning is not None and reasoning != entry["output_cost_per_token"]
        return Price(
            per_million("input_cost_per_token") or 0,
            per_million("output_cost_per_token") or 0,
            cached=per_million("cache_read_input_token_cost"),
            reasoning=EXACT.multiply(Decimal(str(reasoning)), MILLION) if own else None,
            cache_write=per_million("cache_creation_input_token_cost"),
            cache_write_1h=per_million("cache_creation_input_token_cost_above_1hr"),
            **more,
        )

    found = {(int(step[2]) * (1_000 if step[3] else 1), step[1]) for key in entry if (step := _ABOVE.fullmatch(key))}
    above = {length: price_above(step) for length, step in sorted(found)}
    return price_above("", above={**above, **(longer or {})}, tiers=tiers)
