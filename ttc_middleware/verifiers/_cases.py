"""What a unit test says: parsed and checked before any code runs, and compared on our side."""

from __future__ import annotations

import ast
import builtins
import cmath
import inspect
import reprlib
import symtable
import sys
import textwrap
import unittest
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, Union, cast

from ttc_middleware.sandbox import Raised, Reply, Returned, Tests
from ttc_middleware.sandbox._packages import installed, providing
from ttc_middleware.sandbox._wire import plain

Case: TypeAlias = Union["tuple[Any, Any]", str]
"""`(args, expected)`, or lines such as `"assert double(2) == 4"`."""

CANDIDATE = "candidate"  # how tests may call the entry, whatever its name
_GIVEN = {"raises", "__name__", "__file__"}
_SHORT = 120


@dataclass(frozen=True)
class Made:
    """A call that was made, and what it led to."""

    what: str
    """The function, in words."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    reply: Reply

    def __str__(self) -> str:
        call = called(self.what, self.args, self.kwargs)
        if isinstance(self.reply, Returned):
            return f"{call} returned {short(self.reply.value)}"
        return f"{call} {'raised ' if isinstance(self.reply, Raised) else ''}{why(self.reply)}"


@dataclass(frozen=True)
class Example:
    """A call and what it should return, or the exception that it should raise."""

    args: tuple[Any, ...]
    expected: Any
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    entry: str | None = None
    """The function, where the test names it."""
    compiled: bool = False
    """It stood as an `assert` with `==`, and is compared so."""

    def passes(self, reply: Reply, tolerance: float) -> bool:
        """Whether a reply is the expected one."""
        tolerance = 0.0 if self.compiled else tolerance
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
class Suite:
    """Test code, which runs in a sandbox of its own."""

    tests: Tests
    about: str
    """The test in words, for those that say no more of themselves."""
    packages: tuple[str, ...] = ()
    """What the tests themselves import."""


@dataclass(frozen=True)
class Wrong:
    """A test that does not pass; put into words only when asked, since the code may have returned a lot."""

    test: str | Example
    made: Made | None
    """The call that shows it."""
    said: str = ""
    """How the test ended."""

    def __str__(self) -> str:
        if isinstance(self.test, Example):
            return f"{self.made}, expected {self.test.wanted()}"
        said = f" ({self.said})" if self.said else ""
        return f"{self.test} failed{said}{'' if self.made is None else f': {self.made}'}"


def parse(tests: object, entry: str | None) -> list[Example | Suite]:
    """Check tests.

    Raises:
        ValueError: there are none, or one is broken.
        TypeError: one is no test, or its arguments are no plain data.
    """
    if isinstance(tests, str):
        return [_parse("tests", each, entry) for each in _apart(tests)]
    if isinstance(tests, bytes) or not isinstance(tests, Sequence):
        raise TypeError(f"tests is a sequence of tests, or the text of a test file, not {tests!r:.100}")
    if not tests:
        raise ValueError("tests is empty: without a test everything would pass")
    return [_parse(f"tests[{index}]", case, entry) for index, case in enumerate(cast("Sequence[object]", tests))]


def source_of(case: type[unittest.TestCase]) -> str:
    """The source text of a test case."""
    given = "import unittest\nfrom unittest import IsolatedAsyncioTestCase, TestCase, mock\n"
    return f"{given}{textwrap.dedent(inspect.getsource(case))}"


def _parse(which: str, case: object, entry: str | None) -> Example | Suite:
    if isinstance(case, str):
        return _compiled(case, entry) or _suite(which, case)
    if not isinstance(case, tuple) or len(cast("tuple[object, ...]", case)) != 2:  # noqa: PLR2004  # a pair
        raise TypeError(f"{which} is neither a tuple (args, expected) nor a string of test code: {case!r:.100}")
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


def _apart(source: str) -> list[str]:
    """Each `assert` by itself, where nothing else in a text has an effect; else the text as it is."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [source]  # what is wrong with it is said elsewhere
    if not all(isinstance(each, (ast.Assert, ast.Import, ast.ImportFrom)) for each in body):
        return [source]
    lines = [ast.get_source_segment(source, each) or "" for each in body]
    given = [line for line, each in zip(lines, body, strict=True) if not isinstance(each, ast.Assert)]
    asserts = [line for line, each in zip(lines, body, strict=True) if isinstance(each, ast.Assert)]
    return ["\n".join([*given, line]) for line in asserts] or [source]


def _compiled(source: str, entry: str | None) -> Example | None:
    """`assert f(literals) == literal` as the example that it is: that needs no second sandbox."""
    try:
        [statement] = ast.parse(source).body
        assert isinstance(statement, ast.Assert)
        compared = statement.test
        assert isinstance(compared, ast.Compare)
        call, [operation], [right] = compared.left, compared.ops, compared.comparators
        assert isinstance(operation, ast.Eq)
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        args = tuple(ast.literal_eval(each) for each in call.args)
        kwargs = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords if each.arg}
        expected = ast.literal_eval(right)
        plain((args, kwargs, expected))
    except (AssertionError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    name = call.func.id
    if len(kwargs) != len(call.keywords) or hasattr(builtins, name) or name == "raises":
        return None
    return Example(args, expected, kwargs, entry if name == CANDIDATE else name, compiled=True)


def _suite(which: str, source: str) -> Suite:
    try:
        tree = ast.parse(source)
        top = symtable.symtable(source, "test", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{which} is not Python ({error}): {source!r:.100}") from None
    kind = _kind(which, tree)
    names, modules = _names(top), _modules(tree)
    if kind == "lines" and _defines_check(tree):  # as in HumanEval
        source, names = f"{source}\ncheck({CANDIDATE})\n", names | {CANDIDATE}
    packages = {module: providing(module.partition(".")[0]) for module in sorted(modules)}
    code = [module for module, package in packages.items() if package is None]
    if not names and not code:
        raise ValueError(f"{which} calls nothing of the code: {source!r:.100}")
    if len({module.partition(".")[0] for module in code}) > 1:
        raise ValueError(f"{which} imports {' and '.join(code)}, which are not installed: one can be the code")
    needed = [package for package in packages.values() if package] + (["pytest"] if kind == "pytest" else [])
    installed(tuple(needed))
    return Suite(Tests(kind, source, sorted(names), code), source, tuple(dict.fromkeys(needed)))


def _kind(which: str, tree: ast.Module) -> Literal["lines", "unittest", "pytest"]:
    """What runs a text: pytest, where it would collect more than test cases, which it runs too."""
    cases = False
    for statement in tree.body:
        if isinstance(statement, ast.AsyncFunctionDef) and statement.name.startswith("test"):
            raise ValueError(f"{which} has an async test, {statement.name}: let it run its own loop, by asyncio.run()")
        if isinstance(statement, ast.ClassDef) and any("TestCase" in ast.unparse(base) for base in statement.bases):
            cases = True
        elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and statement.name.startswith(("test", "Test")):
            return "pytest"
    return "unittest" if cases else "lines"


def _defines_check(tree: ast.Module) -> bool:
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
    return any(each.name == "check" and len(each.args.args) == 1 for each in functions)


def _names(top: symtable.SymbolTable) -> frozenset[str]:
    """The names that tests use and do not define: the code's."""
    defined = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported()}
    used: set[str] = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        used |= {each.get_name() for each in table.get_symbols() if each.is_referenced() and each.is_global()}
    return frozenset(name for name in used - defined - _GIVEN if not hasattr(builtins, name))


def _modules(tree: ast.Module) -> frozenset[str]:
    """What tests import from elsewhere than the standard library; some of it may be the code itself."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    known = sys.stdlib_module_names | {"pytest"}
    return frozenset(module for module in found if module.partition(".")[0] not in known)


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
        parts = [reply.type[:80], *reply.own[:1], *([reply.message[:400]] if reply.message else [])]
        line = f" (line {reply.line})" if reply.line and "line " not in reply.message else ""
        return f"{': '.join(parts)}{line}"
    return "nothing" if isinstance(reply, Returned) else reply.reason[:400]
