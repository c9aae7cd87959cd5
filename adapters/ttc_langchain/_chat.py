"""`scale_model()`: a chat model of the same type, whose calls are scaled, for chains and for nodes of graphs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from ttc_middleware import Bill, Budget, Call, Strategy, Verifier, tracking
from ttc_middleware.seam import (
    Leaf,
    OnReject,
    Site,
    ThinkingLike,
    disabled,
    in_draw,
    observed,
    owned,
    scale_call,
    scale_call_sync,
)

from ._calls import request_of
from ._chat_calls import ARGUMENTS, ChatCalls, call_of, forced_tool
from ._flow import AsyncFlow, Flow
from ._models import prepared
from ._responses import billed, billed_to, finished
from ._signals import landed, lifted, no_text, through
from ._stage import chunk_of

M = TypeVar("M", bound=BaseChatModel)
_BASE: Any = BaseChatModel


def scale_model(
    model: M,
    strategy: Strategy | None = None,
    *,
    verifier: Verifier | Any = None,
    budget: Budget | None = None,
    accept: float = 1.0,
    on_reject: OnReject | None = None,
    thinking: ThinkingLike | None = None,
    name: str = "scale_model",
    slots: int | None = None,
    verifier_timeout: float = 60.0,
) -> M:
    """Give a chat model test-time compute: a copy of the same type, whose calls are scaled; the given one stays.

    `prompt | scale_model(ChatOpenAI(…), ttc.BestOfN(4), verifier=…) | parser`: what a chain, an agent or a node does
    with a chat model it does with this one, `bind_tools()` and `with_structured_output()` included. To LangChain each
    call is one call: its callbacks see one run. That run's message is the winner's; where more than one sample was paid
    for, its `usage_metadata` is the sum over all of them, and `response_metadata["ttc"]` has the winner's own beside
    what the search cost. With one draw and no verifier a stream passes through; else it is the winner, in one chunk.

    LangChain's cache keeps winners, apart from unscaled answers. Inside a draw, and inside `ScaleModelCalls`, nothing
    is scaled twice.

    Args:
        model: any chat model but one of `init_chat_model(configurable_fields=…)`, which is none before it is called.
        strategy: how to search; None leaves it to a `ttc.policy()`.
        verifier: judges a message. A function gets the `AIMessage`, or the sample if its first parameter is annotated
            `ttc.Sample`; by name: messages, model, stop, tools, tool_choice, response_format, settings. One of
            `ttc.verifiers` gets the text; where the model was made to answer by a tool, as by
            `with_structured_output()`, that tool's arguments as JSON. Turns that call tools of their own accord pass.
        budget: limits of each call.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think; where its provider does not count tokens they become the nearest effort.
        name: what spans and policies call it.
        slots: requests that the server works on at once; None: any number.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        TypeError: `model` is no chat model, or an argument is not what it should be.
        ValueError: a number is out of its range.
    """
    if not isinstance(model, BaseChatModel):
        raise TypeError(
            f"scale_model() takes a chat model of LangChain, got {model!r:.200}; is it bound? scale it first"
        )
    site = Site(
        name,
        strategy,
        through(verifier, unanswered=no_text),
        budget,
        accept,
        on_reject,
        thinking,
        ChatCalls(slots),
        known=ARGUMENTS,
        verifier_timeout=verifier_timeout,
    )
    scaled = model.model_copy()
    object.__setattr__(scaled, "__class__", _class_of(type(model), site))
    return scaled


def _class_of(base: type[M], site: Site) -> type[M]:
    """A subclass of the model's class that makes its calls elsewhere: tracers and serializers see no difference."""
    own: Any = base
    streams = own._stream is not _BASE._stream  # noqa: SLF001  # what integrations override
    streams_async = own._astream is not _BASE._astream  # noqa: SLF001  # as above
    mixins: list[type] = [_Scaled, *([_Streaming] * streams), *([_StreamingAsync] * (streams or streams_async))]
    annotations: dict[str, Any] = {"ttc_site": ClassVar[Site], "ttc_base": ClassVar[type]}
    fields: dict[str, Any] = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__annotations__": annotations,
        "ttc_site": site,
        "ttc_base": base,
        "model_config": ConfigDict(defer_build=True),  # nobody validates with it unless one is made by its class
    }
    # A model's own stream of protocol events would pass the samples by: without it LangChain makes them of chunks.
    for name in ("_stream_chat_model_events", "_astream_chat_model_events"):
        if getattr(base, name, None) is not None:
            fields[name] = None
            annotations[name] = ClassVar[Any]
    metaclass = cast("Any", type(own))
    return cast("type[M]", metaclass(base.__name__, (*mixins[::-1], base), fields))


class _Turn:
    """One call of a scaled model."""

    def __init__(
        self, model: Any, messages: list[BaseMessage], stop: list[str] | None, settings: dict[str, Any]
    ) -> None:
        site: Site = model.ttc_site
        self.scaled = not (disabled() or owned() or in_draw()) and site.plan() is not None
        self.untouched = not self.scaled and not observed()
        tool = forced_tool(settings)
        self.site = (
            site if tool is None else replace(site, adapter=replace(cast("ChatCalls", site.adapter), answer=tool))
        )
        self._model = model
        self._given = messages, stop, settings
        self._sent = 0
        self._results: list[ChatResult] = []

    def call(self, *, stream: bool = False) -> Call:
        """The call, for the engine: of the model as it was before it was scaled."""
        bare = self._model.model_copy()
        object.__setattr__(bare, "__class__", self._model.ttc_base)
        return call_of(self.site.name, bare, *self._given, stream=stream)

    def asking(self, call: Call, leaf: Leaf) -> tuple[Any, list[BaseMessage], dict[str, Any]]:
        """Which model to ask, and what, in this attempt."""
        request = request_of(call)
        return prepared(request.model, leaf), list(request.messages), dict(request.model_settings)

    @property
    def limiter(self) -> Any:
        """Who lets a request pass; LangChain itself has asked for the first."""
        self._sent += 1
        return self._model.rate_limiter if self._sent > 1 else None

    def came(self, result: ChatResult) -> AIMessage:
        """A sample, with all that LangChain would put on its message."""
        self._results.append(result)
        return finished(result)

    def result(self, message: AIMessage, bill: Bill) -> ChatResult:
        """The winner, with what all samples took."""
        own = next(each for each in self._results if each.generations[0].message is message)
        if not self.scaled or len(self._results) == 1:
            return own
        generation = own.generations[0].model_copy(update={"message": billed_to(message, bill)})
        # What the provider said of this one sample is no longer what the call took.
        said = {name: value for name, value in (own.llm_output or {}).items() if name != "token_usage"}
        return ChatResult(generations=[generation], llm_output=said or None)


class _Scaled:
    """Makes the calls of a chat model."""

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """What a cache knows the model by: an answer that was searched for is not one that was not."""
        below: Any = super()
        plain: str = below._get_llm_string(stop=stop, **kwargs)  # noqa: SLF001  # what this overrides
        turn = _Turn(self, [], stop, kwargs)
        plan = turn.site.plan() if turn.scaled else None
        if plan is None:
            return plain
        judge = None if plan.check is None else (plan.check.name, plan.accept, plan.on_reject)
        return f"{plain}---{plan.strategy!r}, {judge}, {plan.thinking}"

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        turn = _Turn(self, messages, stop, kwargs)
        if turn.untouched:
            below: Any = super()
            plain: ChatResult = below._generate(messages, stop, run_manager, **kwargs)  # noqa: SLF001  # as above
            return plain
        with landed(), tracking() as spent:
            message = scale_call_sync(turn.site, turn.call(), partial(_whole, turn))
        return turn.result(message, spent.bill)

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        turn = _Turn(self, messages, stop, kwargs)
        if turn.untouched:
            below: Any = super()
            plain: ChatResult = await below._agenerate(messages, stop, run_manager, **kwargs)  # noqa: SLF001  # as above
            return plain
        with landed(), tracking() as spent:
            message = await scale_call(turn.site, turn.call(), partial(_whole_async, turn))
        return turn.result(message, spent.bill)


class _Streaming:
    """Makes the calls of a chat model that streams."""

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        turn = _Turn(self, messages, stop, kwargs)
        if turn.untouched:
            below: Any = super()
            yield from below._stream(messages, stop, run_manager, **kwargs)  # noqa: SLF001  # as above
            return

        def send(call: Call, leaf: Leaf) -> AIMessage | Flow:
            if leaf.whole:
                return _whole(turn, call, leaf)
            model, asked, settings = turn.asking(call, leaf)
            with lifted():
                return Flow(model._stream(asked, **settings), leaf)  # noqa: SLF001  # what LangChain itself calls

        with landed(), tracking() as spent:
            came = scale_call_sync(turn.site, turn.call(stream=True), send)
        if isinstance(came, Flow):
            yield from came
        else:
            yield _one(turn.result(came, spent.bill))


class _StreamingAsync:
    """Makes the calls of a chat model that streams, asynchronously."""

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        turn = _Turn(self, messages, stop, kwargs)
        if turn.untouched:
            below: Any = super()
            async for chunk in below._astream(messages, stop, run_manager, **kwargs):  # noqa: SLF001  # as above
                yield chunk
            return

        async def send(call: Call, leaf: Leaf) -> AIMessage | AsyncFlow:
            if leaf.whole:
                return await _whole_async(turn, call, leaf)
            model, asked, settings = turn.asking(call, leaf)
            with lifted():
                return await AsyncFlow.of(model._astream(asked, **settings), leaf)  # noqa: SLF001  # as above

        with landed(), tracking() as spent:
            came = await scale_call(turn.site, turn.call(stream=True), send)
        if isinstance(came, AsyncFlow):
            async with aclosing(came.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        else:
            yield _one(turn.result(came, spent.bill))


def _whole(turn: _Turn, call: Call, leaf: Leaf) -> AIMessage:
    model, asked, settings = turn.asking(call, leaf)
    limiter = turn.limiter
    if limiter is not None:
        limiter.acquire(blocking=True)
    with billed(leaf), lifted():
        return turn.came(model._generate(asked, **settings))  # noqa: SLF001  # what LangChain itself calls


async def _whole_async(turn: _Turn, call: Call, leaf: Leaf) -> AIMessage:
    model, asked, settings = turn.asking(call, leaf)
    limiter = turn.limiter
    if limiter is not None:
        await limiter.aacquire(blocking=True)
    with billed(leaf), lifted():
        return turn.came(await model._agenerate(asked, **settings))  # noqa: SLF001  # as above


def _one(result: ChatResult) -> ChatGenerationChunk:
    """A whole answer as the one chunk of a stream."""
    return ChatGenerationChunk(message=chunk_of(cast("AIMessage", result.generations[0].message)))
