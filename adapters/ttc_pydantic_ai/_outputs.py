"""The agent's own judgement: what it would return for a response, or what it would tell the model to do better."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from ttc_middleware import Sample, Verdict, VerifierFailed

from ._calls import Asked
from ._responses import text_of, without_tools


def valid_output(output: Any, /) -> bool:  # noqa: ARG001  # it has been judged before this is asked
    """Accept what the agent accepts: the output parses, and no output validator raises `ModelRetry`.

    For `verifier=`. What `ModelRetry` says becomes the feedback. Output validators and output functions then run once
    for each sample, and once more for the winner: they should have no effects.

    Args:
        output: the agent's output, of its output type.
    """
    return True


@dataclass
class Judging:
    """What is needed to judge the responses of one request as its agent would.

    Args:
        asked: the request.
        context: the agent's `RunContext`; None outside of a run.
    """

    asked: Asked
    context: Any
    _agent: Any = field(default=None, init=False)

    async def output(self, response: ModelResponse) -> Any:
        """What the agent would return; the text where no agent is known.

        Raises:
            Rejected: the agent would ask the model again.
            VerifierFailed: the run has another output type than its agent.
            Exception: what an output validator raises but `ModelRetry`.
        """
        agent = getattr(self.context, "agent", None)
        if agent is None:
            return text_of(response)
        if self._agent is None:
            self._agent = _copy_of(agent, self.context)
        replayed = _Replayed(self.asked, response)
        last = self.asked.messages[-1]
        assert isinstance(last, ModelRequest)
        # A copy, since a run writes its own id and instructions on the request that it begins with.
        history: list[ModelMessage] = [*self.asked.messages[:-1], replace(last)]
        try:
            result = await self._agent.run(None, message_history=history, model=replayed, deps=self.context.deps)
        except UnexpectedModelBehavior as error:  # an output without retries
            if not replayed.asked_once or isinstance(error.__cause__, Rejected):
                raise
            raise Rejected(str(error.__cause__ or error)) from error
        return result.output


JUDGING: ContextVar[Judging | None] = ContextVar("ttc_pydantic_ai_judging", default=None)
"""The request whose responses are being judged."""


class Rejected(Exception):
    """The agent would not take this response."""


class _Replayed(WrapperModel):
    """Answers with a response that is there already; asked again, says why.

    Args:
        asked: the request that was answered.
        response: the answer.
    """

    def __init__(self, asked: Asked, response: ModelResponse) -> None:
        super().__init__(asked.model)
        self._asked = asked
        self._response = response
        self.asked_once = False

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,  # noqa: ARG002  # nothing is sent
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        if self.asked_once:
            raise Rejected(_feedback(messages))
        self.asked_once = True
        if _forms(model_request_parameters) != _forms(self._asked.parameters):
            raise VerifierFailed(
                "the run has an output type of its own: give it to the agent, whose outputs are judged"
            )
        return self._response


def _copy_of(agent: Any, context: Any) -> Agent[Any, Any]:
    """The agent with its output type and validators, and nothing that has an effect: no tools, hooks, spans."""
    bare: Any = Agent(
        output_type=agent.output_type, retries=1, validation_context=getattr(context, "validation_context", None)
    )
    bare.instrument = False
    bare._output_validators = agent._output_validators  # noqa: SLF001  # there is no public way to read them
    return bare  # type: ignore[no-any-return]


def _forms(parameters: ModelRequestParameters) -> Any:
    """The ways in which the model may give its output."""
    return [tool.name for tool in parameters.output_tools], parameters.output_mode, parameters.output_object


def _feedback(messages: list[ModelMessage]) -> str:
    """What the agent tells the model to do better."""
    for part in reversed(messages[-1].parts):
        told: Any = part
        if told.part_kind in ("user-prompt", "system-prompt"):
            continue
        words = getattr(told, "model_response_str", None) or getattr(told, "model_response", None)
        said = words() if callable(words) else getattr(told, "content", None)
        if said:
            return str(said)
    return "the agent would ask again"


def of_outputs(verifier: Any) -> Any:
    """A user's verifier, asked about the agent's output instead of the model's response.

    A function of a `ttc.Sample` stays as it is, and an object with `check()` judges texts. Turns that call tools have
    no answer yet, and pass.
    """
    if isinstance(verifier, type) or not callable(getattr(verifier, "check", verifier)):
        return verifier  # the site says what is wrong with it
    return _OfTexts(verifier) if hasattr(verifier, "check") else _of_values(verifier)


def _of_values(verify: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(verify)
    async def judge(output: Any, /, **arguments: Any) -> Any:
        judging = JUDGING.get()
        if not isinstance(output, Sample) and judging is not None:
            answer = without_tools(output, judging.asked.outputs)
            if answer is None:
                return True
            try:
                output = await judging.output(answer)
            except Rejected as rejected:
                return Verdict(0.0, feedback=str(rejected), accepted=False)
        said = verify(output, **arguments)
        return await said if inspect.isawaitable(said) else said

    return judge


class _OfTexts:
    """A verifier of text, for an agent: a turn that calls tools has no answer yet, and passes."""

    def __init__(self, verifier: Any) -> None:
        self._verifier = verifier
        self.__qualname__ = getattr(verifier, "__qualname__", None) or type(verifier).__name__
        self.parameters: frozenset[str] = getattr(verifier, "parameters", frozenset())
        self.soft = bool(getattr(verifier, "soft", False))

    def check(self, output: Any, *, arguments: Mapping[str, Any]) -> Any:
        """The verdict on an answer."""
        return True if isinstance(output, ModelResponse) else self._verifier.check(output, arguments=arguments)
