"""What a unit test says: parsed and checked before any code runs, and compared on our side."""

from __future__ import annotations

import builtins
import cmath
import reprlib
import symtable
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, Union, cast

from ttc_middleware.sandbox import Raised, Reply, Returned
from ttc_middleware.sandbox._wire import plain

Case: TypeAlias = Union["tuple[Any, Any]", str]
"""`(args, expected)`, or lines such as `"assert double(2) == 4"`."""

CANDIDATE = "candidate"  # how test lines may call the entry, whatever its name
_GIVEN = {"raises", "__name__"}
_SHORT = 120


@dataclass(frozen=True)
class Made:
    """A call that was made, and what it led to."""

    entry: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    reply: Reply

    def __str__(self) -> str:
        call = called(self.entry, self.args, self.kwargs)
        if isinstance(self.reply, Returned):
            return f"{call} returned {short(self.reply.value)}"
        return f"{call} {'raised ' if isinstance(self.reply, Raised) else ''}{why(self.reply)}"


@dataclass(frozen=True)
class Example:
    """A call and what it should return, or the exception that it should raise."""

    args: tuple[Any, ...]
    expected: Any

    def passes(self, reply: Reply, tolerance: float) -> bool:
        """Whether a reply is the expected one."""
        if isinstance(reply, Raised):
            raised = getattr(builtins, reply.type, None)
            return self._raises() and isinstance(raised, type) and issubclass(raised, self.expected)
        return isinstance(reply, Returned) and not self._raises() and _equal(reply.value, self.expected, tolerance)

    def wanted(self) -> str:
        """What is expected, in words."""
        return f"{self.expected.__name__} to be raised" if self._raises() else short(self.expected)

    def _raises(self) -> bool:
        return isinstance(self.expected, type) and issubclass(self.expected, BaseException)


@dataclass(frozen=True)
class Lines:
    """Lines of test code, and the functions of the candidate that they use."""

    source: str
    names: frozenset[str]


@dataclass(frozen=True)
class Wrong:
    """A test that does not pass; put into words only when asked, since the code may have returned a lot."""

    case: Example | Lines
    made: Made
    """The call that shows it."""
    verdict: Reply | None = None
    """How the lines ended."""

    def __str__(self) -> str:
        if isinstance(self.case, Example):
            return f"{self.made}, expected {self.case.wanted()}"
        return f"{self.case.source} failed{f' ({why(self.verdict)})' if self.verdict else ''}: {self.made}"


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
    given, expected = cast("tuple[Any, object]", case)
    args: tuple[Any, ...] = given if isinstance(given, tuple) else (given,)  # pyright: ignore[reportUnknownVariableType]
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
        kinds: set[type[Any]] = {type(got), type(expected)}
        if kinds <= {int, float, complex} and kinds != {int}:
            try:
                return cmath.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
            except OverflowError:  # an int beyond all floats
                return False
        if kinds in ({list}, {tuple}):
            return len(got) == len(expected) and all(
                _equal(*pair, tolerance) for pair in zip(got, expected, strict=True)
            )
        if kinds == {dict}:
            return got.keys() == expected.keys() and all(_equal(got[key], expected[key], tolerance) for key in got)
    return bool(got == expected)


class _Repr(reprlib.Repr):
    """Reads well in a line, whatever the value's size."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 12

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 400:  # noqa: PLR2004  # decimal takes quadratic time, and is refused above 4,300 digits
            return f"<an int of {x.bit_length()} bits>"
        return super().repr_int(x, level)


def short(value: Any) -> str:
    """A value in words for a model: at most 120 characters."""
    text = _Repr().repr(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def called(entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call, as one writes it."""
    return f"{entry}({', '.join([*map(short, args), *(f'{name}={short(value)}' for name, value in kwargs.items())])})"


def why(reply: Reply) -> str:
    """What is wrong with a reply."""
    if isinstance(reply, Raised):
        return f"{reply.type[:80]}: {reply.message[:400]}" if reply.message else reply.type[:80]
    return "nothing" if isinstance(reply, Returned) else reply.reason[:400]
