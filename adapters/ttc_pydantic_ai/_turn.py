"""One request of an agent's model: its search, and what it adds to the framework's own usage."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, cast

from pydantic_ai import messages as _messages
from pydantic_ai._run_context import get_current_run_context  # there is no public name for it
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import StreamedResponse
from pydantic_ai.usage import RequestUsage

from ttc_middleware import Call
from ttc_middleware.seam import Leaf, Site, call_model, disabled, in_draw, observed, owned, scale_call

from ._calls import Asked, asked_of, call_of
from ._models import retries, sent_once
from ._outputs import JUDGING, Judging
from ._replay import replayed

_Attempt: Any = getattr(_messages, "ModelRequestAttempt", None)
"""How newer versions are told of responses that nobody acts on; they add their usage to the run's."""
_TELLS_ATTEMPTS = _Attempt is not None and any(each.name == "failed_attempts" for each in fields(ModelResponse))


class Turn:
    """One request, of which several responses may come.

    Args:
        site: how it is scaled.
        asked: the request.
        context: the agent's `RunContext`; None: that of the run that is under way, if any.
    """

    def __init__(self, site: Site, asked: Asked, context: Any = None) -> None:
        self._context: Any = context or get_current_run_context()
        self._site = site
        self._asked = asked
        self._call = call_of(site.name, asked, self._context)
        # What a provider has paused is one answer, to be continued as it is.
        self._goes_on = bool(asked.messages) and isinstance(asked.messages[-1], ModelResponse)
        mine = not (disabled() or owned() or in_draw())
        self._scaled = mine and not self._goes_on and site.plan() is not None
        self.untouched: bool = not self._scaled and not observed()
        self._arrived: list[ModelResponse] = []
        self._leaf: Leaf | None = None

    async def response(self) -> ModelResponse:
        """The winner's response, with what it can tell the run of the others."""
        with self._accounted():
            winner: ModelResponse = await self._searched(self._sent)
        others = self._others(winner)
        await self._let_go(others)
        if not others or not _TELLS_ATTEMPTS:
            self._add(others)
            return winner
        told: list[Any] = []
        for each in others:
            told += [*(cast("Any", each).failed_attempts or ()), _attempt(each, self._asked.model)]
        return _with(winner, failed_attempts=[*(cast("Any", winner).failed_attempts or ()), *told])

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncGenerator[StreamedResponse, None]:
        """The only draw's stream as it comes, or the winner as one."""
        async with contextlib.AsyncExitStack() as stack:

            async def send(call: Call, leaf: Leaf) -> Any:
                if leaf.whole:  # several compete, or a verifier waits
                    return await self._sent(call, leaf)
                asked = asked_of(call)
                stream = await stack.enter_async_context(
                    asked.model.request_stream(asked.messages, asked.settings, asked.parameters, self._context)
                )
                leaf.defer()
                self._leaf = leaf
                return stream

            with self._accounted():
                given = await self._searched(send)
            if isinstance(given, ModelResponse):
                await self._let_go(self._others(given))
                yield replayed(self._as_stream(given), self._asked.parameters)
                return
            with self._read(given):
                yield given

    async def _searched(self, send: Any) -> Any:
        if not self._scaled:
            return await call_model(self._site.adapter, self._call, send)
        token = JUDGING.set(Judging(self._asked, self._context))
        try:
            return await scale_call(self._site, self._call, send)
        finally:
            JUDGING.reset(token)

    async def _sent(self, call: Call, leaf: Leaf) -> ModelResponse:
        """Send one attempt."""
        asked = asked_of(call)
        model, settings = asked.model, asked.settings
        allowed = retries(model, settings)
        leaf.retries = leaf.retries if allowed is None else min(leaf.retries, allowed)
        if leaf.retried:
            model, given = sent_once(model, settings)
            settings = cast("Any", given)
        response = await model.request(asked.messages, settings, asked.parameters)
        self._arrived.append(response)
        return response

    @contextlib.contextmanager
    def _accounted(self) -> Generator[None, None, None]:
        """Where no response is the winner, all that came were still paid for."""
        try:
            yield
        except BaseException:
            self._add(self._arrived)
            raise

    async def _let_go(self, responses: list[ModelResponse]) -> None:
        """End what a provider has paused or still works on, and nobody will continue."""
        for each in responses:
            if getattr(each, "state", "complete") == "suspended":
                model: Any = self._asked.model
                await model.cancel_suspended_response(each)

    def _as_stream(self, winner: ModelResponse) -> ModelResponse:
        """The winner's response, for a stream, whose own figures are to have the others too.

        A stream adds its response's usage to a copy of the run's, which older versions make before there is a response.
        """
        others = self._others(winner)
        if not others or _TELLS_ATTEMPTS:
            self._add(others)
            return winner
        total = RequestUsage()
        for each in self._arrived:
            total.incr(_priced(each))
        return _with(winner, usage=total)

    def _others(self, winner: ModelResponse) -> list[ModelResponse]:
        """All that came but the winner; a fake model may answer with the same object twice."""
        place = next((place for place, each in enumerate(self._arrived) if each is winner), None)
        return [each for at, each in enumerate(self._arrived) if at != place]

    def _add(self, responses: list[ModelResponse]) -> None:
        """Add the usage of responses that nobody acts on to the run's: their tokens, not the number of requests."""
        if self._context is None:
            return
        for response in responses:
            for each in getattr(response, "failed_attempts", None) or ():
                if each.usage is not None:
                    self._context.usage.incr(each.usage)
            self._context.usage.incr(_priced(response))

    @contextlib.contextmanager
    def _read(self, stream: StreamedResponse) -> Generator[None, None, None]:
        """Account for a stream that its reader gets as it comes."""
        assert self._leaf is not None
        try:
            yield
        except BaseException:
            self._leaf.cut(replace(self._site.adapter.read(stream.get()), partial=True))
            raise
        response = stream.get()
        reading = self._site.adapter.read(response)
        if getattr(response, "state", "complete") == "interrupted":
            self._leaf.cut(replace(reading, partial=True))
        else:
            self._leaf.finish(reading)


def _with(response: ModelResponse, **changes: Any) -> ModelResponse:
    return replace(response, **changes)


def _attempt(response: ModelResponse, model: Any) -> Any:
    return _Attempt(
        model_name=response.model_name or model.model_name,
        provider_name=response.provider_name,
        outcome="rejected",
        timestamp=response.timestamp,
        duration=timedelta(0),
        usage=_priced(response),
    )


def _priced(response: ModelResponse) -> RequestUsage:
    """The usage, with the cost that the framework itself would put there."""
    usage = response.usage
    if getattr(usage, "cost", ...) is None:
        with contextlib.suppress(Exception):  # no price, or no name to look one up by
            priced: Any = replace(usage)
            priced.cost = response.cost().total_price
            return cast("RequestUsage", priced)
    return usage
