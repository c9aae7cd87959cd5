"""Code that tries to make a wrong answer look right. Nobody in its process knows what is expected of it."""

from __future__ import annotations

import secrets

import pytest
from programs import programs

from ttc_middleware.sandbox import Limits
from ttc_middleware.verifiers.unit_tests import UnitTests

pytestmark = pytest.mark.anyio
FORGERIES = programs("forgeries")
PRELUDE = FORGERIES["returns True"].partition("def f(x)")[0]


@pytest.fixture
def anyio_backend():
    return "asyncio"  # what is tested here does not depend on the loop


@pytest.fixture(params=["bubblewrap", "landlock", "unsafe"])
def sandbox(request):
    return request.param


@pytest.mark.parametrize("attack", FORGERIES.values(), ids=FORGERIES)
async def test_a_wrong_answer_never_passes(attack, sandbox):
    answer = secrets.token_hex(16)
    tests = [(1, answer), (2, answer), f"assert f(3) == {answer!r}"]
    verdict = await UnitTests(tests, entry="f", sandbox=sandbox, limits=Limits(cpu_s=1, wall_s=60)).check(attack)
    assert verdict.score == 0
    assert verdict.feedback


async def test_the_attacks_reach_the_channel(sandbox):
    attack = f"{PRELUDE}\ndef f(x):\n    reply(b'\"returned\",42')\n    os._exit(0)"
    assert (await UnitTests([(1, 42)], sandbox=sandbox, entry="f").check(attack)).score == 1


async def test_code_cannot_answer_before_it_is_asked(sandbox):
    early = "    reply(b'\"returned\",1')\n    reply(b'\"returned\",2')\n    import time; time.sleep(60)"
    verdict = await UnitTests([(1, 1), (2, 2)], sandbox=sandbox, entry="f").check(f"{PRELUDE}\ndef f(x):\n{early}")
    assert verdict.score == 0.5
    assert "another question" in verdict.feedback
