"""Adding up the events of a stream to what a whole response would have said."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Protocol, cast

from ttc_middleware import Adapter as AnyAdapter
from ttc_middleware import Reading
from ttc_middleware.seam import Leaf

from ._usage import get, read_usage, whole


class Adapter(AnyAdapter, Protocol):
    """`Chat`, `Responses`, or how the requests of another SDK are read: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def server(self) -> str | None:
        """The host that is asked."""
        ...


_LAST = ("response.completed", "response.incomplete", "response.failed")
_PATIENCE = 1.0  # seconds to wait for the accounts of a stream that was left


class Meter:
    """Takes in the events of one stream, and hands out those that its reader is to see.

    Args:
        adapter: the kind of events.
        leaf: whom to tell of tokens as they come.
        usage_comes: a chunk with the usage follows the last word.
        hide_usage: drop that chunk: the reader did not ask for it.
    """

    def __init__(self, adapter: Adapter, leaf: Leaf, *, usage_comes: bool = False, hide_usage: bool = False) -> None:
        self.ready: deque[Any] = deque()
        """Events to hand out."""
        self.error: Exception | None = None
        """What the stream ended with while an event was held back, its regular end included."""
        self._adapter = adapter
        self._leaf = leaf
        self._usage_comes = usage_comes
        self._hide_usage = hide_usage
        self.stopped: bool = False
        """The budget ends the stream here: close it."""
        self._bound = 0
        """Output tokens that cannot be more so far."""
        self._counted = 0
        """The tokens that the server has counted so far."""
        self._events = 0
        self._texts: list[str] = []
        self._logprobs: list[Any] = []
        self._refusal = ""
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None
        self._last_word = False
        self._usage: Any = None
        self._whole_usage = False
        self._tier: Any = None
        self._first: Any = None
        self._response: Any = None
        self._ended = False

    @property
    def hungry(self) -> bool:
        """Whether another event is needed before one is handed out.

        The last word waits for the usage that comes right behind it: many readers stop there, and nobody would ever
        know what the stream has cost.
        """
        if self.error is not None or self.stopped:
            return False
        waits = self._last_word and self._usage_comes and self._usage is None and len(self.ready) == 1
        return waits or not self.ready

    @property
    def seconds_left(self) -> float | None:
        """Until the stream must have ended; None: whenever."""
        return None if self._leaf.deadline is None else max(0.0, self._leaf.deadline - time.monotonic())

    def over(self) -> Exception | None:
        """The error of a deadline that has passed while the stream was on its way."""
        return self._leaf.over()

    def asked(self) -> None:
        """Note that the reader waits for an event."""
        self._leaf.asked()

    def next(self) -> Any:
        """The next event; raises what the stream ended with when there is none."""
        if self.ready:
            return self.ready.popleft()
        error = self.error
        assert error is not None
        if not self.stopped:
            self.error = None
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    def see(self, event: Any) -> None:
        """Take in an event."""
        self._events += 1
        self._leaf.given()
        response = get(event, "response")
        if response is not None and get(event, "type") in _LAST:
            self._response = response
        if "delta" in str(get(event, "type")):
            self._leaf.seen += 1
            self._leaf.shown += _bytes(get(event, "delta"))
        usage = get(event, "usage")
        if usage is not None and (self._usage is None or _says(usage)):
            self._usage, self._whole_usage = usage, not get(event, "choices")
        self._tier = get(event, "service_tier") or self._tier
        choices = get(event, "choices")
        self._last_word = any(get(choice, "finish_reason") for choice in choices or ())
        if choices is not None:
            self._first = self._first or event
            for choice in choices:
                with suppress(Exception):  # its reader gets it all the same
                    self._see_choice(choice)
        only_usage = usage is not None and choices is not None and not choices
        if usage is not None and choices and self._hide_usage and self._leaf.leased:
            event = event.model_copy(update={"usage": None})  # we asked for it, not its reader
        if not (only_usage and self._hide_usage):
            self.ready.append(event)
        if self._leaf.deferred and (self._response is not None or (only_usage and self._finish is not None)):
            self.ended()  # nothing more can come, whether or not the reader stays for the end
        elif choices and self._leaf.leased and not self._last_word:
            self._lease(event, usage)

    def _lease(self, event: Any, usage: Any) -> None:
        """Hold enough for what has come; where there is no more, end the stream as a length limit does."""
        told = whole(get(usage, "completion_tokens")) or 0  # some servers count along
        self._bound += sum(_bytes(get(choice, "delta")) for choice in event.choices)
        # Others say 0 until the end: a count that falls, or is below the chunks that came, is none.
        if told >= max(self._counted, self._leaf.seen, 1):
            self._bound = self._counted = told
        if self._leaf.lasts(self._bound):
            return
        self.stopped = True
        choices: list[Any] = []
        for choice in event.choices:
            nothing = choice.delta.model_copy(update=dict.fromkeys(dict(choice.delta)))
            choices.append(choice.model_copy(update={"delta": nothing, "finish_reason": "length"}))
        self.ready.append(event.model_copy(update={"choices": choices, "usage": None}))

    def _see_choice(self, choice: Any) -> None:
        delta, place = get(choice, "delta"), get(choice, "index") or 0
        content = get(delta, "content")
        thought = get(delta, "reasoning_content") or get(delta, "reasoning")
        calls = [
            get(call, "function", name) for call in get(delta, "tool_calls") or () for name in ("name", "arguments")
        ]
        if content or thought or calls:
            self._leaf.seen += 1
            self._leaf.shown += sum(map(_bytes, [content, thought, *calls]))
        if place:  # only the first of several choices is what a reader of streams takes for the answer
            return
        self._texts.append(content or "")
        self._logprobs += get(choice, "logprobs", "content") or ()
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
        if not self._events:  # a page or an empty body in place of a stream
            return Reading(status="failed", fault="malformed")
        if self._finish is None:
            # In a chunk of its own the usage is that of the whole; some send with every chunk what was used so far.
            usage, partial = read_usage({"usage": self._usage}).usage, not self._whole_usage
            return Reading(text="".join(self._texts), status="truncated", fault="cut", usage=usage, partial=partial)
        message = {
            "content": "".join(self._texts) or None,
            "refusal": self._refusal or None,
            "tool_calls": [{"function": call} for _, call in sorted(self._calls.items())] or None,
        }
        return self._adapter.read({
            "id": get(self._first, "id"),
            "service_tier": self._tier,
            "model": get(self._first, "model"),
            "choices": [{"message": message, "finish_reason": self._finish, "logprobs": {"content": self._logprobs}}],
            "usage": self._usage,
        })  # fmt: skip

    def ended(self, *, dropped: bool = False) -> None:
        """Account for the stream: whole, or cut. A second time does nothing."""
        if self._ended:
            return
        self._ended = True
        try:
            reading = self.reading
        except Exception:  # noqa: BLE001  # what a server sent can be anything at all
            reading = Reading(status="failed", fault="malformed")
        if self.stopped:
            self._leaf.finish(replace(reading, partial=True, finish_reasons=("length",)))
        elif reading.fault in ("cut", "malformed"):
            (self._leaf.dropped if dropped else self._leaf.cut)(reading)
        else:
            self._leaf.finish(reading)

    def left(self, *, dropped: bool = False) -> None:
        """Account for a stream that its reader has closed, or dropped.

        A finalizer can run in the middle of anything, under locks that accounting takes: so another thread does it, and
        is waited for only a moment.
        """
        if self._ended:
            return
        thread = threading.Thread(target=self.ended, kwargs={"dropped": dropped}, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is going down, and all threads with it
            self.ended(dropped=dropped)
        else:
            thread.join(_PATIENCE)


def _says(usage: Any) -> bool:
    """Whether it is more than zeros, which some gateways send behind the real one."""
    return bool(whole(get(usage, "prompt_tokens")) or whole(get(usage, "completion_tokens")))


def _bytes(said: Any) -> int:
    """Bytes of all text in a chunk, wherever it stands: no tokenizer over bytes makes more tokens of it."""
    if isinstance(said, str):
        return len(said.encode("utf-8", "surrogatepass"))
    if isinstance(said, (list, tuple)):
        return sum(map(_bytes, cast("list[Any]", said)))
    if isinstance(said, Mapping):
        return sum(map(_bytes, cast("Mapping[str, Any]", said).values()))
    return _bytes(said.model_dump(exclude_none=True)) if hasattr(said, "model_dump") else 0
