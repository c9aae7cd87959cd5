"""litellm's streams: metered while they pass, or read to their end and played again."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio

import ttc_openai.protocol as openai
from ttc_middleware import Reading, Usage
from ttc_middleware.seam import Leaf, get, read_usage

from ._providers import without_estimate

_PROMPT = ("input_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens")
_PATIENCE = 5  # seconds, for saying goodbye
_ENDS = ("received_finish_reason", "intermittent_finish_reason")


class Meter(openai.Meter):
    """Takes in the events of one stream of chat completion chunks.

    litellm makes every stream end well. Where the provider's was cut it makes up a finish reason, where no usage came
    it counts words by itself, and it adds what its own table says that the tokens cost. Only what the provider said
    is taken from here.

    Args:
        stream: a `CustomStreamWrapper`, which keeps what really came.
        adapter: the kind of events.
        leaf: whom to tell of tokens as they come.
        usage_comes: a chunk with the usage follows the last word.
        hide_usage: drop that chunk: the reader did not ask for it.
    """

    def __init__(self, stream: Any, adapter: Any, leaf: Leaf, *, usage_comes: bool, hide_usage: bool) -> None:
        super().__init__(adapter, leaf, usage_comes=usage_comes, hide_usage=hide_usage)
        self._stream = stream

    def see(self, event: Any) -> None:
        """Take in an event."""
        if not _only_usage(event):
            super().see(event)
            return
        before = len(self.ready)
        super().see(event.model_copy(update={"choices": []}))  # as OpenAI sends it: litellm adds an empty choice
        if len(self.ready) > before:
            self.ready[-1] = event

    @property
    def reading(self) -> Reading:
        """What the stream said, as far as it got."""
        reading = super().reading
        if reading.fault == "cut":
            return replace(self._told(reading), partial=True)
        if get(self._stream, "custom_llm_provider") == "cached_response":
            return replace(reading, usage=Usage.zero())  # litellm's own cache: nothing was sent
        if not any(getattr(self._stream, name, "unknown") for name in _ENDS):
            if not reading.text:  # a page or an empty body in place of a stream
                return Reading(status="failed", fault="malformed")
            return Reading(text=reading.text, status="truncated", fault="cut")
        return self._told(reading)

    def _told(self, reading: Reading) -> Reading:
        """The reading with the provider's own usage in place of litellm's, which loses some and makes up some."""
        chunks = get(self._stream, "chunks") or ()
        came = [read_usage({"usage": own}) for chunk in chunks if (own := get(chunk, "usage")) is not None]
        if reading.usage is None or not came or came[-1].usage is None:
            return replace(reading, usage=None)
        last, usage = came[-1], came[-1].usage
        start = came[0].usage
        if last.partial and not usage.input_tokens and start is not None:  # Anthropic's prompt comes first
            known = {name: getattr(start, name) for name in _PROMPT}
            last, usage = last._replace(partial=came[0].partial), replace(usage, **known)
        deltas = [get(choice, "delta") for chunk in chunks for choice in get(chunk, "choices") or ()]
        if any(get(delta, "thinking_blocks") for delta in deltas):
            thought = "".join(get(delta, "reasoning_content") or "" for delta in deltas)
            usage = without_estimate(usage, thought)
        tier = reading.service_tier or last.service_tier
        return replace(reading, usage=usage, partial=last.partial, service_tier=tier, fees=reading.fees or last.fees)


def _only_usage(event: Any) -> bool:
    """Whether a chunk says nothing else."""
    choices = get(event, "choices")
    if get(event, "usage") is None or choices is None or not hasattr(event, "model_copy"):
        return False
    deltas = [get(choice, "delta") for choice in choices]
    said = [dict(delta).values() for delta in deltas if delta is not None]
    return not any(get(choice, "finish_reason") for choice in choices) and not any(any(values) for values in said)


class Metered(openai.Metered):
    """A stream of a call that blocks, accounted for as it is read; one that is dropped hangs up, too."""

    def __del__(self) -> None:
        super().__del__()
        close_sync(self.__wrapped__)

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except BaseException:
            close_sync(self.__wrapped__)
            raise

    def close(self) -> None:
        """Close the stream; what it has cost so far is accounted for."""
        self._self_meter.ended()
        close_sync(self.__wrapped__)


class AsyncMetered(openai.AsyncMetered):
    """A stream of an async call, accounted for as it is read."""

    async def aclose(self) -> None:
        """Close the stream; what it has cost so far is accounted for."""
        self._self_meter.ended()
        await close(self.__wrapped__)

    async def close(self) -> None:
        """Another name for `aclose()`."""
        await self.aclose()


# A stream that has ended has not always been read to its end, and litellm lets go of few of them: of calls that block,
# their connections stay open until a garbage collection, which stops a thread for good where it begins inside
# httpcore's lock. So whatever a stream reads from is closed here. (Async generators are ended by their loop.)


def close_sync(stream: Any) -> None:
    """Let go of the connection of a stream of a call that blocks; an answer is not lost where that fails."""
    for layer in _layers(stream):
        closing = getattr(layer, "close", None)
        if closing is not None and not inspect.iscoroutinefunction(closing):
            with suppress(Exception):
                closing()


async def close(stream: Any) -> None:
    """`close_sync()` for an async stream, also where the reader was cancelled."""
    with anyio.move_on_after(_PATIENCE, shield=True):
        for layer in _layers(stream):
            closing = getattr(layer, "aclose", None) or getattr(layer, "close", None)
            with suppress(Exception):
                done = None if closing is None else closing()
                if inspect.isawaitable(done):
                    await done


_BELOW = (
    "completion_stream",
    "http_response",
    "response",
    "streaming_response",
    "response_iterator",
    "stream_iterator",
)


def _layers(stream: Any) -> Iterable[Any]:
    """A stream, and what it reads from."""
    found = {id(stream): stream}
    for layer in (stream, getattr(stream, "completion_stream", None)):
        below = [getattr(layer, name, None) for name in _BELOW]
        found |= {id(each): each for each in below if each is not None}
    return found.values()
