"""Pydantic AI agents with test-time compute: `Agent(model, capabilities=[Scale(ttc.BestOfN(4), verifier=…)])`.

`Scale` needs pydantic-ai-slim 1.107 or newer, whose capabilities reach the model; with an older one (from 1.70 on),
give the agent a `ScaledModel(model, …)` for its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from ._model import ScaledModel
    from ._outputs import valid_output
except ImportError as error:
    raise ImportError(
        'ttc_pydantic_ai needs pydantic-ai-slim >=1.70,<3: pip install "ttc-middleware[pydantic-ai]"'
    ) from error

if TYPE_CHECKING:
    from ._capability import Scale

__all__ = ["Scale", "ScaledModel", "valid_output"]


def __getattr__(name: str) -> Any:
    """Import `Scale` where it is asked for: older versions have no capabilities.

    Raises:
        ImportError: this pydantic-ai has none.
    """
    if name != "Scale":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from ._capability import Scale  # noqa: PLC0415  # absent with old versions
    except ImportError as error:
        raise ImportError(
            "ttc_pydantic_ai.Scale needs pydantic-ai-slim >=1.107; with an older one write"
            " Agent(ttc_pydantic_ai.ScaledModel(model, …))"
        ) from error
    return Scale
