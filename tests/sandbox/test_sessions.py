from __future__ import annotations

import asyncio  # noqa: TID251  # a loop without a child watcher is asyncio's own affair
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import anyio
import pytest

from ttc_middleware._errors import SandboxFailed
from ttc_middleware.sandbox import Bubblewrap, GuestFailed, Landlock, Limits, Returned, Unsafe, select

pytestmark = pytest.mark.anyio

DOUBLE = "def double(x): return 2 * x"


@pytest.fixture(params=["bubblewrap", "fork-server", "landlock", "unsafe"])
async def sandbox(request):
    return await select(request.param)


def children():
    """The processes whose parent is this one, zombies included."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(process.name))
    return found


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def alive(pid):
    return Path(f"/proc/{pid}").exists()


async def started(sandbox, source=DOUBLE):
    session = await sandbox.start(Limits())
    assert isinstance(await session.load(source), Returned)
    return session


async def test_a_session_loads_calls_and_dies(sandbox):
    before = children()
    session = await sandbox.start(Limits())
    try:
        assert await session.load(DOUBLE) == Returned(["double"])
        assert await session.call("double", (21,), {}) == Returned(42)
        assert await session.call("double", (), {"x": [1]}) == Returned([1, 1])
    finally:
        await session.kill()
    assert children() == before


async def test_killing_twice_and_at_once_is_killing_once(sandbox):
    session = await started(sandbox)
    pid = session._pid
    async with anyio.create_task_group() as group:
        group.start_soon(session.kill)
        group.start_soon(session.kill)
    await session.kill()
    assert not alive(pid)


async def test_a_session_killed_by_another_task_ends_the_call_under_way(sandbox):
    session = await started(sandbox, "import time\ndef f(): time.sleep(1e9)")
    failures = []

    async def call():
        try:
            await session.call("f", (), {})
        except (GuestFailed, SandboxFailed) as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        await session.kill()
    assert len(failures) == 1


@pytest.mark.parametrize("source", ["while True: pass", "import time\ntime.sleep(1e9)"], ids=["busy", "asleep"])
async def test_cancellation_leaves_no_process_and_no_descriptor(sandbox, source):
    await (await started(sandbox)).kill()
    processes, files = children(), descriptors()
    session = await sandbox.start(Limits(cpu_s=5, wall_s=60))
    with anyio.move_on_after(0.05) as scope:
        try:
            await session.load(source)
        finally:
            await session.kill()
    assert scope.cancelled_caught
    assert not alive(session._pid)
    assert children() == processes
    assert descriptors() == files


async def test_cancellation_at_any_moment_of_starting_leaves_nothing(sandbox):
    await (await started(sandbox)).kill()
    processes, files = children(), descriptors()
    for moment in (0, 0.001, 0.002, 0.004, 0.008, 0.016):
        with anyio.move_on_after(moment):
            session = await sandbox.start(Limits())
            await session.kill()
    assert children() == processes
    assert descriptors() == files


async def test_a_death_from_outside_is_our_failure(sandbox):
    if sandbox.name == "unsafe":
        pytest.skip("there the code may kill itself")
    session = await started(sandbox, "import time\ndef f(): time.sleep(1e9)")
    failures = []

    async def call():
        try:
            await session.call("f", (), {})
        except (GuestFailed, SandboxFailed) as error:
            failures.append(error)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            os.killpg(session._child.pid, signal.SIGKILL)
    finally:
        await session.kill()
    assert isinstance(failures[0], SandboxFailed)
    assert "from outside" in str(failures[0])


async def test_code_that_ends_its_process_is_its_own_failure(sandbox):
    session = await started(sandbox, "import os\ndef f(): os._exit(0)")
    try:
        with pytest.raises(GuestFailed, match="exit status 0"):
            await session.call("f", (), {})
    finally:
        await session.kill()


@pytest.fixture
def crowd():
    """Keeps one CPU busy; gives its number."""
    place = min(os.sched_getaffinity(0))
    pin = f"import os; os.sched_setaffinity(0, {{{place}}})\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", pin]) for _ in range(4)]
    yield place
    for each in busy:
        each.kill()
        each.wait()


@pytest.mark.slow
async def test_code_that_stood_in_line_for_a_cpu_is_our_failure(sandbox, crowd):
    session = await sandbox.start(Limits(wall_s=2, cpu_s=2))
    os.sched_setaffinity(session._pid, {crowd})
    try:
        with pytest.raises(SandboxFailed, match="too busy"):
            await session.load("while True: pass")
    finally:
        await session.kill()


async def test_an_answer_that_came_while_our_own_loop_was_late_counts(sandbox):
    limits = Limits()
    object.__setattr__(limits, "wall_s", 0.05)
    session = await sandbox.start(limits)

    async def block():
        await anyio.lowlevel.checkpoint()
        threading.Event().wait(0.3)  # a loop that does not turn

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(block)
            assert await session.load(DOUBLE) == Returned(["double"])
    finally:
        await session.kill()


@pytest.mark.parametrize(
    "broken", [Bubblewrap("/nonexistent/bwrap"), Bubblewrap("/bin/false"), Bubblewrap("/bin/true")], ids=str
)
async def test_what_cannot_start_is_our_failure_and_leaves_nothing(broken):
    processes, files = children(), descriptors()
    with pytest.raises(SandboxFailed, match="did not start"):
        await broken.start(Limits())
    assert children() == processes
    assert descriptors() == files


async def test_a_probe_says_why_a_backend_does_not_work():
    probe = await Bubblewrap("/nonexistent/bwrap").probe()
    assert not probe.works
    assert "/nonexistent/bwrap" in probe.reason


async def test_a_probe_finds_that_a_plain_process_keeps_nothing_in():
    from ttc_middleware.sandbox._probe import probe  # noqa: PLC0415

    found = await probe(Unsafe())
    assert not found.works
    assert "read a file" in found.reason
    assert "start a process" in found.reason


async def test_backends_that_isolate_pass_their_own_probe(sandbox):
    assert (await sandbox.probe()).works


def test_it_works_from_the_loop_of_any_thread(anyio_backend):
    results = []

    async def main():
        for name in ("bubblewrap", "fork-server", "landlock"):
            session = await started(await select(name))
            results.append(await session.call("double", (4,), {}))
            await session.kill()

    thread = threading.Thread(target=anyio.run, args=(main,), kwargs={"backend": anyio_backend})
    thread.start()
    thread.join(60)
    assert results == [Returned(8)] * 3


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers are gone")
def test_it_works_where_the_loop_has_no_child_watcher():
    class NoWatcher:
        def attach_loop(self, loop):
            pass

        def __getattr__(self, name):
            raise AssertionError("a child watcher was asked for")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        policy = asyncio.get_event_loop_policy()
        kept = policy._watcher
        policy._watcher = NoWatcher()

    async def main():
        session = await started(Landlock())
        result = await session.call("double", (4,), {})
        await session.kill()
        return result

    try:
        assert anyio.run(main) == Returned(8)
    finally:
        policy._watcher = kept


async def test_it_works_where_somebody_else_reaps_our_children(sandbox):
    if sandbox.name == "bubblewrap":
        pytest.skip("bwrap inherits the ignored signal and then does not see its own child end")
    kept = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel does, before we can ask
    try:
        session = await started(sandbox, "import os\ndef f(x):\n if x: os._exit(3)\n return 'here'")
        try:
            assert await session.call("f", (0,), {}) == Returned("here")
            with pytest.raises(GuestFailed):
                await session.call("f", (1,), {})
        finally:
            await session.kill()
        assert not alive(session._pid)
    finally:
        signal.signal(signal.SIGCHLD, kept)


async def test_a_host_that_dies_takes_the_code_with_it():
    program = """
import anyio
from ttc_middleware.sandbox import Limits, select
async def main():
    sessions = []
    for name in ("bubblewrap", "fork-server", "landlock"):
        sessions.append(await (await select(name)).start(Limits(wall_s=60)))
        await sessions[-1].load("import threading")
        print(sessions[-1]._pid, flush=True)
    await sessions[0].load("import time; time.sleep(1e9)")
anyio.run(main)
"""
    host = await anyio.open_process([sys.executable, "-c", program], stderr=None)
    try:
        lines = b""
        while lines.count(b"\n") < 2:
            lines += await host.stdout.receive()
        pids = [int(line) for line in lines.split()]
        assert all(map(alive, pids))
    finally:
        host.kill()
        await host.aclose()
    with anyio.fail_after(10):
        while any(map(alive, pids)):  # noqa: ASYNC110  # they are no children of ours
            await anyio.sleep(0.01)


async def test_only_plain_data_is_taken_in(sandbox):
    session = await started(sandbox)
    try:
        with pytest.raises(TypeError, match="plain data"):
            await session.call("double", (object(),), {})
        nested: list = []
        for _ in range(70):
            nested = [nested]
        with pytest.raises(TypeError, match="64 deep"):
            await session.call("double", (nested,), {})
        assert await session.call("double", (3,), {}) == Returned(6)
    finally:
        await session.kill()


async def test_sessions_leave_nothing_for_the_garbage_collector(sandbox):
    await (await started(sandbox)).kill()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        session = await started(sandbox)
        await session.kill()
        del session
        gc.collect()


@pytest.mark.parametrize(
    "bad",
    [{"cpu_s": 0}, {"cpu_s": 1.5}, {"wall_s": float("inf")}, {"wall_s": float("nan")}, {"memory": 1 << 20},
     {"pids": -1},      {"tmp": True}, {"cpu_s": 20, "wall_s": 10}, {"result": "1"}],
    ids=str,
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Limits(**bad)
