"""The self-test of a sandbox: a program that tries to get out."""

from __future__ import annotations

from ttc_middleware._errors import SandboxFailed

from ._base import GuestFailed, Limits, Probe, Returned, Sandbox

_PROGRAM = """
import os, _socket

def run():
    try:
        os.execv("/nothing", ["nothing"])
    except FileNotFoundError:
        pass  # the kernel has looked for it

def attempts():
    tried = {
        "read a file": lambda: open("/etc/passwd").close(),
        "see other processes": lambda: os.listdir("/proc"),
        "write outside its folder": lambda: os.close(os.open(os.__file__, os.O_WRONLY)),
        "change a file's mode": lambda: os.chmod(os.__file__, os.stat(os.__file__).st_mode),
        "open a socket": lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).close(),
        "signal another process": lambda: os.kill(os.getppid(), 0),
        "start a process": lambda: os.fork() or os._exit(0),
        "run a program": run,
    }
    done = {}
    for name, attempt in tried.items():
        try:
            attempt()
            done[name] = True
        except OSError:
            done[name] = False
    return done
"""
_LIMITS = Limits(wall_s=10, cpu_s=5)


async def probe(sandbox: Sandbox, *, isolates: bool = True) -> Probe:
    """Run a program that tries to read, write, talk, signal and multiply, where a sandbox should forbid it."""
    try:
        session = await sandbox.start(_LIMITS)
    except SandboxFailed as error:
        return Probe(works=False, reason=str(error))
    try:
        await session.load(_PROGRAM)
        reply = await session.call("attempts", (), {})
    except (SandboxFailed, GuestFailed) as error:
        return Probe(works=False, reason=str(error))
    finally:
        await session.kill()
    if not isinstance(reply, Returned):
        return Probe(works=False, reason=f"the self-test broke: {reply}")
    could = tuple(name for name, done in reply.value.items() if done)
    cannot = tuple(name for name, done in reply.value.items() if not done)
    if could and isolates:
        return Probe(False, f"code inside could {', '.join(could)}", could, cannot)
    return Probe(True, "", could, cannot)
