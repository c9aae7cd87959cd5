"""`Scale`: each model request of an agent, scaled, as a capability of it."""

from __future__ import annotations

from typing import Any

from pydantic_ai import RunContext, capabilities
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.models import Model, ModelRequestContext

from ttc_middleware import Budget, Strategy, Verifier
from ttc_middleware.seam import OnReject, Site, ThinkingLike

from ._calls import ARGUMENTS, ModelCalls
from ._model import ScaledModel, Sites
from ._outputs import of_outputs

if not hasattr(capabilities, "Instrumentation"):
    raise ImportError("before tracing is a capability too, it takes no other model than the agent's own")


class Scale(AbstractCapability[Any]):
    """Give an agent test-time compute: `Agent(model, capabilities=[Scale(ttc.BestOfN(4), verifier=…)])`.

    Every model request of the agent becomes a search. Only the winner enters the message history, only its tools run,
    and only it is streamed, whole, unless it is the only draw and nobody judges it: that streams as it comes.

    The tokens of all samples are in the run's usage once, and count against its `UsageLimits`; its number of requests
    stays that of the winners. `ttc.tracking()` and the spans have the whole bill. A sample that was cancelled has no
    usage to add. Where Pydantic AI traces its requests itself, usage is on the samples' spans only.

    Args:
        strategy: how to search; None leaves it to a `ttc.policy()`.
        verifier: judges the output of each turn. A function gets the agent's output, of its output type, or the sample
            if its first parameter is annotated `ttc.Sample` (`.output` is the `ModelResponse`); by name: ctx, deps,
            prompt, messages, model, model_settings, model_request_parameters. A response that the agent would not take
            is rejected before, with what the agent would tell the model: output validators judge every sample.
            `valid_output` leaves it at that. One of `ttc.verifiers` gets the text, or structured output as JSON. Turns
            that call tools have no output yet, and pass; a function of the sample gets them too.
        budget: limits of each model request of the agent.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think; where its provider does not count tokens they become the nearest effort.
        name: what spans and policies call it.
        slots: requests that the server works on at once; None: any number.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        TypeError: the strategy needs a verifier and there is none, a verifier asks for an argument that there is not,
            or an argument is not what it should be.
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        strategy: Strategy | None = None,
        *,
        verifier: Verifier | Any = None,
        budget: Budget | None = None,
        accept: float = 1.0,
        on_reject: OnReject | None = None,
        thinking: ThinkingLike | None = None,
        name: str = "Scale",
        slots: int | None = None,
        verifier_timeout: float = 60.0,
    ) -> None:
        super().__init__()
        self._sites = Sites(
            Site(
                name,
                strategy,
                of_outputs(verifier),
                budget,
                accept,
                on_reject,
                thinking,
                ModelCalls(slots),
                known=ARGUMENTS,
                verifier_timeout=verifier_timeout,
            )
        )

    if hasattr(AbstractCapability, "get_wrapper_model"):  # from 2.64 on

        def get_wrapper_model(self, model: Model) -> Model | None:
            """The model that serves a request, scaled."""
            return ScaledModel.of_sites(model, self._sites)

    else:

        async def before_model_request(
            self, ctx: RunContext[Any], request_context: ModelRequestContext
        ) -> ModelRequestContext:
            """Put the scaled model into a request."""
            request_context.model = ScaledModel.of_sites(request_context.model, self._sites)
            return await super().before_model_request(ctx, request_context)
