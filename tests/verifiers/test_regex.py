from __future__ import annotations

import re
import time

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttc_middleware.verifiers import _aside
from ttc_middleware.verifiers.regex import _STEPS, Regex, steps

pytestmark = pytest.mark.anyio


async def accepts(verifier, output, **arguments):
    return (await verifier.check(output, arguments=arguments)).accepted


async def test_it_matches_the_whole_answer():
    date = Regex(r"\d{4}-\d{2}-\d{2}")
    assert await accepts(date, "2024-02-29")
    assert await accepts(date, "  2024-02-29\n")
    assert await accepts(date, "It was a Thursday. The answer is 2024-02-29")
    assert await accepts(date, r"so \boxed{2024-02-29}")
    assert not await accepts(date, "on 2024-02-29")
    assert not await accepts(date, "")


async def test_it_may_match_anywhere():
    assert await accepts(Regex(r"\bcolou?r\b", search=True, flags=re.IGNORECASE), "The Color of money")
    assert not await accepts(Regex(r"\bcolou?r\b", search=True), "The Color of money")


async def test_the_pattern_may_depend_on_the_call():
    greets = Regex(lambda name: rf"Dear {re.escape(name)},", search=True)
    assert greets.parameters == {"name"}
    assert await accepts(greets, "Dear A. (B)+,\nhello", name="A. (B)+")
    assert not await accepts(greets, "Dear A. BB,\nhello", name="A. (B)+")
    with pytest.raises(ValueError, match="does not compile"):
        await accepts(Regex(lambda name: name), "", name="(")


async def test_the_feedback_does_not_tell_the_pattern():
    verdict = await Regex("Paris|Lutetia").check("Lyon")
    assert verdict.feedback == 'The answer "Lyon" does not have the required form.'


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", r"(?:a|aa)+\Z(?!b)b", "(?x: (a+) + b )", r"a*a*a*a*a*a*a*a*b"]
)
async def test_a_pattern_that_backtracks_for_ever_ends_with_a_rejection(pattern, monkeypatch):
    monkeypatch.setattr("ttc_middleware.verifiers.regex._ASIDE", _aside.Aside("_regex_worker.py", cpu_s=0.1))
    verdict = await Regex(pattern).check("a" * 300)
    assert verdict.accepted is False
    assert "took more than 0.1 s of CPU" in verdict.feedback


async def test_what_needs_a_process_gives_the_same_verdict():
    long = "word " * 2000
    assert steps(re.compile(r"(?:\w+ )+"), len(long), search=False) > _STEPS
    assert await accepts(Regex(r"(?:\w+ ?)*"), long)
    assert not await accepts(Regex(r"(?:[a-z]{4} )*[0-9]"), long)
    assert await accepts(Regex("(WORD ?)*", flags=re.IGNORECASE | re.DOTALL), long)
    assert await accepts(Regex("(d w)+", search=True), long)


def test_short_answers_need_no_process():
    for pattern in (r"-?\d+(\.\d+)?", "yes|no|maybe", r"[A-Z]{2}\d{4}", r"\w+@\w+\.com"):
        assert steps(re.compile(pattern), 12, search=False) <= _STEPS


@pytest.mark.parametrize(
    "pattern", ["(a)*", "(a)+", "(a){2}", "((a))+", "(?x)a +", "(?ix) a", "(?i-x:a)(?x:a)", "(a)(?#no)+"]
)
def test_where_groups_repeat_there_is_no_bound(pattern):
    assert steps(re.compile(pattern), 1, search=False) == float("inf")


_ATOMS = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "[ab]",
        r"\w",
        r"a*",
        "a+",
        "a?",
        "a*?",
        "[ab]{0,3}",
        "(a|ab)",
        "(b?|a)",
        "(?=a)",
        "|",
        r"\1",
        "$",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_ATOMS, max_size=8).map("".join), st.integers(0, 60), st.booleans())
def test_what_is_bounded_ends_soon(pattern, length, search):
    try:
        compiled = re.compile(pattern)
    except re.error:
        return
    text = "a" * length + "c"
    if steps(compiled, len(text), search=search) <= _STEPS:
        started = time.process_time()
        (compiled.search if search else compiled.fullmatch)(text)
        assert time.process_time() - started < 0.5


@given(st.text(max_size=30), st.booleans())
def test_every_text_matches_itself(text, search):
    verifier = Regex(re.escape(text.strip()), search=search)
    assert anyio.run(accepts, verifier, text)


def test_searching_tries_every_place():
    assert steps(re.compile("ab"), 2000, search=False) < _STEPS < steps(re.compile("ab"), 2000, search=True)


def test_wrong_patterns_are_refused():
    with pytest.raises(ValueError, match=r"does not compile.*unterminated"):
        Regex("(")
    with pytest.raises(TypeError, match="text, not 1"):
        Regex(1)
    with pytest.raises(ValueError, match="does not compile"):
        Regex("a{9999999999999999999}")


async def test_a_flood_is_rejected_unread():
    verdict = await Regex("a*").check("a" * (1 << 21))
    assert verdict.feedback == "The answer is 2,097,152 characters long, where 1,048,576 are allowed."
