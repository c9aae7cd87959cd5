"""A session in a child process: started, talked to over a socket, and killed, on asyncio and trio alike."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from ttc_middleware._errors import SandboxFailed

from ._base import GuestFailed, Limits, Peer, Reply, Tests, Use
from ._channel import Channel, Hangup
from ._child import Child
from ._python import code
from ._wire import BadFrame, answer, pack, plain, reply, tree

_START_S = 20.0  # for an interpreter that starts in 0.03: only a machine in trouble takes longer
_KILL_S = 1.0
_LATE_S = 1.0  # more for an answer that had come when our own loop was late to look
_TICK_S = 0.002
LESSONS = ("_objects.py", "_suites.py")
"""What a worker learns when it is asked for more than a call: to use objects, and to run tests."""
_DEEPEST = 100  # test and program, each waiting for the other
_FILES = 1000
_SPARE = 4096  # bytes of a frame beside its value
_BIG = 1 << 16  # a frame of more bytes is decoded in a thread, so that the loop goes on
_ENOUGH = 0.5  # the kernel counts CPU for its limit by ticks, which on a busy machine are off by many per cent


@dataclass(frozen=True)
class Plan:
    """How to start a process that locks itself in."""

    name: str
    """What did not start, if it does not."""
    launch: Callable[[int], Child]
    """Starts it, with one end of a socket as its standard input."""
    setup: dict[str, Any]
    """What the worker is told."""
    limits: Limits
    boot: bytes = b""
    """What the child reads before it knows what to do with its setup."""
    knows: tuple[str, ...] = ()
    """Those of `LESSONS` that it has learnt already."""
    folder: str | None = None
    """A scratch folder of ours, to be removed."""
    measured: bool = False
    """The folder is flat, on a real disk, and counts against `limits.tmp`."""
    kill_means_us: bool = True
    """The code cannot send itself SIGKILL."""


async def start(plan: Callable[[Limits], Plan], limits: Limits) -> Process:
    """Start a process and wait until it has locked itself in.

    Raises:
        SandboxFailed: it did not start, or took 20 seconds.
    """
    await anyio.lowlevel.checkpoint()
    return await locked(launch(plan, limits))


def launch(plans: Callable[[Limits], Plan], limits: Limits) -> Process:
    """Start a process, which locks itself in while we do something else.

    Raises:
        SandboxFailed: it did not start.
    """
    try:
        plan = plans(limits)
    except OSError as error:  # no folder for temporary files, no /proc, no more descriptors
        raise SandboxFailed(f"a sandbox could not be prepared: {error}") from error
    try:
        return Process(plan)
    except BaseException as error:
        _remove(plan.folder)
        if isinstance(error, OSError):
            raise SandboxFailed(f"{plan.name} did not start: {error}") from error
        raise


async def locked(process: Process) -> Process:
    """The process, once it has locked itself in.

    Raises:
        SandboxFailed: it has not, or took 20 seconds.
    """
    try:
        await process.lock()
    except BaseException:
        await process.kill()
        raise
    return process


class Process:
    """A `Session` with a child process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._left = float(plan.limits.wall_s)
        self._worker: int | None = None  # a pidfd, once it has spoken
        self._closed = self._listening = False
        self._learned = set(plan.knows)
        self._depth = 0
        self._complaint = ""
        self._channel = Channel(self._measure if plan.measured else None)
        try:
            self._child = plan.launch(self._channel.theirs.fileno())
        except BaseException:
            self._channel.close()
            raise
        finally:
            self._channel.theirs.close()
        self._pid = self._child.pid
        setup = pack({**plan.setup, "result": plan.limits.result})
        self._unsent = self._channel.send_some(plan.boot + setup)

    async def lock(self) -> None:
        """Wait for its word that it has locked itself in.

        Raises:
            SandboxFailed: that word does not come.
        """
        try:
            with anyio.fail_after(_START_S):
                await self._channel.send(self._unsent)
                self._pid = await self._channel.peer() or self._pid
                with contextlib.suppress(AttributeError, OSError):  # Linux 5.3 or later
                    self._worker = os.pidfd_open(self._pid)
                await self._channel.frame(_SPARE)
        except (Hangup, TimeoutError, OSError, GuestFailed) as error:
            if isinstance(error, TimeoutError):
                self._child.kill()  # whatever else it takes with it does not answer either
            await self.kill()
            said = self._complaint or f"{type(error).__name__} {error}"
            raise SandboxFailed(f"the sandbox did not start: {said}") from error

    # Talking

    async def load(self, source: str) -> Reply:
        """Run a program's top level; returns the names of the functions that it defines, in order."""
        return await self._ask(("load", source))

    async def call(self, entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reply:
        """Call a function of the program; only plain data crosses."""
        plain(args)
        plain(dict(kwargs))
        return await self._ask(("call", entry, args, dict(kwargs)))

    async def check(self, tests: Tests, program: Peer) -> Reply:
        """Run tests here of a program that is elsewhere."""
        return await self._extended(("check", tests.kind, tests.source, [*tests.names], [*tests.modules]), program)

    async def use(self, use: Use, tests: Peer) -> Reply:
        """Do with an object here what tests elsewhere ask."""
        return await self._extended(("use", use.operation, use.on, tree(use.args), tree(dict(use.kwargs))), tests)

    async def _extended(self, request: tuple[Any, ...], peer: Peer) -> Reply:
        for lesson in LESSONS[: 2 if request[0] == "check" else 1]:
            if lesson not in self._learned:
                self._learned.add(lesson)
                await self._ask(("learn", code(lesson)))
        if self._depth >= _DEEPEST:
            raise GuestFailed(f"called back and forth {_DEEPEST} times without returning")
        self._depth += 1
        try:
            return await self._ask(request, peer)
        finally:
            self._depth -= 1

    async def _ask(self, request: tuple[Any, ...], peer: Peer | None = None) -> Reply:
        """Send a request and get its answer; the next one goes out only after that, under another random id."""
        ident = secrets.randbits(48)
        message: tuple[Any, ...] = (ident, *request)
        while True:
            try:
                said = await self._exchange(ident, pack(message))
            except Hangup:
                raise await self._ended() from None
            except BadFrame as error:
                raise GuestFailed(f"spoke nonsense: {error}") from None
            if not isinstance(said, Use):
                return said
            if peer is None:
                raise GuestFailed("spoke nonsense: a call where none was due")
            message = answer(await peer(said))

    async def _exchange(self, ident: int, message: bytes) -> Reply | Use:
        began = anyio.current_time()
        try:
            with anyio.move_on_after(self._left):
                await self._channel.send(message)
                return await self._read(ident)
            if self._channel.has_more():
                with anyio.move_on_after(_LATE_S):
                    return await self._read(ident)
        finally:
            self._left = max(0.0, self._left - (anyio.current_time() - began))
        allowed = self._plan.limits.wall_s
        stood = _stood_in_line(self._pid)
        await self.kill()
        took = f"{allowed:g} s{'' if self._child.cpu is None else f' and {self._child.cpu:.1f} s of CPU'}"
        if stood < allowed / 4:
            raise GuestFailed(f"was still waiting for something after {took}")
        raise SandboxFailed(f"this machine is too busy: the code still wanted to run after {took}")

    async def _read(self, ident: int) -> Reply | Use:
        body = await self._channel.frame(self._plan.limits.result + _SPARE)
        return await anyio.to_thread.run_sync(reply, ident, body) if len(body) > _BIG else reply(ident, body)

    def _measure(self) -> None:
        """Look how much the code has written."""
        if self._plan.folder is not None and not self._closed:
            with os.scandir(self._plan.folder) as entries:
                sizes: list[int] = []
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # the code has removed it meanwhile
                        sizes.append(entry.stat(follow_symlinks=False).st_size)
            if len(sizes) > _FILES or sum(sizes) > self._plan.limits.tmp:
                raise GuestFailed(
                    f"wrote more than {self._plan.limits.tmp} bytes or {_FILES} files into its scratch folder"
                )

    async def _ended(self) -> Exception:
        """Why the process hung up: it is dead already, or it closed its channel and lives."""
        await self._until_ended(_KILL_S / 2)
        code, cpu_s = self._child.code, self._plan.limits.cpu_s
        await self.kill()
        if self._child.cpu is not None and self._child.cpu >= cpu_s * _ENOUGH:
            return GuestFailed(f"used up its {cpu_s} s of CPU")
        if code is None:
            return GuestFailed("closed its channel")
        if code == -signal.SIGKILL and self._plan.kill_means_us:
            return SandboxFailed("the sandbox was killed from outside")
        with contextlib.suppress(ValueError):
            return GuestFailed(f"died of {signal.Signals(-code if code < 0 else code - 128).name}")
        return GuestFailed(f"ended before it answered (exit status {code})")

    # Ending

    async def kill(self) -> None:
        """End the process and free what it holds: at most a second, also when cancelled, as often as one likes."""
        with anyio.move_on_after(_KILL_S, shield=True):
            # Gently first, so that a launcher lives to reap the worker: nobody else would, and its CPU time counts.
            # The worker dies by signal; one that has not spoken yet reads the end of its channel. Then all of them.
            if not self._child.ended():
                with contextlib.suppress(OSError):
                    if self._worker is not None:
                        signal.pidfd_send_signal(self._worker, signal.SIGKILL)
                    else:
                        self._channel.shut()
                await self._until_ended(_KILL_S / 3)
            while not self._child.ended():
                if self._child.alone:
                    self._child.kill()
                await anyio.sleep(_TICK_S)
        if not self._closed:
            self._closed = True
            if self._child.bell is not None:
                anyio.notify_closing(self._child.bell)
            self._complaint = self._child.close()
            self._channel.close()
            if self._worker is not None:
                os.close(self._worker)
            _remove(self._plan.folder)

    def abandon(self) -> None:
        """End the process without waiting as one should: at the end of the program, or of a loop."""
        if not self._closed:
            self._closed = True
            self._channel.drop()
            self._child.kill()
            for _ in range(int(_KILL_S / _TICK_S)):
                if self._child.ended():
                    break
                time.sleep(_TICK_S)
            self._child.close()
            _remove(self._plan.folder)

    def disown(self) -> None:
        """In a forked process: it is the parent's."""
        self._closed = True
        self._channel.drop()
        self._child.disown()

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself, or was killed."""
        return self._closed or self._child.ended()

    async def _until_ended(self, seconds: float) -> None:
        """Wait for its end, but no longer than this."""
        with anyio.move_on_after(seconds):
            while not self._child.ended():
                if self._child.bell is None or self._listening:
                    await anyio.sleep(_TICK_S)
                    continue
                self._listening = True  # two tasks may not wait for one descriptor
                try:
                    await anyio.wait_readable(self._child.bell)
                except anyio.ClosedResourceError:
                    return
                finally:
                    self._listening = False


def _stood_in_line(pid: int) -> float:
    """Seconds that a process stood in line for a CPU: the thread that did so longest.

    This is what tells starving from sleeping and from working, however busy the machine. Where the system does not say
    (no /proc/…/schedstat), time counts against the code.
    """
    waited = 0
    with contextlib.suppress(OSError, ValueError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            waited = max(waited, int((task / "schedstat").read_text(encoding="ascii").split()[1]))
    return waited / 1e9


def _remove(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)
