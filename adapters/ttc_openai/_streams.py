"""Streams: metered while they pass, or read to their end and played again. Same type to `isinstance`, same methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import anyio
import wrapt
from typing_extensions import Self

from ttc_middleware import Reading

from ._meter import Meter

# A proxy's own __enter__ and __iter__ would hand out the bare stream.

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy  # generic in its stubs only


class _Metered(_Proxy):
    """A stream that is accounted for as it is read."""

    def __init__(self, stream: Any, meter: Meter) -> None:
        super().__init__(stream)
        self._self_meter = meter
        # Streams, the SDK's helpers around them and raw responses are all closed by closing this.
        response = getattr(stream, "response", None)
        for name in ("close", "aclose"):
            if hasattr(response, name):
                setattr(response, name, _noticed(getattr(response, name), meter))

    def __del__(self) -> None:
        self._self_meter.left(dropped=True)


def _noticed(close: Callable[[], Any], meter: Meter) -> Callable[[], Any]:
    def closed() -> Any:
        meter.left()
        return close()

    return closed


class Metered(_Metered):
    """A metered stream of a client that blocks."""

    def __enter__(self) -> Self:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.__wrapped__.__exit__(*exc)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        meter = self._self_meter
        while meter.hungry:
            try:
                meter.see(self._event())
                if meter.stopped:
                    self._shut()
            except Exception as error:  # noqa: PERF203  # its end, or what cut it
                meter.ended()
                if not meter.ready:
                    raise
                meter.error = error
            except BaseException:
                meter.ended()
                raise
        return meter.next()

    def _event(self) -> Any:
        """The next event of the server's; a stream ends at the deadline, however lively it is."""
        self._self_meter.asked()
        over = self._self_meter.over
        error = over()
        if error is not None:
            self.close()
            raise error
        try:
            return self.__wrapped__.__next__()
        except Exception as broken:
            error = None if isinstance(broken, StopIteration) else over()
            if error is not None:
                raise error from broken
            raise

    def _shut(self) -> None:
        """End the stream here: what was seen is accounted for, and nothing more is generated.

        Raises:
            StopIteration: as at any stream's end.
        """
        self._self_meter.ended()
        self.close()
        raise StopIteration


class AsyncMetered(_Metered):
    """A metered stream of an async client."""

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.__wrapped__.__aexit__(*exc)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        meter = self._self_meter
        while meter.hungry:
            try:
                meter.see(await self._event())
                if meter.stopped:
                    await self._shut()
            except Exception as error:  # noqa: PERF203  # its end, or what cut it
                meter.ended()
                if not meter.ready:
                    raise
                meter.error = error
            except BaseException:  # cancelled
                meter.ended()
                raise
        return meter.next()

    async def _event(self) -> Any:
        """The next event of the server's; a stream ends at the deadline, however lively it is."""
        self._self_meter.asked()
        left = self._self_meter.seconds_left
        if left is None:
            return await self.__wrapped__.__anext__()
        with anyio.move_on_after(left):  # the SDK closes what is cancelled
            return await self.__wrapped__.__anext__()
        error = self._self_meter.over()
        assert error is not None
        raise error

    async def _shut(self) -> None:
        """As `Metered._shut()`.

        Raises:
            StopAsyncIteration: as at any stream's end.
        """
        self._self_meter.ended()
        await self.close()
        raise StopAsyncIteration


class _Replayed(_Proxy):
    """A stream that has been read: gives its events again."""

    def __init__(self, stream: Any, events: Iterable[Any], reading: Reading) -> None:
        super().__init__(stream)
        self._self_events = iter(events)
        self._self_reading = reading

    @property
    def ttc_reading(self) -> Reading:
        """What the stream said."""
        return self._self_reading


class Replayed(_Replayed):
    """A replayed stream of a client that blocks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.__wrapped__.__exit__(*exc)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._self_events)


class AsyncReplayed(_Replayed):
    """A replayed stream of an async client."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.__wrapped__.__aexit__(*exc)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        for event in self._self_events:
            return event
        raise StopAsyncIteration


class Raw(_Proxy):
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
        stream = self._self_stream
        if not inspect.iscoroutinefunction(self.__wrapped__.parse):
            return stream

        async def parsed() -> Any:  # with_streaming_response of an async client
            return stream

        return parsed()
