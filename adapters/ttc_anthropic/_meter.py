"""Adding up the events of a stream to what a whole message would have said."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from ttc_middleware import Reading
from ttc_middleware.seam import Leaf, StreamUsage, get, whole
from ttc_openai.stainless import Adapter, Meter

from ._messages import known


class MessageMeter(Meter):
    """Takes in the events of one stream of a message.

    Args:
        adapter: how messages are read.
        leaf: whom to tell of tokens as they come.
    """

    def __init__(self, adapter: Adapter, leaf: Leaf) -> None:
        super().__init__(adapter, leaf)
        self._message: dict[str, Any] = {"content": []}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._told = StreamUsage("anthropic")
        self._stopped: str | None = None

    def see(self, event: Any) -> None:
        """Take in an event."""
        self._events += 1
        self._leaf.given()
        self.ready.append(event)
        with suppress(Exception):  # a server can send anything at all, and its reader gets it all the same
            self._told.see(event)
            self._take_in(event)
        # What it cost comes with the reason why it stopped: nothing more, whether or not the reader stays for the end.
        if self._leaf.deferred and self._stopped is not None:
            self.ended()

    def _take_in(self, event: Any) -> None:
        kind = get(event, "type")
        if kind == "message_start":
            self._message.update({name: get(event, "message", name) for name in ("id", "model")})
        elif kind == "content_block_start":
            block = get(event, "content_block")
            self._blocks[whole(get(event, "index")) or 0] = {
                **{name: get(block, name) for name in ("type", "text", "name", "input")},
                "json": "",
            }
        elif kind == "content_block_delta":
            self._leaf.seen += 1
            block = self._blocks.setdefault(whole(get(event, "index")) or 0, {"type": "text", "json": ""})
            said, typed, thought = (get(event, "delta", name) or "" for name in ("text", "partial_json", "thinking"))
            block["text"] = (block.get("text") or "") + said
            block["json"] += typed
            self._leaf.shown += len((said + typed + thought).encode("utf-8", "surrogatepass"))
        elif kind == "message_delta":
            self._stopped = get(event, "delta", "stop_reason") or self._stopped

    @property
    def reading(self) -> Reading:
        """What the stream said, as far as it got."""
        if not self._events:  # a page or an empty body in place of a stream
            return Reading(status="failed", fault="malformed")
        blocks = [{**block, "input": block["json"] or block.get("input")} for _, block in sorted(self._blocks.items())]
        told = known(self._told.told, blocks)
        if self._stopped is None:
            text = "".join(block.get("text") or "" for block in blocks)
            return Reading(text=text, status="truncated", fault="cut", usage=told["usage"], partial=True)
        return replace(self._adapter.read({**self._message, "content": blocks, "stop_reason": self._stopped}), **told)
