"""Code that answers without end costs the host no memory, and dies when it is told to."""

from __future__ import annotations

import json
import os
import select as system
import statistics
import subprocess
import sys
import time

import anyio
import pytest

from ttc_middleware._errors import SandboxUnavailable
from ttc_middleware.sandbox import Limits, select

pytestmark = pytest.mark.slow

MOST = 64 << 20
BACKENDS = ["bubblewrap", "fork-server", "landlock"]

# Each with the tests that it does not pass; what is asked of it first shows that the sandbox works at all.
FLOODS: dict[str, tuple[str, list[object]]] = {
    "standard output": (
        """
import os
def f(x):
    for _ in range(300 if x else 0): os.write(1, bytes(1 << 20)) and os.write(2, bytes(1 << 20))
    return x and -1
""",
        [(0, 0), (1, 1)],
    ),
    "one result": ("def f(x): return x and 'x' * 100_000_000", [(0, 0), (1, 1)]),
    "results of many parts": ("def f(x): return x and [[]] * 150_000", [(0, 0), (1, 0), (2, 0), (3, 0)]),
    "endless frames": (
        """
import os, _thread
def flood(descriptor):
    try:
        while True: os.write(descriptor, b"\\0\\x0f\\0\\0" + bytes(1 << 20))
    except OSError: pass
def f(x):
    for descriptor in range(3, 64) if x else (): _thread.start_new_thread(flood, (descriptor,))
    while x: pass
    return x
""",
        [(0, 0), (1, 1), (2, 2)],
    ),
    "frames that are no JSON": (
        """
import os
def f(x):
    for descriptor in range(3, 64) if x else ():
        try: os.write(descriptor, b"\\0\\x0f\\0\\0" + b"[" * 0xf0000)
        except OSError: pass
    return x
""",
        [(0, 0), (1, 1)],
    ),
    "calls of a test's function": (
        "def f(call):\n for _ in range(40): call('x' * 900_000)",
        ["assert f(lambda text: text) == 1"],
    ),
    "exceptions": ("def f(x):\n if x: raise ValueError('x' * 50_000_000)\n return x", [(0, 0), (1, 1)]),
    "objects of objects": (
        "class Node:\n def __getattr__(self, name): return Node()\ndef f(): return Node()",
        [f"node = f()\nfor _ in range(800): node = node.{'n' * 400}\nassert node is None"],
    ),
}

HOST = """
import json, sys
import anyio
from ttc_middleware.sandbox import Limits
from ttc_middleware.verifiers import UnitTests

def memory(name):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(name))

async def main(backend, floods):
    warm = UnitTests([(1, 2), "def own(x): return x\\nassert f(own(1)) == 2"], sandbox=backend)
    assert (await warm.check("def f(x): return 2 * x")).score == 1
    for name, (source, tests) in floods.items():
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak is now what is used now
        before = memory("VmHWM")
        tests = [each if isinstance(each, str) else tuple(each) for each in tests]
        verdict = await UnitTests(tests, sandbox=backend, limits=Limits(cpu_s=2)).check(source)
        print(json.dumps([name, verdict.score, verdict.feedback, memory("VmHWM") - before]))

anyio.run(main, *json.load(sys.stdin))
"""


def flooded(backend, names):
    """What became of floods: their names, scores and feedback, and by how many bytes at most the host grew."""
    told = json.dumps([backend, {name: FLOODS[name] for name in names}])
    done = subprocess.run([sys.executable, "-c", HOST], input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def works(backend):
    try:
        await select(backend)
    except SandboxUnavailable:
        return False
    return True


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak of memory to read")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flood_stays_outside_the_hosts_memory(backend):
    if not anyio.run(works, backend):
        pytest.skip(f"{backend} does not work here")
    found = flooded(backend, FLOODS)
    assert [name for name, *_ in found] == [*FLOODS]
    assert {name: f"{grown >> 20} MiB" for name, _, _, grown in found if grown > MOST} == {}
    assert [name for name, score, _, _ in found if score == 1] == []
    assert max(len(feedback) for _, _, feedback, _ in found) <= 400


# Ending

BUSY = {
    "sleeps": "import time\ndef f(): time.sleep(1e9)",
    "spins": "def f():\n while True: pass",
    "ignores signals": """
import signal, time, _thread
for each in range(1, 65):
    try: signal.signal(each, signal.SIG_IGN)
    except (OSError, ValueError): pass
def f():
    for _ in range(20): _thread.start_new_thread(time.sleep, (1e9,))
    time.sleep(1e9)
""",
    "holds much memory": "import time\nheld = bytearray(b'x') * (100 << 20)\ndef f(): time.sleep(1e9)",
}


@pytest.mark.anyio
@pytest.mark.parametrize("backend", BACKENDS)
async def test_killing_returns_once_the_process_is_gone_and_takes_no_100_ms(backend):
    if not await works(backend):
        pytest.skip(f"{backend} does not work here")
    sandbox = await select(backend)
    took = []
    for kill in range(20):
        session = await sandbox.start(Limits())
        await session.load([*BUSY.values()][kill % len(BUSY)])
        process = os.pidfd_open(session._pid)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(calling, session)
                await anyio.sleep(0.01)
                assert not exited(process)
                began = time.perf_counter()
                await session.kill()
                took.append(time.perf_counter() - began)
                assert exited(process)  # as the kernel says, and without waiting
        finally:
            os.close(process)
    assert statistics.median(took) < 0.1, took


async def calling(session):
    with pytest.raises(Exception):  # noqa: B017, PT011  # it ends under way
        await session.call("f", (), {})


def exited(process):
    """Whether a process has ended, as its pidfd tells."""
    return bool(system.select([process], [], [], 0)[0])
