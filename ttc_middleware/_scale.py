"""The decorators: `scale()` says how to search, `verifiable()` only what is right."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

from ._budget import Budget
from ._context import SCOPE, TAB, Entry
from ._instrument import instrument_once
from ._leaf import report
from ._plan import OnReject, PlainFunction
from ._site import Site
from ._strategy import check_strategy
from ._types import Adapter, Draw, Strategy, T, Verifier
from ._usage import Usage
from ._wrapped import DEFERRED, AsyncScaled, P, Scaled, ScaledFunction, function_of, is_async
from .thinking._amount import ThinkingLike


def scale(
    strategy: Strategy,
    *,
    verifier: Verifier | None = None,
    budget: Budget | None = None,
    accept: float = 1.0,
    on_reject: OnReject | None = None,
    scope: Literal["function", "model_calls"] = "function",
    thinking: ThinkingLike | None = None,
    adapter: Adapter | None = None,
    name: str | None = None,
    verifier_timeout: float = 60.0,
) -> Decorator:
    """Give a function test-time compute: `@ttc.scale(ttc.BestOfN(8), verifier=…, budget=…)`.

    Its callers notice nothing. `fn.run(…)` takes the same arguments and gives the whole story, a `ttc.Result`.

    Args:
        strategy: how to search, like `ttc.BestOfN(8)`. A `policy()` block or `configure()` can overrule it.
        verifier: what is right: a function of the output and, by name, of any arguments of the call, returning a bool,
            a score from 0 to 1 or a `ttc.Verdict`; sync or async. Or one of `ttc.verifiers`.
        budget: limits of each call.
        accept: the score from which an answer is accepted, above 0 to 1. A bool is taken as it is.
        on_reject: where nothing is accepted, "best" (the default) returns the best with `accepted=False`, "raise"
            raises `ttc.NotAccepted`.
        scope: "function" draws by calling the whole function; "model_calls" calls it once and scales each model call
            inside, for functions with side effects.
        thinking: how much models may think: a `ttc.Thinking`, or tokens or an effort for short. What a draw or a
            `strategies.Thinks` says of it comes first.
        adapter: for a function that is itself a model call, how to read and change it.
        name: what spans and policies call it; "module:qualname" by default.
        verifier_timeout: seconds after which a verification counts as failed, not as rejected. A synchronous verifier
            of an async function runs on the event loop, where nothing can interrupt it.

    Raises:
        TypeError: at decoration: a strategy that needs a verifier without one, a verifier that asks for an argument
            that the function lacks, a class or a generator in place of a function, and the like.
        ValueError: at decoration: a number out of its range.
    """
    if scope not in ("function", "model_calls"):
        raise ValueError(f'scope= must be "function" or "model_calls", got {scope!r}')
    check_strategy(strategy)
    _check_name(name)
    lacking = [each for each in _ASKED if adapter is not None and not hasattr(adapter, each)]
    if lacking:
        raise TypeError(f"adapter= must be a ttc.Adapter; {adapter!r} lacks {', '.join(lacking)}")
    site = Site(
        name or "scale()",
        strategy,
        verifier,
        budget,
        accept,
        on_reject,
        thinking,
        adapter or PlainFunction(),
        verifier_timeout=verifier_timeout,
    )
    return Decorator(site, named=name is not None, model_calls=scope == "model_calls")


def verifiable(
    verifier: Verifier, *, accept: float = 1.0, name: str | None = None, verifier_timeout: float = 60.0
) -> Decorator:
    """Say what is right, and leave it to a `policy()` what that is worth. Free until one applies.

    Args:
        verifier: as in `scale()`.
        accept: as in `scale()`.
        name: as in `scale()`.
        verifier_timeout: as in `scale()`.

    Raises:
        TypeError: as in `scale()`.
        ValueError: as in `scale()`.
    """
    if cast("Any", verifier) is None:
        raise TypeError("verifiable() takes a verifier, got None")
    _check_name(name)
    site = Site(name or "verifiable()", None, verifier, accept=accept, verifier_timeout=verifier_timeout)
    return Decorator(site, named=name is not None, model_calls=False)


_ASKED = ("can", "slots", "apply", "describe", "bound", "read")


def _check_name(name: object) -> None:
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(f"name= must be a text, or None for the function's own; got {name!r}")


class Decorator:
    """What `scale()` and `verifiable()` return: wraps functions and methods, sync and async."""

    def __init__(self, site: Site, *, named: bool, model_calls: bool) -> None:
        self._site = site
        self._named = named
        self._model_calls = model_calls

    def __call__(self, fn: Callable[P, T], /) -> ScaledFunction[P, T]:
        """Wrap a function.

        Raises:
            TypeError: it is no function, or a generator.
        """
        if isinstance(fn, (staticmethod, classmethod)):
            # Above @staticmethod or @classmethod: wrap what is inside, and keep the binding.
            inside: Any = self(cast("Any", fn).__func__)
            bound: Any = _ClassMethod(inside) if isinstance(fn, classmethod) else staticmethod(inside)
            return cast("ScaledFunction[P, T]", bound)
        target = function_of(fn)
        asynchronous = is_async(fn)
        signature = inspect.signature(fn)
        if not isinstance(self._site.adapter, PlainFunction):
            _by_name(target, signature)
        site = replace(
            self._site,
            name=self._site.name if self._named else f"{target.__module__}:{target.__qualname__}",
            known=None if self._model_calls else _names(signature),
            in_thread=not asynchronous,
        )
        instrument_once()
        kind: Any = AsyncScaled if asynchronous else Scaled
        scaled: ScaledFunction[P, T] = kind(fn, site, signature, model_calls=self._model_calls)
        return scaled


class _ClassMethod(classmethod):  # type: ignore[type-arg]
    """Binds what it wraps, `run` included; since Python 3.13 `classmethod` makes a plain method of anything."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        inside: Any = cast("Any", self).__func__
        return inside.__get__(owner or type(instance), owner)


def _by_name(target: Any, signature: inspect.Signature) -> None:
    """Raise unless an adapter can give the function all of its arguments by name."""
    for parameter in signature.parameters.values():
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise TypeError(
                f"scale(adapter=) calls {target.__qualname__} by keywords, but {parameter} is positional only"
            )


def _names(signature: inspect.Signature) -> frozenset[str] | None:
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else frozenset(signature.parameters)


def on_win(callback: Callable[[], Any]) -> None:
    """Do something once, if this draw wins: `ttc.on_win(lambda: mail.send(draft))`.

    Inside a draw the callback waits until the search has ended and runs only for the winner, before the caller gets the
    output; it may be async in async functions. In a decorated function that is not being scaled it runs when the
    function has returned; anywhere else, at once.

    Args:
        callback: takes nothing.

    Raises:
        TypeError: it cannot be called, or is async outside any decorated function.
    """
    if not callable(callback):
        raise TypeError(f"on_win() takes a function of nothing, got {callback!r}")
    tab = TAB.get()
    if tab is not None:
        tab.callbacks.append(callback)
        return
    deferred = DEFERRED.get()
    if deferred is not None:
        deferred.append(callback)
        return
    if inspect.iscoroutinefunction(callback):
        raise TypeError("on_win() outside a decorated function takes a synchronous callback")
    callback()


def current_draw() -> Draw | None:
    """What the draw under way asks for, for functions that see to it themselves; None outside a draw."""
    tab = TAB.get()
    return tab.draw if tab is not None and (tab.role == "sample" or tab.draw.kind == "routing") else None


def record_usage(usage: Usage) -> None:
    """Report a model call that no SDK seam can see, so that it is billed and counted against budgets.

    It is charged after the fact: a budget notices, but cannot have prevented it.

    Args:
        usage: what the call cost; leave what is unknown at None.

    Raises:
        ValueError: a count is negative, or a part is larger than what it is a part of.
    """
    _check(usage)
    report(Entry(usage, answered=True, ended=time.monotonic()), TAB.get(), SCOPE.get())


def _check(usage: Usage) -> None:
    thought, read_, wrote = usage.reasoning_tokens or 0, usage.cached_tokens or 0, usage.cache_write_tokens or 0
    if min(usage.calls, usage.input_tokens, usage.output_tokens, thought, read_, wrote, usage.usd or 0) < 0:
        raise ValueError(f"a usage counts from 0, got {usage}")
    if thought > usage.output_tokens:
        raise ValueError(f"reasoning_tokens are a part of output_tokens, got {thought} of {usage.output_tokens}")
    if read_ + wrote > usage.input_tokens:
        raise ValueError(
            "cached_tokens and cache_write_tokens are parts of input_tokens, got"
            f" {read_} and {wrote} of {usage.input_tokens}"
        )
