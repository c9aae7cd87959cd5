from __future__ import annotations

import random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttc_middleware._types import Verdict
from ttc_middleware.verifiers.choice import Choice

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "output",
    [
        "B", "b", "(B)", "[b].", "B.", "B) 42", "(B) 42", "B: 42", "**B**", "**B) 42**", "Ｂ",  # noqa: RUF001
        "Answer: b", "**Answer:** B", "**Answer: B**", "Answer:\nB", "the answer is B", "The answer is (b).",
        "#### B",
        "The answer is B because A is wrong", "Answer: B. A and C are wrong.", "The answer is: option B",
        "The answer is A. Wait, the answer is B.", "Final Answer: The correct choice is (B).",
        r"\boxed{B}", r"\boxed{\text{(B)}}", r"The answer is $\boxed{\textbf{(B)}\ 42}$",
        r"not \boxed{A} but \boxed{B}",
        "Let us see.\n\nB", "Let us see: A is too small.\n\n**B) 42**", "A is too small, so option B",
        "I think it is (B).",
    ],
)  # fmt: skip
async def test_the_label_is_found_however_it_is_said(output):
    assert await Choice("ABCD", "B").check(output) == Verdict(1.0, accepted=True)
    assert not (await Choice("ABCD", "C").check(output)).accepted


@pytest.mark.parametrize(
    "output",
    [
        "A or B", "The answer is A or B", "The answer is A, B", "Answer: A/B", "The answer is not B", "(A) or (B)",
        "B and C",
        "The answer is neither A nor B", "The answer is either B or C", r"\boxed{A, B}", "The answer is A & B",
    ],
)  # fmt: skip
@pytest.mark.parametrize("right", "AB")
async def test_who_names_two_is_rejected_whichever_is_right(output, right):
    assert not (await Choice("ABCD", right).check(output)).accepted


async def test_the_feedback_says_what_is_wrong_and_not_what_is_right():
    verifier = Choice("ABCD", "D")
    assert (await verifier.check("The answer is C")).feedback == 'The answer chosen, "C", is wrong.'
    unclear = (await verifier.check("The answer is A or B")).feedback
    assert unclear == "It is not clear which label is meant: A, B. End with: The answer is (one label)."
    nothing = (await verifier.check("42")).feedback
    assert nothing == "The answer chooses none of the labels A, B, C, D. End with: The answer is (label)."


@pytest.mark.parametrize(
    "output", ["", "42", "I saw a cat", "The answer is a cat", "A cat sat", "The answer is Paris", "E"]
)
async def test_words_are_no_labels(output):
    verdict = await Choice("ABCD", "A").check(output)
    assert verdict.feedback.startswith("The answer chooses none")


async def test_labels_are_any_texts_also_where_one_contains_another():
    cities = Choice(["York", "New York", "(iv)"], "New York")
    assert (await cities.check("It is new   york.")).accepted
    assert not (await cities.check("It is York.")).accepted
    assert (await Choice(["York", "New York"], "York").check("It is York.")).accepted
    assert (await Choice(["(iv)", "(v)"], "(v)").check("The answer is (v)")).accepted
    numbers = Choice(["1", "10"], "1")
    assert not (await numbers.check("The answer is 10")).accepted
    assert (await Choice(["yes", "no"], "no").check("No, it does not.")).accepted
    assert not (await Choice(["yes", "no"], "no").check("Yes or no, who knows?")).accepted


async def test_labels_and_answer_may_depend_on_the_call():
    verifier = Choice(lambda options: [*options], lambda key: key)
    assert verifier.parameters == {"options", "key"}
    assert (await verifier.check("y", arguments={"options": {"x": 1, "y": 2}, "key": "y"})).accepted
    with pytest.raises(ValueError, match="the answer is one of the labels x, z, not 'y'"):
        await verifier.check("y", arguments={"options": "xz", "key": "y"})


@pytest.mark.parametrize("labels", ["A", "", ["A", "a"], ["A", ""], ["A", " "]])
def test_labels_are_two_or_more_different_ones(labels):
    with pytest.raises(ValueError, match="two or more different texts"):
        Choice(labels, "A")


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one of the labels A, B, not 'C'"):
        Choice("AB", "C")
    with pytest.raises(TypeError, match="text, not 1"):
        Choice(["A", 1], "A")
    with pytest.raises(TypeError, match="sequence"):
        Choice({"A", "B"}, "A")


@pytest.mark.parametrize(
    "output", ["(A" * 200_000, "*" * 400_000, "[" * 4000, "option " * 60_000, "A " * 200_000, "B" * (1 << 21)]
)
async def test_a_flood_is_no_answer(output):
    assert not (await Choice("ABCD", "B").check(output)).accepted


@given(st.permutations("ABCDE"), st.sampled_from("ABCDE"), st.text(max_size=60))
def test_the_order_of_the_labels_does_not_matter(labels, answer, text):
    output = text + random.Random(text).choice(["", "The answer is A", " (B)", "\nC"])

    async def check(order):
        return (await Choice(order, answer).check(output)).accepted

    assert anyio.run(check, labels) == anyio.run(check, "ABCDE")


@given(st.text(max_size=200))
def test_no_text_is_right_for_two_labels(text):
    async def check():
        return [label for label in "ABC" if (await Choice("ABC", label).check(text)).accepted]

    assert len(anyio.run(check)) < 2
