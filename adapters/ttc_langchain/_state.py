"""What scaled model calls cost, in an agent's state."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from langchain.agents.middleware import AgentState
from langchain.agents.middleware.types import OmitFromInput, ResponseT
from typing_extensions import NotRequired

from ttc_middleware import Bill


def usage_of(bill: Bill) -> dict[str, Any]:
    """What a search cost, in JSON types."""
    return {**bill.total.to_dict(), "hidden_tokens": bill.hidden.tokens, "status": bill.status}


def add_usage(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any]:
    """Sum two usages of an agent's state; what one of them does not know, the sum does not."""
    if not a or not b:
        return dict(a or b or {})
    total: dict[str, Any] = {}
    for name, left in a.items():
        if name not in b:
            continue
        right = b[name]
        if name == "usd":
            total[name] = format(Decimal(left) + Decimal(right), "f")
        elif name == "status":
            total[name] = left if left == right else "lower bound"
        else:
            total[name] = left + right
    return total


class ScaledState(AgentState[ResponseT]):
    """An agent's state, with what its scaled model calls cost."""

    ttc_usage: NotRequired[Annotated[dict[str, Any], OmitFromInput, add_usage]]
    """The sum over the calls: calls, input_tokens, output_tokens, reasoning_tokens, cached_tokens, hidden_tokens, usd,
    seconds, status. What nobody reported is left out."""
