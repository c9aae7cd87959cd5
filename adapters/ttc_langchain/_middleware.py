"""`ScaleModelCalls`: each model call of an agent, scaled; tools run for the winner only."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping
from decimal import Decimal
from typing import Annotated, Any

import anyio
from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ContextT, ExtendedModelResponse, OmitFromInput, ResponseT
from langchain.agents.structured_output import StructuredOutputError
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from typing_extensions import NotRequired

from ttc_middleware import BadResponse, Bill, Budget, Call, Strategy, Verifier, tracking
from ttc_middleware.seam import (
    Leaf,
    OnReject,
    Site,
    Thinking,
    disabled,
    in_draw,
    observed,
    owned,
    scale_call,
    scale_call_sync,
)

from ._calls import ARGUMENTS, ModelCalls, call_of, request_of
from ._models import reporting_usage, retries, unseen
from ._responses import read_message, unparsed

ROUNDS = 3
"""Calls in a row of which no sample parsed, after which the agent stops: LangChain would ask 9,999 times."""


def add_usage(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any]:
    """Sum two usages of an agent's state; what one of them does not know, the sum does not."""
    if not a or not b:
        return dict(a or b or {})
    total: dict[str, Any] = {}
    for name, left in a.items():
        if name not in b:
            continue
        right = b[name]
        if name == "usd":
            total[name] = format(Decimal(left) + Decimal(right), "f")
        elif name == "status":
            total[name] = left if left == right else "lower bound"
        else:
            total[name] = left + right
    return total


class ScaledState(AgentState[ResponseT]):
    """An agent's state, with what its scaled model calls cost."""

    ttc_usage: NotRequired[Annotated[dict[str, Any], OmitFromInput, add_usage]]
    """The sum over the calls: calls, input_tokens, output_tokens, reasoning_tokens, cached_tokens, hidden_tokens, usd,
    seconds, status. What nobody reported is left out."""


class ScaleModelCalls(AgentMiddleware[ScaledState[ResponseT], ContextT, ResponseT]):
    """Give an agent test-time compute: `create_agent(model, tools, middleware=[ScaleModelCalls(ttc.BestOfN(4), …)])`.

    Every model call of the agent becomes a search. Only the winner's message enters the state, only its tools run, and
    only it is streamed, whole. The search's cost is on `ttc.tracking()`, on the spans, and added up under `ttc_usage`
    in the state; LangChain's own usage callbacks see every sample, and the winner's `usage_metadata` stays its own.

    List it last: middleware listed after it runs once for each sample, and what that writes to the state, or
    interrupts, happens once for each. Samples run on copies of the model object, without streaming and without
    LangChain's cache. `astream_events(version="v2")` still reports the start and the end of each sample, as tracers
    need it: `exclude_tags=["nostream"]` leaves them out.

    Where structured output parses in no sample, LangChain asks the model again with the error; after 3 such calls in a
    row `BadResponse` is raised. `ttc.policy(budget=…)` around the agent limits a whole run, `budget=` each call.

    Args:
        strategy: how to search; None leaves it to a `ttc.policy()`.
        verifier: judges the response of each turn. A function gets LangChain's `ModelResponse` (`.result[0]` is the
            message, `.structured_response` the parsed output), or the sample if its first parameter is annotated
            `ttc.Sample`; by name: messages, system_message, model, tools, tool_choice, response_format, state, runtime,
            model_settings, request. It gets turns that call tools too. One of `ttc.verifiers` gets the text, or the
            structured output as JSON, and lets turns that call tools pass.
        budget: limits of each model call of the agent.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think; where its provider does not count tokens they become the nearest effort.
        name: what spans and policies call it, and what LangChain calls the middleware.
        slots: requests that the server works on at once; None: any number.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        TypeError: the strategy needs a verifier and there is none, a verifier asks for an argument that there is not,
            or an argument is not what it should be.
        ValueError: a number is out of its range.
    """

    state_schema = ScaledState  # type: ignore[assignment]  # the generic is the schema of all its parameters

    def __init__(
        self,
        strategy: Strategy | None = None,
        *,
        verifier: Verifier | Any = None,
        budget: Budget | None = None,
        accept: float = 1.0,
        on_reject: OnReject | None = None,
        thinking: Thinking | None = None,
        name: str = "ScaleModelCalls",
        slots: int | None = None,
        verifier_timeout: float = 60.0,
    ) -> None:
        super().__init__()
        self.tools = []
        self._site = Site(
            name,
            strategy,
            _OfAnswers(verifier) if callable(getattr(verifier, "check", None)) else verifier,
            budget,
            accept,
            on_reject,
            thinking,
            ModelCalls(slots),
            known=ARGUMENTS,
            verifier_timeout=verifier_timeout,
        )

    @property
    def name(self) -> str:
        """The name of the middleware."""
        return self._site.name

    def wrap_model_call(
        self,
        request: ModelRequest[ContextT],
        handler: Callable[[ModelRequest[ContextT]], ModelResponse[ResponseT]],
    ) -> ModelResponse[ResponseT] | ExtendedModelResponse[ResponseT]:
        """Make a model call, scaled."""
        turn = _Turn(self._site, request, handler)
        if turn.untouched:
            return handler(request)

        def send(call: Call, leaf: Leaf) -> ModelResponse[ResponseT]:
            with turn.sending(call, leaf) as given:
                return handler(given)

        with turn, tracking() as spent:
            turn.response = scale_call_sync(self._site, turn.call, send)
        return turn.ended(spent.bill)

    async def awrap_model_call(
        self,
        request: ModelRequest[ContextT],
        handler: Callable[[ModelRequest[ContextT]], Awaitable[ModelResponse[ResponseT]]],
    ) -> ModelResponse[ResponseT] | ExtendedModelResponse[ResponseT]:
        """Make a model call, scaled."""
        turn = _Turn(self._site, request, handler)
        if turn.untouched:
            return await handler(request)

        async def send(call: Call, leaf: Leaf) -> ModelResponse[ResponseT]:
            with turn.sending(call, leaf) as given:
                return await handler(given)

        with turn, anyio.CancelScope() as scope, tracking() as spent:
            turn.stop = scope.cancel
            turn.response = await scale_call(self._site, turn.call, send)
        return turn.ended(spent.bill)


class _Turn:
    """One model call of the agent.

    A context manager around its search: LangGraph's own signals, such as an interrupt, leave it as they are.
    """

    def __init__(self, site: Site, request: ModelRequest[Any], handler: Callable[..., Any]) -> None:
        self.scaled = not (disabled() or owned() or in_draw()) and site.plan() is not None
        self.untouched = not self.scaled and not observed()
        self.call = call_of(site.name, request)
        self.response: ModelResponse[Any] | None = None
        self.signal: GraphBubbleUp | None = None
        self.stop: Callable[[], object] = lambda: None
        # LangChain's name for what stands between two middlewares.
        if self.scaled and getattr(handler, "__name__", "") == "inner_handler":
            warnings.warn(
                f"{site.name} is not the last middleware: those after it run once for each sample, and so do their"
                " updates of the state; list it last",
                UserWarning,
                stacklevel=3,
            )

    @contextlib.contextmanager
    def sending(self, call: Call, leaf: Leaf) -> Generator[ModelRequest[Any], None, None]:
        """Prepare one attempt, and see to what LangChain may raise from it."""
        if self.signal is not None:
            raise self.signal
        request = request_of(call)
        model: Any = request.model
        allowed = retries(model)
        leaf.retries = leaf.retries if allowed is None else min(leaf.retries, allowed)
        passing = contextlib.nullcontext(reporting_usage(model, retried=leaf.retried))
        hiding = unseen(model) if leaf.whole else passing
        try:
            with hiding as model:
                yield request if model is request.model else request.override(model=model)
        except GraphBubbleUp as signal:
            self.signal = self.signal or signal
            self.stop()
            raise
        except StructuredOutputError as error:
            message = getattr(error, "ai_message", None)
            if isinstance(message, AIMessage):  # it came, and is billed, but did not parse
                leaf.finish(read_message(message))
            raise

    def __enter__(self) -> None:
        """Start."""

    def __exit__(self, *_: object) -> None:
        """Let a signal through, whatever became of the other samples."""
        if self.signal is not None:
            raise self.signal

    def ended(self, bill: Bill) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """What the middleware returns: the winner's response, and what the search cost.

        Raises:
            BadResponse: too many calls in a row brought nothing that parses.
        """
        assert self.response is not None
        if not self.scaled:
            return self.response
        error = unparsed(self.response)
        request = request_of(self.call)
        messages = request.state.get("messages") or request.messages
        if error is not None and 1 + _unparsed_calls(messages, request) >= ROUNDS:
            raise BadResponse(
                f"structured output parsed in no sample of {ROUNDS} calls in a row; the last error: {error.text:.500}"
            )
        usage = {**bill.total.to_dict(), "hidden_tokens": bill.hidden.tokens, "status": bill.status}
        return ExtendedModelResponse(self.response, Command(update={"ttc_usage": usage}))


def _unparsed_calls(messages: list[Any], request: ModelRequest[Any]) -> int:
    """How many calls in a row have just brought structured output that did not parse."""
    tools = {tool.get("name") if isinstance(tool, dict) else tool.name for tool in request.tools}
    count = 0
    answers = False
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and message.name not in tools:
            answers = True
        elif isinstance(message, AIMessage) and answers:
            count, answers = count + 1, False
        else:
            break
    return count


class _OfAnswers:
    """A verifier of text, for an agent: a turn that calls tools has no answer yet, and passes."""

    def __init__(self, verifier: Any) -> None:
        self._verifier = verifier
        self.__qualname__ = getattr(verifier, "__qualname__", None) or type(verifier).__name__
        self.parameters: frozenset[str] = getattr(verifier, "parameters", frozenset())

    def check(self, output: Any, *, arguments: Mapping[str, Any]) -> Any:
        """The verdict on an answer."""
        return True if isinstance(output, ModelResponse) else self._verifier.check(output, arguments=arguments)
