"""What a model is shown of a call: its task and its answer, as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ttc_middleware._errors import VerifierFailed

from ._given import Given

LONGEST = 200_000
"""Characters of an answer that a model is asked about."""


def as_text(value: Any) -> str:
    """A text as it is; anything else as JSON, or as Python prints it where it is no data."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):  # keys of another kind, something that holds itself
        return str(value)


def _plain(value: Any) -> Any:
    dump: Any = getattr(value, "model_dump", None)  # pydantic's, and what is modelled on it
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    fields: Mapping[str, Any] = getattr(value, "__dataclass_fields__", {})
    if fields and not isinstance(value, type):
        return {name: getattr(value, name) for name in fields}
    return str(value)


def unfit(answer: str) -> str | None:
    """Why nobody needs to be asked about an answer; None: somebody does."""
    if not answer.strip():
        return "The answer is empty."
    if len(answer) > LONGEST:
        return f"The answer is {len(answer):,} characters long, where {LONGEST:,} are allowed."
    return None


class Task:
    """What was asked: a text, a function of the call's arguments, or by default all of them."""

    def __init__(self, prompt: str | Callable[..., Any] | None) -> None:
        if prompt is not None and not isinstance(prompt, str) and not callable(prompt):
            raise TypeError(f"prompt is a text or a function of the call's arguments, not {prompt!r}")
        self._given: Given[str] | None = None if prompt is None else Given.of("prompt", prompt, as_text)
        self.parameters = frozenset[str]() if self._given is None else self._given.parameters

    def text(self, arguments: Mapping[str, Any] | None) -> str:
        """The task of a call with these arguments.

        Raises:
            VerifierFailed: it is too long for anybody to be asked about.
        """
        text = _all(arguments or {}) if self._given is None else self._given.value(arguments)
        if len(text) > LONGEST:
            raise VerifierFailed(
                f"the task must have at most {LONGEST:,} characters, it has {len(text):,}: give prompt="
            )
        return text


def _all(arguments: Mapping[str, Any]) -> str:
    values: list[Any] = list(arguments.values())
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return "\n".join(f"{name}: {as_text(value)}" for name, value in arguments.items())
