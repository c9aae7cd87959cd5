# ruff: noqa: T201 - a script that prints
"""Run the hostile corpus and the honest controls through `UnitTests`, and print a table by class.

    python tests/sandbox/corpus_run.py --backend bubblewrap --backend landlock [--user 65534] [--json FILE]

An attack has won where the verdict accepts it, where it comes back with the canary, where a file outside changed, a
listener heard something, a process stayed, or this process grew by more than 64 MiB. The exit status is 1 where an
attack won, a control was misjudged or the verifier failed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio
from corpus import CLASSES, Class, programs

from ttc_middleware._types import Verdict
from ttc_middleware.verifiers import UnitTests

BACKENDS = ("bubblewrap", "landlock", "fork-server", "unsafe")
CANARY = secrets.token_hex(16)
GROWTH = 64 << 20
NO_PYTHON = 75
_canary = ctypes.create_string_buffer(CANARY.encode(), 33)  # for who reads memory by its address
_heard: list[int] = []  # signals that came from inside


@dataclass
class Report:
    """What came out on one backend."""

    backend: str
    user: int
    attacks: dict[str, int] = field(default_factory=dict)
    won: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    controls: int = 0
    misjudged: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    host_growth: int = 0


class Outside:
    """What an attack may try to reach: a folder with a secret, listeners, this process."""

    def __init__(self, *, listening: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="outside-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        self.path.chmod(0o777)
        self.secret = self.path / "secret"
        self.secret.write_text(CANARY)
        self.secret.chmod(0o666)
        self._open = self.secret.open()
        os.set_inheritable(self._open.fileno(), True)
        self._listeners: dict[str, socket.socket] = {}
        if listening:
            name = f"\0ttc-{secrets.token_hex(8)}"
            self._listen("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
            self._listen("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
            self._listen("stream", socket.AF_UNIX, socket.SOCK_STREAM, str(self.path / "stream"))
            self._listen("datagram", socket.AF_UNIX, socket.SOCK_DGRAM, str(self.path / "datagram"))
            self._listen("abstract", socket.AF_UNIX, socket.SOCK_DGRAM, name)
        self._before = self._seen()

    def _listen(self, name: str, family: int, kind: int, address: Any) -> None:
        server = socket.socket(family, kind)
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen()
        server.setblocking(False)
        if name in ("stream", "datagram"):
            Path(address).chmod(0o777)
        self._listeners[name] = server

    def where(self) -> dict[str, Any]:
        """What an attack is told."""
        names = {name: server.getsockname() for name, server in self._listeners.items()}
        return {
            **{name: list(each) if isinstance(each, tuple) else each for name, each in names.items()},
            "abstract": os.fsdecode(names.get("abstract", "")),
            "folder": str(self.path),
            "secret": str(self.secret),
            "pid": os.getpid(),
            "address": ctypes.addressof(_canary),
            "installed": [str(anyio.__file__), __file__],
            "threads": 20_000,
        }

    def _seen(self) -> list[tuple[Any, ...]]:
        found = []
        for path in sorted([self.path, *self.path.rglob("*")]):
            status = path.lstat()
            text = path.read_bytes() if path.is_file() else b""
            found.append((str(path), status.st_mode, status.st_uid, status.st_mtime, text))
        return found

    def effects(self) -> Iterator[str]:
        """What the attack did out here, in words."""
        try:
            changed = self._seen() != self._before
        except OSError:
            changed = True
        if changed:
            yield "the folder changed"
        for name, server in self._listeners.items():
            with contextlib.suppress(BlockingIOError):
                yield f"{name} heard {server.accept() if server.type == socket.SOCK_STREAM else server.recv(9)}"

    def close(self) -> None:
        """Tidy up."""
        self._open.close()
        for server in self._listeners.values():
            server.close()
        self._folder.cleanup()


async def attacked(kind: Class, source: str, backend: str) -> tuple[str | None, str | None]:
    """Why an attack has won, and why the verifier failed; None and None is as it should be."""
    outside = Outside(listening=kind.title.startswith("talking"))
    try:
        hard = kind.title.startswith("knowing")
        tests: list[Any] = [(outside.where(), CANARY)] if kind.target == "where" else [((), CANARY)]
        if kind.target == "x":
            tests = [(1, CANARY), (2, CANARY), f"assert f(3) == {CANARY!r}"]
        if hard:
            tests = [(1, 1), (2, 4), (3, 9), "assert f(5) == 25"]
        verifier = UnitTests(tests, entry="f", sandbox=backend, limits=kind.limits)  # type: ignore[arg-type]
        verdict = Verdict(0.0)
        for _ in range(kind.times):
            verdict = await verifier.check(source)
        won = list(outside.effects())
        said = verdict.feedback or ""
        if verdict.score == 1 or (verdict.score > 0 and not hard):
            won.append(f"score {verdict.score}")
        if "WON" in said or CANARY in said.replace(f"assert f(3) == {CANARY!r}", "").partition(", expected ")[0]:
            won.append(said)
        if kind.target == "" and " returned " in said:
            won.append(f"was let through: {said}")
        if kind.says not in said:
            won.append(f"was not stopped for {kind.says}: {said}")
        return "; ".join(won) or None, None
    except Exception as error:  # noqa: BLE001  # whatever a verifier raises is its failure
        return None, f"{type(error).__name__}: {error}"
    finally:
        outside.close()


async def controlled(title: str, source: str, backend: str) -> str | None:
    """What is wrong with the verdict on an honest program; None if nothing is."""
    expected = eval(title.partition(" => ")[2])  # ours
    try:
        verdict = await UnitTests([((), expected)], entry="f", sandbox=backend).check(source)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001  # as above
        return f"{type(error).__name__}: {error}"
    return None if verdict.score == 1 else verdict.feedback


async def run(backend: str, *, only: str | None, slow: bool) -> Report:
    """Everything on one backend, two at a time, class by class."""
    if backend == "unsafe" and os.geteuid() == 0:
        raise SystemExit("attacks without a sandbox run as another user: --user 65534")
    report = Report(backend, os.geteuid())
    began, cpu = time.monotonic(), _cpu()
    gate = anyio.Semaphore(2)

    async def honest(title: str, source: str) -> None:
        async with gate:
            if wrong := await controlled(title, source, backend):
                report.misjudged.append(f"{title}: {wrong}")

    async with anyio.create_task_group() as group:
        for title, source in programs("controls").items():
            report.controls += 1
            group.start_soon(honest, title, source)
    await anyio.sleep(0.5)
    settled = len(_descendants())
    for name, kind in CLASSES.items():
        if only is None:
            wanted = kind.forgery if backend == "unsafe" else slow or not (kind.slow or kind.forgery)
        else:
            wanted = name == only
        if wanted:
            settled = await _class(report, name, settled)
    report.seconds, report.cpu_seconds = time.monotonic() - began, _cpu() - cpu
    return report


async def _class(report: Report, name: str, settled: int) -> int:
    """All attacks of a class, and what they left; `settled` processes belong here. How many there are then."""
    size = _peak()
    gate = anyio.Semaphore(2)
    sources = programs(name)
    report.attacks[name] = len(sources)

    async def hostile(title: str, source: str) -> None:
        async with gate:
            won, failed = await attacked(CLASSES[name], source, report.backend)
        report.won += [f"{name}/{title}: {won}"] if won else []
        report.failed += [f"{name}/{title}: {failed}"] if failed else []

    async with anyio.create_task_group() as group:
        for title, source in sources.items():
            group.start_soon(hostile, title, source)
    with anyio.move_on_after(3):
        while len(_descendants()) > settled:  # noqa: ASYNC110  # nothing tells
            await anyio.sleep(0.05)
    left, grown = len(_descendants()), _peak() - size
    if left > settled:
        report.won.append(f"{name}: {left - settled} processes stay")
    if _heard:
        report.won.append(f"{name}: signals came through: {_heard}")
        _heard.clear()
    if grown > GROWTH:
        report.won.append(f"{name}: this process grew by {grown >> 20} MiB")
    report.host_growth = max(report.host_growth, grown)
    return max(left, settled)


def _cpu() -> float:
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _peak() -> int:
    """Bytes of memory that this process has had at most; not ru_maxrss, which begins at its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _descendants() -> set[int]:
    """The processes below this one; orphans come to it too, since it is their reaper."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(path.name)] = int(parent)
    found: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in {os.getpid(), *found}} - found:
        found |= more
    return found


def printed(report: Report) -> None:
    """The table of a report."""
    print(f"\n{report.backend}, as user {report.user}")
    for name, count in report.attacks.items():
        won = sum(each.startswith((f"{name}/", f"{name}:")) for each in report.won)
        failed = sum(each.startswith(f"{name}/") for each in report.failed)
        print(f"  {CLASSES[name].title:<56}{count:>4} attacks{won:>4} won{failed:>4} failed")
    total = sum(report.attacks.values())
    print(f"  {'all':<56}{total:>4} attacks{len(report.won):>4} won{len(report.failed):>4} failed")
    print(f"  {'honest controls':<56}{report.controls:>4}        {len(report.misjudged):>4} misjudged")
    print(f"  {report.seconds:.0f} s, {report.cpu_seconds:.0f} s of CPU, host grew {report.host_growth >> 20} MiB")
    for each in (*report.won, *report.failed, *report.misjudged):
        print(f"  ! {each}")


def as_user(user: int, arguments: list[str]) -> int:
    """The same as another user, by an interpreter that this user may read; `NO_PYTHON` where there is none."""
    wanted = [str(each) for each in sys.version_info[:2]]
    ask = "import os, sys; os.listdir(os.path.dirname(os.__file__)); print(*sys.version_info[:2])"
    for python in filter(None, [sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")]):
        with contextlib.suppress(PermissionError):
            found = _as(user, [python, "-c", ask], capture_output=True, text=True)
            if found.stdout.split() == wanted:
                path = os.pathsep.join(each for each in sys.path if each and each != str(Path(os.__file__).parent))
                environment = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ.get("PATH", "")}
                return _as(user, [python, __file__, *arguments], env=environment).returncode
    print(f"no Python {'.'.join(wanted)} here that user {user} may read", file=sys.stderr)
    return NO_PYTHON


def _as(user: int, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, user=user, group=user, extra_groups=[], cwd="/", check=False, **options)


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--backend", action="append", choices=BACKENDS, help="one or more; by default the isolating ones"
    )
    parser.add_argument("--user", type=int, help="become this user first; needs root")
    parser.add_argument("--only", choices=[*CLASSES], help="one class")
    parser.add_argument("--quick", action="store_true", help="no endless programs, and forgeries on unsafe alone")
    parser.add_argument(
        "--json", metavar="FILE", help='write the reports here; "-" is standard output, in place of tables'
    )
    options = parser.parse_args()
    if options.user is not None and options.user != os.geteuid():
        rest = [each for at, each in enumerate(sys.argv[1:]) if "--user" not in (each, sys.argv[at])]
        return as_user(options.user, rest)
    os.environ["TTC_CANARY"] = CANARY
    signal.signal(signal.SIGWINCH, lambda number, _: _heard.append(number))
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: no orphan goes unseen
    reports = []
    for backend in options.backend or ("bubblewrap", "landlock"):
        reports.append(anyio.run(lambda name=backend: run(name, only=options.only, slow=not options.quick)))
        if options.json != "-":
            printed(reports[-1])
    text = json.dumps([asdict(each) for each in reports], indent=1)
    if options.json == "-":
        print(text)
    elif options.json:
        Path(options.json).write_text(text)
    return 1 if any(each.won or each.failed or each.misjudged for each in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
