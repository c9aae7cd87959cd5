"""What a strategy says about itself, beyond its search: all optional."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, cast

from ._types import Call, Capability, Search, Strategy


def check_strategy(strategy: object) -> None:
    """Raise TypeError unless this is a strategy."""
    if isinstance(strategy, type):
        raise TypeError(f"a strategy is an object, not a class: write {strategy.__name__}(…)")
    if not callable(getattr(strategy, "search", None)):
        raise TypeError(f"a strategy has a search(call) method, like ttc.BestOfN(8); got {strategy!r}")


def begin(strategy: Strategy, call: Call) -> Search[Any]:
    """Start a search; raises TypeError if `search()` is no generator function."""
    steps = strategy.search(call)
    if not isinstance(cast("object", steps), Generator):
        raise TypeError(f"search(call) of {strategy!r} must be a generator, got {steps!r:.200}")
    return steps


def needs_verifier(strategy: Strategy) -> bool:
    """Whether it is pointless without one."""
    return bool(_said(strategy, "needs_verifier", default=False))


def needs(strategy: Strategy) -> frozenset[Capability]:
    """What its draws ask of a call site."""
    return frozenset(_said(strategy, "needs", default=()))


def needs_all(strategy: Strategy) -> bool:
    """Whether it waits for every draw of a step, so that equal ones may share a request."""
    return bool(_said(strategy, "wants_all", default=False))


def judges(strategy: Strategy) -> tuple[Any, ...]:
    """The verifiers that its draws name."""
    return tuple(_said(strategy, "judges", default=()))


def asks(strategy: Strategy) -> frozenset[str]:
    """The arguments of a call that it cannot do without."""
    return frozenset(_said(strategy, "parameters", default=()))


def in_turn(strategy: Strategy) -> int:
    """Draws that follow one another in its longest chain, from 1."""
    return max(int(_said(strategy, "in_turn", default=1)), 1)


def suited(strategy: Strategy, can: frozenset[Capability]) -> Strategy:
    """What to use of it where a call site can do only so much: itself, unless it says otherwise."""
    choose: Callable[[frozenset[Capability]], Strategy] | None = _said(strategy, "suited", default=None)
    return strategy if choose is None else choose(can)


def _said(strategy: Strategy, name: str, *, default: Any) -> Any:
    return getattr(strategy, name, default)
