"""What samples vote on, where they call tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, cast

from ttc_middleware import Sample
from ttc_middleware.seam import stated_answer


def tool_calls(*, exclude: Collection[str] = ()) -> Callable[[Sample[Any]], Hashable | None]:
    """Let samples vote by the tools that they call: `SelfConsistency(5, by=ttc_langchain.tool_calls(exclude=("id",)))`.

    Two samples agree where they call the same tools with the same arguments, compared as JSON: the order of keys, of
    parallel calls and the way of writing a number (2, 2.0) make no difference. A sample that calls no tool votes with
    the answer that its text states, as it would without this.

    Args:
        exclude: arguments that make no difference, such as an identifier or a wording that the model makes up; with
            dots inside nested objects ("event.id"), for each of the objects where there is a list of them.

    Returns:
        For `SelfConsistency(by=)`: a function of the sample.

    Raises:
        TypeError: `exclude` is a single text, or holds what is none.
    """
    if isinstance(exclude, str) or not all(isinstance(path, str) and path for path in exclude):
        raise TypeError(f'tool_calls(exclude=) takes names of arguments, like ("id",); got {exclude!r}')
    paths = [path.split(".") for path in exclude]

    def voted(sample: Sample[Any]) -> Hashable | None:
        if sample.status != "answer" or not sample.tool_calls:
            return stated_answer(sample)
        calls = [(call.name, _key(json.loads(call.arguments), paths)) for call in sample.tool_calls]
        return tuple(sorted(calls))

    return voted


def _key(arguments: Any, paths: list[list[str]]) -> str:
    for path in paths:
        arguments = _without(arguments, path)
    return json.dumps(_by_value(arguments), sort_keys=True)


def _without(value: Any, path: list[str]) -> Any:
    """The value without what lies at the path."""
    if isinstance(value, list):
        return [_without(each, path) for each in cast("Iterable[Any]", value)]
    if not isinstance(value, dict):
        return value
    here, *rest = path
    fields = cast("dict[str, Any]", value)
    if not rest:
        return {name: each for name, each in fields.items() if name != here}
    return {name: _without(each, rest) if name == here else each for name, each in fields.items()}


def _by_value(value: Any) -> Any:
    """With whole numbers as such, however they were written; JSON knows one kind of number."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_by_value(each) for each in cast("Iterable[Any]", value)]
    if isinstance(value, dict):
        return {name: _by_value(each) for name, each in cast("dict[str, Any]", value).items()}
    return value
