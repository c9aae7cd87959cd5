"""`scale_node()`: a node of a graph, or a chain, that is drawn several times; the graph sees the winner."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from langchain.agents.middleware import ModelResponse
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.errors import ParentCommand
from langgraph.types import Command

import ttc_middleware as ttc
from ttc_middleware.seam import OnReject, PlainFunction, ThinkingLike, disabled, in_draw

from ._responses import read_response
from ._signals import landed, lifted, through
from ._stage import RUNTIME, Stage, backstage

N = TypeVar("N", bound="Callable[..., Any] | Runnable[Any, Any]")


def scale_node(
    node: N,
    strategy: ttc.Strategy,
    *,
    verifier: ttc.Verifier | Any = None,
    budget: ttc.Budget | None = None,
    accept: float = 1.0,
    on_reject: OnReject | None = None,
    thinking: ThinkingLike | None = None,
    name: str | None = None,
    verifier_timeout: float = 60.0,
) -> N:
    """Draw a whole node of a graph several times; the graph goes on with the winner.

    `graph.add_node("plan", scale_node(plan, ttc.BestOfN(4), verifier=…))` runs `plan` once for each draw, with the same
    state. What the winner returned, an update of the state or a
    `Command`, is all that the graph gets to know: its streams show the winner once it has won, with what it wrote to
    `get_stream_writer()`. So keep what must happen once out of it, or defer it with `ttc.on_win()`; a node that runs
    tools warns. To scale each model call inside a node instead, put `scale_model()` or
    `ttc.scale(scope="model_calls")` there.

    A node that is a runnable, such as a chain or a compiled subgraph, becomes one again; a chain need not be in a
    graph. An `interrupt()` inside a draw or a verifier ends the search, which starts anew when the graph resumes.

    Args:
        node: a function of the state, sync or async, with any of the parameters that LangGraph fills in; or a runnable.
        strategy: how to search.
        verifier: judges what the node returns. A function gets that, and by name the node's own parameters ("state"
            and "config" of a runnable); or the sample if its first parameter is annotated `ttc.Sample`. One of
            `ttc.verifiers` gets the text of the last message that the node returned, where there is one, else what it
            returned; where that message calls tools it passes.
        budget: limits of each call.
        accept: the score from which an output is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the models inside may think.
        name: what spans and policies call it; "module:qualname" by default, a runnable's own name.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        TypeError: `node` is neither, or a generator, or an argument is not what it should be.
        ValueError: a number is out of its range.
    """

    def scaled(draw: Callable[..., Any], called: str | None) -> Callable[..., Any]:
        decorate = ttc.scale(
            strategy,
            verifier=through(verifier, unanswered=_calls_tools),
            budget=budget,
            accept=accept,
            on_reject=on_reject,
            thinking=thinking,
            adapter=Outputs(),
            name=called,
            verifier_timeout=verifier_timeout,
        )
        return _searched(draw, decorate)

    if isinstance(node, Runnable):
        runnable = cast("Runnable[Any, Any]", node)

        def invoke(state: Any, config: RunnableConfig) -> Any:
            return runnable.invoke(state, config)

        async def ainvoke(state: Any, config: RunnableConfig) -> Any:
            return await runnable.ainvoke(state, config)

        called = name or runnable.get_name()
        both = RunnableLambda(scaled(invoke, called), scaled(ainvoke, called), name=runnable.get_name())
        return cast("N", both)
    function: Any = node
    if not callable(function):
        raise TypeError(f"scale_node() takes a function of the state or a runnable, got {function!r:.200}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator: scale the model that it calls, with scale_model()")
    return cast("N", scaled(function, name))


class Outputs(PlainFunction):
    """The adapter of nodes: a function whose text is that of the last message it returned."""

    def read(self, output: Any, /) -> ttc.Reading:
        """What a node returned."""
        message = _last_message(output)
        if message is None:
            return super().read(output)
        return replace(read_response(ModelResponse(result=[message])), usage=None)  # what it took was seen inside


def _last_message(output: Any) -> AIMessage | None:
    """The model's message that a node ends with."""
    update = output.update if isinstance(output, Command) else output
    messages = cast("Mapping[str, Any]", update).get("messages") if isinstance(update, Mapping) else update
    several = cast("list[object]", messages) if isinstance(messages, list) else [cast("object", messages)]
    last = several[-1] if several else None
    return last if isinstance(last, AIMessage) else None


def _calls_tools(subject: Any) -> bool:
    message = _last_message(subject)
    return message is not None and bool(message.tool_calls)


def _searched(node: Callable[..., Any], decorate: Callable[[Any], Any]) -> Callable[..., Any]:
    """The node, searched by what `decorate` makes of one draw of it."""
    body = node if inspect.isroutine(node) else getattr(node, "__call__", node)  # noqa: B004  # to look inside
    return (_searched_async if inspect.iscoroutinefunction(body) else _searched_sync)(node, decorate)


def _searched_async(node: Callable[..., Any], decorate: Callable[[Any], Any]) -> Callable[..., Any]:
    signature = inspect.signature(node)

    @functools.wraps(node)
    async def draw(*args: Any, **kwargs: Any) -> Any:
        with backstage() as stage, lifted():
            given = _hidden(stage, signature.bind(*args, **kwargs))
            try:
                return await node(*given.args, **given.kwargs)
            except ParentCommand as leaving:
                return _left(leaving)

    searched = decorate(draw)

    @functools.wraps(node)
    async def scaled(*args: Any, **kwargs: Any) -> Any:
        if disabled() or in_draw():
            return await node(*args, **kwargs)
        with landed():
            return await searched(*args, **kwargs)

    return scaled


def _searched_sync(node: Callable[..., Any], decorate: Callable[[Any], Any]) -> Callable[..., Any]:
    signature = inspect.signature(node)

    @functools.wraps(node)
    def draw(*args: Any, **kwargs: Any) -> Any:
        with backstage() as stage, lifted():
            given = _hidden(stage, signature.bind(*args, **kwargs))
            try:
                return node(*given.args, **given.kwargs)
            except ParentCommand as leaving:
                return _left(leaving)

    searched = decorate(draw)

    @functools.wraps(node)
    def scaled(*args: Any, **kwargs: Any) -> Any:
        if disabled() or in_draw():
            return node(*args, **kwargs)
        with landed():
            return searched(*args, **kwargs)

    return scaled


def _hidden(stage: Stage, given: inspect.BoundArguments) -> inspect.BoundArguments:
    """The arguments, without what would show a sample at once."""
    for name, value in given.arguments.items():
        if isinstance(value, RUNTIME):
            given.arguments[name] = stage.runtime(value)
        elif name == "config" and isinstance(value, Mapping):
            given.arguments[name] = stage.config(cast("RunnableConfig", value))
        elif name == "writer" and callable(value):
            given.arguments[name] = stage.writer(cast("Callable[[Any], None]", value))
    return given


def _left(leaving: ParentCommand) -> Any:
    """What a subgraph says that hands over to a node of the graph around it: an answer, raised only if it wins."""

    def leave() -> None:
        raise leaving

    ttc.on_win(leave)
    return cast("Any", leaving).args[0]
