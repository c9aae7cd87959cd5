"""What a function asks for, read once at decoration."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

from ._types import Sample


def parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    """The function's parameters; none for a builtin that does not tell."""
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return []


def takes_sample(fn: Callable[..., Any]) -> bool:
    """Whether the first parameter is annotated `ttc.Sample`."""
    first = next(iter(parameters(fn)), None)
    if first is None or first.annotation is inspect.Parameter.empty:
        return False
    annotation: Any = first.annotation
    if isinstance(annotation, str):
        try:
            target = fn if inspect.isroutine(fn) else type(fn).__call__
            annotation = typing.get_type_hints(target)[first.name]
        except Exception:  # noqa: BLE001  # a name that exists only for type checkers: judge by the text
            head = str(annotation).split("[")[0].strip().rsplit(".", 1)[-1]
            return head == "Sample"
    return bool(annotation is Sample or typing.get_origin(annotation) is Sample)


def label(fn: object) -> str:
    """How messages call a function or an object."""
    name: str = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__
    return name.rpartition("<locals>.")[2]
