"""Verifiers: what they may look like and return, and a verifier that breaks told apart from one that says no."""

from __future__ import annotations

import functools
from decimal import Decimal

import anyio
import pytest
from fake_model import Model, forever, fresh, place, steps  # noqa: F401  # a fixture

import ttc_middleware as ttc

pytestmark = [pytest.mark.usefixtures("fresh")]


def answering(verifier, strategy=None, answer="yes", **options):
    model = Model(lambda body, number: answer)

    @ttc.scale(strategy or ttc.BestOfN(1), verifier=verifier, **options)
    async def ask(question: str = "why?", *, limit: int = 3, **more: object) -> str:
        return await model(question)

    return ask


async def verdict(verifier, **options):
    result = await answering(verifier, **options).run()
    return result.winner.verdict


# What a verifier is given.


@pytest.mark.anyio
async def test_it_gets_the_output_and_any_arguments_of_the_call_by_name():
    def check(output, question, limit, extra=None):
        seen.append((output, question, limit, extra))
        return True

    seen = []
    await answering(check)("how?", extra=7)
    assert seen == [("yes", "how?", 3, 7)]


@pytest.mark.anyio
async def test_it_can_ask_for_every_argument():
    def check(output, **arguments):
        seen.append(arguments)
        return True

    seen = []
    await answering(check)("how?", extra=7)
    assert seen == [{"question": "how?", "limit": 3, "extra": 7}]


@pytest.mark.anyio
async def test_its_own_defaults_hold_where_the_call_has_no_such_argument():
    assert (await verdict(lambda output, unheard_of="mine": unheard_of == "mine")).accepted


@pytest.mark.anyio
@pytest.mark.parametrize(
    "annotation", [ttc.Sample, ttc.Sample[str], "ttc.Sample", "Sample[str]", "ttc.Sample[Unknown]"], ids=repr
)
async def test_it_gets_the_sample_where_its_first_parameter_is_annotated_so(annotation):
    def check(sample):
        return isinstance(sample, ttc.Sample) and sample.text == "yes" and sample.usage.tokens == 2

    check.__annotations__["sample"] = annotation
    assert (await verdict(check)).accepted


@pytest.mark.anyio
async def test_it_gets_the_output_where_its_annotation_says_anything_else():
    def check(output: str) -> bool:
        return output == "yes"

    assert (await verdict(check)).accepted


class HasCheck:
    """As the built-in verifiers are made."""

    async def check(self, output, *, arguments):
        return (output, arguments["question"]) == ("yes", "why?")


class IsCalled:
    def __call__(self, output, question):
        return question == "why?"


class IsCalledAsync:
    async def __call__(self, output):
        await steps(1)
        return 0.25

    def method(self, output, limit):
        return limit == 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    "verifier",
    [
        HasCheck(),
        IsCalled(),
        IsCalledAsync().method,
        functools.partial(lambda right, output: output == right, "yes"),
        functools.partial(lambda output, question, wanted: question == wanted, wanted="why?"),
        str.isalpha,
        lambda *args: args == ("yes",),
    ],
)
async def test_it_can_be_a_function_a_method_a_partial_or_an_object(verifier):
    assert (await verdict(verifier)).accepted


@pytest.mark.anyio
async def test_it_can_be_async():
    said = await verdict(IsCalledAsync())
    assert (said.score, said.accepted) == (0.25, False)


# What it may return.


class Scalar:
    """Like a number of numpy or torch."""

    shape = ()

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "accept", "score", "accepted"),
    [
        (True, 1.0, 1.0, True),
        (False, 0.1, 0.0, False),
        (1, 1.0, 1.0, True),
        (0, 0.5, 0.0, False),
        (0.7, 1.0, 0.7, False),
        (0.7, 0.7, 0.7, True),
        (0.69, 0.7, 0.69, False),
        (Scalar(0.8), 0.5, 0.8, True),
        (Scalar(True), 1.0, 1.0, True),
        (ttc.Verdict(0.4), 0.5, 0.4, False),
        (ttc.Verdict(0.4), 0.3, 0.4, True),
        (ttc.Verdict(0.0, accepted=True), 1.0, 0.0, True),
        (ttc.Verdict(1.0, accepted=False), 0.1, 1.0, False),
    ],
)
async def test_a_bool_is_taken_as_it_is_and_a_score_accepted_from_the_threshold_on(said, accept, score, accepted):
    found = await verdict(lambda output: said, accept=accept)
    assert (found.score, found.accepted, found.failed) == (score, accepted, False)


@pytest.mark.anyio
async def test_a_verdict_of_its_own_is_kept_whole():
    said = ttc.Verdict(0.5, feedback="half of it", trust="weak")
    found = await verdict(lambda output: said)
    assert (found.feedback, found.trust, found.accepted) == ("half of it", "weak", False)


NONSENSE = [
    None, float("nan"), float("inf"), 2.0, -0.1, 7, "yes", "", [True], {}, object(), Decimal("0.5"), 1j, ...,
    Scalar(float("nan")), Scalar("yes"), ttc.Verdict(float("nan")), ttc.Verdict(1.5, accepted=True),
    ttc.Verdict("high"), ttc.Verdict(None),
]  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("said", NONSENSE, ids=[str(place) for place in range(len(NONSENSE))])
async def test_nonsense_is_a_failure_of_the_verifier_and_no_rejection(said):
    asked = []
    result = await answering(lambda output: asked.append(1) or said).run()
    found = result.winner.verdict
    assert (found.failed, found.accepted, result.winner.score) == (True, False, None)
    assert "verifier" in found.feedback
    assert "failed" in found.feedback
    assert (result.output, result.accepted, len(asked)) == ("yes", False, 2)


# A verifier that breaks.


@pytest.mark.anyio
async def test_one_that_raises_is_asked_once_more():
    def check(output):
        asked.append(output)
        if len(asked) == 1:
            raise ConnectionError("the judge is down")
        return True

    asked = []
    result = await answering(check).run()
    assert (result.accepted, len(asked)) == (True, 2)


@pytest.mark.anyio
async def test_one_that_says_itself_that_it_failed_is_asked_once_more():
    def check(output):
        asked.append(output)
        return ttc.Verdict(0.0, failed=True, feedback="no sandbox") if len(asked) == 1 else True

    asked = []
    result = await answering(check).run()
    assert (result.accepted, len(asked)) == (True, 2)


@pytest.mark.anyio
@pytest.mark.parametrize("accepted", [None, True, False])
async def test_a_verdict_that_failed_is_never_an_acceptance(accepted):
    result = await answering(lambda output: ttc.Verdict(1.0, accepted=accepted, failed=True, feedback="broke")).run()
    assert (result.accepted, result.winner.verdict.failed, result.winner.score) == (False, True, None)
    assert result.winner.verdict.feedback == "broke"


@pytest.mark.anyio
async def test_one_that_raises_twice_has_failed_and_says_how():
    def check(output):
        raise ConnectionError("the judge is down")

    found = await verdict(check)
    assert (found.failed, found.accepted) == (True, False)
    assert "check failed: ConnectionError: the judge is down" in found.feedback


@pytest.mark.anyio
async def test_one_that_hangs_has_failed_after_its_timeout():
    async def check(output):
        await forever()

    found = await verdict(check, verifier_timeout=0.01)
    assert found.failed
    assert "0.01 s" in found.feedback


@pytest.mark.anyio
async def test_one_that_breaks_on_one_sample_does_not_touch_the_others():
    def check(output):
        if output == "b":
            raise RuntimeError
        return {"a": 0.2, "c": 0.1}[output]

    model = Model(lambda body, number: "abc"[place()])

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=check)
    async def ask() -> str:
        return await model()

    result = await ask.run()
    assert result.output == "a"
    assert [sample.verdict.failed for sample in result.samples] == [False, True, False]


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("cannot say")


@pytest.mark.anyio
async def test_one_whose_error_cannot_be_read_has_failed_like_any_other():
    def check(output):
        raise Unspeakable

    assert (await verdict(check)).failed


@pytest.mark.anyio
async def test_one_that_cancels_a_scope_of_its_own_is_left_alone():
    async def check(output):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await forever()
        return True

    assert (await verdict(check)).accepted


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_that_is_cancelled_by_something_inside_it_has_failed():
    async def check(output):
        raise anyio.get_cancelled_exc_class()

    result = await answering(check).run()
    assert (result.output, result.winner.verdict.failed) == ("yes", True)


@pytest.mark.anyio
async def test_what_is_no_answer_is_not_verified():
    def check(output):
        asked.append(output)
        return True

    asked = []
    model = Model(lambda body, number: ValueError("no"))

    @ttc.scale(ttc.BestOfN(2), verifier=check)
    async def ask() -> str:
        return await model()

    with pytest.raises(ValueError, match="no"):
        await ask()
    assert asked == []


@pytest.mark.anyio
async def test_an_exception_that_the_verifier_names_rejects_the_sample_with_feedback():
    class Parses:
        rejects = (KeyError,)

        def explain(self, error):
            return f"the field {error} is missing"

        async def check(self, output, *, arguments):
            return True

    model = Model(lambda body, number: "x")

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=Parses())
    async def ask() -> str:
        await model()
        if place() == 0:
            raise KeyError("total")
        return "parsed"

    result = await ask.run()
    rejected, parsed = result.samples
    assert (rejected.status, rejected.fault, rejected.accepted) == ("abstained", None, False)
    assert rejected.verdict.feedback == "the field 'total' is missing"
    assert isinstance(rejected.error, KeyError)
    assert (parsed.accepted, result.output) == (True, "parsed")


@pytest.mark.anyio
async def test_where_every_answer_was_rejected_so_the_functions_own_error_comes_out():
    class Parses:
        rejects = (KeyError,)

        async def check(self, output, *, arguments):
            return True

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=Parses())
    async def ask() -> str:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        raise KeyError("total")

    with pytest.raises(KeyError, match="total"):
        await ask()


@pytest.mark.anyio
async def test_a_synchronous_verifier_that_holds_the_loop_is_warned_of_once(monkeypatch):
    from ttc_middleware import _judging  # noqa: PLC0415

    clock = iter(range(1_000))
    monkeypatch.setattr(_judging.time, "perf_counter", lambda: float(next(clock)))
    ask = answering(lambda output: True, ttc.BestOfN(3, stop="all"))
    with pytest.warns(UserWarning, match="held the event loop for 1.0 s: make it async") as warned:
        await ask()
        await ask()
    assert len(warned) == 1


# Wrong from the start.


@pytest.mark.parametrize(
    ("verifier", "says"),
    [
        (lambda output, nobody_has_this: True, "asks for nobody_has_this, which the function does not have"),
        (lambda: True, "must take the output as its first parameter"),
        (lambda *, output: True, "must take the output as its first"),
        (lambda output, question, /: True, "only the first may be /"),
        ("right", "must be a function of the output or have a check"),
        (7, "must be a function of the output or have a check"),
        (HasCheck, "is a class: write HasCheck"),
        (bool, "must take the output as its first parameter"),
    ],
)
def test_a_verifier_that_cannot_work_is_refused_at_decoration(verifier, says):
    async def ask(question: str) -> str:
        return question

    with pytest.raises(TypeError, match=says):
        ttc.scale(ttc.BestOfN(2), verifier=verifier)(ask)
    with pytest.raises(TypeError, match=says):
        ttc.verifiable(verifier)(ask)


@pytest.mark.parametrize("accept", [0, -1, 1.1, True, "1", None, float("nan")], ids=repr)
def test_the_threshold_must_be_a_score(accept):
    with pytest.raises(ValueError, match=r"accept= must be a score above 0 and up to 1, got"):
        ttc.scale(ttc.BestOfN(2), verifier=lambda output: True, accept=accept)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "60", None, True], ids=repr)
def test_the_timeout_must_be_a_positive_number_of_seconds(timeout):
    with pytest.raises(ValueError, match=r"verifier_timeout= must be a positive number of seconds, got"):
        ttc.scale(ttc.BestOfN(2), verifier=lambda output: True, verifier_timeout=timeout)


@pytest.mark.anyio
async def test_a_function_warns_when_its_verifier_was_measured_and_is_no_better_than_a_coin():
    def coin(output):
        return len(output) % 2 == 0

    labelled = [("ab" if (place // 2) % 2 else "a", place % 2 == 0) for place in range(80)]
    measurement = await ttc.verifiers.measure(coin, labelled)
    verifier = ttc.verifiers.Measured(coin, measurement)
    with pytest.warns(UserWarning, match="below break-even"):
        ttc.scale(ttc.BestOfN(2), verifier=verifier, name="flips")(writes)
    ttc.scale(ttc.BestOfN(2), verifier=verifier, name="flips")(writes)  # once


async def writes():
    return "x"


@pytest.mark.filterwarnings("ignore:no model call was seen:UserWarning")  # by the judge
@pytest.mark.anyio
async def test_equal_answers_of_one_search_are_shown_to_a_judge_once():
    asked = []

    async def ask(messages):
        asked.append(messages)
        return '{"score": 5, "reason": "fine"}' if "right" in str(messages) else '{"score": 1, "reason": "no"}'

    answers = iter(["same", "same", "other", "same", "right"])

    async def answer():
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return next(answers)

    judge = ttc.verifiers.Judge(ask, "Is it so?")
    result = await ttc.scale(ttc.BestOfN(5, stop="all"), verifier=judge)(answer).run()
    assert result.output == "right"
    assert len(asked) == 3
