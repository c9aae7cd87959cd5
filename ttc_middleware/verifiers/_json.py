"""Finding the one JSON value in what a model wrote, and saying briefly what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

LONGEST = 1 << 21
"""Characters of a text that are looked at: parsing and validating them takes seconds at worst."""
_LISTED = 8  # problems that are named; the others are counted
_PATH, _MESSAGE, _GOT = 80, 160, 60  # characters of each


class NotJson(ValueError):
    """Raised when a text does not hold exactly one JSON value; its own text is feedback for the model."""


@dataclass(frozen=True)
class Problems:
    """What is wrong with a value; `Problems()` is nothing."""

    count: int = 0
    feedback: str | None = None
    whole: bool = False
    """It is another kind of value altogether, like a list in place of an object."""

    @classmethod
    def of(cls, lines: Iterable[str], count: int, *, whole: bool = False) -> Problems:
        """Name the first few, and count the rest."""
        said = list(islice(lines, _LISTED))
        rest = [f"- {count - len(said):,} {'more' if said else 'problems'}"] if count > len(said) else []
        return cls(count, "\n".join(["The answer does not fit the schema:", *said, *rest]), whole)


def json_in(text: str) -> str:
    """The JSON in a text: all of it, with or without a Markdown fence around; else from its first bracket to its last.

    Words around the JSON are let pass only while they hold no bracket of their own: of two values in a text, nobody
    knows which is meant.

    Raises:
        NotJson: there is none, or more than one.
    """
    whole = _unfenced(text.strip("\ufeff \t\r\n"))
    problem = _problem(whole)
    if problem is None:
        return whole
    starts = [at for at in (whole.find("{"), whole.find("[")) if at >= 0]
    end = max(whole.rfind("}"), whole.rfind("]")) + 1
    part = whole[min(starts) : end] if starts else ""
    if part and part != whole:
        problem = _problem(part)
        if problem is None:
            return part
        problem += ", counted from the first bracket"
    raise NotJson(not_json(problem, whole))


def not_json(problem: str, text: str) -> str:
    """Feedback on a text that is not JSON."""
    begins = f"begins with {shown(text)}" if text else "is empty"
    return f"The answer is not JSON ({brief(problem)}; it {begins}). Answer with one JSON value and nothing around it."


def _unfenced(text: str) -> str:
    for fence in ("```", "~~~"):
        if text.startswith(fence) and text.endswith(f"\n{fence}"):
            return text[text.index("\n") + 1 : -len(fence)].strip()
    return text


def _problem(text: str) -> str | None:
    from pydantic_core import from_json  # noqa: PLC0415  # slow to import

    try:
        from_json(text)  # bounded in depth, and in the length of numbers
    except (ValueError, TypeError) as error:  # TypeError: half a surrogate pair
        return str(error)
    return None


def line(path: Sequence[object], message: str, got: str | None) -> str:
    """One problem, in one line."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    said = f"- {brief(where, _PATH) or 'the answer'}: {brief(message)}"
    return said if got is None else f"{said} (got {got})"


def shown(value: Any) -> str:
    """A value in a few words, as JSON where it is short."""
    if isinstance(value, str):
        return json.dumps(brief(value, _GOT), ensure_ascii=False)
    if value is None or isinstance(value, (bool, float)):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_GOT else "a very long number"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else f"an instance of {type(value).__name__}"


def brief(text: str, width: int = _MESSAGE) -> str:
    """A text in one line of at most so many characters, all of them printable."""
    said = "".join(each if each.isprintable() else " " for each in text[: width + 1])
    return said if len(said) <= width else f"{said[: width - 1]}…"
