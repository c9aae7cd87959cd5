"""What a fork server runs: it has started once, and forks a worker for each program, which then locks itself in.

It stays what the launcher made of it, the first process of its namespaces, and never runs foreign code itself. Modules
that programs like to import are loaded here once.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# The worker's functions are known by name alone here.

from __future__ import annotations

import _socket
import contextlib
import gc
import marshal
import os
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIKED = (
    "bisect", "collections", "ctypes", "dataclasses", "datetime", "functools", "heapq", "itertools", "json", "math",
    "operator", "random", "re", "resource", "string", "typing",
)  # fmt: skip


def main() -> None:
    """Fork for each message on standard input; end where it ends, and all workers with it."""
    worker: dict[str, Any] = {"__name__": "worker"}
    for code in marshal.loads(exactly(int.from_bytes(exactly(4), "big"))):  # noqa: S302  # the host wrote it
        exec(code, worker)  # noqa: S102  # as above
    worker["libc"]()
    for name in LIKED:
        __import__(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, every page
    control = _socket.socket(fileno=os.dup(0))
    awake, wake = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, _noted)
    graves: dict[int, int] = {}  # of each worker, where its end is to be told
    while True:
        ready, _, _ = select.select([control.fileno(), awake], [], [])
        if awake in ready:
            os.read(awake, 4096)
            bury(graves)
        if control.fileno() in ready:
            message, extra, *_ = control.recvmsg(1, _socket.CMSG_SPACE(8))
            if not message:
                os._exit(0)
            if not extra:
                continue  # no descriptor was free to take them: whoever asked hears the end of its channel
            channel, grave = (int.from_bytes(extra[0][2][at : at + 4], sys.byteorder) for at in (0, 4))
            try:
                pid = os.fork()
            except OSError:  # as many processes as there may be: this one is refused, and the others live on
                os.close(channel)
                os.close(grave)
                continue
            if not pid:
                serve(worker, channel)
            os.close(channel)
            graves[pid] = grave


def _noted(*_: object) -> None:
    """The wakeup descriptor has it already."""


def exactly(count: int) -> bytes:
    """So many bytes of standard input."""
    data = b""
    while len(data) < count:
        data += os.read(0, count - len(data)) or os._exit(0)
    return data


def bury(graves: dict[int, int]) -> None:
    """Tell the host of each worker that has ended: how, and the seconds of CPU that it took."""
    while graves:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if not pid:
            return
        grave = graves.pop(pid)
        told = f"{os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime}".encode()
        with contextlib.suppress(OSError):  # nobody wants to know
            os.write(grave, told)
        os.close(grave)


def serve(worker: dict[str, Any], channel: int) -> None:
    """Become a worker that talks over `channel`."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(channel, 0)
        os.closerange(3, 1 << 20)  # the others' channels and graves too
        worker["main"]()
    except BaseException as error:  # noqa: BLE001  # nothing of this may return into the server's loop
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(1)
