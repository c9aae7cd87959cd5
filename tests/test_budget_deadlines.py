"""Deadlines: whoever is further in has at most as long as who is further out, sandboxes too."""

from __future__ import annotations

import time

import anyio
import anyio.to_thread
import pytest
from fake_model import Model, fresh  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE
from ttc_middleware.sandbox import Limits
from ttc_middleware.seam import seconds_left
from ttc_middleware.verifiers import UnitTests

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]


def block(seconds):
    return ttc.policy(budget=ttc.Budget(seconds=seconds))


def test_a_deadline_only_ever_shrinks_on_the_way_down():
    assert seconds_left() is None
    with block(100):
        outer = SCOPE.get().deadline
        with block(1_000):
            assert SCOPE.get().deadline == outer
            with block(10):
                inner = SCOPE.get().deadline
                with ttc.tags(user="ann"), ttc.tracking(), block(50), ttc.policy(ttc.Single()):
                    assert SCOPE.get().deadline == inner < outer
                    assert seconds_left() <= 10
            assert SCOPE.get().deadline == outer
    assert seconds_left() is None


async def test_draws_and_verifiers_see_what_is_left_of_the_tightest_deadline():
    seen = []

    def verifier(output):
        seen.append(seconds_left())
        return True

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=verifier, budget=ttc.Budget(seconds=500))
    async def ask():
        seen.append(seconds_left())
        return await Model()("hi")

    with block(60):
        await ask()
    assert len(seen) == 4
    assert all(0 < each <= 60 for each in seen)


def test_blocking_draws_see_it_in_their_threads():
    seen = []

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True, budget=ttc.Budget(seconds=500))
    def ask():
        seen.append(seconds_left())
        return Model().sync("hi")

    with block(60):
        ask()
    assert len(seen) == 2
    assert all(0 < each <= 60 for each in seen)


SLEEPS = "import time\n\ndef double(number):\n    time.sleep(3_000)\n"


@pytest.mark.slow
@pytest.mark.parametrize("sandbox", ["bubblewrap", "fork-server", "landlock"])
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_sandbox_ends_at_the_deadline_whatever_its_own_limit_of_time(sandbox, blocking):
    """Ten minutes of its own, three seconds of the call's."""
    verifier = UnitTests([(2, 4)], sandbox=sandbox, limits=Limits(wall_s=600, cpu_s=500))
    budget = ttc.Budget(seconds=3)

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=verifier, budget=budget)
    async def ask():
        return await Model(lambda body, number: SLEEPS)("hi")

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=verifier, budget=budget)
    def ask_sync():
        return Model(lambda body, number: SLEEPS).sync("hi")

    began = time.monotonic()
    with pytest.raises(ttc.BudgetExceeded, match="budget of 3 seconds is over"):
        await (anyio.to_thread.run_sync(ask_sync) if blocking else ask())
    assert 3 <= time.monotonic() - began < 60  # a busy machine may take long to get there, but not ten minutes
