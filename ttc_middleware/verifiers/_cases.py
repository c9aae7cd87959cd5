"""What a unit test says: parsed and checked before any code runs, and compared on our side."""

from __future__ import annotations

import builtins
import cmath
import reprlib
import symtable
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, cast

from typing_extensions import TypeAlias

from ..sandbox import Raised, Reply, Returned
from ..sandbox._wire import plain

Case: TypeAlias = Union["tuple[Any, Any]", str]
"""`(args, expected)`, or lines such as `"assert double(2) == 4"`."""

CANDIDATE = "candidate"  # how test lines may call the entry, whatever its name
_GIVEN = {"raises", "__name__"}


@dataclass(frozen=True)
class Example:
    """A call and what it should return, or the exception that it should raise."""

    args: tuple[Any, ...]
    expected: Any

    def judge(self, entry: str, reply: Reply, tolerance: float) -> str | None:
        """What is wrong with a reply; None: nothing."""
        raises = isinstance(self.expected, type) and issubclass(self.expected, BaseException)
        if raises and isinstance(reply, Raised):
            kind = getattr(builtins, reply.type, None)
            if isinstance(kind, type) and issubclass(kind, self.expected):
                return None
        if not raises and isinstance(reply, Returned) and _equal(reply.value, self.expected, tolerance):
            return None
        wanted = f"{self.expected.__name__} to be raised" if raises else short(self.expected)
        return f"{outcome(entry, self.args, {}, reply)}, expected {wanted}"


@dataclass(frozen=True)
class Lines:
    """Lines of test code, and the functions of the candidate that they use."""

    source: str
    names: frozenset[str]


def parse(tests: object, entry: str | None) -> list[Example | Lines]:
    """Check tests.

    Raises:
        ValueError: there are none, or one is broken.
        TypeError: one is no test, or its arguments are no plain data.
    """
    if isinstance(tests, (str, bytes)) or not isinstance(tests, Sequence):
        raise TypeError(f"tests is a sequence of tests, not {tests!r:.100}")
    if not tests:
        raise ValueError("tests is empty: without a test everything would pass")
    return [_parse(f"tests[{index}]", case, entry) for index, case in enumerate(cast("Sequence[object]", tests))]


def _parse(which: str, case: object, entry: str | None) -> Example | Lines:
    if isinstance(case, str):
        return Lines(case, _names(which, case, entry))
    if not isinstance(case, tuple) or len(cast("tuple[object, ...]", case)) != 2:  # noqa: PLR2004  # a pair
        raise TypeError(f"{which} is neither a tuple (args, expected) nor a string of assert lines: {case!r:.100}")
    args, expected = cast("tuple[object, object]", case)
    args = cast("tuple[Any, ...]", args) if isinstance(args, tuple) else (args,)
    try:
        plain(args)
    except TypeError as error:
        raise TypeError(f"{which} has arguments that cannot cross: {error}") from None
    if isinstance(expected, float) and cmath.isnan(expected):
        raise ValueError(f"{which} expects NaN, which nothing equals: use math.isnan in an assert line")
    if isinstance(expected, type) and getattr(builtins, expected.__name__, None) is not expected:
        raise ValueError(f"{which} expects {expected.__name__}, where only exceptions of builtins cross")
    return Example(args, expected)


def _names(which: str, source: str, entry: str | None) -> frozenset[str]:
    """The names that test lines use and do not define: functions of the candidate."""
    try:
        top = symtable.symtable(source, "test", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{which} is not Python ({error}): {source!r:.100}") from None
    defined = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported()}
    used: set[str] = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        used |= {each.get_name() for each in table.get_symbols() if each.is_referenced() and each.is_global()}
    names = frozenset(name for name in used - defined - _GIVEN if not hasattr(builtins, name))
    if not names:
        raise ValueError(f"{which} calls nothing of the code: {source!r:.100}")
    if entry is not None and (unknown := names - {entry, CANDIDATE}):
        raise ValueError(f"{which} uses {', '.join(sorted(unknown))}, which it does not define and is not {entry!r}")
    return names


def _equal(got: Any, expected: Any, tolerance: float) -> bool:
    if tolerance:
        numbers = (int, float, complex)
        if isinstance(expected, numbers) and isinstance(got, numbers) and {type(got), type(expected)} & {float, complex}:
            try:
                return cmath.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
            except OverflowError:  # an int beyond all floats
                return False
        if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
            same = isinstance(got, list) == isinstance(expected, list) and len(got) == len(expected)
            return same and all(_equal(one, other, tolerance) for one, other in zip(got, expected, strict=True))
        if isinstance(expected, dict) and isinstance(got, dict):
            return got.keys() == expected.keys() and all(_equal(got[key], expected[key], tolerance) for key in got)
    return bool(got == expected)


class _Short(reprlib.Repr):
    """Reads well in a line, whatever the value's size."""

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 400:  # noqa: PLR2004  # decimal takes quadratic time, and is refused above 4,300 digits
            return f"<an int of {x.bit_length()} bits>"
        return super().repr_int(x, level)


def short(value: Any) -> str:
    """A value in words for a model: at most some 120 characters."""
    shortener = _Short()
    shortener.maxstring = shortener.maxother = shortener.maxlong = 80
    shortener.maxlist = shortener.maxtuple = shortener.maxset = shortener.maxfrozenset = shortener.maxdict = 12
    text = shortener.repr(value)
    return text if len(text) <= 120 else f"{text[:119]}…"  # noqa: PLR2004  # as the docstring says


def called(entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call, as one writes it."""
    return f"{entry}({', '.join([*map(short, args), *(f'{name}={short(value)}' for name, value in kwargs.items())])})"


def outcome(entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], reply: Reply) -> str:
    """What a call led to."""
    call = called(entry, args, kwargs)
    if isinstance(reply, Returned):
        return f"{call} returned {short(reply.value)}"
    if isinstance(reply, Raised):
        return f"{call} raised {reply.type}: {reply.message}"
    return f"{call} returned {reply.reason}"
