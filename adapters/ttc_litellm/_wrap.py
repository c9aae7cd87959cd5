"""`wrap()`: one function of litellm's, or one `Router`, scaled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

from ttc_middleware import Adapter, Budget, Call, Capability, Reading, Single, Strategy, Verifier, policy
from ttc_middleware.seam import (
    OnReject,
    PlainFunction,
    Site,
    ThinkingLike,
    deadline,
    disabled,
    in_draw,
    owned,
    scale_call,
    scale_call_sync,
    scaled,
)
from ttc_openai.protocol import AsyncReplayed, Replayed

from ._calls import Attempt, Function, need_asyncio
from ._completion import Completion
from ._patch import checked, own
from ._providers import fate, litellm
from ._responses import Responses

C = TypeVar("C")
_ADAPTERS: dict[str, type[Completion | Responses]] = {
    "acompletion": Completion,
    "completion": Completion,
    "aresponses": Responses,
    "responses": Responses,
}


def wrap(
    callee: C,
    strategy: Strategy | None = None,
    *,
    verifier: Verifier | None = None,
    budget: Budget | None = None,
    accept: float = 1.0,
    on_reject: OnReject | None = None,
    thinking: ThinkingLike | None = None,
    name: str = "litellm",
    slots: int | None = None,
    verifier_timeout: float = 60.0,
) -> C:
    """Give test-time compute to one of litellm's functions, or to a router, by a copy of it.

    What is given stays as it is. The draws of a router are requests of their own, each sent where the router sends it,
    with its fallbacks; those of a function share one request with `n` where the model has it.

    Args:
        callee: `litellm.acompletion`, `completion`, `aresponses`, `responses`, or a `litellm.Router`.
        strategy: how to search; None leaves it to a `ttc.policy()`.
        verifier: judges a response: the object that the call returns, or its text if it is one of `ttc.verifiers`; by
            name, it gets the call's keywords.
        budget: limits of each call.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think, in tokens or as an effort.
        name: what spans and policies call it.
        slots: draws of one call that are sent at once; None: any number.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        ImportError: litellm is not installed, or is older than 1.103.
        TypeError: it is none of these, or an argument is not what it should be.
        ValueError: a number is out of its range.
    """
    package = checked()

    def site(adapter: Adapter) -> Site:
        return Site(
            name, strategy, verifier, budget, accept, on_reject, thinking, adapter, verifier_timeout=verifier_timeout
        )  # fmt: skip

    if isinstance(callee, package.Router):
        return cast("C", _router(callee, site, slots))
    function = cast("Callable[..., Any]", callee)
    known = getattr(own(callee), "__name__", "") if callable(callee) else ""
    if known not in _ADAPTERS or not str(getattr(own(callee), "__module__", "")).startswith("litellm"):
        raise TypeError(
            "ttc_litellm.wrap() takes litellm.acompletion, completion, aresponses, responses or a litellm.Router;"
            f" got {callee!r}"
        )
    adapter = _ADAPTERS[known](slots=slots)
    asynchronous = known.startswith("a")
    whole: Any = scaled(site(_Within(adapter)))((_read if asynchronous else _read_sync)(function, adapter))
    return cast("C", _function(Function(function, adapter), whole, site(adapter), asynchronous=asynchronous))


def _function(made: Function, whole: Callable[..., Any], site: Site, *, asynchronous: bool) -> Any:
    """The function, its calls scaled; one with fallbacks is several model calls, so `whole` draws all of it."""

    @wraps(made.original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if disabled() or owned():
            return await made.original(*args, **kwargs)
        if kwargs.get("fallbacks"):
            return await whole(*args, **kwargs)
        need_asyncio()
        given = made.call(args, kwargs)
        here = _site_for(site, given)
        return await scale_call(here, given, lambda given, leaf: Attempt(made, given, leaf).made())

    @wraps(made.original)
    def call_sync(*args: Any, **kwargs: Any) -> Any:
        if disabled() or owned():
            return made.original(*args, **kwargs)
        if kwargs.get("fallbacks"):
            return whole(*args, **kwargs)
        given = made.call(args, kwargs)
        here = _site_for(site, given)
        return scale_call_sync(here, given, lambda given, leaf: Attempt(made, given, leaf).made_sync())

    return call if asynchronous else call_sync


def _site_for(site: Site, call: Call) -> Site:
    """The site of a model that has no `n`: litellm would refuse it, and tell its callbacks of a failed request."""
    n_is_taken = Capability.CHOICES not in site.adapter.can or fate(call.arguments, "n", 2) == "taken"
    return site if n_is_taken else _without_n(site)


@lru_cache(maxsize=64)
def _without_n(site: Site) -> Site:
    return replace(site, adapter=_OneByOne(site.adapter.slots))


class _OneByOne(Completion):
    """Chat completions of a model that gives one choice a request."""

    can = Completion.can - {Capability.CHOICES}


def _router(router: Any, site: Callable[[Adapter], Site], slots: int | None) -> Any:
    """A copy over the same deployments and cooldowns; all that a router does but retrying it does in each draw."""
    twin = copy.copy(router)
    for name, kind in _ADAPTERS.items():
        function = getattr(router, name)
        setattr(twin, name, drawn(function, kind(slots=slots), site, asynchronous=name.startswith("a")))
    return twin


def drawn(
    function: Callable[..., Any], adapter: Adapter, site: Callable[[Adapter], Site], *, asynchronous: bool
) -> Callable[..., Any]:
    """A function inside which litellm's own calls are seen: all of it is drawn, and a stream is the winner's.

    Args:
        function: takes the keywords of a model call, and gives its response.
        adapter: how a response is read.
        site: makes the call site of an adapter.
        asynchronous: whether it is an async function.
    """
    here = site(_Within(adapter))
    whole: Any = scaled(here)((_read if asynchronous else _read_sync)(function, adapter))

    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        plan = here.plan() if kwargs.get("stream") and not in_draw() else None
        if plan is None or not _streams_through(plan):
            return await whole(*args, **kwargs)
        with policy(budget=plan.budget):
            return await function(*args, **kwargs)

    @wraps(function)
    def call_sync(*args: Any, **kwargs: Any) -> Any:
        plan = here.plan() if kwargs.get("stream") and not in_draw() else None
        if plan is None or not _streams_through(plan):
            return whole(*args, **kwargs)
        with policy(budget=plan.budget):
            return function(*args, **kwargs)

    return call if asynchronous else call_sync


def _streams_through(plan: Any) -> bool:
    """Whether a stream can pass as it comes: it is the only draw, asks for nothing, and nobody is to judge it."""
    alone = isinstance(plan.strategy, Single) and plan.check is None and plan.thinking is None
    # Who limits time, draws or seats wants an engine that watches over them.
    watched = plan.budget.seconds is not None or {"samples", "seats"} & set(plan.budget.limits)
    return alone and plan.adapter.slots is None and deadline() is None and not watched


def _read(function: Callable[..., Any], adapter: Adapter) -> Callable[..., Any]:
    """The function, its streams read to their end inside draws: which wins is known only then."""

    @wraps(function)
    async def read(*args: Any, **kwargs: Any) -> Any:
        response = await function(*args, **kwargs)
        if not hasattr(response, "__anext__") or not in_draw():
            return response
        return AsyncReplayed(response, *_told([event async for event in response], adapter))

    return read


def _read_sync(function: Callable[..., Any], adapter: Adapter) -> Callable[..., Any]:
    """`_read()` for a function that blocks."""

    @wraps(function)
    def read(*args: Any, **kwargs: Any) -> Any:
        response = function(*args, **kwargs)
        if not hasattr(response, "__next__") or not in_draw():
            return response
        return Replayed(response, *_told(list(response), adapter))

    return read


def _told(events: list[Any], adapter: Adapter) -> tuple[list[Any], Reading]:
    """The events of a stream, and what they say together."""
    ended = [whole for event in events if (whole := getattr(event, "response", None)) is not None]
    whole = ended[-1] if ended else litellm().stream_chunk_builder(events)
    return events, adapter.read(whole)


class _Within(PlainFunction):
    """Reads the response of a function inside which litellm's own calls are seen.

    Args:
        adapter: how a response is read.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self.slots = adapter.slots

    def read(self, output: Any, /) -> Reading:
        """What the response says; what it cost is told where it was called."""
        return replace(self._adapter.read(output), usage=None)
