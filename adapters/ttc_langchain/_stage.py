"""Samples run backstage: who watches a graph sees the winner, once it has won, and none of the others.

LangChain's streams (`astream_events`, LangGraph's `stream_mode=`) are fed by callback handlers and stream writers that
a run hands down to all it calls. Inside a sample each of them is replaced by one that keeps what it is told, and tells
it on if the sample wins. Tracers and counters of usage stay: what they see did happen, and was paid for.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.callbacks.manager import ahandle_event
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, var_child_runnable_config

# Private by its name, but what LangGraph itself tells streams from tracers by.
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langgraph.pregel.protocol import StreamProtocol  # pyright: ignore[reportMissingTypeStubs]
from langgraph.runtime import Runtime

from ttc_middleware import on_win

RUNTIME: Any = Runtime
"""For checks by type, which narrow to a generic of nothing known."""
_EVENTS = {
    "on_llm_start": "ignore_llm",
    "on_chat_model_start": "ignore_chat_model",
    "on_llm_new_token": "ignore_llm",
    "on_stream_event": "ignore_llm",
    "on_llm_end": "ignore_llm",
    "on_llm_error": "ignore_llm",
    "on_chain_start": "ignore_chain",
    "on_chain_end": "ignore_chain",
    "on_chain_error": "ignore_chain",
    "on_agent_action": "ignore_agent",
    "on_agent_finish": "ignore_agent",
    "on_tool_start": "ignore_agent",
    "on_tool_end": "ignore_agent",
    "on_tool_error": "ignore_agent",
    "on_retriever_start": "ignore_retriever",
    "on_retriever_end": "ignore_retriever",
    "on_retriever_error": "ignore_retriever",
    "on_text": None,
    "on_retry": "ignore_retry",
    "on_custom_event": "ignore_custom_event",
}
"""What handlers are told, and the attribute by which one says that it does not want to know."""


class Stage:
    """What one attempt at a sample would show."""

    def __init__(self) -> None:
        self._kept: list[Callable[[], Any]] = []
        self._handlers: dict[int, Kept] = {}
        self._waits = False

    def keep(self, show: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Show this if the sample wins."""
        if not self._waits:
            self._waits = True
            on_win(self._shown)
        self._kept.append(partial(show, *args, **kwargs))

    def drop(self) -> None:
        """Show nothing: the attempt has failed."""
        self._kept.clear()

    async def _shown(self) -> None:
        for show in self._kept:
            said = show()
            if inspect.isawaitable(said):
                await said

    def handlers(self, given: Iterable[BaseCallbackHandler]) -> list[BaseCallbackHandler]:
        """The handlers, those that feed streams replaced."""
        return [self._kept_by(each) if _StreamingCallbackHandler in type(each).__mro__ else each for each in given]

    def _kept_by(self, handler: BaseCallbackHandler) -> Kept:
        return self._handlers.setdefault(id(handler), Kept(self, handler))

    def runtime(self, runtime: Runtime[Any]) -> Runtime[Any]:
        """LangGraph's runtime, its stream writer replaced."""
        return runtime.override(stream_writer=self.writer(runtime.stream_writer))

    def writer(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """A stream writer that waits."""
        return partial(self.keep, write)

    def config(self, config: RunnableConfig) -> RunnableConfig:
        """A run's configuration without anything that would feed a stream at once."""
        quiet: dict[str, Any] = {**config}
        callbacks: Any = config.get("callbacks")
        if isinstance(callbacks, BaseCallbackManager):
            quiet["callbacks"] = manager = callbacks.copy()
            manager.handlers = self.handlers(manager.handlers)
            manager.inheritable_handlers = self.handlers(manager.inheritable_handlers)
        elif callbacks:
            quiet["callbacks"] = self.handlers(callbacks)
        inherited: Mapping[str, Any] = config.get("configurable") or {}
        quiet["configurable"] = {
            name: self.runtime(value) if isinstance(value, RUNTIME) else value
            for name, value in inherited.items()
            if not isinstance(value, StreamProtocol)  # what a subgraph streams into
        }
        return quiet  # type: ignore[return-value]  # a TypedDict still


class Kept(BaseCallbackHandler):
    """Stands for a handler that feeds a stream."""

    run_inline = True

    def __init__(self, stage: Stage, handler: BaseCallbackHandler) -> None:
        self._stage = stage
        self._handler = handler
        self._streamed: set[UUID] = set()

    def told(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Keep an event."""
        run = kwargs.get("run_id")
        if event in ("on_llm_new_token", "on_stream_event") and run is not None:
            self._streamed.add(run)
        if event == "on_llm_end" and run not in self._streamed and args and args[0].generations:
            self._whole(args[0].generations[0], kwargs)
        self._stage.keep(ahandle_event, [self._handler], event, _EVENTS[event], *args, **kwargs)

    def _whole(self, generations: list[Any], kwargs: Mapping[str, Any]) -> None:
        """A message that came whole is one chunk to those who read streams."""
        first = generations[0] if generations else None
        if isinstance(first, ChatGeneration) and isinstance(first.message, AIMessage):
            chunk = ChatGenerationChunk(message=chunk_of(first.message), generation_info=first.generation_info)
            self.told("on_llm_new_token", chunk.text, chunk=chunk, **kwargs)


def _telling(event: str) -> Callable[..., None]:
    def tell(self: Kept, *args: Any, **kwargs: Any) -> None:
        self.told(event, *args, **kwargs)

    return tell


for _event in _EVENTS:
    setattr(Kept, _event, _telling(_event))


@contextlib.contextmanager
def backstage() -> Generator[Stage, None, None]:
    """Run one attempt at a sample out of sight."""
    stage = Stage()
    # Outside of any run there is nothing to hide; and on Python 3.10 LangGraph hands nothing down to async nodes.
    config = var_child_runnable_config.get()
    token = var_child_runnable_config.set(None if config is None else stage.config(ensure_config()))
    try:
        yield stage
    except BaseException:
        stage.drop()
        raise
    finally:
        var_child_runnable_config.reset(token)


def chunk_of(message: AIMessage) -> AIMessageChunk:
    """A whole message as the one chunk of a stream."""
    if isinstance(message, AIMessageChunk):
        return message
    fields = {name: getattr(message, name) for name in AIMessage.model_fields if name != "type"}
    return AIMessageChunk(**fields, chunk_position="last")
