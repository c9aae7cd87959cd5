"""Processes that have started before they are needed: each is used once, as ever."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from typing_extensions import Self

from ttc_middleware._errors import SandboxFailed

from ._base import Limits, Probe, Sandbox, Session
from ._process import Plan, Process, launch, locked


@runtime_checkable
class _Planned(Protocol):
    def plan(self, limits: Limits) -> Plan: ...


class _Spares:
    """Processes that wait, by what they may use."""

    def __init__(self) -> None:
        self._waiting: dict[Limits, deque[Process]] = {}
        self._owner = os.getpid()

    def of(self, limits: Limits) -> deque[Process]:
        """Those with these limits."""
        if os.getpid() != self._owner:  # forked meanwhile: all of them are the parent's
            for process in self.emptied():
                process.disown()
            self._owner = os.getpid()
        return self._waiting.setdefault(limits, deque())

    def emptied(self) -> Iterator[Process]:
        """Take out all of them."""
        for waiting in self._waiting.values():
            while waiting:
                yield waiting.popleft()

    def abandon(self) -> None:
        """End them where nobody can wait any more."""
        for process in self.emptied():
            if os.getpid() == self._owner:
                process.abandon()
            else:
                process.disown()


@dataclass(frozen=True, eq=False)
class Ready:
    """A sandbox that keeps spare processes, so that a verification need not wait for an interpreter to start.

        async with Ready(await select("bubblewrap"), spare=2) as sandbox:
            tests = UnitTests(cases, sandbox=sandbox)

    Spares are made when a process is taken, for the same limits; each idle one holds some 10 MB. They end with the
    block, with `close()`, or with the program.

    Args:
        sandbox: "bubblewrap", "fork-server", "landlock" or "unsafe", as `select()` gives them.
        spare: processes that wait.

    Raises:
        TypeError: a sandbox of another kind, which does not say how it starts a process.
        ValueError: `spare` is below 1.
    """

    sandbox: Sandbox
    spare: int = 2
    _spares: _Spares = field(default_factory=_Spares, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.sandbox, _Planned):
            raise TypeError(f"Ready() keeps processes of the backends that select() gives, not of {self.sandbox!r}")
        if type(self.spare) is not int or self.spare < 1:
            raise ValueError(f"spare is a whole number from 1, not {self.spare!r}")
        weakref.finalize(self, self._spares.abandon)

    @property
    def name(self) -> str:
        """The backend's."""
        return self.sandbox.name

    @property
    def trust(self) -> Literal["kernel", "remote", "none"]:
        """The backend's."""
        return self.sandbox.trust

    async def probe(self) -> Probe:
        """Whether the backend works here."""
        return await self.sandbox.probe()

    async def start(self, limits: Limits, /) -> Session:
        """A process that has started already, where there is one.

        Raises:
            SandboxFailed: it did not start.
        """
        assert isinstance(self.sandbox, _Planned)
        plan, waiting = self.sandbox.plan, self._spares.of(limits)
        process: Process | None = None
        while waiting and process is None:
            process = waiting.popleft()
            if process.ended:  # the machine was short of memory, say
                await process.kill()
                process = None
        process = process or launch(plan, limits)
        try:
            while len(waiting) < self.spare:
                waiting.append(launch(plan, limits))
        except BaseException:
            await process.kill()
            raise
        try:
            return await locked(process)
        except SandboxFailed:  # a spare may have died without a sign
            return await self.sandbox.start(limits)

    async def close(self) -> None:
        """End the spares."""
        for process in self._spares.emptied():
            await process.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
