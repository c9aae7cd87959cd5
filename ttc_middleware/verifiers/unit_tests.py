"""Unit tests as the verifier of code that a model wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast
from unittest import TestCase

from ttc_middleware._types import Verdict
from ttc_middleware.sandbox import (
    Choice,
    Limits,
    select,
    valid,
)  # fmt: skip
from ttc_middleware.sandbox._slots import slot

from ._cases import Case, Example, Suite, parse, source_of
from ._code import extract_code
from ._feedback import bounded
from ._given import Given
from ._run import Run

_LONGEST = 1 << 20


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
            run = Run(sandbox, self.limits, self.tolerance)
            seen, unseen = await run.judge(source, self.entry, public, hidden)
        passed, count = seen.passed + unseen.passed, seen.count + unseen.count
        failure = seen.first or (unseen.first and f"{unseen.count - unseen.passed} of the hidden tests failed")
        weak = sandbox.trust == "none" or seen.own_word or unseen.own_word
        return Verdict(
            passed / count,
            None if failure is None else bounded(f"{passed} of {count} tests passed. {failure}"),
            accepted=True if passed == count else None,
            trust="weak" if weak else "strong",
            sandbox=sandbox.name,
        )


def _text(tests: object) -> object:
    """Tests as they are read: a test case's source text, and anything else as it is."""
    if isinstance(tests, type) and issubclass(cast("type[object]", tests), TestCase):
        return source_of(cast("type[TestCase]", tests))
    return tests
