"""A plain process: limits and an empty environment, and nothing that keeps code in."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ttc_middleware._errors import SandboxFailed

from ._base import Limits, Probe, Session
from ._child import Spawned
from ._landlock import packages_outside
from ._probe import probe
from ._process import Plan, start
from ._python import command, executable, limits_inside, worker


@dataclass(frozen=True)
class Unsafe:
    """A child process that can read your files, use the network and start programs. For code that you trust.

    Verdicts still cannot be forged over the channel; but code that reads your files may find the answers there.
    Runs on POSIX systems.
    """

    name: str = "unsafe"
    trust: Literal["none"] = "none"

    async def probe(self) -> Probe:
        """Whether a process starts; nothing keeps it in."""
        return await probe(self, isolates=False)

    async def start(self, limits: Limits, /) -> Session:
        """A fresh process in a folder of its own.

        Raises:
            SandboxFailed: it did not start.
        """
        return await start(self.plan, limits)

    def plan(self, limits: Limits) -> Plan:
        """How to start one."""
        if os.name != "posix":
            raise SandboxFailed("code runs in a child process only on Linux, macOS and other POSIX systems")
        folder = tempfile.mkdtemp(prefix="ttc-")
        setup = {
            "guard": False,
            "folder": folder,
            "limits": limits_inside(limits, alone=False),
            "lock": None,
            "packages": packages_outside(limits),
        }
        return Plan(
            executable(), partial(Spawned, command()), setup, limits, worker(), folder=folder, kill_means_us=False
        )
