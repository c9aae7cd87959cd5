"""What becomes of a search whose draws fail, run out of time, or lose their caller at any moment."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from fake_model import Model, Refused, fresh, place, steps  # noqa: F401  # a fixture
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import ttc_middleware as ttc
from ttc_middleware._account import Ask
from ttc_middleware._context import SCOPE
from ttc_middleware.telemetry import _spans

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

PROMPT = "what is the answer"


@pytest.fixture
def exported(monkeypatch):
    """Spans that have ended, and how many have started."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    started = []
    kept = provider._active_span_processor.on_start
    provider._active_span_processor.on_start = lambda span, **more: (started.append(span), kept(span, **more))
    monkeypatch.setattr(_spans, "_tracer", provider.get_tracer("ttc_middleware"))
    yield exporter
    assert len(started) == len(exporter.get_finished_spans())


# Some draws fail.


@pytest.mark.parametrize("failing", range(9))
async def test_of_eight_draws_the_best_that_did_not_fail_wins(failing, exported):
    def script(body, number):
        return Refused(400) if place() < failing else "word " * place()

    @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=lambda text: len(text.split()) / 8)
    async def ask() -> str:
        return await Model(script)(PROMPT)

    if failing == 8:
        with pytest.raises(Refused) as caught:
            await ask()
        result = ttc.result_of(caught.value)
        assert caught.value is result.samples[0].error  # the earliest's own, and in no group
    else:
        result = await ask.run()
        assert result.winner.index == 7
    assert [sample.fault for sample in result.samples] == ["rejected"] * failing + [None] * (8 - failing)
    assert result.bill.total.calls == 8
    assert result.bill.discarded.calls == 8 - (failing < 8)


@pytest.mark.parametrize("done", range(4))
async def test_at_the_deadline_the_best_of_what_is_done_comes_back_with_the_bill_of_all(done, exported):
    async def script(body, number):
        if place() >= done:
            await anyio.sleep_forever()
        return "word " * (place() + 1)

    @ttc.scale(ttc.BestOfN(4, stop="all"), verifier=lambda text: len(text.split()) / 8, budget=ttc.Budget(seconds=0.3))
    async def ask() -> str:
        return await Model(script)(PROMPT)

    if done:
        result = await ask.run()
        assert result.winner.index == done - 1
    else:
        with pytest.raises(ttc.BudgetExceeded, match="seconds") as caught:
            await ask()
        result = ttc.result_of(caught.value)
    assert (result.stop_reason, result.bill.total.calls) == ("deadline", 4)
    assert result.bill.gaps == {"cancelled": 4 - done}


# The caller leaves, at any moment.


async def interrupted(turns, work):
    """Run work and cancel it after so many turns of the loop; gives the turns until it had let go, or None."""
    scope, ended, after = anyio.CancelScope(), anyio.Event(), 0
    cancelled = []

    async def run():
        with scope:
            try:
                await work()
            except anyio.get_cancelled_exc_class():
                cancelled.append(True)
                raise
            finally:
                ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await steps(turns)
        if ended.is_set():
            return None
        scope.cancel()
        while not ended.is_set():
            await anyio.lowlevel.checkpoint()
            after += 1
            assert after < 1_000, "it does not let go"
    assert cancelled or scope.cancelled_caught is False
    return after if cancelled else 0


def busy(model):
    """Calls of every kind that wait for something: seats, room, verdicts, retries, answers."""

    async def verdict(text: str) -> float:
        await steps(2)
        return 0.5

    @ttc.scale(ttc.BestOfN(4, at_once=3), verifier=verdict, budget=ttc.Budget(concurrency=2, seconds=3_600))
    async def ask() -> str | None:
        return await model(PROMPT, max_tokens=300)

    return ask


async def test_a_caller_may_leave_at_every_turn_and_leaves_nothing_behind(exported):
    async def script(body, number):
        await steps(3)
        return Refused(503) if number == 1 else "some words"

    turns, worst, done = 0, 0, False
    while not done:
        model = Model(script)
        ask = busy(model)
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=700)):
            after = await interrupted(turns, ask)
            ledger = SCOPE.get().ledger
        assert set(ledger.reserved.values()) == {0}, turns
        assert (len(ledger.waiting_for_money), len(ledger.waiting_for_seats)) == (0, 0), turns
        assert (model.in_flight, bill.total.calls) == (0, len(model.bodies)), turns
        done, worst, turns = after is None, max(worst, after or 0), turns + 1
    assert turns > 15  # each of them was tried
    assert worst <= 20  # turns of the loop until everything was let go: far below a millisecond each
    cancelled = [span for span in exported.get_finished_spans() if span.attributes.get("error.type") == "cancelled"]
    assert cancelled


# Outside of searches.


@pytest.mark.parametrize("blocking", [False, True])
async def test_who_waits_for_room_in_a_budget_leaves_the_queue_at_the_deadline(blocking):
    model = Model()
    with ttc.policy(budget=ttc.Budget(tokens=400)):
        ledger = SCOPE.get().ledger
        hold = ledger.reserve(Ask({"tokens": 399}), lambda: None)
        with pytest.raises(ttc.BudgetExceeded, match="seconds"), ttc.policy(budget=ttc.Budget(seconds=0.1)):
            if blocking:
                await anyio.to_thread.run_sync(lambda: model.sync(PROMPT, max_tokens=300))
            else:
                await model(PROMPT, max_tokens=300)
        assert not ledger.waiting_for_money
        hold.settle({})
    assert not model.bodies


async def test_a_plain_call_ends_at_the_deadline_of_its_block():
    async def script(body, number):
        await anyio.sleep_forever()

    model = Model(script)
    late = pytest.raises(ttc.BudgetExceeded, match="seconds")
    with ttc.tracking() as bill, late, ttc.policy(budget=ttc.Budget(seconds=0.1)):
        await model(PROMPT)
    assert (len(model.bodies), model.in_flight, bill.bill.gaps) == (1, 0, {"timeout": 1})
