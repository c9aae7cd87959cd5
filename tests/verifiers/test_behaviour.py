"""What programs do, in real sandboxes, and a whole search for the program that most agree with."""

from __future__ import annotations

import math

import anyio
import pytest

import ttc_middleware as ttc
from ttc_middleware.sandbox import Limits, Returned
from ttc_middleware.verifiers import Behaviour, UnitTests
from ttc_middleware.verifiers.behaviour import _ending

pytestmark = pytest.mark.anyio

one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # for what does not depend on the loop
RIGHT = "def f(n):\n    return n * (n + 1) // 2\n"
LOOP = (
    "```python\ndef f(n):\n    total = 0\n    for each in range(n + 1):\n        total += each\n    return total\n```"
)
WRONG = "def f(n):\n    return n * 2 - 1 if n < 3 else n + n\n"  # right for 1, 2 and 3


async def does(code, inputs, **options):
    behaviour = Behaviour(inputs, **options)
    return await behaviour.of(code, behaviour.inputs_for({}))


@one_loop
async def test_programs_do_the_same_where_they_return_equal_values():
    assert await does(RIGHT, [1, 2, 10]) == await does(LOOP, [1, 2, 10]) is not None
    assert await does(RIGHT, [1, 3]) == await does("def f(n): return {1: 1.0, 3: 6 + 1e-12}[n]", [1, 3])
    assert await does(RIGHT, [1, 3]) != await does("def f(n): return {1: 1.0, 3: 6.001}[n]", [1, 3])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1, 2], [1.0, 2], True),
        ([1, 2], (1, 2), False),
        ({1: "a", 2: "b"}, {2: "b", 1: "a"}, True),
        ({1, 2, 30}, {30, 2, 1}, True),
        ({1}, frozenset({1}), True),
        ({1, 2}, {1: 2}, False),
        (set(), {}, False),
        ("1", 1, False),
        (True, 1, True),
        (None, "None", False),
        (math.nan, math.inf, False),
        (0.1 + 0.2, 0.3, True),
        (0.3, 0.3000001, False),
        (2.9999999999, 3, True),
        (2.0**70, 2**70, True),
        (10**10 + 1, 10**10 + 2, False),
        (b"a", "a", False),
        (("a,b",), ("a", "b"), False),
        (2 + 0j, 2, True),
        (2 + 1j, 2, False),
        ([[1], [2]], [[1, 2]], False),
    ],
)
def test_values_are_compared_as_tests_do(one, other, same):
    assert (_ending(Returned(one)) == _ending(Returned(other))) == same


@one_loop
async def test_an_exception_is_something_that_a_program_does_and_nothing_but_exceptions_is_nothing():
    half = "def f(n):\n    return [1][n]\n"
    assert await does(half, [0, 1]) == await does("def f(n):\n if n: raise IndexError('x')\n return 1", [0, 1])
    assert await does(half, [0, 1]) != await does("def f(n):\n if n: raise KeyError('x')\n return 1", [0, 1])
    assert await does(half, [1, 2]) is None


@one_loop
@pytest.mark.parametrize(
    "code",
    [
        "def f(n",
        "x = 1",
        "import os\nos._exit(0)",
        pytest.param("def f(n):\n while n: pass\n return n", marks=pytest.mark.slow),
    ],
)
async def test_a_program_that_cannot_be_run_does_nothing(code):
    with anyio.fail_after(60):
        assert await does(code, [0, 1], limits=Limits(cpu_s=1, wall_s=10)) is None


@one_loop
async def test_the_entry_is_the_last_function_or_the_one_that_is_named():
    code = "def f(n): return n\ndef g(n): return -n\n"
    assert await does(code, [1, 2]) == await does("def h(n): return -n", [1, 2])
    assert await does(code, [1, 2], entry="f") == await does("def f(n): return n", [1, 2])
    named = Behaviour([1, 2], entry=lambda task: task["entry"])
    assert await named.of(code, [(1,), (2,)], arguments={"task": {"entry": "f"}}) == await does(code, [1, 2], entry="f")
    with pytest.raises(ValueError, match=r"entry is a function's name or Class.method, not 'f\(\)'"):
        await named.of(code, [(1,)], arguments={"task": {"entry": "f()"}})


def test_inputs_are_tuples_of_arguments_or_the_only_argument():
    assert Behaviour([(1, 2), [3, 4], "x"]).inputs_for({}) == [(1, 2), ([3, 4],), ("x",)]
    assert Behaviour(lambda n: range(n, n + 2)).inputs_for({"n": 2, "m": 0}) == [(2,), (3,)]
    assert Behaviour().inputs_for({}) is None


@pytest.mark.parametrize(
    ("reply", "inputs"),
    [
        ('[[1, "a"], [2, ""]]', [(1, "a"), (2, "")]),
        ("Here they are:\n```json\n[[[1, 2]], [[]]]\n```", [([1, 2],), ([],)]),
        ("[1, 2]", [(1,), (2,)]),
        ("[[1], 2]", [([1],), (2,)]),
        (str([[n] for n in range(100)]), [(n,) for n in range(64)]),
    ],
)
def test_inputs_are_read_from_a_reply_as_json(reply, inputs):
    assert Behaviour().read(reply) == inputs


@pytest.mark.parametrize(
    "reply", ["", "[]", "{}", "3", "no", "__import__('os')", "[(1, 2)]", "[" * 9_999, "[[1]] or [[2]]"], ids=repr
)
def test_what_is_no_list_in_json_holds_no_inputs(reply):
    with pytest.raises(ValueError, match=r"inputs|JSON"):
        Behaviour().read(reply)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"inputs": []}, ValueError, "inputs is empty"),
        ({"inputs": "abc"}, TypeError, "inputs is a sequence with one item for each input, not 'abc'"),
        ({"inputs": [object]}, TypeError, "inputs cannot cross into the sandbox: .* not plain data"),
        ({"sandbox": "docker"}, ValueError, "sandbox is one of"),
        ({"entry": "f()"}, ValueError, r"entry is a function's name or Class.method, not 'f\(\)'"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        Behaviour(**arguments)


def test_its_repr_says_how_it_compares_and_not_on_what():
    assert repr(Behaviour()) == "verifiers.Behaviour()"
    assert repr(Behaviour(["secret"], entry="f")) == "verifiers.Behaviour(…, entry='f')"
    assert repr(ttc.CodeSearch(3, behaviour=Behaviour([1]))) == "CodeSearch(3, 2, behaviour=verifiers.Behaviour(…))"


async def test_the_program_that_most_agree_with_is_found_where_all_pass_the_public_tests():
    replies = iter([WRONG, RIGHT, LOOP])

    @ttc.scale(
        ttc.CodeSearch(3, 1, behaviour=Behaviour(lambda task: task["inputs"])), verifier=UnitTests(["assert f(2) == 3"])
    )
    async def write(task):
        ttc.record_usage(ttc.Usage(1, 10, 5))
        return next(replies)

    result = await write.run({"inputs": [0, 5, 10]})
    assert result.accepted
    assert [sample.accepted for sample in result.samples] == [True] * 3
    # Trio starts tasks in an order of its own, so any of the three may have been written first.
    assert result.winner.index == min(sample.index for sample in result.samples if sample.output != WRONG)
    assert result.bill.status == "exact"
    assert (result.bill.total.tokens, result.bill.routing.calls) == (45, 0)


@one_loop
async def test_the_model_writes_the_inputs_and_what_that_costs_is_routing():
    asked = []

    @ttc.scale(ttc.CodeSearch(3, 0, behaviour=Behaviour()), verifier=UnitTests(["assert f(2) == 3"]))
    async def write():
        ttc.record_usage(ttc.Usage(1, 10, 5))
        draw = ttc.current_draw()
        asked.append(draw.kind)
        return "[[0], [10]]" if draw.instruction else [WRONG, LOOP, RIGHT][len(asked) - 1]

    result = await write.run()
    assert result.output == LOOP
    assert asked == ["answer"] * 3 + ["routing"]
    assert (result.bill.routing.tokens, result.bill.total.tokens) == (15, 60)


@one_loop
async def test_a_sandbox_that_does_not_work_is_said_and_the_verifier_chooses(monkeypatch):
    replies = iter([RIGHT, WRONG])
    monkeypatch.setattr("ttc_middleware.sandbox._found", {})
    monkeypatch.setattr("ttc_middleware.sandbox.executables", list)

    @ttc.scale(
        ttc.CodeSearch(2, 0, behaviour=Behaviour([1], sandbox="bubblewrap")), verifier=lambda output: len(output) / 100
    )
    async def write():
        ttc.record_usage(ttc.Usage(1, 10, 5))
        return next(replies)

    with pytest.warns(UserWarning, match="programs are not compared by what they do: no isolating sandbox works here"):
        result = await write.run()
    assert result.output == WRONG


def test_it_can_be_a_key_with_inputs_in_a_list():
    one, two, other = (ttc.verifiers.Behaviour(inputs) for inputs in ([1, 2], [1, 2], [3]))
    assert len({one, two, other}) == 2
