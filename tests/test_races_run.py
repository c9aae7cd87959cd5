"""Races on the engine: what is cancelled ends at once, and is on the bill."""

from __future__ import annotations

import pytest
from fake_model import Completion, Model, forever, fresh, place, steps  # noqa: F401  # a fixture

import ttc_middleware as ttc

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]


def racing(slow):
    """A model of which the draws in `slow` never end; the others end one after the other."""

    async def script(body, number):
        await (forever() if place() in slow else steps(20 * place()))
        return Completion((f"answer {place() % 2}",), 3, 5)

    return Model(script)


@pytest.mark.parametrize(
    ("strategy", "slow", "finished"),
    [
        (ttc.FirstFinished(2, 6), {0, 1, 4, 5}, [2, 3]),
        (ttc.FirstFinished(1, 3), {0, 1}, [2]),
        (ttc.Race(8, first=6, lead=2), {0, 2, 4}, [1, 3]),
    ],
    ids=repr,
)
async def test_what_is_still_under_way_is_cancelled_and_billed_as_such(strategy, slow, finished):
    model = racing(slow)

    @ttc.scale(strategy)
    async def ask():
        return await model()

    result = await ask.run()
    assert [sample.index for sample in result.samples] == finished
    assert result.winner.index == finished[0]
    assert result.bill.gaps == {"cancelled": len(model.bodies) - len(finished)}
    assert result.bill.status == "lower bound"
    assert model.in_flight == 0


async def test_a_race_goes_on_with_more_where_the_first_disagree():
    model = Model(lambda body, number: Completion((f"answer {place() if place() < 4 else 0}",), 1, 1))

    @ttc.scale(ttc.Race(12, first=4, more=4, lead=4))
    async def ask():
        return await model()

    result = await ask.run()
    assert result.output == "answer 0"
    assert len(model.bodies) == 8
