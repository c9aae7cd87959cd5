from __future__ import annotations

import threading

import anyio
import pytest

from ttc_middleware.sandbox import _slots
from ttc_middleware.sandbox._slots import capacity, slot

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def all_given_back():
    yield
    assert _slots._taken == 0
    assert not _slots._waiting


def test_there_are_at_least_two():
    assert capacity() >= 2


async def test_no_more_run_at_once_than_there_are():
    running = most = 0

    async def work():
        nonlocal running, most
        async with slot():
            running += 1
            most = max(most, running)
            await anyio.sleep(0.001)
            running -= 1

    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(work)
    assert most == capacity()


async def test_first_come_first_served():
    order = []

    async def work(number):
        async with slot():
            order.append(number)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(work, number)
            await anyio.wait_all_tasks_blocked()
    assert order == sorted(order)


async def test_a_cancelled_waiter_costs_nobody_a_turn():
    async with anyio.create_task_group() as holders:
        release = anyio.Event()

        async def hold():
            async with slot():
                await release.wait()

        for _ in range(capacity()):
            holders.start_soon(hold)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            with anyio.move_on_after(0.01) as scope:
                async with slot():
                    pass
            assert scope.cancelled_caught
        release.set()
    async with slot():
        pass


async def test_a_turn_given_to_a_waiter_that_is_cancelled_is_passed_on():
    for _ in range(20):
        got = []
        async with anyio.create_task_group() as group:
            release = anyio.Event()

            async def hold(release=release):
                async with slot():
                    await release.wait()

            async def wait(scope=None, got=got):
                with scope or anyio.CancelScope():
                    async with slot():
                        got.append(scope)

            for _ in range(capacity()):
                group.start_soon(hold)
            await anyio.wait_all_tasks_blocked()
            doomed = anyio.CancelScope()
            group.start_soon(wait, doomed)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            release.set()
            doomed.cancel()
        assert None in got


def test_loops_in_several_threads_share_the_count(anyio_backend):
    lock = threading.Lock()
    running = most = done = 0

    async def work():
        nonlocal running, most, done
        async with slot():
            with lock:
                running += 1
                most = max(most, running)
            await anyio.sleep(0.001)
            with lock:
                running -= 1
                done += 1

    async def main():
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(work)

    threads = [threading.Thread(target=anyio.run, args=(main,), kwargs={"backend": anyio_backend}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert done == 20
    assert most <= capacity()
