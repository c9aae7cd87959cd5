"""A stream of chunks that passes through, accounted for when it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from langchain.agents.middleware import ModelResponse
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from ttc_middleware import Reading
from ttc_middleware.seam import Leaf

from ._responses import finished, read_response


class _Account:
    """What has come of a stream."""

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._chunks: list[ChatGenerationChunk] = []
        leaf.defer()

    def came(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        self._leaf.seen += bool(chunk.message.content)
        self._chunks.append(chunk)
        return chunk

    def whole(self) -> None:
        """It has been read to its end."""
        merged = merge_chat_generation_chunks(self._chunks)
        if merged is None:
            self._leaf.finish(Reading(status="failed", fault="empty"))
        else:
            self._leaf.finish(read_response(ModelResponse(result=[finished(ChatResult(generations=[merged]))])))

    def left(self) -> None:
        """Its reader is gone; after its end this says nothing new."""
        self._leaf.cut()


class Flow:
    """A stream under way: the request is sent, so that an error of it can still be tried again."""

    def __init__(self, chunks: Iterator[ChatGenerationChunk], leaf: Leaf) -> None:
        self._first = next(chunks, None)
        self._chunks = chunks
        self._account = _Account(leaf)

    def __iter__(self) -> Iterator[ChatGenerationChunk]:
        account = self._account
        try:
            if self._first is not None:
                yield account.came(self._first)
            for chunk in self._chunks:
                yield account.came(chunk)
            account.whole()
        finally:
            account.left()


class AsyncFlow:
    """The same for an asynchronous stream."""

    def __init__(
        self, first: ChatGenerationChunk | None, chunks: AsyncIterator[ChatGenerationChunk], leaf: Leaf
    ) -> None:
        self._first = first
        self._chunks = chunks
        self._account = _Account(leaf)

    @classmethod
    async def of(cls, chunks: AsyncIterator[ChatGenerationChunk], leaf: Leaf) -> AsyncFlow:
        """Send the request."""
        return cls(await anext(chunks, None), chunks, leaf)

    async def chunks(self) -> AsyncGenerator[ChatGenerationChunk, None]:
        """What its reader gets."""
        account = self._account
        try:
            if self._first is not None:
                yield account.came(self._first)
            async for chunk in self._chunks:
                yield account.came(chunk)
            account.whole()
        finally:
            account.left()
