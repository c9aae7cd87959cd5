"""A plain process: limits and an empty environment, and nothing that keeps code in."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Literal

from ttc_middleware._errors import SandboxFailed

from ._base import Limits, Probe, Session
from ._probe import probe
from ._process import Plan, start
from ._python import command, limits_inside


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
        if os.name != "posix":
            raise SandboxFailed("code runs in a child process only on Linux, macOS and other POSIX systems")
        folder = tempfile.mkdtemp(prefix="ttc-")
        setup = {"guard": False, "folder": folder, "limits": limits_inside(limits, alone=False), "lock": None}
        return await start(Plan(command(), setup, limits, folder=folder, kill_means_us=False))
