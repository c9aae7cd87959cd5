from __future__ import annotations

import json

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict
from ttc_middleware.verifiers.constraints import Constraints

pytestmark = pytest.mark.anyio


def short(text):
    """The text has at most ten words.

    Not characters.
    """
    return len(text.split()) <= 10


def polite(text):
    return "please" in text


def names(text, name):
    """The customer is called by name."""
    return name in text


async def test_it_accepts_what_breaks_no_constraint():
    assert await Constraints([short, polite]).check("please go") == Verdict(1.0, accepted=True)


async def test_the_score_is_the_share_that_holds_and_the_feedback_names_the_others():
    verdict = await Constraints([short, polite, names]).check("hello " * 11 + "Ada", arguments={"name": "Ada"})
    assert verdict.score == pytest.approx(1 / 3)
    assert verdict.accepted is False
    assert verdict.feedback == "1 of 3 constraints holds. Broken: The text has at most ten words; polite"


async def test_constraints_have_the_names_that_are_given():
    verifier = Constraints({"no shouting": lambda text: not text.isupper(), "lower": str.islower})
    assert (await verifier.check("HELLO")).feedback.startswith("0 of 2 constraints hold. Broken: no shouting; ")
    assert (await verifier.check("hello")).accepted


async def test_one_function_is_one_constraint():
    assert (await Constraints(polite).check("please")).accepted
    assert not (await Constraints(polite).check("now")).accepted


async def test_predicates_get_the_arguments_that_they_ask_for():
    def keeps(text, *, limit, slack=0, **others):
        return len(text) <= limit + slack and others == {"text_id": 7}

    verifier = Constraints([names, keeps])
    assert verifier.parameters == {"name", "limit"}
    arguments = {"name": "Ada", "limit": 2, "slack": 1, "text_id": 7}
    assert not (await verifier.check("Ada!", arguments=arguments)).accepted
    assert (await Constraints(keeps).check("Ada", arguments={"limit": 3, "text_id": 7, "text": "an argument"})).accepted


async def test_what_raises_is_broken_and_says_why():
    def fits(plan):
        return plan["end"] <= 5

    verifier = Constraints([fits, lambda plan: 1 / plan["end"] > 0], parse=json.loads)
    assert (await verifier.check('{"end": 4}')).accepted
    assert "Broken: fits (KeyError: 'end')" in (await verifier.check("{}")).feedback
    assert "<lambda> (ZeroDivisionError: division by zero)" in (await verifier.check('{"end": 0}')).feedback
    verdict = await verifier.check("no plan")
    assert (verdict.score, verdict.accepted) == (0.0, False)
    assert verdict.feedback.startswith("The answer cannot be read: JSONDecodeError: Expecting value")
    assert "RecursionError" in (await verifier.check("[" * 100_000)).feedback


async def test_an_exception_that_cannot_be_shown_is_shown_by_its_type():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def mute(_):
        raise Mute

    assert (await Constraints(mute).check("")).feedback == "0 of 1 constraints hold. Broken: mute (Mute)"


async def test_a_predicate_that_returns_no_bool_is_at_fault():
    with pytest.raises(VerifierFailed, match="must return True or False, not None"):
        await Constraints({"forgotten": lambda text: None}).check("")
    with pytest.raises(VerifierFailed, match="not 1"):
        await Constraints({"number": len}).check("a")


async def test_a_bool_of_numpy_is_a_bool():
    class Bool:  # what numpy.bool_ looks like
        shape = ()

        def __init__(self, value):
            self.value = value

        def item(self):
            return self.value

    assert (await Constraints(lambda text: Bool(True)).check("")).accepted
    assert not (await Constraints(lambda text: Bool(False)).check("")).accepted


async def test_feedback_is_short_however_long_the_names_are():
    verdict = await Constraints({f"{number} " + "x" * 500: lambda text: False for number in range(50)}).check("")
    assert len(verdict.feedback) <= 400


def test_wrong_constraints_are_refused():
    async def later(text):
        return True

    with pytest.raises(ValueError, match="at least one"):
        Constraints([])
    with pytest.raises(ValueError, match="two predicates are called 'short'"):
        Constraints([short, short])
    with pytest.raises(TypeError, match="plain function"):
        Constraints([later])
    with pytest.raises(TypeError, match="plain function"):
        Constraints({"rule": "text"})
    with pytest.raises(TypeError, match="takes 1 value by position"):
        Constraints([lambda: True])
    with pytest.raises(TypeError, match="takes 1 value by position"):
        Constraints([lambda *, text: True])
    with pytest.raises(TypeError, match="positional-only"):
        Constraints([lambda text, name, /: True])
    with pytest.raises(TypeError, match="not 'text'"):
        Constraints("text")
    with pytest.raises(TypeError, match="parse is a plain function"):
        Constraints([short], parse=1)


@given(st.lists(st.sampled_from([True, False, "raises"]), min_size=1, max_size=8))
def test_the_score_is_one_exactly_where_all_hold(results):
    def predicate(result):
        def check(output):
            if result == "raises":
                raise ValueError(output)
            return result

        return check

    verifier = Constraints({str(at): predicate(result) for at, result in enumerate(results)})
    verdict = anyio.run(verifier.check, "x")
    assert verdict.score == results.count(True) / len(results)
    assert verdict.accepted is all(result is True for result in results)
