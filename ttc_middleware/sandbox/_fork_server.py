"""A fork server: one sandboxed interpreter that has started once, and a fork of it for each program.

Ten times the throughput of starting an interpreter each time. The server sits in bubblewrap's namespaces; each fork
gets a scratch folder and, under root, a user id of its own, and gives up files (Landlock) and system calls (seccomp)
before it sees any code. Forks share the server's process and network namespaces, in which seccomp leaves them
nothing to do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ttc_middleware._errors import SandboxFailed

from . import _seccomp
from ._base import Limits, Probe, Session
from ._bubblewrap import isolated, packages_inside
from ._child import Spawned
from ._landlock import rules
from ._probe import probe
from ._process import LESSONS, Plan, start
from ._python import code, command, limits_inside, program, spare_user
from ._slots import capacity
from ._wire import pack

_PATIENCE_S = 0.5  # for a server to end by itself


@dataclass(frozen=True)
class ForkServer:
    """A fork of an interpreter in namespaces of its own."""

    executable: str
    """The path of `bwrap`, 0.8 or later."""
    name: str = "fork-server"
    trust: Literal["kernel"] = "kernel"
    _servers: dict[tuple[str, ...], _Server] = field(
        default_factory=dict[tuple[str, ...], "_Server"], init=False, repr=False, compare=False
    )
    """By the packages that its programs may import."""

    async def probe(self) -> Probe:
        """Whether it works here, by trying to break out."""
        return await probe(self)

    async def start(self, limits: Limits, /) -> Session:
        """A fresh fork with an empty /tmp.

        Raises:
            SandboxFailed: it did not start.
        """
        try:
            return await start(self.plan, limits)
        except SandboxFailed:
            server = self._servers.get(limits.packages)
            if server is None or not server.gone():
                raise
        return await start(self.plan, limits)  # the server has died meanwhile, and a dead one still takes messages

    def plan(self, limits: Limits) -> Plan:
        """How to start one."""
        if not _seccomp.supported():
            raise SandboxFailed(f"no system-call table for {sys.platform} on {_seccomp.machine()}")
        user = spare_user()
        server = self._servers.get(limits.packages)
        if server is None:
            launch = [*isolated(self.executable, limits, forks=True), *command()]
            server = self._servers.setdefault(limits.packages, _Server(launch))
        # Without a user of its own a fork is counted together with those beside it.
        siblings = 1 if user is not None else 2 * capacity()
        packages = packages_inside(limits)
        setup = {
            "guard": False,
            "folder": None,
            "limits": {**limits_inside(limits, alone=True), "NPROC": limits.pids * siblings},
            "lock": {
                "user": user,
                "keep_reading": False,
                "parent": 1,  # the server, as seen from inside
                "scratch": limits.tmp,
                "landlock": rules(*packages, scratch="/tmp"),  # noqa: S108  # not the host's
                **_seccomp.setup(),
            },
            "packages": packages,
        }
        return Plan(self.name, server.fork, setup, limits, knows=LESSONS)


class _Server:
    """The server's process, started when it is first needed and again when it has died."""

    def __init__(self, launch: Sequence[str]) -> None:
        self._launch = launch
        self._lock = threading.Lock()
        self._running: tuple[Spawned, socket.socket] | None = None
        _all.add(self)

    def fork(self, stdin: int) -> Forked:
        """A worker that reads from `stdin`.

        Raises:
            OSError: the server does not start.
        """
        with self._lock:
            for last in (False, True):
                spawned, control = self._running or self._boot()
                grave, theirs = os.pipe()
                try:
                    socket.send_fds(control, [b"f"], [stdin, theirs])
                except OSError:
                    os.close(grave)
                    self._end()
                    if last:
                        raise
                else:
                    return Forked(spawned, grave)
                finally:
                    os.close(theirs)
        raise AssertionError  # the last attempt has returned or raised

    def _boot(self) -> tuple[Spawned, socket.socket]:
        control, theirs = socket.socketpair()
        try:
            spawned = Spawned(self._launch, theirs.fileno())
        except BaseException:
            control.close()
            raise
        finally:
            theirs.close()
        control.settimeout(_PATIENCE_S)
        try:
            control.sendall(program("_zygote.py") + pack([code(name) for name in ("_worker.py", *LESSONS)]))
        except OSError as error:  # the launcher was faster to say no
            raise OSError(_ended(spawned, control) or str(error)) from error
        self._running = spawned, control
        self._finalizer = weakref.finalize(self, _ended, spawned, control)
        return self._running

    def _end(self) -> None:
        self._running = None
        self._finalizer()

    def gone(self) -> bool:
        """Whether it has died."""
        running = self._running
        return running is None or running[0].ended()

    def forget(self) -> None:
        """In a forked process: the server is the parent's."""
        self._lock = threading.Lock()
        if self._running is not None:
            self._finalizer.detach()
            self._running[1].close()
            self._running[0].disown()
            self._running = None


def _ended(spawned: Spawned, control: socket.socket) -> str:
    """End a server, and wait for it: its workers end with it. Returns what it has complained of."""
    control.close()
    patience = time.monotonic() + _PATIENCE_S
    while not spawned.ended() and time.monotonic() < patience:
        time.sleep(0.005)
    if not spawned.ended():
        spawned.kill()
    return spawned.close()


_all: weakref.WeakSet[_Server] = weakref.WeakSet()


def _forget() -> None:
    for server in list(_all):
        server.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Forked:
    """A fork of the server, and the pipe by which the server tells of its end."""

    def __init__(self, server: Spawned, grave: int) -> None:
        self.pid = server.pid
        self._code: int | None = None
        self.cpu: float | None = None
        self._server = server
        self.alone: bool = False
        self.bell: int | None = grave
        self._grave = grave
        os.set_blocking(grave, False)

    @property
    def code(self) -> int | None:
        return self._code

    def ended(self) -> bool:
        if self._code is None:
            with contextlib.suppress(BlockingIOError):
                code, _, cpu = os.read(self._grave, 64).decode().partition(" ")
                # Silence is the server's own end, and all workers end with it.
                self._code, self.cpu = (int(code), float(cpu)) if cpu else (-9, None)
        return self._code is not None

    def kill(self) -> None:
        self._server.kill()

    def close(self) -> str:
        os.close(self._grave)
        return self._server.said()

    def disown(self) -> None:
        os.close(self._grave)
