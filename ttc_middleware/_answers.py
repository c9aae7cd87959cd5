"""Which answer an output stands for: what votes are counted by."""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable, Hashable
from fractions import Fraction
from typing import Any, cast

from ._inspect import takes_sample
from ._types import Sample

_TAIL = 4_000  # characters of a text in which a stated answer is looked for: it comes last, and texts can be megabytes
_STATED = re.compile(r"(?:\banswer\s{0,3}(?:is|:|=)|^####)[ \t]*:?[ \t]*(?=[^\n])", re.IGNORECASE | re.MULTILINE)
_WIDTH = 400  # characters of a line that an answer may take
_NUMBER = re.compile(r"([+-]?)(\d{1,60}(?:\.\d{1,60})?|\.\d{1,60})(?:/(\d{1,60}))?(%?)")
_LABEL = re.compile(r"[(\[]([a-z0-9])[)\]]\.?|([a-z])[).]")


def answer_key(by: Callable[[Any], Hashable | None] | None) -> Callable[[Sample[Any]], Hashable | None]:
    """A function from a sample to its answer class; `by` is asked if given."""
    if by is None:
        return stated_answer
    whole = takes_sample(by)
    return lambda sample: by(sample if whole else sample.output) if sample.status == "answer" else None


def stated_answer(sample: Sample[Any]) -> Hashable | None:
    """The tool calls; else the answer that the text states; else the whole value. None abstains."""
    if sample.status != "answer":
        return None
    if sample.tool_calls:
        # Parallel calls in no particular order, but each as often as it was made.
        return tuple(sorted((call.name, _canonical_json(call.arguments)) for call in sample.tool_calls))
    if sample.text is not None:
        return _canonical(_stated(sample.text))
    return value_key(sample.output)


def _stated(text: str) -> str:
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    tail, after = text[-_TAIL:], None
    for stated in _STATED.finditer(tail):
        after = stated.end()
    return text if after is None else tail[after : after + _WIDTH].split("\n", 1)[0]


def _boxed(text: str) -> str | None:
    r"""The contents of the last \boxed{…}, braces balanced."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, first = 0, start + len("\\boxed{")
    for end in range(first - 1, min(len(text), first + _TAIL)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if not depth:
            return text[first:end]
    return None


def _canonical(answer: str) -> Hashable | None:
    """Numbers by value, labels without brackets, everything else without case, spaces and final punctuation."""
    plain = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
    plain = plain.strip("*$`\"' ").rstrip(".!,;: ").strip("*$`\"' ")
    if not plain:
        return None
    number = _NUMBER.fullmatch(re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain).replace(" ", ""))
    if number:
        sign, amount, divisor, percent = number.groups()
        if divisor is None or int(divisor):
            value = Fraction(amount) / (int(divisor) if divisor else 1) / (100 if percent else 1)
            return -value if sign == "-" else value
    label = _LABEL.fullmatch(plain)
    return (label[1] or label[2]) if label else plain


def _canonical_json(text: str) -> str:
    """The same for equal values: keys in order, 2.0 as 2."""
    try:
        return json.dumps(json.loads(text, parse_float=_number), sort_keys=True)
    except (ValueError, RecursionError):
        return text


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def value_key(output: Any) -> Hashable | None:
    """A value as a hashable one, the same for equal ones whatever the order of keys; None for None."""
    if output is None:
        return None
    dump = getattr(output, "model_dump_json", None)
    if callable(dump):  # a pydantic model: two of them with equal fields are one answer
        return type(output).__qualname__, _canonical_json(str(dump()))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        output = dataclasses.asdict(output)
    listed = getattr(output, "tolist", None)
    if callable(listed):  # an array, whose repr leaves out its middle
        output = listed()
    if isinstance(output, (dict, list, tuple, set, frozenset)):
        try:
            return _written(cast("object", output))
        except RecursionError:  # a model may nest as deep as a parser lets it: there is no telling it from others
            return None
    return output if isinstance(output, Hashable) else repr(output)


def _written(output: object) -> str:
    try:
        return json.dumps(output, sort_keys=True, default=_in_words)
    except (TypeError, ValueError):  # keys that cannot be sorted, or a ring
        return repr(output)


def _in_words(value: object) -> object:
    return (
        sorted(repr(each) for each in cast("set[object]", value))
        if isinstance(value, (set, frozenset))
        else repr(value)
    )
