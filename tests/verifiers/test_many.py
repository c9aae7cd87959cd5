"""Verifications that are cancelled half-way leave nothing: no process, zombie, folder, descriptor or turn."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from pathlib import Path

import anyio
import pytest
from nightly import NIGHTLY

from ttc_middleware._errors import SandboxUnavailable
from ttc_middleware.sandbox import Limits, Ready, _slots, select
from ttc_middleware.verifiers import UnitTests

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(600 if NIGHTLY else 120)]

MANY = 1000 if NIGHTLY else 40
MOMENTS = 100 if NIGHTLY else 14
SQUARE = "def square(x): return x * x"
TESTS = [(3, 9), "def given(x): return x\nassert square(given(2)) == 4"]


@pytest.fixture(params=["bubblewrap", "fork-server", "landlock"])
async def sandbox(request):
    try:
        return await select(request.param)
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(monkeypatch):
    """Where scratch folders are made; unlike pytest's own it can be passed through by other users."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def processes():
    """The processes below this one, zombies included."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found, more = set(), {os.getpid()}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


def descriptors():
    """How many files, sockets and pipes are open, by their kind."""
    found = Counter()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[path.readlink().name.partition(":")[0]] += 1
    return found


class Left:
    """What there is before and after."""

    def __init__(self, folder):
        self.folder = folder
        self.before = self.now()

    def now(self):
        return processes(), descriptors(), sorted(self.folder.iterdir()), _slots._taken, len(_slots._waiting)

    async def nothing(self):
        """Nothing is left, at the latest once the system has seen to it."""
        with anyio.move_on_after(10):
            while self.now() != self.before:  # noqa: ASYNC110  # no event tells
                await anyio.sleep(0.01)
        assert self.now() == self.before


async def test_many_at_once_that_are_cancelled_half_way(sandbox, folder):
    verifier = UnitTests(TESTS, sandbox=sandbox)
    assert (await verifier.check(SQUARE)).score == 1
    left = Left(folder)
    ended = []

    async def verify(group):
        assert (await verifier.check(SQUARE)).score == 1
        ended.append(None)
        if len(ended) == MANY // 2:
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(MANY):
            group.start_soon(verify, group)
    assert MANY // 2 <= len(ended) < MANY
    await left.nothing()
    assert (await verifier.check(SQUARE)).score == 1


async def test_one_that_is_cancelled_at_any_moment(sandbox, folder):
    verifier = UnitTests(TESTS, sandbox=sandbox)
    assert (await verifier.check(SQUARE)).score == 1
    left = Left(folder)
    cut = 0
    for moment in range(MOMENTS):
        with anyio.move_on_after(moment * moment / MOMENTS**2 * 0.06) as scope:
            await verifier.check(SQUARE)
        cut += scope.cancelled_caught
    assert cut
    await left.nothing()


async def test_sessions_that_are_cancelled_in_different_stages(sandbox, folder):
    verifier = UnitTests(TESTS, sandbox=sandbox)
    assert (await verifier.check(SQUARE)).score == 1
    left = Left(folder)
    called = []

    async def use(group):
        session = await sandbox.start(Limits())
        try:
            await session.load(f"import time\n{SQUARE}")
            await session.call("square", (3,), {})
            called.append(None)
            if len(called) == 3:
                group.cancel_scope.cancel()
            await session.call("time.sleep", (1e9,), {})
        finally:
            await session.kill()

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(use, group)
    await left.nothing()


async def test_those_that_use_spares(sandbox, folder):
    left = Left(folder)
    async with Ready(sandbox, spare=2) as ready:
        verifier = UnitTests(TESTS, sandbox=ready)
        assert (await verifier.check(SQUARE)).score == 1
        async with anyio.create_task_group() as group:
            for _ in range(MANY // 8):
                group.start_soon(verifier.check, SQUARE)
            await anyio.sleep(0.05)
            group.cancel_scope.cancel()
    if sandbox.name != "fork-server":  # which has a process of its own, started here or before
        await left.nothing()


async def test_code_that_hangs_when_its_verification_is_cancelled(sandbox, folder):
    verifier = UnitTests([(3, 9)], sandbox=sandbox)
    assert (await verifier.check(SQUARE)).score == 1
    left = Left(folder)
    with anyio.move_on_after(0.1) as scope:
        await verifier.check("def square(x):\n while True: pass")
    assert scope.cancelled_caught
    await left.nothing()
