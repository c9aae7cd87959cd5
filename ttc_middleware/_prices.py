"""What tokens cost: what the provider reports, then the user's table, then genai-prices, then litellm, else unknown.

Nothing here ever asks the network: genai-prices (extra `prices`) ships its table, and litellm's is read only where the
program has imported litellm anyway.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, Union

from ._budget import NANO
from ._types import Usage

_MILLION = 10**6
Amount = Union[Decimal, str, float]


class Cost(NamedTuple):
    """Dollars of one call. `reasoning` is the part of `output` that was thinking."""

    total: Decimal
    input: Decimal
    output: Decimal
    reasoning: Decimal


class Prices(Protocol):
    """What one model charges."""

    def cost(self, usage: Usage) -> Cost:
        """The dollars that a usage costs."""
        ...

    def rates(self) -> tuple[int, int]:
        """Nano-dollars per input and per output token, at most."""
        ...


@dataclass(frozen=True)
class Price:
    """What a model charges, in dollars per million tokens.

    Args:
        input: for prompt tokens.
        output: for completion tokens.
        cached: for prompt tokens read from a cache; None: as `input`.
        reasoning: for thinking, where it has a price of its own; None: as `output`.

    Raises:
        ValueError: a price is negative or not a number.
    """

    input: Amount
    output: Amount
    cached: Amount | None = None
    reasoning: Amount | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "reasoning"):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                dollars = Decimal(str(value))
            except ArithmeticError:
                dollars = Decimal("nan")
            if not dollars.is_finite() or dollars < 0:
                raise ValueError(f"Price({name}=) must be dollars per million tokens from 0, got {value!r}")
            object.__setattr__(self, name, dollars)

    def cost(self, usage: Usage) -> Cost:
        """The dollars that a usage costs."""
        each, out = _decimal(self.input), _decimal(self.output)
        cached_each = each if self.cached is None else _decimal(self.cached)
        thinking_each = out if self.reasoning is None else _decimal(self.reasoning)
        cached, thinking = usage.cached_tokens or 0, usage.reasoning_tokens or 0
        prompt = ((usage.input_tokens - cached) * each + cached * cached_each) / _MILLION
        reasoning = thinking * thinking_each / _MILLION
        output = (usage.output_tokens - thinking) * out / _MILLION + reasoning
        return Cost(prompt + output, prompt, output, reasoning)

    def rates(self) -> tuple[int, int]:
        """Nano-dollars per input and per output token, at most."""
        dearest = max(_decimal(self.output), _decimal(self.reasoning or 0))
        return _nano(max(_decimal(self.input), _decimal(self.cached or 0))), _nano(dearest)


def _decimal(value: Amount) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _nano(per_million: Decimal) -> int:
    return math.ceil(per_million * NANO / _MILLION)


def find(provider: str, model: str, table: Mapping[str, Price]) -> Prices | None:
    """The prices of a model; `table` is the user's, by "provider/model" or "model". None: unknown."""
    own = table.get(f"{provider}/{model}") or table.get(model)
    return own or _from_genai_prices(provider, model) or _from_litellm(provider, model)


@dataclass(frozen=True)
class _Genai:
    provider: str | None
    model: str

    def _calculate(self, usage: Usage) -> Any:
        import genai_prices  # noqa: PLC0415  # an extra, and slow to import

        thinking = {} if usage.reasoning_tokens is None else {"output_reasoning_tokens": usage.reasoning_tokens}
        fields = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        known = genai_prices.Usage(**fields, cache_read_tokens=usage.cached_tokens or 0, **thinking)
        return genai_prices.calc_price(known, self.model, provider_id=self.provider)

    def cost(self, usage: Usage) -> Cost:
        price = self._calculate(usage)
        total, prompt = Decimal(price.total_price), Decimal(price.input_price)
        output = total - prompt
        share = Decimal(usage.reasoning_tokens or 0) / (usage.output_tokens or 1)
        return Cost(total, prompt, output, output * share)

    def rates(self) -> tuple[int, int]:
        # A million tokens are in the dearest tier there is.
        price = self._calculate(Usage(1, _MILLION, _MILLION))
        return _nano(Decimal(price.input_price)), _nano(Decimal(price.output_price))


@lru_cache(maxsize=1024)
def _from_genai_prices(provider: str, model: str) -> Prices | None:
    if importlib.util.find_spec("genai_prices") is None:
        return None
    for name in (provider, None):
        prices = _Genai(name, model)
        try:
            prices.rates()
        except Exception:  # noqa: BLE001, S112  # whatever a table that is not ours cannot tell is unknown
            continue
        return prices
    return None


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


def _from_litellm(provider: str, model: str) -> Prices | None:
    table: Mapping[str, Any] = getattr(sys.modules.get("litellm"), "model_cost", {})
    entry = table.get(f"{_LITELLM.get(provider, provider)}/{model}") or table.get(model)
    if not entry or "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None

    def per_million(name: str) -> Decimal | None:
        value = entry.get(name)
        return None if value is None else Decimal(str(value)) * _MILLION

    return Price(
        per_million("input_cost_per_token") or 0,
        per_million("output_cost_per_token") or 0,
        cached=per_million("cache_read_input_token_cost"),
        reasoning=per_million("output_cost_per_reasoning_token"),
    )
