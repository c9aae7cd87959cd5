"""Running tests on one answer: the code in one sandbox, tests that are more than cases in another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from ttc_middleware.sandbox import GuestFailed, Limits, Returned, Sandbox, Session, Unfit

from ._between import Between
from ._cases import CANDIDATE, Example, Made, Suite, Wrong, called, why

_BIG_CALL = 16 << 20


@dataclass(frozen=True)
class Judged:
    """What became of some tests."""

    passed: int
    count: int
    first: object | None = None
    """The first failure, which says in words what it is."""
    own_word: bool = False
    """The code's own objects were compared with each other, by its own word."""


@dataclass(frozen=True)
class Run:
    """One answer under test."""

    sandbox: Sandbox
    limits: Limits
    tolerance: float

    async def judge(self, source: str, entry: str | None, *groups: Sequence[Example | Suite]) -> list[Judged]:
        """Run groups of tests on code, all in one process."""
        cases = [case for group in groups for case in group]
        async with session_in(self.sandbox, self.limits) as code:
            try:
                loaded = await code.load(source)
            except GuestFailed as error:
                return _lost(f"The code, when loaded, {error}", groups)
            if not isinstance(loaded, Returned):
                return _lost(f"The code does not load: {why(loaded)}", groups)
            entry = entry or _named(cases) or last_of(loaded.value)
            if entry is None and any(_needs_entry(case) for case in cases):
                return _lost("The code defines no function", groups)
            return [await self._all(group, code, entry or "") for group in groups]

    async def _all(self, cases: Sequence[Example | Suite], code: Session, entry: str) -> Judged:
        passed = count = 0
        first: object | None = None
        own_word = False
        async with AsyncExitStack() as testers:
            between = Between(code, entry, partial(self._tester, testers, {}))
            for place, case in enumerate(cases):
                try:
                    if isinstance(case, Example):
                        judged = await self._example(case, case.entry or entry, code)
                    else:
                        judged = await _suite(case, between)
                except GuestFailed as error:  # its process is gone, and the rest of the tests with it
                    if isinstance(case, Example):
                        what = called(case.entry or entry, case.args, case.kwargs)
                    else:
                        what = case.about
                    lost = len(cases) - place
                    return Judged(passed, count + lost, first or f"{what}: the code {error}", own_word)
                passed, count, own_word = passed + judged.passed, count + judged.count, own_word or judged.own_word
                first = first or judged.first
        return Judged(passed, count, first, own_word)

    async def _tester(self, opened: AsyncExitStack, known: dict[tuple[str, ...], Session], case: Suite) -> Session:
        """Where tests run: lines of one answer side by side, files in a sandbox of their own."""
        shared = known.get(case.packages) if case.tests.kind == "lines" else None
        if shared is not None:
            return shared
        session = await opened.enter_async_context(session_in(self.sandbox, _roomy(self.limits, case)))
        if case.tests.kind == "lines":
            known[case.packages] = session
        return session

    async def _example(self, case: Example, entry: str, code: Session) -> Judged:
        reply = await code.call(entry, case.args, case.kwargs)
        if case.passes(reply, self.tolerance):
            return Judged(1, 1)
        return Judged(0, 1, Wrong(case, Made(entry, case.args, case.kwargs, reply)))


async def _suite(case: Suite, between: Between) -> Judged:
    """Run test code in a second sandbox; what it asks of the code goes through here, and the result back."""
    reply = await between.run(case)
    ended = [(case.about, isinstance(reply, Returned), why(reply))]
    if isinstance(reply, Unfit):
        raise ValueError(f"a test of the code {reply.reason}: {case.about!r:.200}")  # noqa: TRY004  # its value, too
    if case.tests.kind != "lines":
        if not isinstance(reply, Returned) or not reply.value:
            raise ValueError(f"these tests do not run ({why(reply)}): {case.about!r:.200}")
        ended = [(str(name), bool(right), str(said)) for name, right, said in reply.value]
    if not between.used:
        raise ValueError(f"a test calls nothing of the code ({why(reply)}): {case.about!r:.200}")
    if between.unfit is not None and case.tests.kind == "lines":  # whatever the test made of it
        return Judged(0, len(ended), Wrong(ended[0][0], between.unfit))
    wrong = [(name, said) for name, right, said in ended if not right]
    first = None
    if wrong:
        shows = between.last if case.tests.kind == "lines" else None  # of many, the last call is another test's
        first = Wrong(wrong[0][0], shows, wrong[0][1])
    return Judged(len(ended) - len(wrong), len(ended), first, between.own_word)


def _lost(said: str, groups: Sequence[Sequence[object]]) -> list[Judged]:
    """No test could run."""
    return [Judged(0, len(group), said if group else None) for group in groups]


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
async def session_in(sandbox: Sandbox, limits: Limits) -> AsyncGenerator[Session]:
    """A fresh process, ended at the end."""
    session = await sandbox.start(limits)
    try:
        yield session
    finally:
        await session.kill()


def last_of(functions: Any) -> str | None:
    """The function that code is about, by convention the last that it defines."""
    if not isinstance(functions, list):  # nothing that the worker says is certain
        return None
    names = [name for name in cast("list[object]", functions) if isinstance(name, str) and name.isidentifier()]
    public = [name for name in names if name != "main" and not name.startswith(("_", "test"))]
    return next(reversed(public or names), None)
