"""A response that has come whole, as a stream: each of its parts at once."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from pydantic_ai import models
from pydantic_ai.messages import ModelResponse, ModelResponseStreamEvent, PartStartEvent
from pydantic_ai.models import ModelRequestParameters, StreamedResponse

_Completed: Any = getattr(models, "CompletedStreamedResponse", None)
_REPLAYS = _Completed is not None and "replay_events" in inspect.signature(_Completed).parameters


def replayed(response: ModelResponse, parameters: ModelRequestParameters) -> StreamedResponse:
    """The response as a stream."""
    if _REPLAYS:
        stream: StreamedResponse = _Completed(response, model_request_parameters=parameters, replay_events=True)
        return stream
    return _Parts(response, parameters)


class _Parts(StreamedResponse):
    """For versions that replay nothing themselves; their streams tell `_usage`."""

    def __init__(self, response: ModelResponse, parameters: ModelRequestParameters) -> None:
        super().__init__(parameters)
        self._response = response
        self._usage = response.usage

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        parts: Any = self._parts_manager
        for index, part in enumerate(self._response.parts):
            parts._parts.append(part)  # noqa: SLF001  # where a part that is whole belongs
            yield PartStartEvent(index=index, part=part)

    async def close_stream(self) -> None:
        """Nothing is open."""

    def get(self) -> ModelResponse:
        """The response."""
        return self._response

    @property
    def model_name(self) -> str:
        """The model that answered."""
        return self._response.model_name or ""

    @property
    def provider_name(self) -> str | None:
        """Its provider."""
        return self._response.provider_name

    @property
    def provider_url(self) -> str | None:
        """Its provider's address."""
        return self._response.provider_url

    @property
    def timestamp(self) -> datetime:
        """When it answered."""
        return self._response.timestamp
