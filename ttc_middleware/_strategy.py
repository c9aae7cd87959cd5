"""What a strategy says about itself, beyond its search: all optional."""

from __future__ import annotations

from typing import Any

from ._types import Capability, Strategy


def check_strategy(strategy: object) -> None:
    """Raise TypeError unless this is a strategy."""
    if isinstance(strategy, type):
        raise TypeError(f"a strategy is an object, not a class: write {strategy.__name__}(…)")
    if not callable(getattr(strategy, "search", None)):
        raise TypeError(f"a strategy has a search(call) method, like ttc.BestOfN(8); got {strategy!r}")


def needs_verifier(strategy: Strategy) -> bool:
    """Whether it is pointless without one."""
    return bool(_said(strategy, "needs_verifier", default=False))


def needs(strategy: Strategy) -> frozenset[Capability]:
    """What its draws ask of a call site."""
    return frozenset(_said(strategy, "needs", default=()))


def needs_all(strategy: Strategy) -> bool:
    """Whether it waits for every draw of a step, so that equal ones may share a request."""
    return bool(_said(strategy, "wants_all", default=False))


def _said(strategy: Strategy, name: str, *, default: Any) -> Any:
    return getattr(strategy, name, default)
