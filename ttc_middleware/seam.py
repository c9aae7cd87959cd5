"""How adapters reach the engine: one function for model calls that pass by, one for a client that was wrapped.

For writing adapters; applications have no use for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from . import _portal, _witness
from ._answers import stated_answer
from ._bill import routing_of
from ._calls import model_call, model_call_sync, seconds_left
from ._context import LARGEST, OWNED, SCOPE, TAB, Scope, Tab, warn_once
from ._engine import search
from ._instrument import patch, wanted
from ._leaf import BODY, Leaf
from ._learnt import effort_within
from ._onlooker import onlook, onlook_sync
from ._plan import OnReject, PlainFunction, Plan
from ._record import lines as record_lines
from ._scale import Decorator
from ._shape_streams import StreamUsage
from ._shapes import Told, get, make_usage, mean_logprob, read_usage, reported_usd, whole
from ._site import Site, disabled
from ._types import Adapter, Call, Draw, Result
from ._watch import Seen, Watcher, calling, set_watcher, watching
from ._witness import Witnessed
from .strategies.single import Single
from .thinking._amount import ThinkingLike
from .thinking._dials import ANSWER, NOMINAL, Api, Dial, asks_to_think, dial, effort_asked, fitted, written
from .thinking._families import Backend
from .thinking._scratchpad import asks_for_scratchpad, scratchpad, share_of_thought

__all__ = [
    "ANSWER",
    "BODY",
    "NOMINAL",
    "Api",
    "Backend",
    "Dial",
    "Leaf",
    "OnReject",
    "PlainFunction",
    "Seen",
    "Site",
    "StreamUsage",
    "ThinkingLike",
    "Told",
    "Watcher",
    "Witnessed",
    "asks_for_scratchpad",
    "asks_to_think",
    "beside",
    "call_model",
    "call_model_sync",
    "deadline",
    "dial",
    "disabled",
    "effort_asked",
    "effort_within",
    "fitted",
    "get",
    "in_draw",
    "largest",
    "make_usage",
    "mean_logprob",
    "observed",
    "owned",
    "read_usage",
    "record_lines",
    "reported_usd",
    "retried",
    "routing",
    "scale_call",
    "scale_call_sync",
    "scaled",
    "scratchpad",
    "seconds_left",
    "share_of_thought",
    "stated_answer",
    "warn_once",
    "watch",
    "whole",
    "witness",
    "written",
]

R = TypeVar("R")


def observed() -> bool:
    """Whether a model call made here and now is anybody's business: a draw's, a budget's or a bill's.

    False inside a call that an outer layer already accounts for, so that litellm over openai counts once.
    """
    if OWNED.get():
        return False
    return watching() or _accounted()


def _accounted() -> bool:
    """Whether a draw, a budget or a bill is concerned, and not only who looks on."""
    if not _steered():
        return False
    scope = SCOPE.get()
    listening = scope.trackers or scope.limited or scope.model_calls is not None or _each_call(scope)
    return TAB.get() is not None or bool(listening)


def _steered() -> bool:
    """Whether calls that pass a patch are ours to change: not where only a watcher has asked for the patch."""
    return not disabled() and (wanted() or not watching())


def watch(watcher: Watcher | None) -> None:
    """Have every model call of the process told to somebody who only looks on; None: no more.

    Patches known SDKs like `ttc.instrument()`. Calls that no draw, budget or bill is concerned with are sent as they
    are, retried by the SDK as ever, without spans; but a stream is asked to end with its usage, which its reader sees
    only if it has asked too. Holds with `TTC_DISABLED` as well, which is about scaling.

    Args:
        watcher: is told; what it raises is dropped.
    """
    set_watcher(watcher)
    if watcher is not None:
        patch()


def owned() -> bool:
    """Whether an outer layer accounts for the call that is being made: a client wrapped twice, litellm over openai."""
    return OWNED.get()


def in_draw() -> bool:
    """Whether a draw is under way here."""
    return TAB.get() is not None and _steered()


def largest() -> int | None:
    """Bytes that the response of the model call being made here may have; None: any number.

    Who reads it counts them as they come, decompressed, and at more raises `BadResponse` with the fault "cut", which
    charges the whole hold. One event of a stream may have `BODY` of them.
    """
    return LARGEST.get()


def deadline() -> float | None:
    """When a model call that is made here must have ended, on `time.monotonic()`'s clock; None: whenever."""
    return SCOPE.get().deadline


def retried() -> bool:
    """Whether the engine retries model calls made here, in a draw or under a budget: the SDK's own are to be off."""
    return (TAB.get() is not None or SCOPE.get().limited) and _steered()


def witness(calls: int = 1) -> Witnessed | None:
    """Watch a model call that is about to be made, as a framework's callbacks do that cannot steer it.

    Args:
        calls: calls that begin together, before the first of them is sent: this is asked for each.

    Returns:
        What to tell when the call has been answered; None where it is nobody's business, or counted already.
    """
    return _witness.start(calls) if observed() else None


async def call_model(adapter: Adapter, call: Call, send: Callable[[Call, Leaf], Awaitable[R]]) -> R:
    """Make a model call that passes a patched SDK: steered, reserved, accounted for and traced; or scaled.

    Args:
        adapter: what the engine must know of this SDK.
        call: the request, its keywords as arguments.
        send: makes the call as it is then given. Returns the SDK's response; for a stream, see `Leaf`.
    """
    if watching() and not _accounted():
        return await onlook(adapter, call, send)
    plan = _plan_of_model_calls(adapter, call)
    if plan is None:
        return await model_call(adapter, call, send)
    with calling():
        result: Result[R] = await search(plan, call, lambda given: model_call(adapter, given, send))
    return result.output


def call_model_sync(adapter: Adapter, call: Call, send: Callable[[Call, Leaf], R]) -> R:
    """`call_model()` for a client that blocks."""
    if watching() and not _accounted():
        return onlook_sync(adapter, call, send)
    plan = _plan_of_model_calls(adapter, call)
    if plan is None:
        return model_call_sync(adapter, call, send)
    return _search_in_threads(plan, call, send)


def scaled(site: Site) -> Decorator:
    """The decorator of a call site: what it wraps is a function, in which model calls are seen as they pass."""
    return Decorator(site, named=True, model_calls=False)


async def scale_call(site: Site, call: Call, send: Callable[[Call, Leaf], Awaitable[R]]) -> R:
    """Make a call of a wrapped client: scaled as its site says, or once where that says nothing."""
    plan = _plan(site, call)
    if plan is None:
        return await model_call(site.adapter, call, send)
    if _streams_through(plan, call):
        with _under(plan):
            return await model_call(plan.adapter, _thinking(plan, call), send)
    with calling():
        result: Result[R] = await search(plan, call, lambda given: model_call(site.adapter, given, send))
    return result.output


def scale_call_sync(site: Site, call: Call, send: Callable[[Call, Leaf], R]) -> R:
    """`scale_call()` for a client that blocks."""
    plan = _plan(site, call)
    if plan is None:
        return model_call_sync(site.adapter, call, send)
    if _streams_through(plan, call):
        with _under(plan):
            return model_call_sync(plan.adapter, _thinking(plan, call), send)
    return _search_in_threads(plan, call, send)


def _plan(site: Site, call: Call) -> Plan | None:
    # Inside a draw and inside a verifier scaling is off.
    return None if TAB.get() is not None else _once_if_remembered(site.plan(), call)


def _once_if_remembered(plan: Plan | None, call: Call) -> Plan | None:
    """Draw once where the server keeps the conversation."""
    request = None if plan is None or isinstance(plan.strategy, Single) else plan.adapter.describe(call)
    if plan is None or request is None or not request.remembered:
        return plan
    warn_once(
        "remembered",
        plan.name,
        f"{plan.name}: the server adds every sample to the conversation, the container or the MCP servers that the"
        " call names, so this call is not scaled: send the messages instead of an id",
    )
    return replace(plan, strategy=Single())


def _streams_through(plan: Plan, call: Call) -> bool:
    """Whether a stream can pass as it comes: it is the only draw, and nobody is to judge it before it is read."""
    request = plan.adapter.describe(call)
    scope = SCOPE.get()
    # Who limits time, draws or seats wants an engine that watches over them.
    above, own = scope.charged, {"samples", "seats"} & set(plan.budget.limits)
    limited = own or (above is not None and above.limited("samples", "seats"))
    watched = plan.budget.seconds is not None or scope.deadline is not None or limited
    prompted = plan.thinking is not None and plan.thinking.prompted  # the scratchpad must not be read
    alone = isinstance(plan.strategy, Single) and plan.check is None and not watched and not prompted
    return alone and plan.adapter.slots is None and request is not None and request.stream


@contextmanager
def _under(plan: Plan) -> Generator[None, None, None]:
    """Keep the budget of a plan that needs no search."""
    scope = SCOPE.get()
    token = SCOPE.set(replace(scope, ledger=scope.below(plan.budget.limits)))
    try:
        yield
    finally:
        SCOPE.reset(token)


def _thinking(plan: Plan, call: Call) -> Call:
    return call if plan.thinking is None else plan.adapter.apply(call, Draw(thinking=plan.thinking))


@contextmanager
def beside(leaf: Leaf) -> Generator[None, None, None]:
    """Make a further model call under the budget and onto the bill of one that was made before, wherever this is."""
    token = SCOPE.set(leaf.scope)
    try:
        yield
    finally:
        SCOPE.reset(token)


@contextmanager
def routing() -> Generator[None, None, None]:
    """Make model calls that only find out how to make others: *routing* on the bill, and never scaled."""
    trackers = SCOPE.get().trackers
    tab = Tab(Draw(), role="routing", trackers=len(trackers))
    token = TAB.set(tab)
    try:
        yield
    finally:
        TAB.reset(token)
        bill = routing_of(tab)
        for tracker in trackers:
            tracker.add(bill)


def _each_call(scope: Scope) -> bool:
    """Whether a block wants every model call scaled."""
    return scope.policy is not None and scope.policy.scope == "model_calls" and scope.policy.strategy is not None


def _plan_of_model_calls(adapter: Adapter, call: Call) -> Plan | None:
    scope = SCOPE.get()
    if TAB.get() is not None:
        return None
    if isinstance(scope.model_calls, Site):
        plan = replace(scope.model_calls, adapter=adapter).plan()
        plan = None if plan is None else replace(plan, around=scope.around)
    elif _each_call(scope):
        plan = Site(call.name, adapter=adapter).plan()
    else:
        return None
    return _once_if_remembered(plan, call)


def _search_in_threads(plan: Plan, call: Call, send: Callable[[Call, Leaf], R]) -> R:
    async def invoke(given: Call) -> R:
        return await _portal.in_thread(model_call_sync, plan.adapter, given, send)

    blocking = replace(plan, in_thread=True)
    with calling():
        result: Result[R] = _portal.run(lambda: search(blocking, call, invoke), plan.name)
    return result.output
