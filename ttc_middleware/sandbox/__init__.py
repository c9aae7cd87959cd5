"""Where code runs that nobody vouches for: a fresh process for each program, locked in by the kernel.

    sandbox = await select("auto")              # the strongest backend that really works here
    session = await sandbox.start(Limits())
    try:
        await session.load("def double(x): return 2 * x")
        await session.call("double", (21,), {})    # Returned(42)
    finally:
        await session.kill()

Two questions are kept apart. *Can wrong code look right?* No: expected values and comparisons stay on our side, and
only plain data crosses. *Can code do harm?* The backends keep it in: no network, no files, no other processes, and
limits on time, memory, threads and output. They share this machine's kernel, so a bug in that defeats them: for
hostile tenants put a machine of its own behind the `Sandbox` protocol.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, Union, cast, get_args

from ttc_middleware._errors import SandboxUnavailable

from ._base import GuestFailed, Limits, Peer, Probe, Raised, Reply, Returned, Sandbox, Session, Tests, Unfit, Use
from ._bubblewrap import Bubblewrap, executables
from ._fork_server import ForkServer
from ._landlock import Landlock
from ._ready import Ready
from ._unsafe import Unsafe

__all__ = [
    "Bubblewrap",
    "Choice",
    "ForkServer",
    "GuestFailed",
    "Landlock",
    "Limits",
    "Peer",
    "Probe",
    "Raised",
    "Ready",
    "Reply",
    "Returned",
    "Sandbox",
    "SandboxName",
    "Session",
    "Tests",
    "Unfit",
    "Unsafe",
    "Use",
    "select",
    "valid",
]

SandboxName: TypeAlias = Literal["auto", "bubblewrap", "fork-server", "landlock", "unsafe"]
Choice: TypeAlias = Union[SandboxName, Sandbox]
"""A backend by name, or any object that keeps the `Sandbox` protocol."""

_found: dict[str, Sandbox] = {}  # what worked, by the name that asked for it


def valid(choice: object) -> Choice:
    """The choice itself, checked without trying it.

    Raises:
        ValueError: no backend has this name.
        TypeError: neither a name nor a sandbox.
    """
    if isinstance(choice, str):
        if choice not in get_args(SandboxName):
            raise ValueError(f"sandbox is one of {', '.join(get_args(SandboxName))}, not {choice!r}")
    elif not (callable(getattr(choice, "start", None)) and hasattr(choice, "trust")):
        raise TypeError(f"sandbox is a name or an object with start() and trust, not {choice!r}")
    return cast("Choice", choice)


async def select(choice: Choice = "auto", *, allow_unsafe: bool = False) -> Sandbox:
    """A sandbox that works here: "auto" is the strongest, and the unsafe one only where you allow it.

    Backends are tried by running a program that tries to break out, once in this process.

    Raises:
        SandboxUnavailable: none works; the message says what was tried and what to install.
        ValueError: no backend has this name.
    """
    choice = valid(choice)
    if not isinstance(choice, str):
        return choice
    if choice not in _found:
        try:
            _found[choice] = await _try(choice)
        except SandboxUnavailable:
            if choice == "auto" and allow_unsafe:
                return await select("unsafe")
            raise
    return _found[choice]


async def _try(name: SandboxName) -> Sandbox:
    backends: list[Sandbox] = []
    failed: list[str] = []
    if name in ("auto", "bubblewrap"):
        backends += [Bubblewrap(path) for path in executables()]
        failed += [] if backends else ["bubblewrap: no bwrap here"]
    if name in ("auto", "fork-server"):
        backends += [ForkServer(path) for path in executables()]
        failed += [] if backends else ["fork-server: no bwrap here"]
    if name in ("auto", "landlock"):
        backends.append(Landlock())
    if name == "unsafe":
        backends.append(Unsafe())
    for backend in backends:
        probe = await backend.probe()
        if probe.works:
            return backend
        failed.append(f"{backend.name}: {probe.reason}")
    raise SandboxUnavailable(
        f"no isolating sandbox works here ({'; '.join(failed)}). "
        'On Linux, pip install "ttc-middleware[sandbox]" or apt-get install bubblewrap, and in a container allow user '
        'namespaces or Landlock. sandbox="unsafe" runs the code in a plain process, which can read your files and use '
        "the network: only for code that you trust"
    )
