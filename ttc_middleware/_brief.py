"""How things print: configuration as one would write it, text of a model short and harmless."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any, ClassVar


class Brief:
    """Prints what was given, defaults left out: `BestOfN(16, stop='all')`. For dataclasses with `repr=False`."""

    __slots__ = ()

    __dataclass_fields__: ClassVar[dict[str, Any]]  # as type checkers know a dataclass

    def __repr__(self) -> str:
        said: list[str] = []
        for each in fields(self):
            if not each.repr:  # what a span is not to show
                continue
            value = getattr(self, each.name)
            if not each.kw_only:
                said.append(_one(value))
            elif value != each.default:
                said.append(f"{each.name}={_one(value)}")
        return f"{type(self).__name__}({', '.join(said)})"


def _one(value: object) -> str:
    """A function by its name: its address would make every process another configuration."""
    name: str | None = getattr(value, "__qualname__", None)
    if name is not None:
        return name.rpartition("<locals>.")[2]
    kind = type(value)
    said = repr(value)  # of an object that holds functions, say
    # A partial shows all that it was given, and that can be a key.
    return f"{kind.__name__}(…)" if " at 0x" in said or issubclass(kind, partial) else said


def short(text: str, width: int = 80) -> str:
    """One line of a text, printable and at most this wide: what a model wrote may drive a terminal, or be no text."""
    line = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"
