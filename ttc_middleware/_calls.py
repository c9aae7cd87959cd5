"""One model call, at the seam where it leaves the process: steered, reserved, retried, accounted for, traced.

The protocol is a plain generator (`_conversation`), so that one text serves async and sync clients: it yields what has
to be waited for or sent, and two short drivers do that.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, Union

import anyio

from ._account import Hold, Ticket
from ._bell import TaskBell
from ._caps import CapOfOurs
from ._context import LARGEST, OWNED, SCOPE, TAB, Scope, Tab, here, on_a_loop, warn_once
from ._errors import BudgetExceeded
from ._faults import LONGEST_WAIT, Failure, RetryBudget, classify, pause, retry_budget, retryable
from ._leaf import IDLE, Leaf, park_open
from ._less import less_thinking
from ._types import Adapter, Call, Draw, Reading, Request

R = TypeVar("R")

WARM = 0.8
"""The temperature for parallel draws of a caller whose own is near 0, where all draws would be equal."""
_COLD = 0.1


class Closed(BaseException):
    """Raised in a thread that goes on after its search has ended, when it tries to spend more.

    Not an `Exception`: like a cancellation, it must pass through code that tries again after errors.
    """


@dataclass(frozen=True)
class Send:
    """Make the call."""

    call: Call
    leaf: Leaf


@dataclass(frozen=True)
class Wait:
    """Wait for the bell, but not for long: whom one waits for may have stopped."""

    bell: Any


@dataclass(frozen=True)
class Sleep:
    """Back off."""

    seconds: float


_Step = Union[Send, Wait, Sleep]


def diversified(draw: Draw, request: Request | None, *, later: bool) -> Draw:
    """Warm up the draws after the first, of a caller whose own temperature would make them all equal."""
    cold = request is not None and request.temperature is not None and request.temperature <= _COLD
    alike = draw.parent is None or draw.kind == "step"
    return replace(draw, temperature=WARM) if cold and later and alike and draw.temperature is None else draw


_refused: set[tuple[str, str]] = set()  # (model, parameter): what a model has turned down is not asked again


def _conversation(  # noqa: C901, PLR0912, PLR0915  # every way that an attempt can end, in one place
    adapter: Adapter, call: Call, new_bell: Callable[[], Bell]
) -> Generator[_Step, Any, Any]:
    """Make one model call, attempt by attempt; returns the response."""
    tab, scope = TAB.get(), SCOPE.get()
    plain, wish = call, Draw()
    request = _described(adapter, call)
    cap = CapOfOurs(request)
    _goes_on(tab, scope)
    if tab is not None:
        tab.tools_ran |= request.tool_results
        if request.remembered and tab.among is not None and tab.among.count > 1:
            warn_once(
                "remembered",
                request.model,
                "several draws of a function send to a conversation that the server keeps: each leaves a turn in there."
                ' Send the messages instead, or use scope="model_calls", which asks such a call once',
            )
        if tab.role != "verifier":
            wish = _wish(tab, request)
    allowance = retry_budget(request.provider, request.server)
    allowance.called()
    attempt = 0
    kept: list[Any] = []
    """A response that is all thinking: returned if nothing better comes."""
    while True:
        asks = wish != _NOTHING
        call = adapter.apply(plain, wish) if asks else plain
        leaf = Leaf(_described(adapter, call) if asks else request, tab, scope)
        try:
            call = yield from _opened(leaf, adapter, call, cap, attempt, new_bell)
        except BudgetExceeded:
            if not kept:
                raise
            return kept[0]
        try:
            response = yield Send(call, leaf)
        except BaseException as error:
            failure = classify(error)
            leaf.fail(failure, seen=leaf.seen)
            bare = _without_refused(wish, leaf.request, failure)
            if bare is not None:
                wish = bare
                continue
            if cap.too_high(failure):
                continue
            if kept and isinstance(error, Exception):
                return kept[0]
            attempt += 1
            wait = _again(attempt, failure, leaf, allowance, error)
            if wait is None:
                _in_time(leaf, failure, error)
                raise
        else:
            if leaf.deferred:
                allowance.answered()
                return response
            reading = _read(adapter, response)
            failure = Failure(reading.fault or "error", billed=True, retry=retryable(reading.fault))
            if not failure.retry:
                allowance.answered()
            attempt += 1
            wait = _again(attempt, failure, leaf, allowance)
            less = None if kept or wait is not None else less_thinking(wish, reading, leaf, adapter, (plain, call))
            leaf.finish(reading, answered=wait is None and less is None)
            if less is not None:
                kept, wish = [response], less
                continue
            if wait is None:
                return response
        yield Sleep(wait)


def _goes_on(tab: Tab | None, scope: Scope) -> None:
    """Raise if nothing more is to be sent here."""
    if tab is not None and tab.closed:
        raise Closed("the search that this draw belonged to has ended")
    over = scope.over()
    if over is not None:
        raise over


_NOTHING = Draw()


def _opened(  # noqa: PLR0917  # what the conversation holds
    leaf: Leaf, adapter: Adapter, call: Call, cap: CapOfOurs, attempt: int, new_bell: Callable[[], Bell]
) -> Generator[_Step, Any, Call]:
    """Reserve for an attempt and start it; returns the call to send, capped by what was granted."""
    hold = yield from _reserved(leaf, adapter, call, new_bell)
    try:
        _goes_on(leaf.tab, SCOPE.get())  # a thread may have slept, or waited for room, past the end of its search
        # Without a budget there may still be a cap of ours: the one that thinking is given.
        limit = cap.under_own(leaf.request.max_tokens) if hold is None else cap.under(leaf.cap(hold))
        if limit not in (None, leaf.request.max_tokens):
            call = adapter.apply(call, Draw(max_tokens=limit))
            leaf.request = _described(adapter, call)
        leaf.show(call)
        leaf.open(hold, attempt)
    except BaseException:
        if hold is not None:
            hold.settle({})
        raise
    return call


def _described(adapter: Adapter, call: Call) -> Request:
    request = adapter.describe(call)
    if request is None:
        raise TypeError(f"{type(adapter).__name__} does not know {call.name} as a model call")
    return request


def _reserved(
    leaf: Leaf, adapter: Adapter, call: Call, new_bell: Callable[[], Bell]
) -> Generator[_Step, Any, Hold | None]:
    """The hold that the call runs under, waiting for it where it has to; None where nothing is limited."""
    ledger = leaf.ledger
    if ledger is None or not ledger.limited("tokens", "usd"):
        return None
    park_open(here())
    bell = new_bell()  # a new one each time: a bell that has rung does not fall silent
    hold = leaf.reserve(ledger, adapter, call, bell.ring, patient=bell.patient and SCOPE.get().waits)
    if isinstance(hold, Ticket):
        try:
            while hold.outcome is None:
                yield Wait(bell)
                park_open()
        except BaseException as error:
            hold.withdraw()
            late = leaf.over() if isinstance(error, TimeoutError) else None
            if late is not None:
                raise late from None
            raise
        if isinstance(hold.outcome, BudgetExceeded):
            raise hold.outcome
        hold = hold.outcome
    return hold


def _wish(tab: Tab, request: Request) -> Draw:
    """What the draw asks of this particular model call."""
    draw = diversified(tab.draw, request, later=tab.later)
    if tab.first_model is None:
        tab.first_model = request.model
    if request.model != tab.first_model:  # a helper model of the function's own: only the sampling is ours to vary
        draw = Draw(temperature=draw.temperature, seed=draw.seed)
    elif tab.instructed:
        draw = replace(draw, instruction=None)
    tab.instructed = True
    refused: dict[str, Any] = {name: None for name in _SAMPLING if (request.model, name) in _refused}
    ours = draw.parent is not None or draw.judge is not None or draw.ends is not None
    return replace(draw, parent=None, judge=None, ends=None, **refused) if refused or ours else draw


_SAMPLING = ("temperature", "seed")


def _without_refused(wish: Draw, request: Request, failure: Failure) -> Draw | None:
    """The wish without a sampling parameter of ours that the model has just refused; None if that was not it."""
    if failure.fault != "rejected":
        return None
    ours = [name for name in _SAMPLING if getattr(wish, name) is not None and name in failure.text.lower()]
    if not ours:
        return None
    _refused.update((request.model, name) for name in ours)
    named = " and ".join(ours)
    warn_once("refused", request.model, f"{request.model} does not take {named}: its parallel draws may be alike")
    nothing: dict[str, Any] = dict.fromkeys(ours)
    return replace(wish, **nothing)


def _again(
    attempt: int, failure: Failure, leaf: Leaf, allowance: RetryBudget, error: BaseException | None = None
) -> float | None:
    """Seconds after which to try again; None where it would not help, would come too late, or is not allowed."""
    if not leaf.retried or not failure.retry or attempt > leaf.retries:
        return None
    wait = max(pause(attempt, failure), failure.after or 0.0)
    left = None if leaf.deadline is None else leaf.deadline - time.monotonic()
    if wait >= (LONGEST_WAIT + 1 if left is None else left):
        until = "no deadline allows more than 60 s" if left is None else f"the deadline is in {max(left, 0.0):.1f} s"
        _note(error, f"not tried again: that would be in {wait:.1f} s, and {until}")
        return None
    return wait if allowance.take(first=attempt == 1) else None


def _in_time(leaf: Leaf, failure: Failure, error: BaseException) -> None:
    """Raise if a call outside of searches, which watch the clock themselves, has run into its deadline."""
    late = leaf.over() if leaf.tab is None and failure.fault == "timeout" else None
    if late is not None:
        raise late from error


def _note(error: BaseException | None, text: str) -> None:
    """Say more below an error's traceback, where Python can."""
    add_note = getattr(error, "add_note", None)  # Python 3.11
    if add_note is not None:
        add_note(text)


def _read(adapter: Adapter, response: object) -> Reading:
    try:
        return adapter.read(response)
    except Exception:  # noqa: BLE001  # what a server sent can be anything at all
        return Reading(status="failed", fault="malformed")


class Bell(Protocol):
    """Rung by whoever frees the room that a call waits for, from any thread."""

    @property
    def patient(self) -> bool:
        """Whether one may wait for it."""
        ...

    def ring(self) -> object:
        """Wake who waits."""
        ...


class _ThreadBell:
    __slots__ = ("_event", "patient")

    def __init__(self) -> None:
        self._event = threading.Event()
        # On an event loop's own thread, those who could ring stand still with it.
        self.patient: bool = not on_a_loop()

    def ring(self) -> None:
        self._event.set()

    def wait(self, seconds: float | None) -> None:
        left = math.inf if seconds is None else seconds
        if not self._event.wait(min(left, IDLE)) and left <= IDLE:
            raise TimeoutError("the deadline passed while waiting for room in the budget")


async def model_call(adapter: Adapter, call: Call, send: Callable[[Call, Leaf], Awaitable[R]]) -> R:
    """Make one model call, with what the draw around it asks, under its budget, onto its bill."""
    steps = _conversation(adapter, call, TaskBell)
    try:
        step = next(steps)
        while True:
            reply: R | None = None
            try:
                if isinstance(step, Send):
                    reply = await _sent(send, step)
                elif isinstance(step, Wait):
                    with anyio.fail_after(seconds_left()), anyio.move_on_after(IDLE):
                        await step.bell.wait()
                else:
                    await anyio.sleep(step.seconds)
            except BaseException as error:  # noqa: BLE001  # the conversation decides
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def _sent(send: Callable[[Call, Leaf], Awaitable[R]], step: Send) -> R:
    leaf = step.leaf
    token, bound = OWNED.set(True), LARGEST.set(leaf.largest)
    try:
        with leaf.current():
            if leaf.deadline is None or leaf.tab is not None:  # a draw's search watches the clock
                return await send(step.call, leaf)
            # Of all that a client's own time-outs measure, nothing is the time that a whole answer takes.
            with anyio.fail_after(seconds_left()):
                return await send(step.call, leaf)
    finally:
        LARGEST.reset(bound)
        OWNED.reset(token)


def _sent_sync(send: Callable[[Call, Leaf], R], step: Send) -> R:
    token, bound = OWNED.set(True), LARGEST.set(step.leaf.largest)
    try:
        with step.leaf.current():
            return send(step.call, step.leaf)
    finally:
        LARGEST.reset(bound)
        OWNED.reset(token)


def model_call_sync(adapter: Adapter, call: Call, send: Callable[[Call, Leaf], R]) -> R:
    """`model_call()` for a client that blocks."""
    steps = _conversation(adapter, call, _ThreadBell)
    try:
        step = next(steps)
        while True:
            reply: R | None = None
            try:
                if isinstance(step, Send):
                    reply = _sent_sync(send, step)
                elif isinstance(step, Wait):
                    step.bell.wait(seconds_left())
                else:
                    time.sleep(step.seconds)
            except BaseException as error:  # noqa: BLE001  # the conversation decides
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def seconds_left() -> float | None:
    """Until the enclosing deadline; None: there is none."""
    deadline = SCOPE.get().deadline
    return None if deadline is None else max(0.0, deadline - time.monotonic())
