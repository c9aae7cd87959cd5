"""The caller leaves at every single await of a call over the wire."""

from __future__ import annotations

import asyncio  # noqa: TID251  # tasks whose every await is counted
import gc
import types

import pytest
from openai_clients import CHAT, async_client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware._context import SCOPE
from ttc_middleware.telemetry import _spans


class Injector:
    """Cancels a task at the k-th await of anything that runs below it."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.awaits = 0
        self.after = 0
        """Awaits from then until all had let go."""
        self.victim: asyncio.Task | None = None

    def tick(self) -> None:
        self.awaits += 1
        if self.awaits > self.k:
            self.after += 1
        elif self.awaits == self.k and self.victim is not None:
            self.victim.cancel()

    @types.coroutine
    def counted(self, coroutine):
        try:
            waited = coroutine.send(None)
            while True:
                self.tick()
                try:
                    sent = yield waited
                except BaseException as error:  # noqa: BLE001  # thrown on
                    waited = coroutine.throw(error)
                else:
                    waited = coroutine.send(sent)
        except StopIteration as end:
            return end.value

    async def run(self, coroutine):
        return await self.counted(coroutine)

    async def strike(self, work) -> bool:
        """Run work; whether it was cancelled on the way."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coroutine, **more: asyncio.Task(self.run(coroutine), loop=loop, **more))
        try:
            self.victim = asyncio.ensure_future(work())
            try:
                await self.victim
            except asyncio.CancelledError:
                return True
            return False
        finally:
            loop.set_task_factory(None)


@pytest.fixture
def exported(monkeypatch):
    exporter, sdk = InMemorySpanExporter(), TracerProvider()
    sdk.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_spans, "_tracer", sdk.get_tracer("ttc_middleware"))
    return exporter


async def until_alone():
    """Let what is being closed end; asyncio closes generators that were dropped in tasks of their own."""
    for _ in range(1_000):
        gc.collect(0)
        await asyncio.sleep(0)
        if len(asyncio.all_tasks()) == 1:
            return
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["plain", "plain stream", "scaled", "scaled stream", "function"])
async def test_a_caller_may_leave_at_every_await_and_leaves_nothing_behind(way, exported):
    fresh()
    ttc.instrument()
    good, retried = Reply(text="two words"), Reply(status=429, headers={"retry-after-ms": "1"})
    k, turned_down = 0, {"0"}

    def script(body, number):
        # By round: a request whose caller has left in an earlier one may reach the server late.
        if body["user"] in turned_down:
            return good
        turned_down.add(body["user"])
        return retried

    def chat():
        return {**CHAT, "user": str(k)}

    with Provider(script) as provider:
        async with async_client(provider) as client:
            scaled = ttc_openai.wrap(client, ttc.BestOfN(2), verifier=lambda output: False)

            async def read(stream):
                return [chunk async for chunk in stream]

            @ttc.scale(ttc.BestOfN(2), verifier=lambda text: False, budget=ttc.Budget(seconds=3_600))
            async def function():
                return (await client.chat.completions.create(**chat())).choices[0].message.content

            async def plain_stream():
                return await read(await client.chat.completions.create(**chat(), stream=True))

            async def scaled_stream():
                return await read(await scaled.chat.completions.create(**chat(), stream=True))

            works = {
                "plain": lambda: client.chat.completions.create(**chat()),
                "plain stream": plain_stream,
                "scaled": lambda: scaled.chat.completions.create(**chat()),
                "scaled stream": scaled_stream,
                "function": function,
            }
            await works[way]()  # what is imported or opened the first time, is
            struck, worst, faults = True, 0, set()
            while struck:
                k += 1
                fresh()
                exported.clear()
                injector = Injector(k)
                with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=100_000)):
                    struck = await injector.strike(works[way])
                    ledger = SCOPE.get().ledger
                assert set(ledger.reserved.values()) == {0}, k
                assert (len(ledger.waiting_for_money), len(ledger.waiting_for_seats)) == (0, 0), k
                await until_alone()
                # What was cancelled before it was sent has a span and is no call.
                ended = [span for span in exported.get_finished_spans() if span.name.startswith("chat")]
                assert len(ended) >= bill.total.calls, k
                faults.update(span.attributes.get("error.type") for span in ended)
                worst = max(worst, injector.after if struck else 0)
        await until_alone()
        while provider.sockets:  # noqa: ASYNC110  # the server hears of it when it next looks
            await asyncio.sleep(0.01)
    assert k > 5
    assert faults >= {None, "cancelled", "rate limited"}
    assert worst <= 60  # awaits, each a turn of the loop: nothing among them waits for the network
