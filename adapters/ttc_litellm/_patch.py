"""`instrument()`: litellm's functions, changed in place."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from functools import partial
from types import FunctionType
from typing import Any

from ttc_middleware import Adapter

from ._calls import Function
from ._completion import Completion
from ._inplace import InPlace
from ._responses import Responses

_OLDEST = (1, 103)
# The functions that programs call; and those behind them, which one can import as well.
_FUNCTIONS: tuple[tuple[str, Adapter, tuple[str, ...]], ...] = (
    ("acompletion", Completion(), ("litellm", "litellm.main")),
    ("completion", Completion(), ("litellm", "litellm.main")),
    ("aresponses", Responses(), ("litellm", "litellm.responses.main")),
    ("responses", Responses(), ("litellm", "litellm.responses.main")),
)

_changed: list[InPlace] = []


def instrument() -> None:
    """Let the calls of litellm be seen and steered; see `ttc.instrument()`.

    Raises:
        ImportError: litellm is not installed, or is older than 1.103.
    """
    if _changed:
        return
    checked()
    try:
        for name, adapter, modules in _FUNCTIONS:
            named = [own(getattr(importlib.import_module(module), name)) for module in modules]
            # Some are one function by two names.
            for function in {id(each): each for each in named}.values():
                _changed.append(InPlace(function, partial(_enter, adapter, name)))  # noqa: PERF401  # undone one by one
    except BaseException:
        uninstrument()
        raise


def uninstrument() -> None:
    """Put litellm back as it was."""
    while _changed:
        _changed.pop().undo()


def _enter(adapter: Adapter, name: str, original: Any) -> Any:
    function = Function(original, adapter)
    return function.passing if name.startswith("a") else function.passing_sync


def own(function: Any) -> Any:
    """The function of litellm's own, below what other instrumentations may have put around it."""
    layers = [function]
    while hasattr(layers[-1], "__wrapped__"):
        layers.append(layers[-1].__wrapped__)
    # By where it runs: wrappers take over what their function says of itself.
    ours = (
        each for each in layers if type(each) is FunctionType and each.__globals__["__name__"].startswith("litellm")
    )
    return next(ours, function)


def checked() -> Any:
    """The package, of a version that this adapter knows."""
    wants = 'ttc_litellm needs litellm >=1.103,<2: pip install "ttc-middleware[litellm]"'
    try:
        litellm = importlib.import_module("litellm")
    except ImportError as error:
        raise ImportError(wants) from error
    try:
        version = importlib.metadata.version("litellm")
    except importlib.metadata.PackageNotFoundError:  # somebody's own build: what it lacks will show
        return litellm
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST:
        raise ImportError(f"{wants} (installed is {version})")
    return litellm
