"""`ObserveModelCalls`: a callback handler that counts what passes, and changes nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain.agents.middleware import ModelResponse
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from ttc_middleware import Reading, Request
from ttc_middleware.seam import Witnessed, witness

from ._models import provider_of
from ._responses import read_response


class ObserveModelCalls(BaseCallbackHandler):
    """Count the model calls of a chain, an agent or a graph: `chain.invoke(…, {"callbacks": [ObserveModelCalls()]})`.

    Each call that reports its usage to LangChain is put on the bill of the draw, of the budget and of the
    `ttc.tracking()` that it is made in, and gets a span. What an instrumented SDK, `ScaleModelCalls` or `scale_model()`
    accounts for already is not counted again, so it can be handed to everything. It watches: a budget notices what was
    spent, but only an instrumented SDK or a scaled model keeps a call from being sent. Calls that fail are left out.
    """

    run_inline = True  # in the context of the call, which says whose it is

    def __init__(self) -> None:
        self._calls: dict[UUID, tuple[Witnessed, Request]] = {}

    def on_chat_model_start(self, *_: Any, run_id: UUID, **kwargs: Any) -> None:
        """A chat model is called."""
        self._started(run_id, kwargs)

    def on_llm_start(self, *_: Any, run_id: UUID, **kwargs: Any) -> None:
        """A model of texts is called."""
        self._started(run_id, kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002  # LangChain's
        """It has answered."""
        call = self._calls.pop(run_id, None)
        if call is not None:
            witnessed, request = call
            witnessed.ended(request, _reading(response))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002  # as above
        """It has failed."""
        self._calls.pop(run_id, None)

    def _started(self, run_id: UUID, told: dict[str, Any]) -> None:
        witnessed = witness(told.get("batch_size") or 1)
        if witnessed is not None:
            params: dict[str, Any] = told.get("metadata") or {}
            name = str(params.get("ls_model_name") or "unknown")
            self._calls[run_id] = witnessed, Request(provider=provider_of(params, None), model=name)


def _reading(response: LLMResult) -> Reading:
    first = response.generations[0][0] if response.generations and response.generations[0] else None
    message = first.message if isinstance(first, ChatGeneration) else None
    if not isinstance(message, AIMessage):
        return Reading()  # a model of texts reports no usage in a way that all share
    return read_response(ModelResponse(result=[message]))
