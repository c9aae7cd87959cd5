"""A session in a child process: spawned, talked to over a socket, and killed, on asyncio and trio alike.

The process is started by `subprocess` itself, in the loop's own thread (1 to 2 ms), and reaped by `wait4`: no child
watcher is needed, the loop may run in any thread, and a parent-death signal does not fire when a helper thread ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from .._errors import SandboxFailed
from ._base import Call, GuestFailed, Limits, Raised, Reply, Returned, Unfit
from ._python import worker
from ._wire import BadFrame, pack, plain, rebuild, unpack

_START_S = 20.0  # for an interpreter that starts in 0.03: only a machine in trouble takes longer
_TICK_S = 0.1  # how often a scratch folder on a real disk is measured
_LATE_S = 1.0  # more for an answer that had come when our own loop was late to look
_FILES = 1000


@dataclass
class Plan:
    """How to start a process that locks itself in."""

    command: Sequence[str]
    setup: dict[str, Any]
    """What the worker is told; its `filter` is made from the process's id."""
    limits: Limits
    folder: str | None = None
    """A scratch folder of ours, to be measured and removed."""
    flat: bool = True
    """The code can make no folders in it."""
    inner: Callable[[int], list[str]] | None = None
    """For a launcher that starts the interpreter: its options for reporting that child's id on a descriptor."""
    kill_means_us: bool = True
    """The code cannot send itself SIGKILL."""
    seccomp: Callable[[int], bytes] | None = None
    """The filter for a process id."""


async def start(plan: Plan) -> Process:
    """Start a process and wait until it has locked itself in.

    Raises:
        SandboxFailed: it did not start, or took 20 seconds.
    """
    await anyio.lowlevel.checkpoint()
    try:
        process = Process(plan)
    except OSError as error:
        _remove(plan.folder)
        raise SandboxFailed(f"{plan.command[0]} did not start: {error}") from error
    try:
        await process.lock(plan)
    except BaseException:
        await process.kill()
        raise
    return process


class Process:
    """A `Session` with a child process."""

    def __init__(self, plan: Plan) -> None:
        self._limits = plan.limits
        self._left = plan.limits.wall_s
        self._folder, self._flat, self._kill_means_us = plan.folder, plan.flat, plan.kill_means_us
        self._buffer = bytearray()
        self._usage: float | None = None
        self._inner: int | None = None
        self._dead = False
        self._complaint = ""
        self._socket, theirs = socket.socketpair()
        self._errors, errors = os.pipe()
        report, reports = os.pipe() if plan.inner else (-1, -1)
        self._report = report
        try:
            self._popen = subprocess.Popen(  # noqa: S603  # the command is ours
                [plan.command[0], *(plan.inner(reports) if plan.inner else ()), *plan.command[1:]],
                stdin=theirs, stdout=subprocess.DEVNULL, stderr=errors,
                env={}, cwd="/", pass_fds=(reports,) if plan.inner else (),
            )  # fmt: skip
        except BaseException:
            self._socket.close()
            _close(self._errors, report)
            raise
        finally:
            theirs.close()
            _close(errors, reports)
        self._pid = self._popen.pid
        self._socket.setblocking(False)
        for descriptor in (self._errors, report):
            if descriptor >= 0:
                os.set_blocking(descriptor, False)

    # Starting

    async def lock(self, plan: Plan) -> None:
        """Send the worker's code and its setup, and wait for its word that it has locked itself in."""
        pid = 1 if plan.inner else self._pid
        setup = {**plan.setup, "filter": plan.seccomp(pid) if plan.seccomp else None, "result": self._limits.result}
        try:
            with anyio.fail_after(_START_S):
                await self._write(pack(worker()) + pack(setup))
                await self._frame()
            if self._report >= 0:
                self._pid = int(json.loads(os.read(self._report, 4096))["child-pid"])
                self._inner = os.pidfd_open(self._pid)
        except (TimeoutError, GuestFailed, OSError, ValueError, KeyError, BadFrame) as error:
            await self.kill()
            said = self._complaint or f"{type(error).__name__}: {error}"
            raise SandboxFailed(f"the sandbox did not start: {said}") from error

    # Talking

    async def load(self, source: str) -> Reply:
        """Run a program's top level; returns the names of the functions that it defines, in order."""
        return await self._ask("load", source)

    async def call(self, entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reply:
        """Call a function of the program; only plain data crosses."""
        plain(args)
        return await self._ask("call", entry, args, dict(kwargs))

    async def check(self, test: str, names: Sequence[str], call: Call) -> Reply:
        """Run a test here whose calls of `names` are made by `call`, on our side."""
        return await self._ask("check", test, list(names), relay=call)

    async def _ask(self, *request: Any, relay: Call | None = None) -> Reply:
        """Send a request and get its answer; the next one goes out only after that, under another random id."""
        ident = secrets.randbits(48)
        message: Any = (ident, *request)
        while True:
            parts = await self._timed(message)
            try:
                return _reply(ident, parts)
            except _Relay as asked:
                if relay is None:
                    raise GuestFailed("spoke nonsense: a call where none was due") from None
                message = _answer(await relay(asked.name, asked.args, asked.kwargs))
            except BadFrame as error:
                raise GuestFailed(f"spoke nonsense: {error}") from None

    async def _timed(self, message: Any) -> list[Any]:
        began = anyio.current_time()
        try:
            with anyio.move_on_after(self._left):
                await self._write(pack(message))
                return await self._frame()
            if self._answered():
                with anyio.move_on_after(_LATE_S):
                    return await self._frame()
        finally:
            self._left = max(0.0, self._left - (anyio.current_time() - began))
        waiting = _waits(self._pid)
        await self.kill()
        used = "" if self._usage is None else f" and {self._usage:.1f} s of CPU"
        if waiting:
            raise GuestFailed(f"was still waiting for something after {self._limits.wall_s:g} s{used}")
        raise SandboxFailed(f"this machine is too busy: the code still wanted to run after {self._limits.wall_s:g} s{used}")

    def _answered(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return False
        return True

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                await self._until(anyio.wait_writable)
            except OSError:
                raise await self._ended() from None

    async def _frame(self) -> list[Any]:
        """The next frame; the length is checked before anything is read, so a flood stays in the kernel."""
        await self._fill(4)
        size = int.from_bytes(self._buffer[:4], "big")
        if size > self._limits.result + 4096:
            raise GuestFailed(f"answered with {size} bytes, where {self._limits.result} are allowed")
        await self._fill(4 + size)
        body = bytes(self._buffer[4:])
        self._buffer.clear()
        self._measure()
        return unpack(body)

    async def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            try:
                data = self._socket.recv(min(count - len(self._buffer), 1 << 16))
            except BlockingIOError:
                await self._until(anyio.wait_readable)
            except OSError:
                raise await self._ended() from None
            else:
                if not data:
                    raise await self._ended()
                self._buffer += data

    async def _until(self, ready: Callable[[socket.socket], Awaitable[None]]) -> None:
        while self._folder is not None and self._flat:
            with anyio.move_on_after(_TICK_S):
                return await ready(self._socket)
            self._measure()
        return await ready(self._socket)

    def _measure(self) -> None:
        if self._folder is not None and self._flat:
            with os.scandir(self._folder) as entries:
                sizes = [entry.stat(follow_symlinks=False).st_size for entry in entries]
            if len(sizes) > _FILES or sum(sizes) > self._limits.tmp:
                raise GuestFailed(f"wrote more than {self._limits.tmp} bytes or {_FILES} files into its scratch folder")

    async def _ended(self) -> Exception:
        """Why the process hung up: it is dead already, or it closed its channel and lives."""
        with anyio.move_on_after(0.5):
            while not self._reap():
                await anyio.sleep(0.002)
        by_itself = self._popen.returncode is not None
        await self.kill()
        if self._usage is not None and self._usage >= self._limits.cpu_s - 0.05:
            return GuestFailed(f"used up its {self._limits.cpu_s} s of CPU")
        if not by_itself:
            return GuestFailed("closed its channel")
        code = self._popen.returncode
        if code == -signal.SIGKILL and self._kill_means_us:
            return SandboxFailed("the sandbox was killed from outside")
        with contextlib.suppress(ValueError):
            return GuestFailed(f"died of {signal.Signals(-code if code < 0 else code - 128).name}")
        return GuestFailed(f"ended before it answered (exit status {code})")

    # Ending

    async def kill(self) -> None:
        """End the process and free what it holds: at most a second, also when cancelled, as often as one likes."""
        with anyio.move_on_after(1, shield=True):
            waited = 0
            while not self._reap():
                # The inner process first: a launcher that outlives it reaps it, and its CPU time counts.
                if self._inner is not None and waited < 100:
                    with contextlib.suppress(OSError):
                        signal.pidfd_send_signal(self._inner, signal.SIGKILL)
                else:
                    self._popen.kill()
                await anyio.sleep(0.002)
                waited += 1
        if not self._dead:
            self._dead = True
            with contextlib.suppress(OSError):
                self._complaint = os.read(self._errors, 8192).decode("utf-8", "replace").strip()[-1000:]
            self._socket.close()
            _close(self._errors, self._report, -1 if self._inner is None else self._inner)
            _remove(self._folder)

    def _reap(self) -> bool:
        if self._popen.returncode is None:
            try:
                pid, status, usage = os.wait4(self._popen.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else's waitpid(-1) was faster
                self._popen.returncode = 0
            else:
                if pid:
                    self._popen.returncode = os.waitstatus_to_exitcode(status)
                    self._usage = usage.ru_utime + usage.ru_stime
        return self._popen.returncode is not None


class _Relay(Exception):
    def __init__(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.name, self.args, self.kwargs = name, args, kwargs


def _reply(ident: int, parts: list[Any]) -> Reply:
    match parts:
        case [int(given), *_] if given != ident:
            raise BadFrame("an answer to another question")
        case [int(), "returned", value]:
            return Returned(rebuild(value))
        case [int(), "raised", str(kind), str(message)]:
            return Raised(kind, message)
        case [int(), "unfit", str(reason)]:
            return Unfit(reason)
        case [int(), "call", str(name), args, kwargs]:
            args, kwargs = rebuild(args), rebuild(kwargs)
            if type(args) is tuple and type(kwargs) is dict and all(type(key) is str for key in kwargs):
                raise _Relay(name, args, kwargs)
        case _:
            pass
    raise BadFrame("an answer of no known kind")


def _answer(reply: Reply) -> tuple[str, ...]:
    match reply:
        case Returned(value):
            return ("returned", value)
        case Raised(kind, message):
            return ("raised", kind, message)
        case Unfit(reason):
            return ("raised", "TypeError", reason)


def _waits(pid: int) -> bool:
    """Whether every thread of a process waits for something other than a CPU or a disk: the code sleeps or is stuck.

    A starved process is runnable, a sleeping one is not, however busy the machine. Where the system does not tell
    (no /proc), time counts against the code.
    """
    try:
        states = [_state(task) for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return True
    return not any(state in ("R", "D") for state in states)


def _state(task: Path) -> str:
    return (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def _remove(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)
