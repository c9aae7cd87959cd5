"""A model call that waits for room in its budget, more than once."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from fake_model import Model, Refused, fresh  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]


async def test_a_retry_waits_for_room_as_its_first_attempt_did():
    async def script(body, number):
        if number == 1:
            return Refused(429)
        while number == 2 and not SCOPE.get().ledger.waiting_for_money:
            await anyio.lowlevel.checkpoint()  # this call holds the room until the retry of the one before asks for it
        await anyio.lowlevel.checkpoint()
        return "done"

    model = Model(script)

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda text: text == "done", budget=ttc.Budget(tokens=400))
    async def ask():
        return await model(max_tokens=300)  # room for one call at a time

    result = await ask.run()
    assert [sample.status for sample in result.samples] == ["answer"] * 3
    assert model.peak == 1
    assert len(model.bodies) == 4
