"""Landlock, seccomp and resource limits: what the kernel lets any process give up, without namespaces.

For hosts and containers where user namespaces are blocked. Compared with bubblewrap the code still sees the names and
sizes of files outside (Landlock governs opening, not `stat`), and shares the process table, whose members it cannot
signal. Source: landlock(7) and Linux's Documentation/userspace-api/landlock.rst; 3 is the first version that governs
truncation, which opening for reading can ask for.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from ttc_middleware._errors import SandboxFailed

from . import _seccomp
from ._base import Limits, Probe, Session
from ._child import Spawned
from ._packages import installed
from ._probe import probe
from ._process import Plan, start
from ._python import command, executable, hidden, libraries, limits_inside, public, reachable, spare_user, worker

_NEEDED_ABI, _NET_ABI, _IOCTL_ABI, _SCOPE_ABI = 3, 4, 5, 6
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 2, 4, 8, 32, 256, 16384
_DEVICES = [("/dev/null", _READ_FILE | _WRITE_FILE), ("/dev/zero", _READ_FILE), ("/dev/urandom", _READ_FILE)]
_FOLDER_OF_ITS_OWN = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG | _TRUNCATE


@dataclass(frozen=True)
class Landlock:
    """A process that has given up files, system calls and, as root, its user."""

    name: str = "landlock"
    trust: Literal["kernel"] = "kernel"

    async def probe(self) -> Probe:
        """Whether this kernel has what it takes, by trying to break out."""
        return await probe(self)

    async def start(self, limits: Limits, /) -> Session:
        """A fresh process in a folder of its own.

        Raises:
            SandboxFailed: it did not start.
        """
        return await start(self.plan, limits)

    def plan(self, limits: Limits) -> Plan:
        """How to start one."""
        if not _seccomp.supported():
            raise SandboxFailed(f"no system-call table for {sys.platform} on {platform.machine()}")
        if (abi := _abi()) < _NEEDED_ABI:
            raise SandboxFailed(f"the kernel's Landlock has version {abi}, where {_NEEDED_ABI} is needed")
        user = spare_user()
        folder = tempfile.mkdtemp(prefix="ttc-")
        if user is not None:
            os.chown(folder, user, user)
        setup = {
            "guard": False,
            "folder": folder,
            # A file that is open but removed does not show in the folder: small ones hold less than big ones.
            "limits": limits_inside(limits, alone=user is not None, file=max(1 << 20, limits.tmp // 8)),
            "lock": {
                "user": user,
                "keep_reading": user is not None and not (public() and reachable(Path(folder))),
                "parent": os.getpid(),
                "scratch": None,
                "landlock": (_attributes(abi), [*_readable(), *_packages(limits), (folder, _FOLDER_OF_ITS_OWN)]),
                **_seccomp.setup(),
            },
            "packages": packages_outside(limits),
        }
        return Plan(executable(), partial(Spawned, command()), setup, limits, worker(), folder=folder, measured=True)


def rules(*folders: str, scratch: str) -> tuple[bytes, list[tuple[str, int]]] | None:
    """What a process in a mount namespace of its own may still do with files; None: this kernel has no Landlock."""
    if (abi := _abi()) < _NEEDED_ABI:
        return None
    attributes = _attributes(abi)
    everything = int.from_bytes(attributes[:8], "little")
    reading = [(path, _READ_FILE | (_READ_DIR if Path(path).is_dir() else 0)) for path in libraries()]
    more = [(folder, _READ_FILE | _READ_DIR) for folder in folders]
    return attributes, [*_DEVICES, *reading, *more, (scratch, everything)]


def packages_outside(limits: Limits) -> list[str]:
    """Where a program finds the packages that it may import, in the host's own file system."""
    return sorted({str(place.parent) for place in installed(limits.packages)})


def _packages(limits: Limits) -> list[tuple[str, int]]:
    """The names of all that is installed can be seen beside them, and nothing be read."""
    named = [(str(place), _READ_FILE | (_READ_DIR if place.is_dir() else 0)) for place in installed(limits.packages)]
    return [*named, *((folder, _READ_DIR) for folder in packages_outside(limits))]


@lru_cache(maxsize=1)
def _abi() -> int:
    """The version of the kernel's Landlock; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    version = ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, int(version))


def _attributes(abi: int) -> bytes:
    """`struct landlock_ruleset_attr`: everything that this version can forbid."""
    words = [(1 << 16) - 1 if abi >= _IOCTL_ABI else (1 << 15) - 1]
    if abi >= _NET_ABI:
        words.append(0b11)  # binding and connecting TCP
    if abi >= _SCOPE_ABI:
        words.append(0b11)  # abstract UNIX sockets and signals of others
    return b"".join(word.to_bytes(8, "little") for word in words)


@lru_cache(maxsize=1)
def _readable() -> list[tuple[str, int]]:
    return [*_DEVICES, *(rule for path in libraries() for rule in _grant(Path(path)))]


def _grant(path: Path) -> list[tuple[str, int]]:
    """Reading of a path without what is hidden in it. Rules only add, so the neighbours are listed instead."""
    if not path.is_dir():
        return [(str(path), _READ_FILE)]
    if str(path) in hidden():
        return []
    if not any(each.startswith(f"{path}/") for each in hidden()):
        return [(str(path), _READ_FILE | _READ_DIR)]
    inside = [rule for each in sorted(path.iterdir()) if not each.is_symlink() for rule in _grant(each)]
    return [(str(path), _READ_DIR), *inside]
