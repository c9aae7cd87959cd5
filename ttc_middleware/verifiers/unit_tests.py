"""Unit tests as the verifier of code that a model wrote."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ttc_middleware._types import Verdict
from ttc_middleware.sandbox import (
    Choice,
    GuestFailed,
    Limits,
    Reply,
    Returned,
    Sandbox,
    Session,
    Unfit,
    select,
    valid,
)  # fmt: skip
from ttc_middleware.sandbox._slots import slot

from ._cases import CANDIDATE, Case, Example, Lines, Made, Wrong, called, parse, why
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
    compared by `==`, or is an exception class of `builtins` that the call has to raise. Or a test is a string of
    `assert` lines that call the function by its name, or as `candidate`; `raises(ValueError)` is a context manager at
    hand. These run in a second sandbox. Only plain data crosses (None, bool, numbers, str, bytes, list, tuple, set,
    dict; subclasses are flattened to these), and by value: what counts is what a function returns, not what it does
    to its arguments. The feedback names the first failure with input, expected and got, at most 400 characters.

    Code that uses up its CPU seconds or sleeps is rejected. Where the clock runs out while the code still wants to
    run, the machine was too busy, and that is no verdict: `SandboxFailed`.

    Args:
        tests: the tests, or a function of the call's arguments, by name, that returns them.
        entry: the function's name, or `Class.method` of a class made without arguments. None: the name that the
            `assert` lines use; without such, the last function that the code defines at its top level (`main` and
            names that start with `_` or `test` only if there is no other).
        sandbox: "auto" (the strongest that works here), "bubblewrap", "landlock", "unsafe", or a `Sandbox`.
        limits: for all tests of one answer together.
        tolerance: by how much floats may differ, absolutely or relatively; 0 compares exactly. Not within sets.
        extract: from the output to the code.

    Raises:
        ValueError: no tests, a test that is no Python or calls nothing, a tolerance below 0, an unknown sandbox.
        TypeError: a test is neither a pair nor a string, its arguments are not plain data, or the function of the
            arguments is async or has positional-only parameters.
    """

    tests: Sequence[Case] | Callable[..., Sequence[Case]] = field(repr=False)
    entry: str | None = field(default=None, kw_only=True)
    sandbox: Choice = field(default="auto", kw_only=True)
    limits: Limits = field(default=Limits(), kw_only=True)
    tolerance: float = field(default=0.0, kw_only=True)
    extract: Callable[[Any], str] = field(default=extract_code, kw_only=True, repr=False)
    _given: Given[list[Example | Lines]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        valid(self.sandbox)
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is at least 0 and below 1, not {self.tolerance!r}")
        if self.entry is not None and not all(part.isidentifier() for part in self.entry.split(".")):
            raise ValueError(f"entry is a function's name or Class.method, not {self.entry!r}")
        object.__setattr__(self, "_given", Given.of("tests", self.tests, partial(parse, entry=self.entry)))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `tests` cannot do without."""
        return self._given.parameters

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
        cases = self._given.value(arguments)
        source = self.extract(output)
        if len(source) > _LONGEST:
            return Verdict(0.0, f"the code is {len(source):,} characters long, where {_LONGEST:,} are allowed")
        async with slot():
            sandbox = await select(self.sandbox)
            passed, failure = await _Run(cases, sandbox, self.limits, self.tolerance).judge(source, self.entry)
        feedback = None if failure is None else bounded(f"{passed} of {len(cases)} tests passed. {failure}")
        return Verdict(passed / len(cases), feedback, trust="weak" if sandbox.trust == "none" else "strong")


@dataclass(frozen=True)
class _Run:
    """One answer under test."""

    cases: Sequence[Example | Lines]
    sandbox: Sandbox
    limits: Limits
    tolerance: float

    async def judge(self, source: str, entry: str | None) -> tuple[int, object | None]:
        """How many tests pass, and the first failure, which says in words what it is."""
        passed = 0
        first: object | None = None
        async with AsyncExitStack() as sessions:
            code = await sessions.enter_async_context(_session(self.sandbox, self.limits))
            try:
                loaded = await code.load(source)
            except GuestFailed as error:
                return 0, f"The code, when loaded, {error}"
            if not isinstance(loaded, Returned):
                return 0, f"The code does not load: {why(loaded)}"
            entry = entry or self._named() or _last(loaded.value)
            if entry is None:
                return 0, "The code defines no function"
            tester: Session | None = None
            for case in self.cases:
                try:
                    if isinstance(case, Example):
                        wrong = await self._example(case, entry, code)
                    else:
                        if tester is None:
                            tester = await sessions.enter_async_context(_session(self.sandbox, _roomy(self.limits)))
                        wrong = await _lines(case, entry, tester, code)
                except GuestFailed as error:
                    what = called(entry, case.args, {}) if isinstance(case, Example) else case.source
                    return passed, first or f"{what}: the code {error}"
                passed += wrong is None
                first = first or wrong
        return passed, first

    def _named(self) -> str | None:
        """The one function that the test lines call by its name."""
        names = {name for case in self.cases if isinstance(case, Lines) for name in case.names if name != CANDIDATE}
        return names.pop() if len(names) == 1 else None

    async def _example(self, case: Example, entry: str, code: Session) -> Wrong | None:
        reply = await code.call(entry, case.args, {})
        return None if case.passes(reply, self.tolerance) else Wrong(case, Made(entry, case.args, {}, reply))


async def _lines(case: Lines, entry: str, tester: Session, code: Session) -> Wrong | None:
    """Run test lines in a second sandbox; each call goes through here to the code's, and its result back."""
    last: list[Made] = []
    unfit: list[Made] = []

    async def call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reply:
        if name not in case.names:
            raise GuestFailed("spoke nonsense: a call that the test does not make")
        reply = await code.call(entry if name == CANDIDATE else name, args, kwargs)
        last[:] = [Made(name, args, kwargs, reply)]
        if isinstance(reply, Unfit):
            unfit[:] = unfit or last
        return reply

    reply = await tester.check(case.source, sorted(case.names), call)
    if not last:
        raise ValueError(f"a test calls nothing of the code ({why(reply)}): {case.source!r:.200}")
    if unfit:
        return Wrong(case, unfit[0])  # whatever the test made of it
    return None if isinstance(reply, Returned) else Wrong(case, last[0], reply)


def _roomy(limits: Limits) -> Limits:
    """For test lines, whose calls may carry big arguments."""
    return replace(limits, result=max(limits.result, _BIG_CALL))


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
