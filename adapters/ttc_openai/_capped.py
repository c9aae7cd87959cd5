"""Thinking that shows on a stream, held to the tokens that were asked for: counted, cut there, and then answered.

Many servers keep a budget of thinking only roughly, or not at all. Where the thoughts are on the stream (as
`reasoning_content`, `reasoning`, or inside `<think>` in the text) they are counted as they come: by the server's own
running count, where it has one (llama.cpp's `timings_per_token`, vLLM's and SGLang's `continuous_usage_stats`), which
is exact; else by the chunks, or by a token for four bytes if that is more, which is a guess. The stream is closed at
the first token beyond, and a second request gets the answer: going on from the thoughts where the server does, else as
a question of its own, with the thoughts in it and thinking switched off. Its reader sees one stream.

A server that keeps its own budget to the token ends the thoughts before that, and is left alone. What does not show is
not counted: there `max_tokens` is what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import wrapt
from typing_extensions import Self

from ttc_middleware import Call, Draw, Reading, Thinking, Usage
from ttc_middleware.seam import Leaf, beside, get, read_usage, whole

from ._chat import Chat
from ._extend import CLOSE, OPEN, Way, asking
from ._streams import AsyncMetered, Metered

_TAG = OPEN.strip()
_LEAD = "Final Answer:"
_ASK = (
    "Your thoughts on this so far, which had to end here:\n\n{}\n\nDo not think any further. Give the final answer now."
)
_BYTES = 4


class Cap:
    """Counts the thinking of one stream.

    Args:
        tokens: that it may think.
        body: the request, whose last message may have opened the thoughts.
    """

    def __init__(self, tokens: int, body: Mapping[str, Any]) -> None:
        self.tokens = tokens
        self.thoughts = ""
        """What it has thought, as far as it shows."""
        self.usage: Usage | None = None
        """What the server itself has counted by now."""
        messages: Any = body.get("messages") or [{}]
        begun = get(messages[-1], "content") if get(messages[-1], "role") == "assistant" else None
        self._inside = isinstance(begun, str) and _TAG in begun and CLOSE not in begun
        self.before: str = begun.partition(_TAG)[2].lstrip() if self._inside and isinstance(begun, str) else ""
        """What the caller had it think."""
        self.in_text: bool = False
        """The thoughts come in the text, between tags."""
        self._said = ""
        self._chunks = 0

    def over(self, event: Any) -> bool:
        """Take in an event; whether it thinks beyond its tokens."""
        self._count(event)
        choices = get(event, "choices") or ()
        if len(choices) != 1:
            return False
        delta = get(choices[0], "delta")
        thought = get(delta, "reasoning_content") or get(delta, "reasoning")
        content = get(delta, "content")
        new = thought if isinstance(thought, str) else self._inner(content) if isinstance(content, str) else ""
        if not new:
            return False
        self.in_text = not isinstance(thought, str)
        self.thoughts += new
        self._chunks += 1
        if self.usage is not None:
            return self.usage.output_tokens > self.tokens
        return max(self._chunks, len(self.thoughts.encode()) // _BYTES) > self.tokens

    def _inner(self, content: str) -> str:
        """The part of a text that is thought."""
        self._said += content
        if not self._inside:
            start = self._said.lstrip()
            if not start.startswith(_TAG):
                return ""
            self._inside, content = True, start.removeprefix(_TAG)
        return "" if CLOSE in self._said else content

    def _count(self, event: Any) -> None:
        timings = get(event, "timings")
        made = whole(get(timings, "predicted_n"))
        if made:
            prompt = (whole(get(timings, "prompt_n")) or 0) + (whole(get(timings, "cache_n")) or 0)
            self.usage = Usage(input_tokens=prompt, output_tokens=made, cached_tokens=whole(get(timings, "cache_n")))
            return
        told = read_usage({"usage": get(event, "usage")}).usage if get(event, "usage") is not None else None
        if told is not None and told.output_tokens:
            self.usage = told

    @property
    def reading(self) -> Reading | None:
        """What the first part cost, to the token: all of it thought; None where the server has not counted along."""
        if self.usage is None:
            return None
        return Reading(status="truncated", usage=replace(self.usage, reasoning_tokens=self.usage.output_tokens))


def answering(adapter: Chat, call: Call, cap: Cap, way: Way) -> Call:
    """The request for the answer to what has been thought so far.

    Args:
        adapter: of the request.
        call: as it was sent.
        cap: of its stream.
        way: how the server goes on with a partial answer.
    """
    messages = list(call.arguments.get("messages") or ())
    if cap.before or (messages and get(messages[-1], "role") == "assistant"):
        messages.pop()
    thoughts = (cap.before + cap.thoughts).strip()
    asked = replace(call, arguments={**call.arguments, "messages": messages})
    most = adapter.describe(call).max_tokens
    limit = None if most is None else max(1, most - cap.tokens)
    if way == "no":
        return adapter.apply(asked, Draw(instruction=_ASK.format(thoughts), thinking=Thinking.off(), max_tokens=limit))
    capped = adapter.apply(asked, Draw(max_tokens=limit))
    body = asking(capped.arguments, f"{OPEN}{thoughts}\n{CLOSE}\n\n{_LEAD}", way)
    body["echo"] = False  # its reader has the thoughts already
    return replace(capped, arguments=body)


class Held:
    """What both kinds of capped streams share."""

    def __init__(self, leaf: Leaf, cap: Cap, more: Callable[[], Any], *, shows_usage: bool) -> None:
        self.leaf = leaf
        self.cap = cap
        self.more = more
        """Sends the second request."""
        self.rest: Any = None
        """The stream of the answer."""
        self._shows_usage = shows_usage

    def end(self) -> None:
        """Account for the first part, where that is known; closing its stream does it otherwise."""
        if self.cap.reading is not None:
            self.leaf.finish(self.cap.reading)

    def shown(self, event: Any, *, last: bool) -> Any:
        """An event as its reader is to see it: without the running count; thoughts in the text are closed."""
        if get(event, "choices") and get(event, "usage") is not None and not self._shows_usage:
            event = event.model_copy(update={"usage": None})
        if not last or not self.cap.in_text:
            return event
        choice = event.choices[0]
        delta = choice.delta.model_copy(update={"content": f"{choice.delta.content}\n{CLOSE}\n\n"})
        return event.model_copy(update={"choices": [choice.model_copy(update={"delta": delta})]})


if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy  # generic in its stubs only


class Capped(_Proxy):
    """A stream of a client that blocks: when it has thought enough, the answer follows from a second request."""

    def __init__(self, stream: Metered, held: Held) -> None:
        super().__init__(stream)
        self._self_held = held

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        held = self._self_held
        if held.rest is not None:
            return next(held.rest)
        event = next(self.__wrapped__)
        over = held.cap.over(event)
        if over:
            held.end()
            self.__wrapped__.close()
            with beside(held.leaf):
                held.rest = held.more()
        return held.shown(event, last=over)

    def close(self) -> None:
        """Close both parts."""
        if self._self_held.rest is not None:
            self._self_held.rest.close()
        self.__wrapped__.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncCapped(_Proxy):
    """`Capped` of an async client."""

    def __init__(self, stream: AsyncMetered, held: Held) -> None:
        super().__init__(stream)
        self._self_held = held

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        held = self._self_held
        if held.rest is not None:
            return await held.rest.__anext__()
        event = await self.__wrapped__.__anext__()
        over = held.cap.over(event)
        if over:
            held.end()
            await self.__wrapped__.close()
            with beside(held.leaf):
                held.rest = await held.more()
        return held.shown(event, last=over)

    async def close(self) -> None:
        """Close both parts."""
        if self._self_held.rest is not None:
            await self._self_held.rest.close()
        await self.__wrapped__.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
