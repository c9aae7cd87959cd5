"""Streams: metered while they pass, or read to their end and played again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Union

import wrapt
from typing_extensions import Self

from ttc_middleware import Reading
from ttc_middleware.seam import Leaf

from ._chat import Chat
from ._responses import Responses
from ._usage import get

Adapter = Union[Chat, Responses]


class Meter:
    """Adds up the events of one stream to what a whole response would have said.

    Args:
        adapter: the kind of events.
        leaf: whom to tell of tokens as they come.
        hide_usage: drop the chunk that only reports usage: the caller did not ask for it.
    """

    def __init__(self, adapter: Adapter, leaf: Leaf, *, hide_usage: bool) -> None:
        self._adapter = adapter
        self._leaf = leaf
        self._hide_usage = hide_usage
        self._texts: list[str] = []
        self._refusal = ""
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None
        self._usage: Any = None
        self._first: Any = None
        self._response: Any = None

    def see(self, event: Any) -> bool:
        """Note an event; False: the caller is not to see it."""
        response = get(event, "response")
        if response is not None and get(event, "type") in _LAST:
            self._response = response
        if "delta" in str(get(event, "type")):
            self._leaf.seen += 1
        usage = get(event, "usage")
        if usage is not None:
            self._usage = usage
        choices = get(event, "choices")
        if choices is None:
            return True
        self._first = self._first or event
        for choice in choices:
            self._see_choice(choice)
        return bool(choices) or usage is None or not self._hide_usage

    def _see_choice(self, choice: Any) -> None:
        delta, place = get(choice, "delta"), get(choice, "index") or 0
        content = get(delta, "content")
        if content or get(delta, "reasoning_content") or get(delta, "tool_calls"):
            self._leaf.seen += 1
        if place:  # only the first of several choices is what a reader of streams takes for the answer
            return
        self._texts.append(content or "")
        self._refusal += get(delta, "refusal") or ""
        self._finish = get(choice, "finish_reason") or self._finish
        for call in get(delta, "tool_calls") or ():
            known = self._calls.setdefault(get(call, "index") or 0, {"name": "", "arguments": ""})
            known["name"] += get(call, "function", "name") or ""
            known["arguments"] += get(call, "function", "arguments") or ""

    @property
    def reading(self) -> Reading:
        """What the stream said, as far as it got."""
        if self._response is not None:
            return self._adapter.read(self._response)
        if self._finish is None:
            return Reading(text="".join(self._texts), status="truncated", fault="cut")
        message = {
            "content": "".join(self._texts) or None,
            "refusal": self._refusal or None,
            "tool_calls": [{"function": call} for _, call in sorted(self._calls.items())] or None,
        }
        return self._adapter.read({
            "id": get(self._first, "id"),
            "model": get(self._first, "model"),
            "choices": [{"message": message, "finish_reason": self._finish}],
            "usage": self._usage,
        })  # fmt: skip

    def ended(self) -> None:
        """Account for the stream: whole, or cut."""
        reading = self.reading
        if reading.fault == "cut":
            self._leaf.cut(reading)
        else:
            self._leaf.finish(reading)


_LAST = ("response.completed", "response.incomplete", "response.failed")


class Metered(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in its stubs only
    """A sync or async stream that is accounted for as it is read. Same type to `isinstance`, same methods."""

    def __init__(self, stream: Any, meter: Meter) -> None:
        super().__init__(stream)
        self._self_meter = meter

    # The proxy's own __enter__ and __iter__ would hand out the bare stream.

    def __enter__(self) -> Self:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._self_meter.ended()
        self.__wrapped__.__exit__(*exc)

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._self_meter.ended()
        await self.__wrapped__.__aexit__(*exc)

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                yield self.__next__()
            except StopIteration:
                return

    def __next__(self) -> Any:
        while True:
            try:
                event = self.__wrapped__.__next__()
            except BaseException:  # its end, or an error
                self._self_meter.ended()
                raise
            if self._self_meter.see(event):
                return event

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            try:
                event = await self.__anext__()
            except StopAsyncIteration:
                return
            yield event

    async def __anext__(self) -> Any:
        while True:
            try:
                event = await self.__wrapped__.__anext__()
            except BaseException:  # its end, or an error
                self._self_meter.ended()
                raise
            if self._self_meter.see(event):
                return event

    def close(self) -> Any:
        """Close the stream; what it has cost so far is accounted for."""
        self._self_meter.ended()
        return self.__wrapped__.close()

    def __del__(self) -> None:
        self._self_meter.ended()


class Replayed(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in its stubs only
    """A stream that has been read: gives its events again."""

    def __init__(self, stream: Any, events: list[Any], reading: Reading) -> None:
        super().__init__(stream)
        self._self_events = iter(events)
        self._self_reading = reading

    @property
    def ttc_reading(self) -> Reading:
        """What the stream said."""
        return self._self_reading

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.__wrapped__.__exit__(*exc)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.__wrapped__.__aexit__(*exc)

    def __iter__(self) -> Iterator[Any]:
        return self._self_events

    def __next__(self) -> Any:
        return next(self._self_events)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for event in self._self_events:
            yield event

    async def __anext__(self) -> Any:
        for event in self._self_events:
            return event
        raise StopAsyncIteration


class Raw(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in its stubs only
    """A raw response whose `parse()` gives this stream."""

    def __init__(self, response: Any, stream: Any) -> None:
        super().__init__(response)
        self._self_stream = stream

    @property
    def ttc_reading(self) -> Any:
        """What the stream said, once it is read."""
        return getattr(self._self_stream, "ttc_reading", None)

    def parse(self, *_: Any, **__: Any) -> Any:
        """The stream, metered or replayed."""
        return self._self_stream
