"""Unit tests as the verifier of code that a model wrote."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast
from unittest import TestCase

from ttc_middleware._types import Verdict
from ttc_middleware.sandbox import (
    Choice,
    GuestFailed,
    Limits,
    Returned,
    Sandbox,
    Session,
    Unfit,
    select,
    valid,
)  # fmt: skip
from ttc_middleware.sandbox._slots import slot

from ._between import Between
from ._cases import CANDIDATE, Case, Example, Made, Suite, Wrong, called, parse, source_of, why
from ._code import extract_code
from ._feedback import bounded
from ._given import Given

_LONGEST = 1 << 20
_BIG_CALL = 16 << 20


@dataclass(frozen=True, eq=False)
class UnitTests:
    """Accepts code that passes every test; the score is the share of tests that it passes.

    The code runs in a sandbox, the expected values never enter it, and the comparison is made here: nothing that the
    code prints, patches, raises or returns makes a wrong answer look right. It may use Python's standard library.

    A test is `(args, expected)`: `args` is a tuple, or the only argument itself where that is no tuple; `expected` is
    compared by `==`, or is an exception class of `builtins` that the call has to raise. Or it is a string of test code,
    such as `"assert double(2) == 4"`, in which names that it does not define are the code's, and `candidate` is its
    entry; `raises(ValueError)` is a context manager at hand. In place of a sequence, `tests` may be one text: `assert`
    lines, a `def check(candidate)` as in HumanEval, a pytest file, or one with a `unittest.TestCase` (or that class
    itself, without what is around it in its file). What such a file imports and is not installed is the code, by
    whatever name. Each test of a file counts as one.

    Test code runs in a second sandbox, where the code's functions and classes are proxies. Plain data crosses by value
    (None, bool, numbers, str, bytes, list, tuple, set, dict; subclasses are flattened to these): what counts is what a
    function returns, not what it does to its arguments. Other objects, generators and callbacks stay where they are
    and are used by handles. A handle has its attributes, methods, items, iteration and conversions; it never equals
    plain data, since its own `__eq__` would be asked. Where a test compares two objects of the code's, that is the
    code's own word, and the verdict says `trust="weak"`; so it does where the sandbox keeps nothing in.

    The feedback names the first failure with input, expected and got, at most 400 characters; of hidden tests it says
    only that some failed.

    Code that uses up its CPU seconds or sleeps is rejected. Where the clock runs out while the code still wants to
    run, the machine was too busy, and that is no verdict: `SandboxFailed`.

    Args:
        tests: the tests, or a function of the call's arguments, by name, that returns them.
        hidden: more tests in any of these forms, which the model is not told of: code that has learnt the public ones
            by heart fails them.
        entry: the function's name, or `Class.method` of a class made without arguments. None: the name that the
            tests use, if it is one; without such, the last function that the code defines at its top level (`main`
            and names that start with `_` or `test` only if there is no other).
        sandbox: "auto" (the strongest that works here), "bubblewrap", "fork-server" (several times as many a second),
            "landlock", "unsafe", or a `Sandbox`.
        allow_unsafe: let "auto" take a plain process where nothing better works: for code that you trust.
        limits: for all tests of one answer together, and what packages the code may import.
        tolerance: by how much floats may differ in `(args, expected)`, absolutely or relatively; 0 compares exactly.
            Not within sets.
        extract: from the output to the code.

    Raises:
        ValueError: no tests, a test that is no Python or uses nothing of the code, a tolerance below 0, an unknown
            sandbox, a package that is not installed.
        TypeError: a test is neither a pair nor a string, its arguments are not plain data, or the function of the
            arguments is async or has positional-only parameters.
    """

    tests: Sequence[Case] | type[TestCase] | Callable[..., Sequence[Case]] = field(repr=False)
    hidden: Sequence[Case] | type[TestCase] | Callable[..., Sequence[Case]] | None = field(
        default=None, kw_only=True, repr=False
    )
    entry: str | None = field(default=None, kw_only=True)
    sandbox: Choice = field(default="auto", kw_only=True)
    allow_unsafe: bool = field(default=False, kw_only=True)
    limits: Limits = field(default=Limits(), kw_only=True)
    tolerance: float = field(default=0.0, kw_only=True)
    extract: Callable[[Any], str] = field(default=extract_code, kw_only=True, repr=False)
    _given: Given[list[Example | Suite]] = field(init=False, repr=False)
    _hidden: Given[list[Example | Suite]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        valid(self.sandbox)
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is at least 0 and below 1, not {self.tolerance!r}")
        if self.entry is not None and not all(part.isidentifier() for part in self.entry.split(".")):
            raise ValueError(f"entry is a function's name or Class.method, not {self.entry!r}")
        read = partial(parse, entry=self.entry)
        object.__setattr__(self, "_given", Given.of("tests", _text(self.tests), read))
        if self.hidden is not None:
            object.__setattr__(self, "_hidden", Given.of("hidden", _text(self.hidden), read))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `tests` and `hidden` cannot do without."""
        return self._given.parameters | (frozenset[str]() if self._hidden is None else self._hidden.parameters)

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Run the tests on the code in an output.

        Args:
            output: the model's text, or whatever `extract` takes.
            arguments: the call's, for a function of them.

        Raises:
            SandboxUnavailable: no isolating sandbox works here.
            SandboxFailed: the sandbox broke, which says nothing about the code.
            TypeError: the output is no text, or a test's arguments are no plain data.
            ValueError: the tests are empty or broken.
        """
        public = self._given.value(arguments)
        hidden = [] if self._hidden is None else self._hidden.value(arguments)
        source = self.extract(output)
        if len(source) > _LONGEST:
            return Verdict(0.0, f"the code is {len(source):,} characters long, where {_LONGEST:,} are allowed")
        async with slot():
            sandbox = await select(self.sandbox, allow_unsafe=self.allow_unsafe)
            run = _Run(sandbox, self.limits, self.tolerance)
            seen, unseen = await run.judge(source, self.entry, public, hidden)
        passed, count = seen.passed + unseen.passed, seen.count + unseen.count
        failure = seen.first or (unseen.first and f"{unseen.count - unseen.passed} of the hidden tests failed")
        weak = sandbox.trust == "none" or seen.own_word or unseen.own_word
        return Verdict(
            passed / count,
            None if failure is None else bounded(f"{passed} of {count} tests passed. {failure}"),
            trust="weak" if weak else "strong",
            sandbox=sandbox.name,
        )


def _text(tests: object) -> object:
    """Tests as they are read: a test case's source text, and anything else as it is."""
    if isinstance(tests, type) and issubclass(cast("type[object]", tests), TestCase):
        return source_of(cast("type[TestCase]", tests))
    return tests


@dataclass(frozen=True)
class _Judged:
    """What became of some tests."""

    passed: int
    count: int
    first: object | None = None
    """The first failure, which says in words what it is."""
    own_word: bool = False
    """The code's own objects were compared with each other, by its own word."""


@dataclass(frozen=True)
class _Run:
    """One answer under test."""

    sandbox: Sandbox
    limits: Limits
    tolerance: float

    async def judge(self, source: str, entry: str | None, *groups: Sequence[Example | Suite]) -> list[_Judged]:
        """Run groups of tests on code, all in one process."""
        cases = [case for group in groups for case in group]
        async with _session(self.sandbox, self.limits) as code:
            try:
                loaded = await code.load(source)
            except GuestFailed as error:
                return _lost(f"The code, when loaded, {error}", groups)
            if not isinstance(loaded, Returned):
                return _lost(f"The code does not load: {why(loaded)}", groups)
            entry = entry or _named(cases) or _last(loaded.value)
            if entry is None and any(_needs_entry(case) for case in cases):
                return _lost("The code defines no function", groups)
            return [await self._all(group, code, entry or "") for group in groups]

    async def _all(self, cases: Sequence[Example | Suite], code: Session, entry: str) -> _Judged:
        passed = count = 0
        first: object | None = None
        own_word = False
        for place, case in enumerate(cases):
            try:
                if isinstance(case, Example):
                    judged = await self._example(case, case.entry or entry, code)
                else:
                    judged = await self._suite(case, entry, code)
            except GuestFailed as error:  # its process is gone, and the rest of the tests with it
                what = called(case.entry or entry, case.args, case.kwargs) if isinstance(case, Example) else case.about
                return _Judged(passed, count + len(cases) - place, first or f"{what}: the code {error}", own_word)
            passed, count, own_word = passed + judged.passed, count + judged.count, own_word or judged.own_word
            first = first or judged.first
        return _Judged(passed, count, first, own_word)

    async def _example(self, case: Example, entry: str, code: Session) -> _Judged:
        reply = await code.call(entry, case.args, case.kwargs)
        if case.passes(reply, self.tolerance):
            return _Judged(1, 1)
        return _Judged(0, 1, Wrong(case, Made(entry, case.args, case.kwargs, reply)))

    async def _suite(self, case: Suite, entry: str, code: Session) -> _Judged:
        """Run test code in a second sandbox; what it asks of the code goes through here, and the result back."""
        between = Between(code, entry)
        async with _session(self.sandbox, _roomy(self.limits, case)) as tester:
            between.tester = tester
            reply = await tester.check(case.tests, between.ask_code)
        ended = [(case.about, isinstance(reply, Returned), why(reply))]
        if isinstance(reply, Unfit):
            raise ValueError(f"a test of the code {reply.reason}: {case.about!r:.200}")  # noqa: TRY004  # its value, too
        if case.tests.kind != "lines":
            if not isinstance(reply, Returned) or not reply.value:
                raise ValueError(f"these tests do not run ({why(reply)}): {case.about!r:.200}")
            ended = [(str(name), bool(right), str(said)) for name, right, said in reply.value]
        if between.last is None:
            raise ValueError(f"a test calls nothing of the code ({why(reply)}): {case.about!r:.200}")
        if between.unfit is not None:  # whatever the test made of it
            return _Judged(0, len(ended), Wrong(ended[0][0], between.unfit))
        wrong = [(name, said) for name, right, said in ended if not right]
        first = None
        if wrong:
            shows = between.last if case.tests.kind == "lines" else None  # of many, the last call is another test's
            first = Wrong(wrong[0][0], shows, wrong[0][1])
        return _Judged(len(ended) - len(wrong), len(ended), first, between.own_word)


def _lost(said: str, groups: Sequence[Sequence[object]]) -> list[_Judged]:
    """No test could run."""
    return [_Judged(0, len(group), said if group else None) for group in groups]


def _named(cases: Sequence[Example | Suite]) -> str | None:
    """The one name of the code that the tests use."""
    names = {case.entry for case in cases if isinstance(case, Example) and case.entry}
    names |= {name for case in cases if isinstance(case, Suite) for name in case.tests.names if name != CANDIDATE}
    return names.pop() if len(names) == 1 else None


def _needs_entry(case: Example | Suite) -> bool:
    return case.entry is None if isinstance(case, Example) else CANDIDATE in case.tests.names


def _roomy(limits: Limits, case: Suite) -> Limits:
    """For tests, whose calls may carry big arguments, and which may need packages of their own."""
    packages = tuple(dict.fromkeys((*limits.packages, *case.packages)))
    return replace(limits, result=max(limits.result, _BIG_CALL), packages=packages)


@asynccontextmanager
async def _session(sandbox: Sandbox, limits: Limits) -> AsyncGenerator[Session]:
    session = await sandbox.start(limits)
    try:
        yield session
    finally:
        await session.kill()


def _last(functions: Any) -> str | None:
    """The function that code is about, by convention the last that it defines."""
    names = [name for name in functions if isinstance(name, str) and name.isidentifier()]
    public = [name for name in names if name != "main" and not name.startswith(("_", "test"))]
    return next(reversed(public or names), None)
