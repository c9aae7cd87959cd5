"""One worker process for calculations that may hang: started, asked over a socket, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from ttc_middleware._errors import VerifierFailed

_START_S = 120.0  # for imports of 3 s at most: only a machine in trouble takes longer
_KILL_S = 1.0
_LARGEST = 1 << 22  # bytes of an answer; workers of ours give short ones
_HERE = Path(__file__).parent


class Exhausted(Exception):
    """Raised when a question used up its CPU time or memory, or brought the worker down; says which."""


class _Hangup(Exception):
    """The worker is not there any more."""


class Process:
    """A worker, used for one question at a time.

    Args:
        file: the worker's file in this folder.
        cpu_s: seconds of CPU for a question.
        memory: bytes of address space.

    Raises:
        VerifierFailed: no process can be started.
    """

    def __init__(self, file: str, cpu_s: float, memory: int) -> None:
        self._file = file
        self._cpu_s = cpu_s
        self._memory = memory
        self._ready = False
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        command = [sys.executable or "python3", "-I", str(_HERE / "_aside_worker.py"), str(_HERE / file)]
        try:
            self._popen = subprocess.Popen(  # noqa: S603  # the command is ours
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the program
            )
        except OSError as error:
            self._socket.close()
            raise VerifierFailed(f"{command[0]} did not start: {error}") from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def at_hand(self) -> bool:
        """It still lives, and nothing has been heard from it."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self.gone
        except OSError:
            return False
        return False

    @property
    def gone(self) -> bool:
        """It has ended, and no zombie is left."""
        return self._popen.poll() is not None

    async def ask(self, question: Any) -> Any:
        """Ask, and tell what it means when no answer comes.

        Raises:
            Exhausted: the question is at fault.
            VerifierFailed: we are.
        """
        try:
            if not self._ready:
                await self._start()
            with anyio.fail_after(10 * self._cpu_s + 30):  # loosely: a busy machine must not reject anything
                said = await self._exchange(question)
        except _Hangup:
            raise await self._ended() from None
        except TimeoutError:
            raise VerifierFailed("this machine is too busy: a calculation got no CPU") from None
        if "exhausted" in said:
            raise Exhausted(said["exhausted"])
        if "failed" in said:
            raise VerifierFailed(f"the calculation failed: {said['failed']}")
        return said["answer"]

    async def end(self) -> None:
        """Kill it and wait until it is gone: at most a second, also when cancelled."""
        self.close()
        with anyio.move_on_after(_KILL_S, shield=True):
            while not self.gone:  # noqa: ASYNC110  # no event tells: the loop may have no child watcher
                await anyio.sleep(0.002)

    def close(self, wait_s: float | None = None) -> None:
        """Kill it and free what it holds here; without waiting for it, its zombie is left."""
        with contextlib.suppress(OSError):
            self._popen.kill()
        self._socket.close()
        if wait_s is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(wait_s)

    def forget(self) -> None:
        """In a forked child, whose parent it belongs to: end our copy of the connection."""
        self._socket.close()
        self._popen.returncode = 0  # not ours to wait for

    async def _start(self) -> None:
        limits = {"cpu_s": self._cpu_s, "memory": self._memory}
        try:
            with anyio.fail_after(_START_S):
                said = await self._exchange({**limits, "path": _import_path()})
        except _Hangup:
            raise VerifierFailed(f"{self._file} did not start ({await self._status()})") from None
        if "failed" in said:
            raise VerifierFailed(f"{self._file} did not start: {said['failed']}")
        self._ready = True

    async def _ended(self) -> Exception:
        status = await self._status()
        if status == "SIGPROF":
            return Exhausted(f"took more than {self._cpu_s:g} s of CPU")
        if status == "SIGKILL":
            return VerifierFailed("the calculation was killed from outside")
        return Exhausted(f"brought the calculation down ({status})")

    async def _status(self) -> str:
        with anyio.move_on_after(_KILL_S):
            while not self.gone:  # noqa: ASYNC110  # as above
                await anyio.sleep(0.002)
        code = self._popen.returncode
        if not self.gone:
            return "closed its connection"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"exit status {code}"

    async def _exchange(self, message: Any) -> Any:
        """Send a message and wait for the next.

        Not over `sandbox._channel`, which needs a loop to close: these are closed at exit and after forks too.
        """
        data = json.dumps(message).encode()
        view = memoryview(len(data).to_bytes(4, "big") + data)
        await anyio.lowlevel.checkpoint()
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:  # noqa: PERF203  # once a wait
                await anyio.wait_writable(self._socket)
            except OSError:
                raise _Hangup from None
        size = int.from_bytes(await self._receive(4), "big")
        if size > _LARGEST:
            raise VerifierFailed(f"the calculation gave {size} bytes, where {_LARGEST} are allowed")
        return json.loads(await self._receive(size))

    async def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                part = self._socket.recv(count - len(data))
            except BlockingIOError:  # noqa: PERF203  # once a wait
                await anyio.wait_readable(self._socket)
            except OSError:
                raise _Hangup from None
            else:
                if not part:
                    raise _Hangup
                data += part
        return data


def _environment() -> dict[str, str]:
    """Nothing secret; where the interpreter's own libraries are, if somebody says so."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {"MALLOC_ARENA_MAX": "1", **kept}  # each arena takes 64 MiB of the address space that is limited


def _import_path() -> list[str]:
    """What the program imports from; "" is its current folder."""
    return [os.path.abspath(each) for each in sys.path]  # noqa: PTH100  # pathlib resolves links too
