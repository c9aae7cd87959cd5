"""Which answers count as the same: what votes are counted by."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough
from pydantic import BaseModel

import ttc_middleware as ttc
from ttc_middleware._answers import answer_key, stated_answer

NO_CALL = ttc.Call(name="test:f")


def sample(output=None, text=None, **more):
    text = output if isinstance(output, str) and text is None else text
    return ttc.Sample(index=0, draw=ttc.Draw(), call=NO_CALL, output=output, text=text, **more)


def answer(text):
    return stated_answer(sample(text))


class Point(BaseModel):
    x: int
    y: int = 0


@dataclass
class Pair:
    left: int
    right: list


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The answer is 42.", "So we add them up.\n\nanswer: **42**"),
        (r"Hence \boxed{42}.", "42"),
        (r"\boxed{\frac{1}{2}}", r"The result: \boxed{\frac{1}{2}} as promised"),
        ("#### 1,234", "The answer is $1234.00."),
        ("1/2", "0.5"),
        ("50%", "1/2"),
        ("(B)", "The answer is b."),
        ("B)", "[b]"),
        ("Paris", "  paris.  "),
        ("ﬁne", "fine"),  # a ligature
        ("The answer is 3. No: the answer is 4", "4"),
        ("-7", "- 7"),
    ],
)
def test_these_are_the_same_answer(one, other):
    assert answer(one) == answer(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "43"),
        ("The answer is A", "The answer is B"),
        ("1.5", "15"),
        ("Paris", "Rome"),
        ("1,2", "12"),
        ("7", "-7"),
    ],
)
def test_these_are_not(one, other):
    assert answer(one) != answer(other)


@pytest.mark.parametrize("text", ["", "   ", "**", r"\boxed{}", "1/0 of nothing"])
def test_nothing_is_no_answer_and_nonsense_is_its_own(text):
    assert (answer(text) is None) is (text != "1/0 of nothing")


def test_tool_calls_are_the_answer_whatever_is_said_beside_them():
    def calling(arguments, text):
        return sample(text, tool_calls=(ttc.ToolCall("order", arguments),))

    same = stated_answer(calling('{"cups": 2, "kind": "tea"}', "Sure!"))
    assert same == stated_answer(calling('{"kind":"tea","cups":2}', "Of course."))
    assert same != stated_answer(calling('{"cups": 3, "kind": "tea"}', "Sure!"))
    assert stated_answer(calling("{broken", "Sure!")) == (("order", "{broken"),)


def test_tool_arguments_are_compared_by_value_and_parallel_calls_in_any_order_each_as_often_as_it_was_made():
    def calling(*calls):
        return stated_answer(sample("", tool_calls=tuple(ttc.ToolCall(name, said) for name, said in calls)))

    tea, two = ("order", '{"kind": "tea", "cups": 2}'), ("order", '{"cups":2.0,"kind":"tea"}')
    assert calling(tea) == calling(two)
    assert calling(tea) != calling(("order", '{"kind": "tea", "cups": 2.5}'))
    assert calling(tea) != calling(("order", '{"kind": "tea", "cups": "2"}'))
    assert calling(("on", '{"x": 1}')) != calling(("on", '{"x": true}'))
    assert calling(tea) != calling(("cancel", tea[1]))
    pay = ("pay", "{}")
    assert calling(tea, pay) == calling(pay, two)
    assert calling(tea, tea, pay) != calling(tea, pay) != calling(tea, pay, pay)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Point(x=1), Point(x=1, y=0)),
        (Pair(1, [2]), Pair(1, [2])),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": {3, 1}}, {"a": {1, 3}}),
        (True, True),
        (7, 7),
    ],
    ids=str,
)
def test_values_that_are_equal_are_the_same_answer(one, other):
    assert stated_answer(sample(one)) == stated_answer(sample(other))


def test_values_that_differ_are_not():
    keys = [stated_answer(sample(value)) for value in (Point(x=1), Point(x=2), Pair(1, []), [1], [2], {"a": 1}, 1, 2)]
    assert len(set(keys)) == len(keys)


def test_a_value_that_holds_itself_is_still_an_answer():
    ring = []
    ring.append(ring)
    assert stated_answer(sample(ring)) is not None


@pytest.mark.parametrize("status", ["abstained", "truncated", "failed"])
def test_only_answers_vote(status):
    assert stated_answer(sample("42", status=status)) is None
    assert answer_key(lambda output: output)(sample("42", status=status)) is None


def test_by_gets_the_output_or_the_sample():
    def of_sample(sample: ttc.Sample) -> int:
        return sample.index

    assert answer_key(str.upper)(sample("a")) == "A"
    assert answer_key(of_sample)(sample("a")) == 0


@thorough(200)
@given(st.fractions(max_denominator=10**6))
def test_a_number_is_its_value_however_it_is_written(value):
    assert answer(f"The answer is {value}") == value
    if value.denominator == 1:
        assert answer(f"{int(value):,}") == value
        assert answer(f"{int(value)}.000") == value


@thorough(200)
@given(st.text(max_size=300))
def test_any_text_has_a_hashable_answer_or_none(text):
    key = answer(text)
    assert key is None or hash(key) == hash(answer(text))


def test_a_megabyte_is_read_in_its_end_only():
    assert answer("the answer is 1\n" + "x" * 1_000_000 + "\nThe answer is 2") == Fraction(2)


@pytest.mark.parametrize("inside", [0, {1: 2, "a": 3}], ids=["list", "no order of keys"])
def test_a_value_that_nests_too_deeply_to_be_read_abstains(inside):
    deep = inside
    for _ in range(200_000):
        deep = [deep]
    assert stated_answer(sample(deep)) is None
