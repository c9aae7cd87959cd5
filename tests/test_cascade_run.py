"""A cascade on the engine: the models that its tiers name are the ones that are asked."""

from __future__ import annotations

import pytest
from fake_model import Completion, Model, fresh, place  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware.strategies import Tier

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

CASCADE = ttc.Cascade([Tier(lead=2, cap=3), Tier("large", lead=2, cap=4)])


def answering(*texts):
    return Model(lambda body, number: Completion((texts[place()],), 1, 1))


async def test_where_the_first_two_agree_the_large_model_is_not_asked():
    model = answering("a", "a")

    @ttc.scale(CASCADE)
    async def ask():
        return await model()

    result = await ask.run()
    assert (result.output, len(model.bodies), result.bill.total.calls) == ("a", 2, 2)


async def test_where_they_do_not_the_large_one_is_and_their_votes_are_kept():
    model = answering("a", "b", "c", "b", "b")

    @ttc.scale(CASCADE)
    async def ask():
        return await model()

    result = await ask.run()
    # The third small one and the first large one start together: two votes that differ leave nothing to decide.
    assert sorted(body.get("model", "small") for body in model.bodies) == ["large"] * 2 + ["small"] * 3
    assert (result.output, result.winner.index, len(result.samples)) == ("b", 1, 5)


def test_a_call_site_that_cannot_change_the_model_is_told_at_decoration():
    class Fixed:
        can = frozenset()
        slots = None

    with pytest.raises(TypeError, match=r"Cascade\(.*\) needs model, which Fixed cannot do for app:ask"):
        ttc._site.Site("app:ask", CASCADE, adapter=Fixed())
