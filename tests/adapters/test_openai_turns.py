"""Requests enter a connection pool one after the other, so that each finds a connection of its own."""

from __future__ import annotations

from collections import Counter
from functools import partial

import anyio
import anyio.lowlevel
import pytest
from openai_clients import CHAT, async_client, streams_on_trio
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai
from ttc_openai._turns import Turns

pytestmark = [streams_on_trio, pytest.mark.anyio]


@pytest.fixture(autouse=True)
def forget():
    fresh()


async def steps(count):
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def test_who_comes_alone_goes_at_once():
    turns = Turns()
    for _ in range(3):
        with anyio.CancelScope() as scope:
            scope.cancel()  # so any wait would end here
            await turns.mine()
        assert not scope.cancelled_caught
        await steps(20)


async def test_the_others_follow_in_order_and_apart():
    turns, gone = Turns(), []

    async def go(number):
        await turns.mine()
        gone.append(number)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(go, number)
            await anyio.lowlevel.checkpoint()
        seen = []
        while len(gone) < 5:
            seen.append(len(gone))
            await anyio.lowlevel.checkpoint()
    assert gone == sorted(gone)
    assert max(Counter(seen).values()) >= 2  # steps passed between one and the next


async def test_who_leaves_the_queue_keeps_nobody_waiting():
    turns, gone = Turns(), []

    async def go(number, scope):
        with scope:
            await turns.mine()
            gone.append(number)

    scopes = [anyio.CancelScope() for _ in range(6)]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number, scope in enumerate(scopes):
                group.start_soon(go, number, scope)
            await anyio.lowlevel.checkpoint()
            for scope in scopes[2:5]:
                scope.cancel()
    assert {0, 5} <= set(gone)


async def test_requests_that_leave_together_do_not_start_over(monkeypatch):
    """The pool is asked twice a request: for a connection, and when it is free again."""
    pool, asked = pytest.importorskip("httpcore").AsyncConnectionPool, []
    assign = pool._assign_requests_to_connections
    monkeypatch.setattr(pool, "_assign_requests_to_connections", lambda self: asked.append(self) or assign(self))
    with Provider(lambda _, number: Reply(text=f"answer {number}", delay=0.05)) as provider:
        async with async_client(provider) as client:
            wrapped = ttc_openai.wrap(client, ttc.Single())
            for _ in range(4):
                async with anyio.create_task_group() as group:
                    for _ in range(8):
                        group.start_soon(partial(wrapped.chat.completions.create, **CHAT))
    if not asked:
        pytest.skip("this SDK has another pool")
    assert len(asked) < 4 * 8 * 3


async def test_what_is_cancelled_before_its_turn_was_never_sent_and_owes_nothing():
    with Provider(lambda _, number: Reply(text=f"answer {number}", delay=5)) as provider:
        async with async_client(provider) as client:
            wrapped = ttc_openai.wrap(client, ttc.Single())
            with ttc.tracking() as bill:
                async with anyio.create_task_group() as group:
                    for _ in range(8):
                        group.start_soon(partial(wrapped.chat.completions.create, **CHAT))
                    await steps(3)
                    group.cancel_scope.cancel()
    assert bill.bill.gaps.get("cancelled", 0) < 8
