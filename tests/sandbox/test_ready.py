"""Spare processes, forks of a server, and packages that code may import."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from pathlib import Path

import anyio
import pytest

from ttc_middleware._errors import SandboxFailed
from ttc_middleware.sandbox import ForkServer, GuestFailed, Limits, Raised, Ready, Returned, Unfit, select
from ttc_middleware.sandbox._child import Spawned
from ttc_middleware.verifiers import UnitTests

pytestmark = pytest.mark.anyio

DOUBLE = "def double(x): return 2 * x"
COUNT = "import os\nseen = []\ndef count():\n seen.append(1)\n return len(seen), os.listdir('.')"


@pytest.fixture(params=["bubblewrap", "fork-server", "landlock", "unsafe"])
async def backend(request):
    return await select(request.param)


def descendants():
    """The processes below this one, zombies included."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    found, more = set(), {os.getpid()}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


async def gone(before):
    with anyio.fail_after(10):
        while descendants() - before:  # noqa: ASYNC110  # no event tells
            await anyio.sleep(0.01)


async def test_a_spare_is_used_once_and_replaced(backend):
    before = descendants()
    async with Ready(backend, spare=2) as sandbox:
        assert (sandbox.name, sandbox.trust) == (backend.name, backend.trust)
        for _ in range(4):
            session = await sandbox.start(Limits())
            await session.load(COUNT)
            assert await session.call("count", (), {}) == Returned((1, []))
            await session.kill()
            assert len(descendants() - before) >= 2
    await gone(before)


async def test_spares_are_kept_apart_by_limits(backend):
    async with Ready(backend, spare=1) as sandbox:
        for result in (1000, 100_000):
            session = await sandbox.start(Limits(result=result))
            await session.load("def f(): return 'x' * 50_000")
            reply = await session.call("f", (), {})
            assert isinstance(reply, Unfit if result == 1000 else Returned)
            await session.kill()


async def test_a_spare_that_has_died_is_not_given_out(backend):
    async with Ready(backend, spare=2) as sandbox:
        await (await sandbox.start(Limits())).kill()
        for spare in sandbox._spares.of(Limits()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(spare._child.pid, signal.SIGKILL)
        with anyio.fail_after(10):
            while not all(spare.ended for spare in sandbox._spares.of(Limits())):  # noqa: ASYNC110  # as above
                await anyio.sleep(0.01)
        assert (await UnitTests([(2, 4)], sandbox=sandbox).check(DOUBLE)).score == 1


async def test_many_at_once_get_one_each(backend):
    async with Ready(backend, spare=2) as sandbox:
        tests = UnitTests([((), (1, []))], sandbox=sandbox)
        verdicts = []

        async def check():
            verdicts.append(await tests.check(COUNT))

        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(check)
    assert [verdict.score for verdict in verdicts] == [1.0] * 12


def test_spares_that_nobody_closes_end_with_their_owner(anyio_backend):
    before = descendants()

    async def leave():
        await UnitTests([(2, 4)], sandbox=Ready(await select("landlock"))).check(DOUBLE)

    anyio.run(leave, backend=anyio_backend)
    assert not descendants() - before


async def test_what_cannot_be_kept_ready_is_refused():
    class Remote:
        name, trust = "remote", "remote"

        async def probe(self):
            raise NotImplementedError

        async def start(self, limits):
            raise NotImplementedError

    with pytest.raises(TypeError, match="backends that select"):
        Ready(Remote())
    with pytest.raises(ValueError, match="from 1, not 0"):
        Ready(await select("unsafe"), spare=0)


# The fork server


async def test_a_server_that_was_killed_starts_again():
    server = await select("fork-server")
    session = await server.start(Limits())
    await session.load(DOUBLE)
    os.killpg(session._child.pid, signal.SIGKILL)
    with pytest.raises((SandboxFailed, GuestFailed)):
        await session.call("double", (1,), {})
    await session.kill()
    for _ in range(2):  # the first message to a dead server may still be taken
        with contextlib.suppress(SandboxFailed):
            session = await server.start(Limits())
            break
    await session.load(DOUBLE)
    assert await session.call("double", (4,), {}) == Returned(8)
    await session.kill()


def test_a_process_that_dies_slowly_is_waited_for_when_the_next_one_starts():
    with open(os.devnull) as nothing:  # noqa: PTH123  # its number is what is wanted
        slow = Spawned(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 9; done"], nothing.fileno())
        pid = slow.pid
        slow.close()  # as if it had been killed, and the machine were too busy
        del slow
        gc.collect()  # would complain of a process that nobody waits for
        os.killpg(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        other = Spawned(["/bin/true"], nothing.fileno())
    assert not Path(f"/proc/{pid}").exists()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert other.ended()
    other.close()


async def test_forks_see_nothing_of_each_other():
    server = await select("fork-server")
    write = (
        "def f(x):\n open('left', 'w').write(x)\n import math\n math.pi = 3\n return __import__('os').listdir('/tmp')"
    )
    read = "import math, os\ndef f(): return math.pi > 3, os.listdir('/tmp')"
    one = await server.start(Limits())
    await one.load(write)
    assert await one.call("f", ("secret",), {}) == Returned(["left"])
    two = await server.start(Limits())  # while the first still runs
    await two.load(read)
    assert await two.call("f", (), {}) == Returned((True, []))
    await one.kill()
    await two.kill()


async def test_forks_draw_different_random_numbers():
    server = await select("fork-server")
    drawn = set()
    for _ in range(3):
        session = await server.start(Limits())
        await session.load("import random, os\ndef f(): return random.random()")
        drawn.add((await session.call("f", (), {})).value)
        await session.kill()
    assert len(drawn) == 3


async def test_a_program_cannot_reach_the_server():
    server = await select("fork-server")
    session = await server.start(Limits())
    await session.load("""
import os
def f():
    found = []
    for fd in range(3, 1024):
        try: os.fstat(fd); found.append(fd)
        except OSError: pass
    try: os.kill(1, 9); found.append("kill")
    except OSError: pass
    return found
""")
    reply = await session.call("f", (), {})
    assert len(reply.value) <= 1  # its own channel
    assert "kill" not in reply.value
    await session.kill()


def test_a_forked_host_starts_a_server_of_its_own(anyio_backend):
    async def check():
        return (await UnitTests([(2, 4)], sandbox="fork-server").check(DOUBLE)).score

    assert anyio.run(check, backend=anyio_backend) == 1
    pid = os.fork()
    if not pid:
        os._exit(0 if anyio.run(check, backend=anyio_backend) == 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert anyio.run(check, backend=anyio_backend) == 1


# Packages


async def test_code_imports_what_is_named_and_what_that_needs(backend):
    session = await backend.start(Limits(packages=("anyio",)))
    await session.load("def f(name): return __import__(name).__name__")
    try:
        assert await session.call("f", ("anyio",), {}) == Returned("anyio")
        assert await session.call("f", ("idna",), {}) == Returned("idna")  # anyio needs it
        if backend.trust != "none":
            assert isinstance(await session.call("f", ("pytest",), {}), Raised)
    finally:
        await session.kill()


async def test_packages_cannot_be_changed(backend):
    if backend.trust == "none":
        pytest.skip("nothing keeps it from doing so")
    session = await backend.start(Limits(packages=("idna",)))
    await session.load("import idna\ndef f(): open(idna.__file__, 'a').write('x')")
    assert isinstance(await session.call("f", (), {}), Raised)
    await session.kill()


def test_a_package_that_is_not_here_is_refused_at_once():
    with pytest.raises(ValueError, match="'no-such-thing', which is not installed"):
        Limits(packages=("no_such.thing",))
    with pytest.raises(ValueError, match="a tuple of names"):
        Limits(packages="numpy")


async def test_a_fork_server_on_a_machine_without_a_table_says_so(monkeypatch):
    monkeypatch.setattr("ttc_middleware.sandbox._seccomp.supported", lambda: False)
    with pytest.raises(SandboxFailed, match="no system-call table"):
        await ForkServer("/nonexistent/bwrap").start(Limits())


async def test_a_fork_server_without_a_launcher_says_so():
    with pytest.raises(SandboxFailed):
        await ForkServer("/nonexistent/bwrap").start(Limits())
