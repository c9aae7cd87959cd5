from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import anyio
import pytest

from ttc_middleware._errors import VerifierFailed
from ttc_middleware.sandbox._slots import capacity
from ttc_middleware.verifiers import _aside
from ttc_middleware.verifiers._aside import Aside, Exhausted

pytestmark = pytest.mark.anyio

WORKER = """
import os, re, time

def answer(question):
    match question:
        case "pid":
            return os.getpid()
        case {"sleep": seconds, "file": path}:
            with open(path, "w") as file:
                file.write(str(os.getpid()))
            time.sleep(seconds)
        case {"python": source}:
            return eval(source)
"""
SPIN = {"python": "[0 for _ in iter(int, 1)]"}


@pytest.fixture
def worker(tmp_path):
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    yield path
    for aside, process in list(_aside._idle):
        if aside.worker == str(path):
            _aside._idle.remove((aside, process))
            process.close(5)
            _aside._all.discard(process)


@pytest.fixture
def aside(worker):
    return Aside(str(worker), cpu_s=0.2, memory=256 << 20)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def run(worker, script):
    """Run a program that has no guard for its main module."""
    code = textwrap.dedent(script).replace("WORKER", repr(str(worker)))
    before = "import anyio, os, sys, threading, time\nfrom ttc_middleware.verifiers._aside import Aside\n"
    path = worker.parent / "program.py"
    path.write_text(before + code)
    done = subprocess.run(
        [sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


async def test_a_worker_answers_and_is_kept_for_the_next_question(aside):
    first = await aside.ask("pid")
    assert first != os.getpid()
    assert await aside.ask({"python": "'\\ud800 ' + 'ä' * 100000"}) == "\ud800 " + "ä" * 100000
    assert await aside.ask("pid") == first


async def test_a_question_that_takes_too_much_cpu_is_ended_and_the_next_one_gets_a_new_worker(aside):
    first = await aside.ask("pid")
    with pytest.raises(Exhausted, match=r"took more than 0.2 s of CPU"):
        await aside.ask(SPIN)
    assert await aside.ask("pid") != first
    assert alive(first) is None


@pytest.mark.parametrize("source", ["re.match('(a+)+b', 'a' * 50)", "9 ** 9 ** 9"])
async def test_c_code_that_never_looks_up_is_ended_too(aside, source):
    with pytest.raises(Exhausted, match="CPU"):
        await aside.ask({"python": source})


async def test_each_question_has_its_own_cpu_seconds(aside):
    spend = "[0 for _ in iter(lambda start=time.process_time(): time.process_time() - start > 0.08, True)] and 1"
    assert [await aside.ask({"python": spend}) for _ in range(4)] == [1] * 4


async def test_waiting_costs_no_cpu(aside, tmp_path):
    assert await aside.ask({"sleep": 0.5, "file": str(tmp_path / "pid")}) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("bytearray(10 ** 10)", "ran out of memory"),
        ("(lambda f: f(f))(lambda f: f(f))", "nested too deeply"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("os._exit(3)", "exit status 3"),
    ],
)
async def test_a_question_that_brings_the_worker_down_is_at_fault(aside, source, said):
    with pytest.raises(Exhausted, match=said):
        await aside.ask({"python": source})
    assert await aside.ask({"python": "1"}) == 1


async def test_an_error_in_the_worker_is_no_fault_of_the_question(aside):
    with pytest.raises(VerifierFailed, match="ZeroDivisionError"):
        await aside.ask({"python": "1 / 0"})
    with pytest.raises(VerifierFailed, match="killed from outside"):
        await aside.ask({"python": "os.kill(os.getpid(), 9)"})


async def test_a_worker_that_cannot_start_says_why(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import no_such_package_at_all")
    with pytest.raises(VerifierFailed, match="no_such_package_at_all"):
        await Aside(str(path)).ask(1)
    with pytest.raises(VerifierFailed, match="did not start"):
        await Aside(str(tmp_path / "missing.py")).ask(1)
    with pytest.raises(VerifierFailed, match="did not start"):
        await Aside(str(path), memory=1 << 20).ask(1)


async def test_an_idle_worker_that_somebody_killed_is_replaced(aside):
    first = await aside.ask("pid")
    os.kill(first, signal.SIGKILL)
    while alive(first) not in ("Z", None):  # noqa: ASYNC110  # another process has no events
        await anyio.sleep(0.001)
    assert await aside.ask("pid") != first
    assert alive(first) is None


async def test_cancelling_leaves_no_process_no_zombie_and_no_file(aside, tmp_path):
    await aside.ask("pid")
    files, processes = open_files(), len(_aside._all)
    path = tmp_path / "pid"
    async with anyio.create_task_group() as group:
        group.start_soon(aside.ask, {"sleep": 60, "file": str(path)})
        while not (path.exists() and path.read_text()):  # noqa: ASYNC110  # as above
            await anyio.sleep(0.005)
        group.cancel_scope.cancel()
    assert alive(path.read_text()) is None
    assert open_files() == files - 1  # that of the worker, which was idle before
    assert len(_aside._all) == processes - 1


async def test_no_more_idle_workers_are_kept_than_there_are_cpus(worker):
    asides = [Aside(str(worker), cpu_s=1 + number) for number in range(capacity() + 2)]
    pids = [await each.ask("pid") for each in asides]
    assert len(_aside._idle) <= capacity()
    assert [alive(pid) is None for pid in pids] == [True] * 2 + [False] * capacity()


async def test_the_programs_environment_stays_at_home(aside, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "secret")
    assert "MY_API_KEY" not in await aside.ask({"python": "list(os.environ)"})


def test_loops_in_several_threads_share_the_workers(aside, anyio_backend):
    pids = set()

    async def ask():
        for _ in range(5):
            pids.add(await aside.ask("pid"))

    threads = [threading.Thread(target=anyio.run, args=(ask,), kwargs={"backend": anyio_backend}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 1 <= len(pids) <= capacity()


def test_nothing_is_left_when_a_program_ends(worker, anyio_backend):
    script = f"""
    async def main():
        print(await Aside(WORKER).ask("pid"), await Aside(WORKER, cpu_s=1).ask("pid"))
    anyio.run(main, backend={anyio_backend!r})
    """
    pids = run(worker, script)
    assert len(pids) == 2
    assert [alive(pid) for pid in pids] == [None, None]


def test_nothing_is_left_when_a_program_ends_amid_a_question(worker, tmp_path):
    path = tmp_path / "pid"
    script = f"""
    threading.excepthook = lambda _: None  # the thread may come to see that its worker has gone
    question = {{"sleep": 60, "file": {str(path)!r}}}
    threading.Thread(target=anyio.run, args=(Aside(WORKER).ask, question), daemon=True).start()
    while not (os.path.exists({str(path)!r}) and os.path.getsize({str(path)!r})):
        time.sleep(0.005)
    """
    run(worker, script)
    assert alive(path.read_text()) is None


def test_a_forked_child_has_workers_of_its_own_and_leaves_its_parents_alone(worker):
    script = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
    aside = Aside(WORKER)
    first = anyio.run(aside.ask, "pid")
    child = os.fork()
    if not child:
        from ttc_middleware.verifiers import _aside
        assert not _aside._all
        print(anyio.run(aside.ask, "pid"), flush=True)
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
    print(first, anyio.run(aside.ask, "pid"))
    """
    childs, first, second = run(worker, script)
    assert first == second != childs
    assert [alive(pid) for pid in (childs, first)] == [None, None]


def test_it_works_where_the_program_ignores_the_limits_signal(worker):
    script = """
    import signal
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        anyio.run(Aside(WORKER, cpu_s=0.1).ask, {"python": "9 ** 9 ** 9"})
    except Exception as error:
        print(type(error).__name__)
    """
    assert run(worker, script) == ["Exhausted"]
