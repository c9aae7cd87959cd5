from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttc_middleware._types import Verdict
from ttc_middleware.verifiers.exact import Exact

pytestmark = pytest.mark.anyio


async def accepts(verifier, output, **arguments):
    verdict = await verifier.check(output, arguments=arguments)
    assert verdict.accepted is (verdict.score == 1)
    assert (verdict.feedback is None) is verdict.accepted
    return verdict.accepted


@pytest.mark.parametrize(
    "output",
    [
        "Paris",
        "  paris.\n",
        "**Paris**",
        "The capital has moved often. The answer is Paris.",
        "The answer is Lyon. No: the answer is Paris",
        r"\boxed{Lyon}, or rather \boxed{Paris}",
        "Answer: Paris",
        "... so\n#### Paris",
        "Ｐａｒｉｓ",  # noqa: RUF001  # full width
        "Par\u200bis",
    ],
)
async def test_the_answer_counts_and_not_how_it_is_typed(output):
    assert await accepts(Exact("Paris"), output)


@pytest.mark.parametrize(
    "output", ["Lyon", "Paris, France", "Paris or Lyon", "The answer is not Paris", "", ".", "\x00"]
)
async def test_another_answer_is_rejected(output):
    assert not await accepts(Exact("Paris"), output)


async def test_the_feedback_shows_the_wrong_answer_and_not_the_right_one():
    verdict = await Exact("Paris").check("The answer is Lyon")
    assert verdict == Verdict(0.0, 'The answer "Lyon" is wrong.', accepted=False)
    assert (await Exact("Paris").check(" ")).feedback == "The answer is empty."


async def test_each_of_several_answers_is_right():
    verifier = Exact(["Paris", "Paris, France"])
    assert await accepts(verifier, "paris,  france")
    assert await accepts(verifier, "Paris")
    assert not await accepts(verifier, "France")


async def test_dashes_and_quotes_are_of_one_kind():
    assert await accepts(Exact('the "well-known" man\'s'), "the “well\u2011known” man’s")  # noqa: RUF001  # the point


async def test_numbers_count_by_value():
    assert await accepts(Exact(1000), "1,000.0")
    assert await accepts(Exact("0.5"), "50 %")
    assert await accepts(Exact(-3), "\u22123")
    assert await accepts(Exact("1/3"), Fraction(1, 3))
    assert not await accepts(Exact(1000), "1001")


async def test_the_answer_may_depend_on_the_call():
    verifier = Exact(lambda question: question["answer"])
    assert verifier.parameters == {"question"}
    assert await accepts(verifier, "B", question={"answer": "B"}, other=1)
    assert not await accepts(verifier, "B", question={"answer": "C"})


async def test_extract_says_where_the_answer_is():
    verifier = Exact("Paris", extract=lambda output: output["city"])
    assert await accepts(verifier, {"city": "paris"})
    assert not await accepts(verifier, {"city": "The answer is Paris"})  # all of what was extracted is the answer
    verdict = await verifier.check({})
    assert verdict == Verdict(0.0, "The answer cannot be read: KeyError: 'city'", accepted=False)


async def test_what_is_no_text_is_an_error_and_what_is_nothing_a_rejection():
    with pytest.raises(TypeError, match="extract= says where"):
        await Exact("Paris").check(["Paris"])
    assert not await accepts(Exact("Paris"), None)


async def test_a_flood_is_rejected():
    assert not await accepts(Exact("a"), "a" * (1 << 21))
    assert not await accepts(Exact("a"), "\\boxed{" * 100_000)
    assert not await accepts(Exact("a"), "\ufdfa" * 50_000)  # each becomes 18 characters


@pytest.mark.parametrize("answer", ["", "  ", ".", [], ["Paris", ""]])
def test_an_empty_answer_is_refused(answer):
    with pytest.raises(ValueError, match="not empty"):
        Exact(answer)


@pytest.mark.parametrize("answer", [None, b"Paris", {"Paris": 1}, True, [["Paris"]]])
def test_an_answer_is_text_or_a_number(answer):
    with pytest.raises(TypeError, match="text or a number"):
        Exact(answer)


@given(
    st.text(min_size=1).filter(lambda text: text.strip(" \n*.!,;:`$\"'")),
    st.sampled_from(["{}", " {} ", "**{}**", "{}."]),
)
def test_every_answer_is_equal_to_itself(answer, written):
    import anyio  # noqa: PLC0415  # hypothesis runs plain functions

    try:
        verifier = Exact(answer, extract=str)
    except ValueError:
        return  # nothing of it can be heard
    assert anyio.run(accepts, verifier, written.format(answer))
