"""The one method of the SDK through which every request goes: seen, steered or scaled there."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Generator
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, cast

from ttc_middleware import Adapter as AnyAdapter
from ttc_middleware import Call, Capability
from ttc_middleware.seam import (
    Leaf,
    Site,
    call_model,
    call_model_sync,
    disabled,
    in_draw,
    observed,
    owned,
    routing,
    scale_call,
    scale_call_sync,
)

from ._capped import AsyncCapped, Cap, Capped, Held, answering
from ._chat import Chat
from ._extend import Way, apart, finding_out
from ._meter import Adapter
from ._request import Attempt, Request, hosted
from ._sizes import bound_sizes
from ._streams import AsyncMetered, AsyncReplayed, Metered, Raw, Replayed
from ._turns import my_turn


async def send(adapter: Adapter, request: Request, call: Call, leaf: Leaf) -> Any:
    """Send, and see to what comes back."""
    bound_sizes()
    while True:
        attempt = Attempt(request, adapter, call, leaf)
        try:
            await my_turn()
        except BaseException:
            leaf.unsent()
            raise
        try:
            response = await attempt.send()
            break
        except Exception as error:
            if not attempt.again(error):
                raise
    if not request.stream:
        if _unread(response):
            await response.read()
        return apart(attempt.answer(response), call.arguments, request.body)
    stream = response.parse() if _raw(response) else response
    if inspect.isawaitable(stream):
        stream = await stream
    meter = request.meter(adapter, leaf, usage_comes=attempt.usage_comes)
    if not leaf.whole:
        leaf.defer()
        return _answered(response, _async_capped(adapter, request, call, leaf, AsyncMetered(stream, meter)))
    try:
        async for event in stream:
            meter.see(event)
    finally:
        await stream.close()
    return _answered(response, AsyncReplayed(stream, *attempt.events(meter)))


def send_sync(adapter: Adapter, request: Request, call: Call, leaf: Leaf) -> Any:
    """`send()` for a client that blocks."""
    bound_sizes()
    while True:
        attempt = Attempt(request, adapter, call, leaf)
        try:
            response = attempt.send()
            break
        except Exception as error:
            if not attempt.again(error):
                raise
    if not request.stream:
        if _unread(response):
            response.read()
        return apart(attempt.answer(response), call.arguments, request.body)
    stream = response.parse() if _raw(response) else response
    meter = request.meter(adapter, leaf, usage_comes=attempt.usage_comes)
    if not leaf.whole:
        leaf.defer()
        return _answered(response, _sync_capped(adapter, request, call, leaf, Metered(stream, meter)))
    try:
        for event in stream:
            meter.see(event)
    finally:
        stream.close()
    return _answered(response, Replayed(stream, *attempt.events(meter)))


def _async_capped(adapter: Adapter, request: Request, call: Call, leaf: Leaf, stream: AsyncMetered) -> Any:
    if not isinstance(adapter, Chat) or request.thinks is None:
        return stream
    cap = Cap(request.thinks, call.arguments)

    async def more() -> Any:
        way = await _led(request, adapter, _knowing(request, adapter))
        rest, then = replace(request, thinks=None), answering(adapter, call, cap, way)
        return await call_model(adapter, then, lambda given, own: send(adapter, rest, given, own))

    return AsyncCapped(stream, Held(leaf, cap, more, shows_usage=request.asks_usage))


def _sync_capped(adapter: Adapter, request: Request, call: Call, leaf: Leaf, stream: Metered) -> Any:
    if not isinstance(adapter, Chat) or request.thinks is None:
        return stream
    cap = Cap(request.thinks, call.arguments)

    def more() -> Any:
        way = _led_sync(request, adapter, _knowing(request, adapter))
        rest, then = replace(request, thinks=None), answering(adapter, call, cap, way)
        return call_model_sync(adapter, then, lambda given, own: send_sync(adapter, rest, given, own))

    return Capped(stream, Held(leaf, cap, more, shows_usage=request.asks_usage))


def _raw(response: Any) -> bool:
    return hasattr(response, "http_response")


def _unread(response: Any) -> bool:
    """A response of `with_streaming_response`, whose body has yet to be read."""
    return _raw(response) and hasattr(response, "read") and not response.http_response.is_stream_consumed


def _answered(response: Any, stream: Any) -> Any:
    return Raw(response, stream) if _raw(response) else stream


async def passing(request: Request) -> Any:
    """A request of any client, while `instrument()` holds."""
    adapter = request.adapter if observed() else None
    if adapter is None:
        return await request.untouched()
    return await call_model(adapter, request.call, lambda call, leaf: send(adapter, request, call, leaf))


def passing_sync(request: Request) -> Any:
    """`passing()` for a client that blocks."""
    adapter = request.adapter if observed() else None
    if adapter is None:
        return request.untouched()
    return call_model_sync(adapter, request.call, lambda call, leaf: send_sync(adapter, request, call, leaf))


def wrapped(client: Any, site: Site, kind: type[Request] = Request, *, asynchronous: bool) -> Any:
    """A copy of a client whose requests, of this kind, are scaled, and whose own copies are too."""
    copied = _twin(client)
    original: Any = copied.request
    recopied: Any = copied.copy

    async def request(cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        made = kind(copied, original, cast_to, options, stream, stream_cls)
        adapter = made.adapter
        if adapter is None or disabled() or owned():
            return await made.untouched()
        way = await _led(made, adapter, _finding_out(made, adapter, site))
        adapter = _as_said(adapter, site.adapter, way)
        here, made = _site_for(site, adapter, own=_draws(site)), _capped(made, site)
        return await scale_call(here, made.call, lambda call, leaf: send(adapter, made, call, leaf))

    def request_sync(cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        made = kind(copied, original, cast_to, options, stream, stream_cls)
        adapter = made.adapter
        if adapter is None or disabled() or owned():
            return made.untouched()
        way = _led_sync(made, adapter, _finding_out(made, adapter, site))
        adapter = _as_said(adapter, site.adapter, way)
        here, made = _site_for(site, adapter, own=_draws(site)), _capped(made, site)
        return scale_call_sync(here, made.call, lambda call, leaf: send_sync(adapter, made, call, leaf))

    def again(*args: Any, **kwargs: Any) -> Any:
        return wrapped(recopied(*args, **kwargs), site, kind, asynchronous=asynchronous)

    copied.request = request if asynchronous else request_sync
    copied.copy = copied.with_options = again
    return copied


def _twin(client: Any) -> Any:
    """A copy that keeps whatever a subclass has added, over the same connections."""
    twin: Any = copy.copy(client)
    kept = cast("dict[str, Any]", vars(twin))
    kind = cast("type[Any]", type(twin))
    for name, value in list(kept.items()):
        if getattr(value, "_client", None) is not client:
            continue
        # `chat` and its like would go on calling the original.
        if isinstance(getattr(kind, name, None), cached_property):
            del kept[name]
        else:
            kept[name] = type(value)(twin)
    return twin


def _as_said(adapter: Adapter, said: AnyAdapter, way: Way) -> Adapter:
    """The adapter of a request, with what its client's owner has said of the server, and what that has."""
    known = {"backend": getattr(said, "backend", None), "continues": way} if isinstance(adapter, Chat) else {}
    return replace(adapter, slots=said.slots, **known)


async def _led(request: Request, adapter: Adapter, steps: Generator[Call, Any, Way]) -> Way:
    """How the server goes on with a partial answer; it is asked once, by calls of their own, *routing* on the bill."""
    request = replace(request, stream=False, stream_cls=None, thinks=None)
    try:
        question = next(steps)
        while True:
            try:
                with routing():
                    said: Any = await call_model(
                        adapter, question, lambda call, leaf: send(adapter, request, call, leaf)
                    )
            except Exception as error:  # noqa: BLE001  # an answer, too
                said = error
            question = steps.send(said)
    except StopIteration as end:
        way: Way = end.value
        return way


def _led_sync(request: Request, adapter: Adapter, steps: Generator[Call, Any, Way]) -> Way:
    """`_led()` for a client that blocks."""
    request = replace(request, stream=False, stream_cls=None, thinks=None)
    try:
        question = next(steps)
        while True:
            try:
                with routing():
                    said: Any = call_model_sync(
                        adapter, question, lambda call, leaf: send_sync(adapter, request, call, leaf)
                    )
            except Exception as error:  # noqa: BLE001  # an answer, too
                said = error
            question = steps.send(said)
    except StopIteration as end:
        way: Way = end.value
        return way


def _finding_out(request: Request, adapter: Adapter, site: Site) -> Generator[Call, Any, Way]:
    own = site.adapter
    # A stream, or a raw response, could not be given whole.
    able = isinstance(own, Chat) and own.continues != "no" and request.divisible and not request.stream
    if not able or in_draw():
        return "no"
    plan = site.plan()
    if plan is None or Capability.EXTEND not in getattr(plan.strategy, "needs", ()):
        return "no"
    return (yield from _knowing(request, adapter))


def _knowing(request: Request, adapter: Adapter) -> Generator[Call, Any, Way]:
    if hosted(request.client):
        return "no"
    place = (adapter.server, getattr(adapter, "port", None), str(request.body.get("model")))
    return (yield from finding_out(request.call, place))


def _capped(request: Request, site: Site) -> Request:
    """The request, with the tokens that it may think where it is a stream that passes."""
    plan = site.plan() if request.stream and not in_draw() else None
    asked = None if plan is None or not request.divisible else plan.thinking
    thinks = None if asked is None or asked.prompted else asked.tokens
    return replace(request, thinks=thinks) if thinks else request


def _draws(site: Site) -> bool:
    """Whether the site's own strategy is what draws here: none does inside a draw, and a policy may name another."""
    plan = None if in_draw() else site.plan()
    return plan is not None and plan.strategy is site.strategy


@lru_cache(maxsize=256)
def _site_for(site: Site, adapter: Adapter, *, own: bool) -> Site:
    """The site with the adapter of this very request; a strategy of its own that draws is refused here."""
    return replace(site, adapter=adapter, strategy=site.strategy if own else None)
