"""What a decorated function looks like from outside, and what is refused at decoration."""

from __future__ import annotations

import asyncio  # noqa: TID251  # what asyncio says of coroutine functions
import copy
import functools
import inspect
import pickle  # noqa: TID251  # of what we made ourselves
import sys
import typing

import anyio
import pytest
from fake_model import Fake, Model, Refused, fresh  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome

pytestmark = [pytest.mark.usefixtures("fresh")]

TWICE = ttc.BestOfN(2, stop="all")
USED = ttc.Usage(1, 1, 1)


def good(output):
    return True


@ttc.scale(TWICE, verifier=good)
async def at_module_level(question: str, *, limit: int = 3) -> str:
    """What it says of itself."""
    ttc.record_usage(USED)
    return f"{question} {limit}"


@ttc.scale(TWICE, verifier=good)
def blocking(question: str) -> str:
    ttc.record_usage(USED)
    return question


class Service:
    """A class with every kind of method."""

    greeting = "hello"

    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return isinstance(other, Service) and other.name == self.name

    __hash__ = None

    @ttc.scale(TWICE, verifier=lambda output, self, word: output.endswith(f"{self.name} {word}"), accept=1.0)
    async def method(self, word: str = "now") -> str:
        """Docs."""
        ttc.record_usage(USED)
        return f"{self.greeting} {self.name} {word}"

    @classmethod
    @ttc.scale(TWICE, verifier=good)
    async def class_method(cls, word: str) -> str:
        ttc.record_usage(USED)
        return f"{cls.greeting} {word}"

    @ttc.scale(TWICE, verifier=good)
    @classmethod
    async def class_method_inside(cls, word: str) -> str:
        ttc.record_usage(USED)
        return f"{cls.greeting} {word}"

    @staticmethod
    @ttc.scale(TWICE, verifier=good)
    async def static_method(word: str) -> str:
        ttc.record_usage(USED)
        return word

    @ttc.scale(TWICE, verifier=good)
    @staticmethod
    async def static_method_inside(word: str) -> str:
        ttc.record_usage(USED)
        return word

    @ttc.scale(TWICE, verifier=good)
    def blocking(self, word: str) -> str:
        ttc.record_usage(USED)
        return f"{self.name} {word}"


class Child(Service):
    greeting = "hi"

    async def method(self, word: str = "now") -> str:
        return "child of " + await super().method(word)


@pytest.mark.anyio
async def test_methods_of_every_kind_are_called_and_run_as_before():
    service = Service("ada")
    assert await service.method("x") == "hello ada x"
    assert await Service.method(service, word="x") == "hello ada x"
    assert await Service.class_method("x") == await service.class_method_inside("x") == "hello x"
    assert await Child.class_method("x") == await Child.class_method_inside("x") == "hi x"
    assert await service.static_method("x") == await Service.static_method_inside("x") == "x"
    assert await Child("bob").method() == "child of hi bob now"
    for result in (
        await service.method.run("x"),
        await Service.method.run(service, "x"),
        await service.static_method.run("x"),
        await Service.static_method_inside.run("x"),
    ):
        assert (len(result.samples), result.accepted, result.bill.total.tokens) == (2, True, 4)


@pytest.mark.anyio
@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="classmethod does not bind what it wraps any more: put it inside"
)
async def test_run_binds_on_class_methods_too():
    assert (await Service.class_method.run("x")).output == "hello x"


@pytest.mark.anyio
async def test_run_binds_on_class_methods_that_are_wrapped_from_outside():
    assert (await Child.class_method_inside.run("x")).output == "hi x"


def test_a_sync_method_too():
    assert Service("ada").blocking("x") == "ada x"
    assert Service("ada").blocking.run("x").accepted


@pytest.mark.anyio
async def test_partials_callable_objects_and_functions_wrapped_before():
    class Answers:
        async def __call__(self, question: str) -> str:
            ttc.record_usage(USED)
            return question

    async def plain(a: int, question: str) -> str:
        ttc.record_usage(USED)
        return f"{a} {question}"

    def traced(fn):
        @functools.wraps(fn)
        async def inner(*args, **kwargs):
            return "traced " + await fn(*args, **kwargs)

        return inner

    scale = ttc.scale(TWICE, verifier=lambda output, question: question in output)
    assert await scale(Answers())("x") == "x"
    assert await scale(functools.partial(plain, 1))("x") == "1 x"
    assert await scale(functools.partial(plain, a=2))(question="x") == "2 x"
    assert await scale(traced(plain))(3, "x") == "traced 3 x"
    assert await scale(Answers().__call__)("x") == "x"
    for result in (await scale(Answers()).run("x"), await scale(functools.partial(plain, 1)).run("x")):
        assert len(result.samples) == 2


@pytest.mark.anyio
async def test_scaling_twice_scales_once():
    model = Model()

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=good)
    @ttc.scale(ttc.BestOfN(5, stop="all"), verifier=good)
    async def ask() -> str:
        return await model()

    await ask()
    assert len(model.bodies) == 3


# Looks.


def test_it_looks_like_the_function():
    assert at_module_level.__name__ == "at_module_level"
    assert at_module_level.__qualname__ == "at_module_level"
    assert at_module_level.__module__ == __name__
    assert at_module_level.__doc__ == "What it says of itself."
    assert str(inspect.signature(at_module_level)) == "(question: 'str', *, limit: 'int' = 3) -> 'str'"
    assert typing.get_type_hints(at_module_level.__wrapped__) == {"question": str, "limit": int, "return": str}
    assert list(inspect.signature(Service("ada").method).parameters) == ["word"]
    assert list(inspect.signature(Service.method).parameters) == ["self", "word"]
    assert list(inspect.signature(Service.class_method_inside).parameters) == ["word"]
    assert repr(at_module_level) == f"<BestOfN(2, stop='all') of {__name__}:at_module_level>"
    assert repr(ttc.verifiable(good, name="mine")(blocking.__wrapped__)) == "<verifiable of mine>"


@pytest.mark.parametrize(
    "fn", [at_module_level, Service("ada").method, Service.static_method, Service.class_method_inside], ids=repr
)
def test_an_async_function_is_still_known_as_one(fn):
    assert inspect.iscoroutinefunction(fn)
    assert asyncio.iscoroutinefunction(fn) or sys.version_info >= (3, 12)
    assert not inspect.iscoroutinefunction(blocking)
    assert not inspect.iscoroutinefunction(Service("ada").blocking)


def test_an_async_partial_or_object_is_still_known_as_one():
    class Answers:
        async def __call__(self) -> str:
            return ""

    assert inspect.iscoroutinefunction(ttc.scale(ttc.Single())(functools.partial(at_module_level.__wrapped__, "x")))
    assert inspect.iscoroutinefunction(ttc.scale(ttc.Single())(Answers()))


@pytest.mark.anyio
async def test_wrong_arguments_are_a_type_error_as_before():
    with pytest.raises(TypeError, match="limits"):
        await at_module_level("x", limits=4)
    with pytest.raises(TypeError, match="question"):
        await at_module_level()
    with pytest.raises(TypeError, match="question"):
        blocking()


def test_pickling_goes_by_name_as_for_functions():
    assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level
    assert pickle.loads(pickle.dumps(Service.static_method)) is Service.static_method
    bound = pickle.loads(pickle.dumps(Service("ada").method))
    assert (bound.__self__, bound.__name__) == (Service("ada"), "method")
    assert copy.deepcopy(at_module_level) is at_module_level


# What travels.


@pytest.mark.parametrize(
    "error",
    [
        ttc.NotAccepted("no"),
        ttc.BadResponse("no", fault="empty"),
        ttc.VerifierFailed("no"),
        ttc.BudgetExceeded("tokens", 10, 8, 5),
        ttc.BudgetUnenforceable("no"),
        ttc.PriceUnknown("no"),
        ttc.SandboxUnavailable("no"),
        ttc.SandboxFailed("no"),
    ],
    ids=repr,
)
def test_errors_can_be_pickled(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
    assert isinstance(error, ttc.TTCError)
    assert {**vars(again)} == {**vars(error)}


def test_an_error_says_what_did_not_fit():
    assert str(ttc.BudgetExceeded("tokens", 10_000, 9_800, 260)) == (
        "the budget of 10,000 tokens leaves no room: 9,800 are spent or reserved; the next call needs at least 260"
    )
    assert str(ttc.BudgetExceeded("seconds", 1.5, 1.6)) == "the budget of 1.5 seconds is over: 1.6 have passed"


@pytest.mark.anyio
async def test_an_error_that_a_search_raised_can_be_pickled_whatever_the_call_was_given():
    @ttc.scale(ttc.SelfConsistency(2))
    async def ask(unpicklable: object) -> str:
        ttc.record_usage(USED)
        raise ValueError("the function's own")

    with pytest.raises(ValueError, match="own") as caught:
        await ask(lambda: None)
    assert ttc.result_of(caught.value).bill.total.calls == 2
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), ttc.result_of(again)) == ("the function's own", None)


@pytest.mark.parametrize(
    "value",
    [
        ttc.Budget(tokens=5, usd="0.1", seconds=2, samples=3, concurrency=4),
        ttc.BestOfN(4, stop="all", at_once=2),
        ttc.SelfConsistency(5),
        ttc.Refine(2),
        ttc.Single(),
        ttc.Verdict(0.5, feedback="no"),
        ttc.Usage(1, 2, 3),
        ttc.Bill(visible=USED, gaps={"cancelled": 1}),
        ttc.Price("1", 2, cached="0.5"),
        ttc.policy(ttc.BestOfN(2), budget=ttc.Budget(samples=2)),
        Outcome(score=0.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nouns_are_frozen_compare_by_value_and_can_be_pickled(value):
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.copy(value) == value
    with pytest.raises(AttributeError):
        value.anything = 1


# Refused at decoration.


async def async_generator(question: str):
    yield question


def generator(question: str):
    yield question


class WithGenerator:
    async def __call__(self):
        yield 1


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (async_generator, "async_generator is a generator: scale the client that it calls instead"),
        (generator, "generator is a generator"),
        (functools.partial(generator, "x"), "generator is a generator"),
        (WithGenerator(), "is a generator"),
        (Service, "not classes: decorate a method of Service"),
        ("ask", "wraps functions and methods, got 'ask'"),
        (None, "wraps functions and methods, got None"),
        (property(lambda self: 1), "wraps functions and methods, got <property"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_drawn_is_refused(fn, says):
    with pytest.raises(TypeError, match=says):
        ttc.scale(TWICE, verifier=good)(fn)
    with pytest.raises(TypeError, match=says):
        ttc.verifiable(good)(fn)


@pytest.mark.parametrize("strategy", [ttc.BestOfN(2), ttc.Refine(2)], ids=repr)
def test_a_strategy_that_is_pointless_without_a_verifier_is_refused(strategy):
    with pytest.raises(TypeError, match=r"needs a verifier to choose by.*use ttc.SelfConsistency"):
        ttc.scale(strategy)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scope": "calls"}, r'scope= must be "function" or "model_calls", got \'calls\''),
        ({"on_reject": "retry"}, r'on_reject= must be "best" or "raise", got \'retry\''),
        ({"accept": 0}, r"accept= must be a score above 0 and up to 1, got 0"),
        ({"thinking": -5}, r"thinking= must be tokens from 0 or one of .*; got -5"),
    ],
)
def test_a_wrong_option_is_refused_with_rule_and_value(options, says):
    with pytest.raises(ValueError, match=says):
        ttc.scale(TWICE, verifier=good, **options)


@pytest.mark.anyio
async def test_a_sync_function_that_returns_an_awaitable_is_told_to_be_async():
    async def later():
        return "x"

    @ttc.scale(ttc.Single())
    def ask() -> object:
        return later()

    with pytest.raises(TypeError, match="is synchronous but returned an awaitable: write it as async def"):
        await anyio.to_thread.run_sync(ask)


# A function that is a model call.


@pytest.mark.anyio
async def test_a_draw_changes_the_arguments_of_a_function_that_is_a_model_call():
    model = Model()

    @ttc.scale(ttc.Refine(1), verifier=lambda output: ttc.Verdict(0.1, feedback="be brief"), adapter=Fake())
    async def complete(prompt: str, **more: object):
        return await model.send({"prompt": prompt, **more})

    await complete("why?", temperature=0.3)
    first, second = model.bodies
    assert first == {"prompt": "why?", "temperature": 0.3}
    assert "be brief" in second["prompt"]
    assert second["temperature"] == 0.3


@pytest.mark.anyio
async def test_a_parameter_of_ours_that_a_model_refuses_is_left_out_with_one_warning():
    def script(body, number):
        return Refused(400, "temperature is not supported") if body["temperature"] != 0 else f"{number}"

    model = Model(script)

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: False)
    async def ask() -> str:
        return await model(temperature=0)

    with pytest.warns(UserWarning, match="small does not take temperature: its parallel draws may be alike") as warned:
        result = await ask.run()
        await ask()
    assert (len(warned), [sample.status for sample in result.samples]) == (1, ["answer"] * 3)
    # After that it is not asked for again.
    assert [body["temperature"] for body in model.bodies[-3:]] == [0, 0, 0]


@pytest.mark.anyio
async def test_only_the_first_model_gets_what_a_draw_asks_for_beyond_sampling():
    model = Model(lambda body, number: f"{number}")

    @ttc.scale(ttc.Refine(1), verifier=lambda output: ttc.Verdict(0.1, feedback="be brief"), thinking=9)
    async def ask() -> str:
        await model("first step")
        await model("helper", model="tiny")
        return await model("second step")

    await ask()
    assert [body.get("thinking") for body in model.bodies] == [9, None, 9] * 2
    assert ["be brief" in body["prompt"] for body in model.bodies] == [False] * 3 + [True, False, False]
