"""What a decorated function becomes: called as before, or `run()` for the whole story."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeVar, cast, overload

from typing_extensions import ParamSpec, Self

from . import _portal
from ._budget import Budget
from ._calls import model_call, model_call_sync
from ._context import SCOPE, TAB, Scope
from ._engine import search
from ._plan import Plan
from ._policy import Tracking
from ._site import Site, disabled
from ._types import Call, Result, T_co
from ._usage import Bill, Usage
from ._watch import calling
from .strategies.single import Single

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")

MYPY = False  # mypy takes this for True: it resolves descriptors by their first match, and pyright by all of them

DEFERRED: ContextVar[list[Callable[[], Any]] | None] = ContextVar("ttc_deferred", default=None)
"""What `on_win()` collects in a function that is not being scaled."""


_UNSEEN = Bill(visible=Usage(0), gaps={"disabled": 1})


def _nothing() -> None:
    """What a future does in place of a coroutine's close()."""


def function_of(fn: Any) -> Any:
    """The function behind wrappers and partials; raises unless draws of it make sense."""
    if isinstance(fn, type):
        raise TypeError(f"scale() wraps functions and methods, not classes: decorate a method of {fn.__name__}")
    if not callable(fn):
        raise TypeError(f"scale() wraps functions and methods, got {fn!r}; is it @ttc.verifiable(verifier), called?")
    outermost = _itself(fn)
    if inspect.isasyncgenfunction(outermost) or inspect.isgeneratorfunction(outermost):
        name = outermost.__qualname__
        raise TypeError(f"{name} is a generator: scale the client that it calls instead, with wrap()")
    target = inspect.unwrap(fn)
    while isinstance(target, functools.partial):
        target = inspect.unwrap(target.func)
    return target if inspect.isroutine(target) else inspect.unwrap(type(target).__call__)


def _itself(fn: Any) -> Any:
    """The function that a call enters first, behind partials and objects; other decorators are functions too."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) else type(fn).__call__


def is_async(fn: Any) -> bool:
    """Whether a call gives something to await, as far as one can tell beforehand.

    A function that some decorator has made async is; so is one behind a decorator that passes its coroutine on.
    """
    return any(inspect.iscoroutinefunction(each) for each in (fn, _itself(fn), function_of(fn)))


class ScaledFunction(Generic[P, T_co]):
    """A scaled function: call it as before, or `run()` it for the whole story.

    Looks like the function it wraps: name, signature, whether it is a coroutine function.
    """

    __wrapped__: Callable[..., Any]
    __name__: str
    __qualname__: str

    if TYPE_CHECKING:
        # One type for both kinds: a checker that chose by the function would take a generic one, or one that returns
        # anything, for a coroutine function.

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...

        @overload
        def run(  # type: ignore[overload-overlap]  # the first match is meant: async before sync
            self: ScaledFunction[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, Result[R]]: ...

        @overload
        def run(self, *args: P.args, **kwargs: P.kwargs) -> Result[T_co]: ...

        def run(self, *args: Any, **kwargs: Any) -> Any: ...

        if MYPY:

            def __get__(self, instance: Any, owner: Any = None) -> ScaledMethod[P, T_co]: ...  # pyright: ignore[reportRedeclaration]

        else:

            @overload
            def __get__(
                self: ScaledFunction[Concatenate[type[S], Q], T_co], instance: Any, owner: type[S]
            ) -> ScaledFunction[Q, T_co]: ...

            @overload
            def __get__(self, instance: None, owner: Any = None) -> Self: ...

            @overload
            def __get__(
                self: ScaledFunction[Concatenate[S, Q], T_co], instance: S, owner: Any = None
            ) -> ScaledFunction[Q, T_co]: ...

            @overload
            def __get__(self, instance: Any, owner: Any = None) -> Self: ...

            def __get__(self, instance: Any, owner: Any = None) -> Any: ...

    else:

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            """Bind as functions do, `run` included."""
            return self if instance is None else self._bind(instance)

    def __init__(self, fn: Callable[..., Any], site: Site, signature: inspect.Signature, *, model_calls: bool) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), fn)
        self._fn = fn
        self._site = site
        self._signature = signature
        self._model_calls = model_calls
        self._bound: tuple[Any, ...] = ()
        itself = _itself(fn)
        target = itself if inspect.iscoroutinefunction(itself) else function_of(fn)
        # With these, inspect takes the wrapper for a function, and tells by the code whether it is a coroutine's.
        for attribute in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(self, attribute, getattr(target, attribute, None))
        for attribute in ("__name__", "__qualname__", "__annotations__"):  # a partial or an object has none to copy
            if not hasattr(fn, attribute):
                setattr(self, attribute, getattr(target, attribute))

    def __repr__(self) -> str:
        what = "verifiable" if self._site.strategy is None else repr(self._site.strategy)
        return f"<{what} of {self._site.name}>"

    @property
    def verifier(self) -> Any:
        """What it was decorated with to say what is right; None if nothing was."""
        return self._site.verifier

    def drawn_once(self) -> ScaledFunction[P, T_co]:
        """The same function for an experiment: one draw a call, judged by nobody, without limits of its own."""
        alone: ScaledFunction[P, T_co] = object.__new__(type(self))
        alone.__dict__.update(self.__dict__)
        bare = replace(self._site, strategy=Single(), verifier=None, budget=None, on_reject=None, thinking=None)
        alone._site = bare
        alone._model_calls = False
        return alone

    def __reduce__(self) -> Any:
        # By name, as functions are; a bound one by its owner and name.
        return (getattr, (self._bound[0], self.__name__)) if self._bound else self.__qualname__

    def __eq__(self, other: object) -> bool:
        """Bound to the same object, it is the same method."""
        if not isinstance(other, ScaledFunction) or other._fn is not self._fn or other._site is not self._site:
            return False
        return [id(each) for each in self._bound] == [id(each) for each in other._bound]

    def __hash__(self) -> int:
        return hash((id(self._fn), *(id(each) for each in self._bound)))

    @property
    def __signature__(self) -> inspect.Signature:
        parameters = list(self._signature.parameters.values())[len(self._bound) :]
        return self._signature.replace(parameters=parameters)

    def _bind(self, instance: object) -> Any:
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._bound = (instance,)
        bound.__self__ = instance  # type: ignore[attr-defined]
        bound.__func__ = self  # type: ignore[attr-defined]
        return bound

    def _call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            else:
                arguments[name] = value
        return Call(name=self._site.name, arguments=arguments)

    @property
    def _each_call(self) -> bool:
        """Whether each model call inside is scaled by itself, and the function called once."""
        scope = self._site.scope()
        return self._model_calls if scope is None else scope == "model_calls"

    def _inside(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope:
        """The scope in which each model call is scaled by itself."""
        outer, budget = SCOPE.get(), self._site.budget or Budget()
        ledger = outer.below(budget.limits)
        site = replace(self._site, budget=None)
        around = self._call(args, kwargs).arguments
        return replace(outer.until(budget.seconds), ledger=ledger, model_calls=site, around=around, outer=outer)

    def _plan(self) -> Plan:
        """How `run()` searches; inside a draw scaling is off."""
        plan = self._site.plan() or _single(self._site)
        return plan if TAB.get() is None else replace(plan, strategy=Single())

    def _story(self, output: Any, bill: Bill, started: float) -> Result[Any]:
        """The result of a function that was called once, as it is."""
        return Result(
            output=output,
            accepted=False,
            bill=bill,
            samples=(),
            winner=None,
            stop_reason="passed through",
            name=self._site.name,
            strategy=repr(self._site.strategy),
            seconds=time.monotonic() - started,
        )


class Scaled(ScaledFunction[..., Any]):
    """What a function becomes that blocks."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it; returns what the winning draw returned."""
        given = (*self._bound, *args)
        if disabled() or TAB.get() is not None:
            return self._fn(*given, **kwargs)
        if self._each_call:
            return self._once(given, kwargs).output
        plan = self._site.plan()
        if plan is None:
            return self._passed(given, kwargs)
        return self._searched(plan, given, kwargs).output

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it, and give the whole story: output, verdict, bill, samples."""
        given, started = (*self._bound, *args), time.monotonic()
        if disabled():
            return self._story(self._fn(*given, **kwargs), _UNSEEN, started)
        if self._each_call:
            return self._once(given, kwargs)
        return self._searched(self._plan(), given, kwargs)

    def _searched(self, plan: Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Result[Any]:
        call = self._call(args, kwargs)
        adapter = plan.adapter

        def once(given: Call) -> Any:
            if not plan.plain:
                return model_call_sync(adapter, given, lambda sent, _: self._fn(**sent.arguments))
            output = self._fn(*args, **kwargs)
            if inspect.isawaitable(output):
                getattr(output, "close", _nothing)()
                raise TypeError(f"{plan.name} is synchronous but returned an awaitable: write it as async def")
            return output

        async def invoke(given: Call) -> Any:
            return await _portal.in_thread(once, given)

        with calling():
            return _portal.run(lambda: search(plan, call, invoke), plan.name)

    def _passed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        callbacks: list[Callable[[], Any]] = []
        token = DEFERRED.set(callbacks)
        try:
            output = self._fn(*args, **kwargs)
        finally:
            DEFERRED.reset(token)
        for callback in callbacks:
            if inspect.isawaitable(callback()):
                raise TypeError("on_win() in a synchronous function takes a synchronous callback")
        return output

    def _once(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Result[Any]:
        inside, bill, started = self._inside(args, kwargs), Tracking(), time.monotonic()
        token = SCOPE.set(replace(inside, trackers=(*inside.trackers, bill)))
        try:
            return self._story(self._passed(args, kwargs), bill.bill, started)
        finally:
            SCOPE.reset(token)


class AsyncScaled(ScaledFunction[..., Any]):
    """What an async function becomes."""

    def __init__(self, fn: Callable[..., Any], site: Site, signature: inspect.Signature, *, model_calls: bool) -> None:
        super().__init__(fn, site, signature, model_calls=model_calls)
        mark = getattr(inspect, "markcoroutinefunction", None)  # Python 3.12
        if mark is not None:
            mark(self)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call it; gives what the winning draw gave."""
        return self._awaited((*self._bound, *args), kwargs)

    async def _awaited(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if disabled() or TAB.get() is not None:
            return await self._coroutine(args, kwargs)
        if self._each_call:
            return (await self._once(args, kwargs)).output
        plan = self._site.plan()
        if plan is None:
            return await self._passed(args, kwargs)
        return (await self._searched(plan, args, kwargs)).output

    async def run(self, /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # one of its two kinds
        """Call it, and give the whole story: output, verdict, bill, samples."""
        given, started = (*self._bound, *args), time.monotonic()
        if disabled():
            return self._story(await self._coroutine(given, kwargs), _UNSEEN, started)
        if self._each_call:
            return await self._once(given, kwargs)
        return await self._searched(self._plan(), given, kwargs)

    async def _searched(self, plan: Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Result[Any]:
        call = self._call(args, kwargs)

        def send(given: Call, _: object) -> Any:
            return self._coroutine((), given.arguments)

        with calling():
            if plan.plain:
                return await search(plan, call, lambda _: self._coroutine(args, kwargs))
            return await search(plan, call, lambda given: model_call(plan.adapter, given, send))

    def _coroutine(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        output = self._fn(*args, **kwargs)
        if not inspect.isawaitable(output):
            raise TypeError(f"{self._site.name} is asynchronous, but what decorates it returned {output!r:.80}")
        return output

    async def _passed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        callbacks: list[Callable[[], Any]] = []
        token = DEFERRED.set(callbacks)
        try:
            output = await self._coroutine(args, kwargs)
        finally:
            DEFERRED.reset(token)
        for callback in callbacks:
            said = callback()
            if inspect.isawaitable(said):
                await said
        return output

    async def _once(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Result[Any]:
        inside, bill, started = self._inside(args, kwargs), Tracking(), time.monotonic()
        token = SCOPE.set(replace(inside, trackers=(*inside.trackers, bill)))
        try:
            return self._story(await self._passed(args, kwargs), bill.bill, started)
        finally:
            SCOPE.reset(token)


if MYPY:
    # mypy cannot tell a bound method from a static one here: both readings of the arguments pass.

    class ScaledMethod(Generic[P, T_co]):
        """A method of a class, as mypy sees it."""

        @overload
        def __call__(self: ScaledMethod[Concatenate[Any, Q], T_co], *args: Q.args, **kwargs: Q.kwargs) -> T_co: ...
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
        @overload
        def run(  # type: ignore[overload-overlap]  # as above
            self: ScaledMethod[Concatenate[Any, Q], Coroutine[Any, Any, R]], *args: Q.args, **kwargs: Q.kwargs
        ) -> Coroutine[Any, Any, Result[R]]: ...
        @overload
        def run(  # type: ignore[overload-overlap]  # as above
            self: ScaledMethod[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, Result[R]]: ...
        @overload
        def run(self: ScaledMethod[Concatenate[Any, Q], T_co], *args: Q.args, **kwargs: Q.kwargs) -> Result[T_co]: ...
        @overload
        def run(self, *args: P.args, **kwargs: P.kwargs) -> Result[T_co]: ...
        def run(self, *args: Any, **kwargs: Any) -> Any: ...


def _single(site: Site) -> Plan:
    return replace(site, strategy=Single()).plan() or Plan(site.name, Single())
