"""What tokens cost: what the provider reports, then the user's table, then genai-prices, then litellm, else unknown."""

from __future__ import annotations

from collections.abc import Mapping

from ttc_middleware._cuts import self_hosted

from ._price import Price, Prices
from ._tables import from_genai_prices, from_litellm


def find(provider: str, model: str, table: Mapping[str, Price]) -> Prices | None:
    """The prices of a model; `table` is the user's, by "provider/model" or "model". None: unknown."""
    own = table.get(f"{provider}/{model}") or table.get(model)
    if own is not None or self_hosted(provider):  # a public table knows nothing of what one's own server costs
        return own
    return from_genai_prices(provider, model) or from_litellm(provider, model)
