"""What a sandbox is: the protocols that every backend keeps, and the words that cross between host and guest."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, TypeAlias, Union

from ._packages import installed


class GuestFailed(Exception):
    """Raised by a session when the code inside is at fault: it ended, hung, ran out of a limit or spoke nonsense.

    The other side of `SandboxFailed`, which says that the sandbox is at fault and the code is not judged.
    """


@dataclass(frozen=True)
class Limits:
    """What one candidate may use, over all tests together.

    CPU is limited tightly and the clock loosely: a busy machine stretches the clock, not the CPU seconds.

    Raises:
        ValueError: a limit is not a positive, finite number, `memory` is below 64 MiB, `wall_s` is below `cpu_s`, or a
            package is not installed.
    """

    wall_s: float = 10.0
    """Seconds on the clock that we wait for the code."""
    cpu_s: int = 5
    """Seconds of CPU, whole ones (RLIMIT_CPU counts so)."""
    memory: int = 768 << 20
    """Bytes of address space, the interpreter's own 30 MiB included."""
    tmp: int = 32 << 20
    """Bytes in the scratch folder."""
    pids: int = 48
    """Threads; new processes there are none."""
    result: int = 1 << 20
    """Bytes of one result as it crosses, about 8 for a number in a list."""
    packages: tuple[str, ...] = ()
    """Installed distributions that the code may import, with what they require: ("numpy",). Read-only."""

    def __post_init__(self) -> None:
        if not isinstance(self.packages, tuple) or not all(isinstance(each, str) for each in self.packages):
            raise ValueError(f'packages is a tuple of names such as ("numpy",), not {self.packages!r}')
        installed(self.packages)
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            whole = field.name != "wall_s"
            if type(value) not in ((int,) if whole else (int, float)) or not 0 < value < math.inf:
                raise ValueError(f"{field.name} is a positive {'whole ' if whole else ''}number, not {value!r}")
        if self.memory < 64 << 20:
            raise ValueError(f"memory is at least 64 MiB, which an interpreter needs, not {self.memory} bytes")
        if self.wall_s < self.cpu_s:
            raise ValueError(f"wall_s is at least cpu_s ({self.cpu_s} s), not {self.wall_s} s")


@dataclass(frozen=True)
class Probe:
    """What a backend found when it really ran a program that tries to break out."""

    works: bool
    """It ran, and nothing got out."""
    reason: str = ""
    """Why not, in words for whoever installs things."""
    could: tuple[str, ...] = ()
    """What the code inside managed to do of what it should not."""
    could_not: tuple[str, ...] = ()
    """What it tried in vain."""


@dataclass(frozen=True)
class Returned:
    """A call returned; the value holds exact builtins only."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """A call raised."""

    type: str
    """The nearest builtin class's name."""
    message: str
    """As the exception says it."""
    line: int = 0
    """Of the code; 0 where it is not known."""
    own: tuple[str, ...] = ()
    """The names of the code's own classes that it is of, the nearest first."""


@dataclass(frozen=True)
class Unfit:
    """A call returned what cannot cross, or cannot be made: no test takes it for a value or an exception."""

    reason: str
    """What became of the call, in words: "returned a map, which is not plain data"."""


Reply: TypeAlias = Union[Returned, Raised, Unfit]


@dataclass(frozen=True)
class Use:
    """What one side asks of something that is the other's."""

    operation: str
    """"call", "get" (an attribute), "iter", "eq" and the like."""
    on: int | str
    """The number of an object, or a name of the program."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


Peer: TypeAlias = Callable[[Use], Awaitable[Reply]]
"""Has the other side do something."""


@dataclass(frozen=True)
class Tests:
    """Tests that run in a session of their own."""

    kind: Literal["lines", "unittest", "pytest"]
    """"lines" pass if they raise nothing; the others say of each test whether it passed."""
    source: str
    names: Sequence[str] = ()
    """What they use and do not define: the program's."""
    modules: Sequence[str] = ()
    """What they import; those that are not there are the program."""


class Session(Protocol):
    """One fresh process for one program, used by one task at a time.

    Every method but `kill` raises `GuestFailed` where the code is at fault and `SandboxFailed` where the sandbox is.
    """

    async def load(self, source: str, /) -> Reply:
        """Run a program's top level; returns the names of the functions that it defines, in order."""
        ...

    async def call(self, entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Reply:
        """Call a function of the program, or a `Class.method` on a new instance; only plain data crosses."""
        ...

    async def check(self, tests: Tests, program: Peer, /) -> Reply:
        """Run tests here of a program that is elsewhere.

        Returns None from lines that pass, and from other tests a list of [name, passed, why not].
        """
        ...

    async def use(self, use: Use, tests: Peer, /) -> Reply:
        """Do with an object here what tests elsewhere ask; a function of theirs may be called meanwhile."""
        ...

    async def kill(self) -> None:
        """End the process and free what it holds: at most a second, also when cancelled, as often as one likes."""
        ...


class Sandbox(Protocol):
    """Where code runs that nobody vouches for."""

    @property
    def name(self) -> str:
        """A word for logs and spans."""
        ...

    @property
    def trust(self) -> Literal["kernel", "remote", "none"]:
        """What keeps the code in: this machine's kernel, another machine, or nothing."""
        ...

    async def probe(self) -> Probe:
        """Whether it works here, by really running a program in it."""
        ...

    async def start(self, limits: Limits, /) -> Session:
        """A fresh process, ready to load.

        Raises:
            SandboxFailed: it did not start.
        """
        ...
