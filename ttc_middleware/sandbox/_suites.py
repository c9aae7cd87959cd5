"""What the worker on the tests' side learns: to run them, with the program's names at hand.

Its code runs in the worker's own namespace, after that of `_objects`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# Values of any type are its business.

from __future__ import annotations

import builtins
import sys

_MOST = 20  # classes that an exception derives from
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._objects import EXCEPTIONS, Handle, Whole, ask
    from ._worker import OPERATIONS, STATE, Raises, encode


def check(kind: str, source: str, names: list[str], modules: list[str]) -> str:
    """Run tests that use a program by handles; for each test its name, whether it passed, and why not."""
    STATE.update(tests=True, misfit=None)
    for name in modules:  # the program, by whatever name the tests import it
        whole = name.split(".")
        if not installed(whole[0]):
            for count in range(1, len(whole) + 1):
                module = sys.modules[".".join(whole[:count])] = Program(name)
                if count > 1:
                    setattr(sys.modules[".".join(whole[: count - 1])], whole[count - 1], module)
    for name in names:  # whoever runs the tests, a name that they do not define is the program's
        setattr(builtins, name, named(name))
    result = {"lines": lines, "unittest": by_unittest, "pytest": by_pytest}[kind](source)
    if STATE["misfit"] is not None:
        raise STATE["misfit"]
    return encode(result)


OPERATIONS["check"] = check


def installed(name: str) -> bool:
    """Whether a module of this name can be imported."""
    import importlib.util  # noqa: PLC0415  # slow, and few tests import anything

    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def named(name: str) -> Any:
    """What a name of the program is for a test: a value, a handle, or for an exception a class that can be caught."""
    handle = Whole(name)
    try:
        value, *kinds = ask("name", handle)
    except BaseException:  # noqa: BLE001  # it says so when it is used
        return handle
    return (stand_in(kinds[0]) if kinds else None) or value


def stand_in(kinds: Any) -> Any:
    """A class for an exception of the program's, below those of its own that it derives from; None: it is none."""
    if not isinstance(kinds, list) or not all(isinstance(each, str) for each in kinds) or not 0 < len(kinds) < _MOST:
        return None
    found: Any = getattr(builtins, kinds[-1], None)
    if not isinstance(found, type) or not issubclass(found, Exception):  # else a local int, or the end of the run
        return None
    for kind in kinds[-2::-1]:
        found = EXCEPTIONS.setdefault(kind, type(kind, (found,), {}))
    return found


class Program(type(sys)):  # type: ignore[misc]  # the class of modules, without an import
    """A module whose names are the program's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return named(name)


def lines(source: str) -> Any:
    """Run lines that pass if they raise nothing."""
    scope: dict[str, Any] = {"__name__": "test", "raises": Raises}
    if "asyncio" in source:
        _run_handles()
    exec(compile(source, "test.py", "exec", dont_inherit=True), scope)  # noqa: S102  # what a sandbox is for
    return None


def _run_handles() -> None:
    """Let `asyncio.run()` take a coroutine of the program's."""
    import asyncio  # noqa: PLC0415, TID251  # the tests'

    run: Any = asyncio.run

    def run_either(main: Any, **more: Any) -> Any:
        return ask("await", main) if isinstance(main, Handle) else run(main, **more)

    asyncio.run = run_either


def by_unittest(source: str) -> Any:
    """Run the test cases of a source text."""
    import unittest  # noqa: PLC0415  # slow

    module: Any = type(sys)("test")
    sys.modules["test_of_program"] = module
    exec(compile(source, "test.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # as above
    ended: list[Any] = []
    begun: list[str] = []
    mine = [each for each in vars(module).values() if getattr(each, "__module__", None) == module.__name__]
    classes = [each for each in mine if isinstance(each, type) and issubclass(each, unittest.TestCase)]
    tests = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, classes))
    count = tests.countTestCases()

    class Listening(unittest.TestResult):
        def startTest(self, test: Any) -> None:  # noqa: N802
            begun.append(str(test))

        def addSuccess(self, test: Any) -> None:  # noqa: N802  # unittest's own name
            ended.append([str(test)[:300], True, ""])

        def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
            ended.append([str(test)[:300], False, f"{err[0].__name__}: {err[1]}"[:500]])

        def addError(self, test: Any, err: Any) -> None:  # noqa: N802
            self.addFailure(test, err)

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: ARG002, N802
            if err is not None:
                self.addFailure(subtest, err)

        def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: ARG002, N802
            self.addSuccess(test)

        def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
            ended.append([str(test)[:300], False, "passed, where it is expected to fail"])

    tests.run(Listening())
    return [*ended, *[["a test", False, "was never run"]] * (count - len(begun))]


def by_pytest(source: str) -> Any:
    """Run a file of tests."""
    import os  # noqa: PLC0415  # the worker's, where a linter does not see it

    import pytest  # noqa: PLC0415  # slow

    ended: list[Any] = []

    wanted: set[str] = set()

    class Listening:
        def pytest_collection_finish(self, session: Any) -> None:
            wanted.update(item.nodeid for item in session.items)

        def pytest_runtest_logreport(self, report: Any) -> None:
            wanted.discard(report.nodeid)
            if report.when == "call" or report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                if not report.skipped or hasattr(report, "wasxfail"):
                    ended.append([report.nodeid, not report.failed, str(getattr(crash, "message", ""))[:500]])

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                ended.append([report.nodeid, False, str(report.longrepr)[-500:]])

    with open("test_program.py", "w", encoding="utf-8") as file:  # noqa: PTH123  # no pathlib, to stay small
        file.write(source)
    _run_handles()
    quietly = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--rootdir", ".", "--confcutdir", "."]
    status = int(pytest.main([*quietly, "-c", os.devnull, "test_program.py"], plugins=[Listening()]))
    ended += [[name, False, "was never run"] for name in sorted(wanted)]
    if status not in (0, 1) and ended:
        ended.append(["the run", False, f"ended early, with exit status {status}"])
    return ended
