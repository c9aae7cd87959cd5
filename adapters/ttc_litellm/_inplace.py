"""Changing what a function does, wherever a name is bound to it already."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

# A function keeps its closure, and takes only code with as many free variables: the line behind `return` names them.
_BODY = """
def make({cells}):
    {is_async}def through(*args, ttc_enter, **kwargs):
        return {awaits}ttc_enter(*args, **kwargs)
        {cells}
    return through
"""


def _body(function: FunctionType) -> CodeType:
    """Code for this function that calls its keyword-only default `ttc_enter`."""
    asynchronous = inspect.iscoroutinefunction(function)
    source = _BODY.format(
        cells=", ".join(f"cell{number}" for number in range(len(function.__code__.co_freevars))) or "_=None",
        is_async="async " if asynchronous else "",
        awaits="await " if asynchronous else "",
    )
    made: dict[str, Any] = {}
    exec(compile(source, "<ttc_litellm>", "exec"), made)  # noqa: S102  # nothing in it comes from elsewhere
    through: FunctionType = made["make"](*function.__code__.co_freevars)
    return through.__code__


class InPlace:
    """Sends the calls of a function somewhere else, by giving the function object itself another body.

    A new attribute on a module would miss whoever has imported the function before: `from litellm import acompletion`,
    a `functools.partial`, another instrumentation's wrapper, a `Router` that took it at its construction.

    Args:
        function: a Python function, sync or async; it stays what it is to `inspect`.
        enter: takes `original`, which is a function with the old body, and gives what is called from now on; for an
            async function, an async one.

    Raises:
        TypeError: it is no Python function (but a builtin, or compiled).
    """

    def __init__(self, function: Any, enter: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        if type(function) is not FunctionType:
            raise TypeError(f"only a Python function can be changed in place, got {function!r}")
        self._function = function
        self._code: CodeType = function.__code__
        self._defaults: dict[str, Any] | None = function.__kwdefaults__
        original = FunctionType(
            self._code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        original.__kwdefaults__ = self._defaults
        original.__dict__.update(function.__dict__)  # its signature hangs there
        body = _body(function)
        # In this order: a call in another thread finds either the old body, which overlooks the default, or both.
        function.__kwdefaults__ = {**(self._defaults or {}), "ttc_enter": enter(original)}
        function.__code__ = body

    def undo(self) -> None:
        """Give the function its own body back."""
        self._function.__code__ = self._code
        self._function.__kwdefaults__ = self._defaults
