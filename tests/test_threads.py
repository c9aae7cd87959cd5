"""Threads that do not take context variables along: seen where the program asks for it, and put back as they were."""

from __future__ import annotations

import asyncio  # noqa: TID251  # its executors are the subject
import contextvars
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from fake_model import Model, fresh  # noqa: F401  # a fixture

import ttc_middleware as ttc

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def seen():
    ttc.instrument(threads=True)
    yield
    ttc.uninstrument()


def in_a_thread(work):
    said = Future()

    def run():
        try:
            said.set_result(work())
        except BaseException as error:  # noqa: BLE001  # handed over
            said.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return said.result()


def in_a_pool(work):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def on_a_loop(work):
    async def main():
        return await asyncio.get_running_loop().run_in_executor(None, work)

    return asyncio.run(main())


WAYS = pytest.mark.parametrize("way", [in_a_thread, in_a_pool, on_a_loop])


@WAYS
@pytest.mark.usefixtures("seen")
def test_calls_in_threads_of_a_draw_are_on_its_bill(way):
    model = Model(lambda body, number: "good")

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda text: text == "good")
    def ask() -> str | None:
        return way(lambda: model.sync("hello"))

    result = ask.run()
    assert (result.bill.status, result.bill.total.tokens, result.bill.total.calls) == ("exact", model.billed, 2)


@WAYS
@pytest.mark.usefixtures("seen")
def test_calls_in_threads_of_a_block_are_under_its_budget(way):
    model = Model(lambda body, number: "good")
    with ttc.policy(budget=ttc.Budget(tokens=2)), pytest.raises(ttc.BudgetExceeded):
        way(lambda: model.sync("hello"))
    assert model.bodies == []


@WAYS
def test_unasked_they_are_left_alone(way):
    before = threading.Thread.start, ThreadPoolExecutor.submit
    ttc.instrument()
    try:
        model = Model(lambda body, number: "good")
        with ttc.tracking() as bill:
            way(lambda: model.sync("hello"))
        assert bill.total.calls == 0
        assert (threading.Thread.start, ThreadPoolExecutor.submit) == before
    finally:
        ttc.uninstrument()


def test_undone_they_are_what_they_were(seen):
    ours = threading.Thread.start, ThreadPoolExecutor.submit
    ttc.uninstrument()
    assert threading.Thread.start is not ours[0]
    assert not hasattr(threading.Thread.start, "__wrapped__")
    assert not hasattr(ThreadPoolExecutor.submit, "__wrapped__")


@pytest.mark.usefixtures("seen")
def test_a_pools_worker_that_starts_inside_a_block_serves_others_outside_of_it():
    mine = contextvars.ContextVar("mine", default="outside")
    with ThreadPoolExecutor(1) as pool:
        token = mine.set("inside")
        with ttc.tracking():
            assert pool.submit(mine.get).result() == "inside"
        mine.reset(token)
        assert pool.submit(mine.get).result() == "outside"


@pytest.mark.usefixtures("seen")
def test_threads_of_code_that_is_nobodys_business_start_without_its_context():
    mine = contextvars.ContextVar("mine", default="outside")
    mine.set("inside")
    assert in_a_thread(mine.get) == "outside"
