"""Functions that strategies ask about a call: they take its arguments by name, like verifiers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ttc_middleware._inspect import label, parameters

_VARIED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def asked(fn: Callable[..., Any]) -> frozenset[str]:
    """The arguments that it cannot do without.

    Raises:
        TypeError: it takes one that cannot be given by name.
    """
    named = [each for each in parameters(fn) if each.kind not in _VARIED]
    if any(each.kind is inspect.Parameter.POSITIONAL_ONLY for each in named):
        raise TypeError(f"{label(fn)} gets the call's arguments by name: none may be positional only")
    return frozenset(each.name for each in named if each.default is inspect.Parameter.empty)


def given(fn: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What it takes of a call's arguments.

    Raises:
        TypeError: the call does not have one that it cannot do without.
    """
    lacking = asked(fn) - arguments.keys()
    if lacking:
        have = ", ".join(sorted(arguments)) or "none"
        raise TypeError(
            f"{label(fn)} asks for {', '.join(sorted(lacking))}, which the call does not have (it has: {have})"
        )
    kinds = {each.name: each.kind for each in parameters(fn)}
    everything = inspect.Parameter.VAR_KEYWORD in kinds.values()
    return {name: value for name, value in arguments.items() if everything or name in kinds}


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether it is known to give something to await."""
    target = inspect.unwrap(fn)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)
