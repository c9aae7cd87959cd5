"""A child process, by whoever's hand it was started, and how it ended.

A child of ours is started by `subprocess` itself, in the loop's own thread (1 to 2 ms), and reaped by `wait4`: no child
watcher is needed, the loop may run in any thread, and a parent-death signal does not fire when a helper thread ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Protocol

# Each of glibc's heaps takes 64 MiB of address space, which RLIMIT_AS counts: a dozen threads would fill it.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Child(Protocol):
    """What a session knows of its process."""

    pid: int
    """In our numbering, that of the launcher where there is one."""
    cpu: float | None
    """Seconds of CPU that it has used, once it has ended."""
    alone: bool
    """Its launcher is its own: `kill()` hurts nobody else."""
    bell: int | None
    """A descriptor that can be read from once it has ended; None where the system has no such thing."""

    @property
    def code(self) -> int | None:
        """How it ended: an exit status, or a signal's number below 0; None while it runs."""
        ...

    def ended(self) -> bool:
        """Look whether it has ended."""
        ...

    def kill(self) -> None:
        """End it, launcher and all."""
        ...

    def close(self) -> str:
        """Let go of it once it has ended; returns what it has complained of."""
        ...

    def disown(self) -> None:
        """Leave it to the process that has forked this one."""
        ...


_dying: list[Spawned] = []
"""Killed, and on a busy machine not dead yet when they were let go of: looked at again when the next one starts."""


class Spawned:
    """A process that we have started, perhaps through a launcher.

    Args:
        command: the launcher and the interpreter.
        stdin: what it reads from; stays the caller's to close.

    Raises:
        OSError: it did not start.
    """

    def __init__(self, command: Sequence[str], stdin: int) -> None:
        _dying[:] = [each for each in _dying if not each.ended()]
        self._errors, errors = os.pipe()
        os.set_blocking(self._errors, False)
        try:
            self._popen = subprocess.Popen(  # noqa: S603  # the command is ours
                command,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._errors)
            raise
        finally:
            os.close(errors)
        self.pid: int = self._popen.pid
        self.cpu: float | None = None
        self.alone: bool = True
        self.bell: int | None = None
        with contextlib.suppress(AttributeError, OSError):  # Linux 5.3 or later
            self.bell = os.pidfd_open(self.pid)

    @property
    def code(self) -> int | None:
        return self._popen.returncode

    def ended(self) -> bool:
        if self._popen.returncode is None:
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else's waitpid(-1) was faster
                self._popen.returncode = 0
            else:
                if pid:
                    self._popen.returncode = os.waitstatus_to_exitcode(status)
                    self.cpu = usage.ru_utime + usage.ru_stime
        return self._popen.returncode is not None

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def said(self) -> str:
        """What it has complained of since it was last asked."""
        said = b""
        with contextlib.suppress(OSError):
            said = os.read(self._errors, 8192)
        return said.decode("utf-8", "replace").strip()[-1000:]

    def close(self) -> str:
        said = self.said()
        self._let_go()
        if not self.ended():
            _dying.append(self)
        return said

    def disown(self) -> None:
        self._popen.returncode = 0
        self._let_go()

    def _let_go(self) -> None:
        os.close(self._errors)
        if self.bell is not None:
            os.close(self.bell)
