"""Unit tests of more than plain data: classes, generators, callbacks, whole test files."""

from __future__ import annotations

import unittest

import pytest

from ttc_middleware.verifiers import UnitTests

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

STACK = """
class Empty(LookupError): pass

class Stack:
    def __init__(self, items=()): self._items = list(items)
    def push(self, item): self._items.append(item); return self
    def pop(self):
        if not self._items: raise Empty("nothing left")
        return self._items.pop()
    @property
    def size(self): return len(self._items)
    def __len__(self): return len(self._items)
    def __iter__(self): return iter(self._items)
    def __getitem__(self, place): return self._items[place]
    def __setitem__(self, place, item): self._items[place] = item
    def __eq__(self, other): return list(self) == list(other)
    def __hash__(self): return hash(tuple(self._items))
    def __add__(self, other): return Stack([*self, *other])
    def __repr__(self): return f"Stack({self._items})"
    def __enter__(self): return self
    def __exit__(self, *_): self._items.clear()

def evens(limit):
    number = 0
    while number < limit:
        yield number
        number += 2

def total(items, key): return sum(key(item) for item in items)

async def later(x): return x + 1
"""


async def check(code, tests, **more):
    return await UnitTests(tests, **more).check(code)


RIGHT = {
    "methods": "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2\nassert s.size == 1",
    "methods that return the object": "assert Stack().push(1).push(2).size == 2",
    "length and truth": "assert len(Stack([1, 2])) == 2\nassert Stack([1])\nassert not Stack()",
    "items": "s = Stack([1, 2])\ns[0] = 5\nassert s[0] == 5\nassert s[-1] == 2",
    "iteration": "assert list(Stack([1, 2])) == [1, 2]\nassert sorted(Stack([2, 1])) == [1, 2]",
    "membership": "assert 2 in Stack([1, 2])\nassert 3 not in Stack([1, 2])",
    "words": "assert repr(Stack([1])) == 'Stack([1])'\nassert f'{Stack()}' == 'Stack([])'",
    "attributes": "s = Stack()\ns.label = 'x'\nassert s.label == 'x'\ndel s.label\nassert not hasattr(s, 'label')",
    "its own exceptions": "try: Stack().pop()\nexcept Empty as error: assert 'nothing left' in str(error)",
    "builtin bases": "with raises(LookupError): Stack().pop()",
    "instances": "assert isinstance(Stack(), Stack)\nassert not isinstance([], Stack)",
    "with blocks": "with Stack([1]) as s: assert s.size == 1\nassert s.size == 0",
    "generators": "assert list(evens(5)) == [0, 2, 4]\ng = evens(3)\nassert next(g) == 0\nassert next(g) == 2\n"
    "with raises(StopIteration): next(g)",
    "callbacks": "assert total([1, 2, 3], key=lambda x: x * x) == 14",
    "callbacks that call the code": "assert total([[1], [2]], key=lambda x: Stack(x).size) == 2",
    "callbacks that raise": "def bad(x): raise KeyError(x)\nwith raises(KeyError): total([1], bad)",
    "an iterator of the test": "assert total(iter([1, 2]), abs) == 3",
    "coroutines": "import asyncio\nassert asyncio.run(later(1)) == 2\nasync def main(): return await later(2)\n"
    "assert asyncio.run(main()) == 3",
    "objects given back": "a = Stack([1])\nassert total([a, a], key=len) == 2",
    "two names": "assert list(evens(3)) == [0, 2] and Stack().size == 0",
}


@pytest.mark.parametrize("name", RIGHT)
async def test_objects_are_used_where_they_are(name):
    verdict = await check(STACK, [RIGHT[name]])
    assert verdict.score == 1, verdict.feedback
    assert verdict.trust == "strong"


WRONG = {
    "methods": "s = Stack()\ns.push(1)\nassert s.pop() == 2",
    "generators": "assert list(evens(5)) == [0, 2]",
    "callbacks": "assert total([1, 2, 3], key=lambda x: x) == 14",
    "a name that is not there": "assert Queue().size == 0",
    "a method that is not there": "Stack().peek()",
    "coroutines": "import asyncio\nassert asyncio.run(later(1)) == 3",
}


@pytest.mark.parametrize("name", WRONG)
async def test_and_do_not_pass_by_being_objects(name):
    assert (await check(STACK, [WRONG[name]])).score == 0


async def test_where_the_codes_own_objects_are_compared_its_word_is_all_there_is():
    verdict = await check(STACK, ["assert Stack([1]) + Stack([2]) == Stack([1, 2])"])
    assert (verdict.score, verdict.trust) == (1, "weak")


FORGED = """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __lt__
    def __sub__(self, other): return 0
    def __rsub__(self, other): return 0
    def __abs__(self): return 0
    def __hash__(self): return 0
    def __instancecheck__(self, other): return True
    def __getattr__(self, name): return Yes()
    def __call__(self, *args, **kwargs): return Yes()
    def __iter__(self): return iter([])
def f(*args, **kwargs): return Yes()
"""


@pytest.mark.parametrize(
    "line",
    [
        "assert f(1) == 2", "assert 2 == f(1)", "assert not f(1) != 2", "assert f(1) < 5", "assert 5 > f(1)",
        "assert abs(f(1) - 0.5) < 1e-6", "assert abs(0.5 - f(1)) < 1e-6", "assert 3 in f(1)", "assert f(1) in [2]",
        "assert isinstance(f(1), int)", "assert f(1) == [1, 2]", "assert sorted(f(1)) == [1]", "assert {f(1)} == {2}",
        "assert f(1)[0] == 1", "assert f(1).value == 1", "assert f(1).get() == 1", "assert max(f(1), 2) == 2",
        "import math\nassert math.isclose(f(1), 0.5)", "assert (f(1), 1) == (2, 1)", "assert {'a': f(1)} == {'a': 2}",
        "assert str(f(1)) == '2'", "x = f(1)\nassert x == 2 and x != 3",
        "from unittest.mock import ANY\nassert f(1) == 2",
    ],
)  # fmt: skip
async def test_an_object_that_equals_everything_equals_nothing_here(line):
    assert (await check(FORGED, [line])).score == 0


async def test_a_callback_shows_the_code_nothing_but_its_results():
    code = """
def f(key):
    found = []
    for name in ("__globals__", "__code__", "__closure__", "__self__", "secret"):
        try: found.append(getattr(key, name))
        except Exception: pass
    try: key.x = 1
    except Exception: found.append(None)
    return found[:-1] == [] and key(2)
"""
    verdict = await check(code, ["secret = 42\ndef key(x): return x + secret\nassert f(key) == 44"])
    assert verdict.score == 1, verdict.feedback


async def test_test_and_code_cannot_call_each_other_for_ever():
    code = "def f(again): return again(again)"
    verdict = await check(code, ["def again(me): return f(me)\nf(again)"])
    assert verdict.score == 0


async def test_a_test_that_passes_what_cannot_cross_is_at_fault_itself():
    with pytest.raises(ValueError, match="was given a object by the test"):
        await check("def f(x): return 1", ["try: f(object())\nexcept Exception: pass"])


# Whole files

CHECKED = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 4\n"


async def test_a_check_function_is_called_with_the_entry():
    assert (await check("def helper(): return 0\ndef twice(x): return 2 * x", CHECKED)).score == 1
    verdict = await check("def twice(x): return 2", CHECKED, entry="twice")
    assert verdict.score == 0
    assert "twice(2) returned 2" in verdict.feedback


PYTEST = """
import pytest
from solution import Stack, Empty
from solution import evens as even_numbers

@pytest.fixture
def stack():
    return Stack([1, 2])

@pytest.mark.parametrize("limit, expected", [(1, [0]), (5, [0, 2, 4])])
def test_evens(limit, expected):
    assert list(even_numbers(limit)) == expected

def test_pop(stack):
    assert stack.pop() == 2

def test_empty():
    with pytest.raises(Empty, match="nothing"):
        Stack().pop()

class TestStack:
    def test_size(self, stack):
        assert stack.size == SIZE

@pytest.mark.skip
def test_skipped(): assert False

def test_close(): assert len(Stack([1])) == pytest.approx(1.0)
"""


async def test_a_pytest_file_counts_each_of_its_tests():
    verdict = await check(STACK, PYTEST.replace("SIZE", "2"))
    assert verdict.score == 1, verdict.feedback
    verdict = await check(STACK, PYTEST.replace("SIZE", "3"))
    assert verdict.score == pytest.approx(5 / 6)
    assert "test_size" in verdict.feedback
    assert "assert 2 == 3" in verdict.feedback


class StackCase(unittest.TestCase):
    __test__ = False  # not one of ours

    def setUp(self):
        self.stack = Stack([1, 2])  # noqa: F821  # the code's

    def test_pop(self):
        self.assertEqual(self.stack.pop(), 2)  # noqa: PT009  # what is tested

    def test_empty(self):
        with self.assertRaises(Empty):  # noqa: F821, PT027  # the code's
            Stack().pop()  # noqa: F821  # the code's

    def test_wrong(self):
        self.assertEqual(self.stack.size, 3)  # noqa: PT009  # what is tested


async def test_a_test_case_counts_each_of_its_tests():
    verdict = await check(STACK, StackCase)
    assert verdict.score == pytest.approx(2 / 3)
    assert "test_wrong" in verdict.feedback
    assert "2 != 3" in verdict.feedback
    case = "class T(unittest.TestCase):\n def test(self):\n  self.assertEqual(solution.f(), 1)"
    text = f"import unittest\nimport solution\n{case}"
    assert (await check("def f(): return 1", text)).score == 1
    assert (await check("def f(): return 2", text)).score == 0


async def test_code_cannot_reach_the_runner_of_its_tests():
    code = """
import sys, os
def f(*a):
    for module in list(sys.modules.values()):
        for name in ("main", "TestResult"):
            try: setattr(module, name, None)
            except Exception: pass
    try: os._exit(0)
    finally: return 5
"""
    assert (await check(code, "from solution import f\ndef test_f():\n    assert f() == 1\n")).score == 0


async def test_what_tests_import_is_there_for_them_and_not_for_the_code():
    text = "import idna\nimport solution\ndef test():\n    assert solution.f() == idna.encode('x').decode()\n"
    assert (await check("def f(): return 'x'", text)).score == 1
    assert (await check("import idna\ndef f(): return 'x'", text)).score == 0


# Hidden tests


async def test_code_that_has_learnt_the_public_tests_fails_the_hidden_ones():
    learnt = "def f(x): return {1: 2, 2: 4}[x]"
    assert (await check(learnt, [(1, 2), (2, 4)])).score == 1
    verdict = await check(learnt, [(1, 2), (2, 4)], hidden=[(3, 6), (1, 2)])
    assert verdict.score == 0.75
    assert verdict.feedback == "3 of 4 tests passed. 1 of the hidden tests failed"


async def test_feedback_shows_a_public_failure_before_any_hidden_one():
    verdict = await check("def f(x): return 0", [(1, 2)], hidden=[(77, 88)])
    assert "f(1) returned 0, expected 2" in verdict.feedback
    assert "77" not in verdict.feedback


async def test_assert_lines_that_are_examples_need_no_second_sandbox():
    verifier = UnitTests(["assert f(1, b=[2]) == {'a': (1, -2)}", "assert f(1)\nassert f(2)"])
    example, suite = verifier._given.value({})
    assert (example.args, example.kwargs, example.expected, example.entry) == ((1,), {"b": [2]}, {"a": (1, -2)}, "f")
    assert suite.tests.kind == "lines"


async def test_an_async_function_is_run_to_its_end():
    assert (await check("async def f(x): return x + 1", [(1, 2), (1, 3)])).score == 0.5


# What once passed, or was once misjudged


LIAR = """
class Meta(type):
    __mro__ = property(lambda cls: (KIND,))
class Empty(Exception, metaclass=Meta): pass
class Money(metaclass=Meta): pass
def f(x):
    if x: raise Empty
    return 0
"""


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit", "int", "object", "BaseException", "GeneratorExit"])
async def test_code_chooses_no_class_of_the_tests(kind):
    text = (
        "from solution import f, Empty, Money\n"
        "def test_a(): assert f(0) == 0\ndef test_b(): f(1)\ndef test_c(): assert f(0) == 1\n"
        "def test_d(): assert Money(5) == 5\n"
    )
    assert (await check(LIAR.replace("KIND", kind), text)).score <= 0.25
    assert (await check(LIAR.replace("KIND", kind), ["assert Money(5) == 5"])).score == 0


async def test_a_test_that_never_runs_has_not_passed():
    code = "def f(): raise SystemExit"
    text = "from solution import f\ndef test_a(): assert True\ndef test_b(): f()\ndef test_c(): assert f() == 1"
    assert (await check(code, text)).score == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "line",
    [
        "assert all(map(lambda x: f(x) == 1, [1, 2]))",
        "for got, wanted in zip(map(f, [1]), [1]): assert got == wanted\nassert f(1) == 1",
        "assert [f(x) for x in [1, 2]] == [1, 1]",
    ],
)
async def test_an_exception_that_ends_loops_is_an_exception_here(line):
    assert (await check("def f(x): raise StopIteration", [line])).score == 0


async def test_a_message_makes_no_exception_anothers():
    code = "class Empty(LookupError): pass\ndef f(): raise ValueError('Empty: no')"
    assert (await check(code, ["with raises(Empty): f()"])).score == 0


async def test_every_part_of_a_test_file_is_run():
    case = "class T(unittest.TestCase):\n def test(self): self.assertEqual(f(), 1)\n"
    text = f"import unittest\nfrom solution import f\n{case}def test_more(): assert f() == 2\n"
    assert (await check("def f(): return 1", text)).score == 0.5
    assert (await check("def f(x): return 1", "def check(fn):\n    assert fn(1) == 2\n", entry="f")).score == 0
    with pytest.raises(ValueError, match="async test"):
        UnitTests("from solution import f\nasync def test_f(): assert f() == 1")


async def test_a_tolerance_is_for_pairs_not_for_what_a_test_compares_itself():
    assert (await check("def f(x): return 2.4", ["assert f(1) == 2", (1, 2)], tolerance=0.3)).score == 0.5


async def test_code_that_loads_as_nonsense_is_rejected():
    code = (
        "import os, sys\nmain = sys._getframe()\n"
        "while main.f_back: main = main.f_back\n"
        "def f(): return 1\n"
        "main.f_globals.get('OPERATIONS', {})['load'] = lambda source: '5'\n"
    )
    assert (await check(code + "f = 1", [((), 1)])).score == 0


GOOD = """
import enum, functools
LIMIT = 10
NAMES = ["a", "b"]
class AppError(Exception): pass
class NotFound(AppError):
    pass
def find(x):
    if x < 0: raise NotFound("negative")
    return x
def two_sum(nums, target): return sorted(nums)[:2] + [target]
def call(operation, handle, self=1): return [operation, handle, self]
class Color(enum.Enum):
    RED = 1
class Builder:
    def __init__(self): self.parts = []
    def add(self, part): self.parts.append(part); return self
def wrap(function):
    @functools.wraps(function)
    def inner(*args): return function(*args) + 1
    return inner
"""


@pytest.mark.parametrize(
    "text",
    [
        (
            "from solution import find, NotFound\nimport pytest\ndef test():\n"
            " with pytest.raises(NotFound, match='^negative$') as e: find(-1)\n assert str(e.value) == 'negative'"
        ),
        "from solution import find, AppError\ndef test():\n try: find(-1)\n except AppError: return\n assert False",
        "import solution\ndef test():\n assert solution.LIMIT == 10 and solution.NAMES == ['a', 'b']",
        "from solution import LIMIT\ndef test(): assert LIMIT + 1 == 11",
        "from solution import two_sum\ndef test(): assert two_sum(nums=[2, 1], target=9) == [1, 2, 9]",
        "from solution import call\ndef test(): assert call(operation=1, handle=2, self=3) == [1, 2, 3]",
        "from solution import Color\ndef test(): assert Color(1) is Color.RED",
        "from solution import Builder\ndef test():\n b = Builder()\n assert b.add(1) is b\n assert b.parts == [1]",
        "from solution import wrap\ndef test(): assert wrap(lambda x: x * 2)(3) == 7",
        "from pack.module import find\nimport pack.module\ndef test(): assert pack.module.find(2) == find(2) == 2",
    ],
)
async def test_honest_files_pass(text):
    verdict = await check(GOOD, text)
    assert verdict.score == 1, verdict.feedback


async def test_one_missing_function_costs_the_tests_that_use_it():
    text = "import solution\ndef test_a(): assert solution.f() == 1\ndef test_b(): assert solution.g() == 1"
    assert (await check("def f(): return 1", text)).score == 0.5


async def test_pytest_files_run_in_every_sandbox():
    for sandbox in ("bubblewrap", "fork-server", "landlock"):
        verdict = await check(
            "def f(): return 1", "from solution import f\ndef test(): assert f() == 1", sandbox=sandbox
        )
        assert verdict.score == 1, (sandbox, verdict.feedback)


async def test_a_handle_can_do_what_its_object_can():
    code = (
        "def f(): return object()\ndef g():\n yield 1\n"
        "class C:\n def __call__(self): return 1\n def __len__(self): return 2"
    )
    kinds = "from collections.abc import Iterator, Sized\n"
    right = [
        "assert not callable(f())\nassert callable(C()) and callable(f)",
        f"{kinds}assert isinstance(g(), Iterator) and not isinstance(f(), Iterator)",
        f"{kinds}assert isinstance(C(), Sized) and not isinstance(g(), Sized)",
        "with raises(TypeError): len(f())\nwith raises(TypeError): f()()",
    ]
    verdict = await check(code, right)
    assert verdict.score == 1, verdict.feedback


async def test_a_method_as_the_entry_is_called_on_a_new_instance_each_time():
    code = "class Solution:\n def __init__(self): self.n = 0\n def next(self, by):\n  self.n += by\n  return self.n"
    tests = ["x = candidate(2)\nassert x == candidate(2) == 2", ((2,), 2), ((2,), 2)]
    verdict = await check(code, tests, entry="Solution.next")
    assert verdict.score == 1, verdict.feedback
