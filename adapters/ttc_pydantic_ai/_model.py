"""`ScaledModel`: a model whose every request is a search; tools run for the winner only."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse, infer_model
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from ttc_middleware import Budget, Strategy, Verifier
from ttc_middleware.seam import OnReject, Site, ThinkingLike

from ._calls import ARGUMENTS, Asked, ModelCalls
from ._outputs import of_outputs
from ._turn import Turn


class ScaledModel(WrapperModel):
    """A model whose requests are scaled: `Agent(ScaledModel("openai:gpt-5-mini", ttc.BestOfN(4), verifier=…))`.

    What `Scale` is as a capability, for versions of Pydantic AI without capabilities, for `agent.override(model=…)`,
    and as a member of a `FallbackModel`. The arguments and what holds for them are `Scale`'s. Before 1.80 a run does
    not say which agent it is of: verifiers then get the text of the response.

    Args:
        model: the model, or its name.
        strategy: how to search; None leaves it to a `ttc.policy()`.
        verifier: judges the output of each turn.
        budget: limits of each request.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think.
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
        model: Model | str,
        strategy: Strategy | None = None,
        *,
        verifier: Verifier | Any = None,
        budget: Budget | None = None,
        accept: float = 1.0,
        on_reject: OnReject | None = None,
        thinking: ThinkingLike | None = None,
        name: str = "ScaledModel",
        slots: int | None = None,
        verifier_timeout: float = 60.0,
    ) -> None:
        super().__init__(infer_model(model))
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

    @classmethod
    def of_sites(cls, model: Model, sites: Sites) -> ScaledModel:
        """A model that is scaled as these sites say."""
        scaled = cls.__new__(cls)
        WrapperModel.__init__(scaled, model)
        scaled._sites = sites  # noqa: SLF001  # its own
        return scaled

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Make a request, scaled."""
        asked = Asked(self.wrapped, messages, model_settings, model_request_parameters)
        turn = Turn(self._sites.of(asked), asked)
        if turn.untouched:
            return await super().request(messages, model_settings, model_request_parameters)
        return await turn.response()

    @contextlib.asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncGenerator[StreamedResponse, None]:
        """Make a request whose response is streamed: as it comes where there is one draw, else the winner at once."""
        asked = Asked(self.wrapped, messages, model_settings, model_request_parameters, stream=True)
        turn = Turn(self._sites.of(asked), asked, run_context)
        if turn.untouched:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                yield stream
            return
        async with turn.stream() as stream:
            yield stream


class Sites:
    """One call site, as it is for each set of output tools: they tell what of a response is the agent's output."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known: dict[frozenset[str], Site] = {frozenset(): site}

    def of(self, asked: Asked) -> Site:
        """The site of a request."""
        outputs = asked.outputs
        site = self._known.get(outputs)
        if site is None:
            adapter = self._site.adapter
            assert isinstance(adapter, ModelCalls)
            site = self._known[outputs] = replace(self._site, adapter=replace(adapter, outputs=outputs))
        return site
