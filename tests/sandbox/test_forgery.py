"""Code that tries to make a wrong answer look right reaches the channel; `test_corpus.py` has what it tries there."""

from __future__ import annotations

import pytest
from programs import programs

from ttc_middleware.verifiers.unit_tests import UnitTests

pytestmark = pytest.mark.anyio
PRELUDE = programs("protocol")["sends an empty frame"].partition("def f(x)")[0]


@pytest.fixture
def anyio_backend():
    return "asyncio"  # what is tested here does not depend on the loop


@pytest.fixture(params=["bubblewrap", "landlock", "unsafe"])
def sandbox(request):
    return request.param


async def test_the_attacks_reach_the_channel(sandbox):
    attack = f"{PRELUDE}\ndef f(x):\n    reply(b'\"returned\",42')\n    os._exit(0)"
    assert (await UnitTests([(1, 42)], sandbox=sandbox, entry="f").check(attack)).score == 1


async def test_code_cannot_answer_before_it_is_asked(sandbox):
    early = "    reply(b'\"returned\",1')\n    reply(b'\"returned\",2')\n    import time; time.sleep(60)"
    verdict = await UnitTests([(1, 1), (2, 2)], sandbox=sandbox, entry="f").check(f"{PRELUDE}\ndef f(x):\n{early}")
    assert verdict.score == 0.5
    assert "another question" in verdict.feedback
