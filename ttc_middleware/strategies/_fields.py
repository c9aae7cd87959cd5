"""Votes on each field of structured outputs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from ttc_middleware._answers import value_key
from ttc_middleware._types import Sample

from ._vote import Ballot, Polls
from ._weights import Weigher

Path: TypeAlias = "tuple[str | int, ...]"
_MOST = 10_000  # fields that are told apart; what lies beyond is compared as a whole
_DEPTH = 40
_ABSENT = ("absent",)


class FieldVote:
    """A vote on each field over `n` ballots, whatever their order.

    Args:
        n: how many samples will have been cast at the end.
        weigher: what each vote weighs.
    """

    def __init__(self, n: int, weigher: Weigher) -> None:
        self._left = n
        self._fields: dict[int, dict[Path, Hashable]] = {}  # by launch order
        self.polls = Polls(weigher)

    def add(self, sample: Sample[Any]) -> None:
        """Count a sample; one that is no answer, or has no fields, abstains."""
        self._left -= 1
        found = fields_of(sample) if sample.status == "answer" else None
        if found is not None:
            self._fields[sample.index] = found
            self.polls.cast(sample, None)

    @property
    def winner(self) -> Sample[Any] | None:
        """The sample that agrees with most of the fields' winners; the earliest launched of those. None: no vote."""
        ballots = self.polls.counted().get(None, [])
        if not ballots:
            return None
        elected: dict[Path, Hashable] = {}
        for path in self._paths(ballots):
            values = self._classes(ballots, path)
            weights = self.polls.weights(list(values.values()))
            standing = {
                value: (-weight, -len(votes), min(each.sample.index for each in votes))
                for (value, votes), weight in zip(values.items(), weights, strict=True)
            }
            elected[path] = min(standing, key=standing.__getitem__)
        return min(
            (each.sample for each in ballots),
            key=lambda sample: (-self._agreements(sample, elected), sample.index),
        )

    @property
    def decided(self) -> bool:
        """Whether no remaining sample can change what the winner holds in any field."""
        if not self._left:
            return True
        ballots = self.polls.counted(sure=True).get(None, [])
        if not ballots:
            return False
        elected: dict[Path, Hashable] = {}
        # The last stands for a field that only a later sample will have.
        for path in [*self._paths(ballots), None]:
            values = self._classes(ballots, path)
            place = self.polls.out_of_reach(list(values.values()), self._left, joining=False)
            if place is None:
                return False
            if path is not None:
                elected[path] = list(values)[place]
        return any(self._agreements(each.sample, elected) == len(elected) for each in ballots)

    def _paths(self, ballots: list[Ballot]) -> list[Path]:
        return list(dict.fromkeys(path for each in ballots for path in self._fields[each.sample.index]))

    def _classes(self, ballots: list[Ballot], path: Path | None) -> dict[Hashable, list[Ballot]]:
        classes: dict[Hashable, list[Ballot]] = {}
        for each in ballots:
            value = _ABSENT if path is None else self._fields[each.sample.index].get(path, _ABSENT)
            classes.setdefault(value, []).append(each)
        return classes

    def _agreements(self, sample: Sample[Any], elected: dict[Path, Hashable]) -> int:
        own = self._fields[sample.index]
        return sum(own.get(path, _ABSENT) == value for path, value in elected.items())


def fields_of(sample: Sample[Any]) -> dict[Path, Hashable] | None:
    """The fields of a structured output by their paths, each value as a hashable one; None where it has none.

    The arguments of tool calls; else the JSON that the text holds; else the value: a pydantic model, a dataclass, a
    mapping or a list.
    """
    try:
        value = _structure(sample)
        return dict(_leaves(value)) if _has_parts(value) else None
    except Exception:  # noqa: BLE001  # what a model wrote, in anybody's objects: what cannot be read abstains
        return None


def _has_parts(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _structure(sample: Sample[Any]) -> object:
    if sample.tool_calls:
        return [{"name": call.name, "arguments": json.loads(call.arguments)} for call in sample.tool_calls]
    if sample.text is not None:
        from ttc_middleware.verifiers._json import json_in  # noqa: PLC0415  # slow to import

        return json.loads(json_in(sample.text))
    output: Any = sample.output
    dump = getattr(output, "model_dump_json", None)
    if callable(dump):
        return json.loads(str(dump()))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return dataclasses.asdict(output)
    return output


def _leaves(value: object) -> Iterator[tuple[Path, Hashable]]:
    """What is no mapping and no list, each with its path; what is empty, too deep or too much is not taken apart."""
    waiting: list[tuple[Path, object]] = [((), value)]
    seen = 0
    while waiting:
        path, part = waiting.pop()
        leaf = part
        seen += 1
        inside: list[tuple[Any, object]] = []
        if seen + len(waiting) < _MOST and len(path) < _DEPTH:
            if isinstance(part, Mapping):
                inside = [(str(name), each) for name, each in cast("Mapping[object, object]", part).items()]
            elif isinstance(part, (list, tuple)):
                inside = list(enumerate(cast("list[object]", part)))
        if inside:
            waiting.extend(((*path, name), each) for name, each in inside)
        elif path:  # an empty output has no fields
            yield path, _leaf(leaf)


def _leaf(value: object) -> Hashable:
    """Texts without case and spaces around or doubled; numbers by value, apart from True and False."""
    if isinstance(value, str):
        return "text", " ".join(value.casefold().split())
    if isinstance(value, bool) or value is None:
        return "word", value
    if isinstance(value, float) and not math.isfinite(value):
        return "number", repr(value)
    return "value", value_key(value)
