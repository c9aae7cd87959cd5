"""Answers that mean the same, in classes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from ttc_middleware._answers import value_key
from ttc_middleware._types import Sample


class Equivalence:
    """Classes of answers by a function that says whether two are the same, closed: a chain of same ones is a class.

    So they are classes whatever the function says: one that is not symmetric is asked both ways, and one that is not
    transitive ("close enough") joins by way of what lies between. They do not depend on the order of the answers,
    which a comparison with each class's first member would. Every two answers that are not equal, and not connected
    yet, are compared.

    Args:
        same: whether two answers are the same. What it raises counts as no.
    """

    def __init__(self, same: Callable[[Any, Any], object]) -> None:
        self._same = same
        self._groups: list[dict[Hashable, Any]] = []  # each answer by its key
        self._place: dict[Hashable, int] = {}
        self.wrong: Exception | None = None
        """The first thing that `same` has raised."""

    def add(self, key: Hashable, answer: Any) -> None:
        """Take in an answer; equal keys are one."""
        if key in self._place:
            return
        joined, apart = {key: answer}, list[dict[Hashable, Any]]()
        for group in self._groups:
            if any(self._alike(answer, each) for each in group.values()):
                joined |= group
            else:
                apart.append(group)
        self._regrouped([*apart, joined])

    def join(self, keys: Iterable[Hashable]) -> None:
        """Put answers that were taken in into one class, with all that are in a class with one of them."""
        joined: dict[Hashable, Any] = {}
        places = {self._place[key] for key in keys}
        for place in sorted(places):
            joined |= self._groups[place]
        self._regrouped([*(group for place, group in enumerate(self._groups) if place not in places), joined])

    def _regrouped(self, groups: list[dict[Hashable, Any]]) -> None:
        self._groups = groups
        self._place = {each: place for place, group in enumerate(groups) for each in group}

    def of(self, key: Hashable) -> Hashable:
        """The class of an answer that was taken in: a number that all of its class share until the next is added."""
        return self._place[key]

    def _alike(self, one: Any, other: Any) -> bool:
        try:
            return bool(self._same(one, other)) or bool(self._same(other, one))
        except Exception as error:  # noqa: BLE001  # the caller's own function
            self.wrong = self.wrong or error
            return False


def whole_answer(sample: Sample[Any]) -> tuple[Hashable, Any] | None:
    """What tells a sample's answer from others, and the answer as `same` sees it: its text, tool calls or value."""
    if sample.tool_calls:
        return sample.tool_calls, sample.tool_calls
    if sample.text is not None:
        return (sample.text, sample.text) if sample.text.strip() else None
    key = value_key(sample.output)
    return None if key is None else (key, sample.output)
