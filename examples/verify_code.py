"""UnitTests on code that the embedded model writes: four forms of tests, hidden tests, and a class used by handles."""

from typing import Any

import anyio
import openai

import ttc_local
import ttc_middleware as ttc
from ttc_middleware.verifiers import UnitTests

AVERAGE = "Write a Python function `average(numbers)` that returns the average of a list of numbers."
STACK = "Write a Python class Stack with methods push(item), pop() and is_empty()."

CHECK = """
def check(candidate):
    assert candidate([1, 2]) == 1.5
"""
PYTEST = """
import pytest
from solution import average

@pytest.mark.parametrize("n", [1, 3, 8])
def test_of_equal_numbers(n):
    assert average([7] * n) == 7
"""
FORMS: dict[str, Any] = {
    "(args, expected)": [(([1, 2, 3, 6],), 3), (([0.1, 0.2],), 0.15)],
    "assert lines": ["assert average([2, 4]) == 3", "assert average([-1, 1]) == 0"],
    "check(candidate)": CHECK,
    "a pytest file": PYTEST,
}
OF_STACK = """
def test_last_in_first_out():
    stack = Stack()
    stack.push(1)
    stack.push(2)
    assert [stack.pop(), stack.pop(), stack.is_empty()] == [2, 1, True]
"""
BY_HEART = "def average(numbers):\n    return 3"  # the first test, learnt by heart; written for this example


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    @ttc.scale(ttc.BestOfN(8, at_once=1), verifier=UnitTests(lambda tests: tests, tolerance=1e-9))
    async def write(task: str, tests: Any) -> str:  # noqa: ARG001  # the tests are for the verifier
        messages: Any = [{"role": "user", "content": f"{task} Reply with the code only."}]
        reply = await client.chat.completions.create(
            model=server.model, messages=messages, max_tokens=110, stop=["```\n"]
        )
        return reply.choices[0].message.content or ""

    result = await write.run(AVERAGE, FORMS["(args, expected)"])
    print(result)
    for form, tests in FORMS.items():
        verdict = await UnitTests(tests, tolerance=1e-9).check(result.output)
        print(f"{form}: {verdict.score:.2f}, {verdict.trust}, in {verdict.sandbox}. {verdict.feedback or ''}")

    public, hidden = FORMS["(args, expected)"][:1], FORMS["assert lines"]
    print("by heart, public tests:", (await UnitTests(public).check(BY_HEART)).score)
    print("by heart, hidden too:  ", (await UnitTests(public, hidden=hidden).check(BY_HEART)).feedback)

    # The class lives in the code's sandbox, and the tests in another: they use it by a handle.
    print(await write.run(STACK, OF_STACK))


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
