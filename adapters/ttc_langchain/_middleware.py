"""`ScaleModelCalls`: each model call of an agent, scaled; tools run for the winner only."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ContextT, ExtendedModelResponse, ResponseT
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from ttc_middleware import BadResponse, Bill, Budget, Call, Strategy, Verifier, tracking
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
    warn_once,
)

from ._calls import ARGUMENTS, ModelCalls, call_of, request_of
from ._inner import apply_commands, has_inner, with_commands
from ._models import prepared
from ._responses import billed, unparsed
from ._signals import landed, lifted, no_text, through
from ._stage import backstage
from ._state import ScaledState, usage_of

ROUNDS = 3
"""Calls in a row of which no sample parsed, after which the agent stops: LangChain would ask 9,999 times."""


class ScaleModelCalls(AgentMiddleware[ScaledState[ResponseT], ContextT, ResponseT]):
    """Give an agent test-time compute: `create_agent(model, tools, middleware=[ScaleModelCalls(ttc.BestOfN(4), …)])`.

    Every model call of the agent becomes a search. Only the winner's message enters the state, only its tools run, and
    only it is streamed, whole. The search's cost is on `ttc.tracking()`, on the spans, and added up under `ttc_usage`
    in the state; LangChain's own usage callbacks see every sample, and the winner's `usage_metadata` stays its own.

    Middleware listed before it works around the whole search: a retry repeats it, a fallback searches on another model.
    Middleware listed after it runs inside each sample, and what the winner's writes to the state is written, once; a
    retry or fallback there is its own affair, and what failed inside is not on the bill. Hooks before and after the
    model, such as limits of calls and a human in the loop, run once for each search wherever they are listed.

    Samples run on copies of the model object, without streaming and without LangChain's cache, and out of sight: what
    `stream()` and `astream_events()` show is the winner, once it has won. An `interrupt()`, from a verifier too, ends
    the search; when the agent resumes it starts anew, so one that each sample makes is asked for each.

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
        thinking: ThinkingLike | None = None,
        name: str = "ScaleModelCalls",
        slots: int | None = None,
        verifier_timeout: float = 60.0,
    ) -> None:
        super().__init__()
        self.tools = []
        self._site = Site(
            name,
            strategy,
            through(verifier, unanswered=no_text),
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
            with turn.sending(call, leaf) as sample:
                sample.response = response = sample.handler(sample.request)
                return cast("ModelResponse[ResponseT]", response)

        with landed(), tracking() as spent:
            response: ModelResponse[ResponseT] = scale_call_sync(self._site, turn.call, send)
        return turn.ended(response, spent.bill)

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
            with turn.sending(call, leaf) as sample:
                sample.response = response = await sample.handler(sample.request)
                return cast("ModelResponse[ResponseT]", response)

        with landed(), tracking() as spent:
            response: ModelResponse[ResponseT] = await scale_call(self._site, turn.call, send)
        return turn.ended(response, spent.bill)


class _Sample:
    """One attempt: its request, what to call with it, and what came."""

    def __init__(self, request: ModelRequest[Any], handler: Callable[..., Any]) -> None:
        self.request = request
        self.handler, self.commands = with_commands(handler)
        self.response: Any = None


class _Turn:
    """One model call of the agent."""

    def __init__(self, site: Site, request: ModelRequest[Any], handler: Callable[..., Any]) -> None:
        self.scaled = not (disabled() or owned() or in_draw()) and site.plan() is not None
        self.untouched = not self.scaled and not observed()
        self.call = call_of(site.name, request)
        self._handler = handler
        self._samples: list[_Sample] = []
        if self.scaled and has_inner(handler) and with_commands(handler)[1] is None:
            warn_once(
                "inner",
                site.name,
                f"{site.name} is not the last middleware, and this version of LangChain writes what those after it"
                " return for the state once for each sample: list it last",
            )

    @contextlib.contextmanager
    def sending(self, call: Call, leaf: Leaf) -> Generator[_Sample, None, None]:
        """Prepare one attempt, and see to what LangChain may raise from it."""
        request = request_of(call)
        model = prepared(request.model, leaf)
        sample = _Sample(request if model is request.model else request.override(model=model), self._handler)
        self._samples.append(sample)
        with billed(leaf), lifted(), backstage() if self.scaled else contextlib.nullcontext():
            yield sample

    def ended(self, response: ModelResponse[Any], bill: Bill) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """What the middleware returns: the winner's response, and what the search cost.

        Raises:
            BadResponse: too many calls in a row brought nothing that parses.
        """
        won = next((sample for sample in self._samples if sample.response is response), None)
        if won is not None and won.commands is not None:
            apply_commands(self._handler, won.commands)
        if not self.scaled:
            return response
        error = unparsed(response)
        request = request_of(self.call)
        messages = request.state.get("messages") or request.messages
        if error is not None and 1 + _unparsed_calls(messages, request) >= ROUNDS:
            raise BadResponse(
                f"structured output parsed in no sample of {ROUNDS} calls in a row; the last error: {error.text:.500}"
            )
        return ExtendedModelResponse(response, Command(update={"ttc_usage": usage_of(bill)}))


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
