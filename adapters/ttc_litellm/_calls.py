"""One function of litellm's: its calls seen and steered where they pass."""

from __future__ import annotations

import asyncio  # noqa: TID251  # litellm's async functions need it: it is only asked whether it runs
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ttc_openai.protocol as openai
from ttc_middleware import Adapter, Call, Reading
from ttc_middleware.seam import Leaf, call_model, call_model_sync, observed, retried, seconds_left
from ttc_openai.protocol import get

from ._completion import Completion
from ._providers import Target, litellm, target
from ._streams import AsyncMetered, Meter, Metered, close, close_sync

_BAD_REQUEST = (400, 422)
# litellm's async functions run its sync ones, with one of these set.
_INNER = ("acompletion", "aresponses")
_BY_ITSELF = 2  # how often the SDKs below try again, unless told

_refused: set[Target] = set()
"""Who has turned down `stream_options`."""


@dataclass(frozen=True)
class Function:
    """One of litellm's functions.

    Args:
        original: what litellm made it.
        adapter: how its calls are read.
    """

    original: Callable[..., Any]
    adapter: Adapter

    async def passing(self, *args: Any, **kwargs: Any) -> Any:
        """A call of an async function, while `instrument()` holds."""
        if not _concerns_us(kwargs):
            return await self.original(*args, **_retried_by_us(kwargs))
        need_asyncio()
        call = self.call(args, kwargs)
        return await call_model(self.adapter, call, lambda given, leaf: Attempt(self, given, leaf).made())

    def passing_sync(self, *args: Any, **kwargs: Any) -> Any:
        """`passing()` for a function that blocks."""
        if not _concerns_us(kwargs):
            return self.original(*args, **_retried_by_us(kwargs))
        call = self.call(args, kwargs)
        return call_model_sync(self.adapter, call, lambda given, leaf: Attempt(self, given, leaf).made_sync())

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.original)

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """The call, all of its arguments by name."""
        if args:
            self._signature.bind_partial(*args, **kwargs)  # raises what the function itself would
            kwargs = {**dict(zip(self._signature.parameters, args, strict=False)), **kwargs}
        return Call(name=f"litellm:{self.original.__name__}", arguments=kwargs)


class Attempt:
    """One call as the engine wants it made.

    Args:
        function: which is called.
        call: its keywords.
        leaf: where it is accounted for.
    """

    def __init__(self, function: Function, call: Call, leaf: Leaf) -> None:
        self._function = function
        self._leaf = leaf
        self._body = dict(call.arguments)
        self._target = target(self._body)
        self._scratchpad = openai.has_scratchpad(self._body)
        self._chat = isinstance(function.adapter, Completion)
        options = self._body.get("stream_options")
        self._hide_usage = not get(options, "include_usage")
        self._usage_comes = self._chat and bool(self._body.get("stream"))
        if self._usage_comes and self._hide_usage:
            self._usage_comes = self._target not in _refused
            if self._usage_comes:
                self._body["stream_options"] = {**(options or {}), "include_usage": True}
        if leaf.retried:
            leaf.retries = min(leaf.retries, _retries(self._body))
        self._body = _retried_by_us(self._body)

    async def made(self) -> Any:
        """Make it, and see to what comes back."""
        openai.bound_sizes()
        try:
            response = await self._function.original(**self._body)
        except Exception as error:
            if not self._usage_refused(error):
                raise
            response = await self._function.original(**self._body)
        if not hasattr(response, "__anext__"):
            return openai.unscratched(response) if self._scratchpad else response
        meter = self._meter(response)
        if not self._leaf.whole:
            self._leaf.defer()
            return AsyncMetered(response, meter)
        try:
            async for event in response:
                meter.see(event)
        finally:
            await close(response)
        return openai.AsyncReplayed(response, *self._events(meter))

    def made_sync(self) -> Any:
        """`made()` for a function that blocks."""
        openai.bound_sizes()
        self._hurry()
        try:
            response = self._sent_sync()
        except Exception as error:
            if not self._usage_refused(error):
                raise
            response = self._sent_sync()
        if not hasattr(response, "__next__"):
            return openai.unscratched(response) if self._scratchpad else response
        meter = self._meter(response)
        if not self._leaf.whole:
            self._leaf.defer()
            return Metered(response, meter)
        try:
            for event in response:
                meter.see(event)
        finally:
            close_sync(response)
        return openai.Replayed(response, *self._events(meter))

    def _sent_sync(self) -> Any:
        try:
            return self._function.original(**self._body)
        except Exception as error:
            if self._leaf.retried:
                with suppress(AttributeError):
                    error.num_retries = 0  # type: ignore[attr-defined]  # a Router reads this; the async functions set it
            raise

    def _events(self, meter: openai.Meter) -> tuple[Iterable[Any], Reading]:
        if not self._scratchpad:
            return meter.ready, meter.reading
        return openai.unscratched_events(meter.ready, meter.reading)

    def _meter(self, stream: Any) -> openai.Meter:
        adapter: Any = self._function.adapter
        if not self._chat:
            return openai.Meter(adapter, self._leaf)
        return Meter(stream, adapter, self._leaf, usage_comes=self._usage_comes, hide_usage=self._hide_usage)

    def _hurry(self) -> None:
        """A thread cannot be cancelled: it must not wait for an answer beyond the deadline."""
        left = seconds_left()
        patience = self._body.get("timeout") or self._body.get("request_timeout")
        if left is not None and (patience is None or isinstance(patience, (int, float))):
            self._body["timeout"] = max(0.001, left if patience is None else min(patience, left))

    def _usage_refused(self, error: Exception) -> bool:
        """Whether it failed because we, not the caller, ask a stream for its usage; then we do so no more."""
        ours = self._usage_comes and self._hide_usage
        if not ours or getattr(error, "status_code", None) not in _BAD_REQUEST or "stream_options" not in str(error):
            return False
        _refused.add(self._target)
        self._usage_comes = False
        self._body = {name: value for name, value in self._body.items() if name != "stream_options"}
        return True


def _concerns_us(kwargs: Mapping[str, Any]) -> bool:
    # With fallbacks a function calls itself for each model that it tries: those are the model calls.
    return observed() and not kwargs.get("fallbacks") and not any(kwargs.get(mark) is True for mark in _INNER)


def _retried_by_us(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a call with litellm's own retries off, where the engine retries."""
    if not retried():
        return kwargs
    off: dict[str, Any] = {"num_retries": 0, "max_retries": 0}
    if kwargs.get("retry_policy") or litellm().num_retries:
        # Its sync functions take a 0 above for "as litellm.num_retries says", but obey this.
        off["retry_policy"] = {"DefaultRetries": 0}
    return {**kwargs, **off}


def _retries(body: Mapping[str, Any]) -> int:
    """How often the caller lets litellm try again: what is said for the call, or else for all; two where nothing is."""
    if get(body, "metadata", "model_group") or get(body, "litellm_metadata", "model_group"):
        return _BY_ITSELF  # a Router turns off what lies below it: that says nothing about the caller
    said = [body.get("num_retries"), body.get("max_retries")]
    numbers = [number for number in said if isinstance(number, int)] or [litellm().num_retries]
    return max(number if isinstance(number, int) else _BY_ITSELF for number in numbers)


def need_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "litellm's async functions run on asyncio only: call litellm.completion() in a thread, with"
            " anyio.to_thread.run_sync()"
        ) from None
