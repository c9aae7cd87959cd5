"""A sandbox of your own: any command that runs Python somewhere else, such as a container or another machine.

    python examples/own_sandbox.py docker run -i --rm --network none --memory 512m python:3.12-slim python
    python examples/own_sandbox.py                     # here, in a plain process: only shows how it works

Two classes keep the protocol. What comes back is data and nothing else: parsed as JSON, never unpickled, its length
bounded before it is read.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from ttc_middleware import SandboxFailed
from ttc_middleware.sandbox import GuestFailed, Limits, Peer, Probe, Raised, Reply, Returned, Session, Tests, Use
from ttc_middleware.verifiers import UnitTests

# What runs over there: a line of JSON for each request, and one for each answer.
RUNNER = """
import json, sys
say, scope = sys.stdout, {"__name__": "solution"}
sys.stdout = sys.stderr
for line in sys.stdin:
    what, *rest = json.loads(line)
    try:
        if what == "load":
            exec(rest[0], scope)
            told = ["returned", [name for name, value in scope.items() if callable(value)]]
        else:
            told = ["returned", scope[rest[0]](*rest[1], **rest[2])]
        text = json.dumps(told)
    except BaseException as error:
        text = json.dumps(["raised", type(error).__name__, str(error)[:500]])
    print(text, file=say, flush=True)
"""


@dataclass(frozen=True)
class Elsewhere:
    """Runs programs by a command of your own."""

    command: tuple[str, ...]
    name: str = "elsewhere"
    trust: Literal["remote", "none"] = "remote"

    async def probe(self) -> Probe:
        """Whether it works."""
        return Probe(works=True)

    async def start(self, limits: Limits, /) -> Session:
        """A fresh process over there, for one program."""
        try:
            return Talk(await anyio.open_process([*self.command, "-c", RUNNER], stderr=None), limits)
        except OSError as error:
            raise SandboxFailed(f"{self.command[0]} did not start: {error}") from error


class Talk:
    """One program over there."""

    def __init__(self, process: anyio.abc.Process, limits: Limits) -> None:
        assert process.stdout is not None
        self.process, self.limits = process, limits
        self.answers = BufferedByteReceiveStream(process.stdout)

    async def load(self, source: str, /) -> Reply:
        return await self.ask("load", source)

    async def call(self, entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Reply:
        return await self.ask("call", entry, list(args), dict(kwargs))

    async def ask(self, *request: object) -> Reply:
        assert self.process.stdin is not None
        try:
            with anyio.fail_after(self.limits.wall_s):
                await self.process.stdin.send(json.dumps(request).encode() + b"\n")
                line = await self.answers.receive_until(b"\n", self.limits.result)
            kind, *parts = json.loads(line)
            return Returned(parts[0]) if kind == "returned" else Raised(str(parts[0]), str(parts[1]))
        except Exception as error:  # it ended, hung, said too much, or nonsense: the code's own fault
            raise GuestFailed(f"spoke no answer ({type(error).__name__})") from error

    async def check(self, tests: Tests, program: Peer, /) -> Reply:
        raise SandboxFailed("this sandbox runs (args, expected) cases only")

    async def use(self, use: Use, tests: Peer, /) -> Reply:
        raise SandboxFailed("this sandbox runs (args, expected) cases only")

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.aclose()


async def main() -> None:
    here = Elsewhere((sys.executable, "-I"), trust="none")  # keeps nothing in: use a container
    sandbox = Elsewhere(tuple(sys.argv[1:])) if len(sys.argv) > 1 else here
    tests = UnitTests([((2, 3), 8), ((5, 0), 1), ((2, 10), 1024)], entry="power", sandbox=sandbox)
    for code in (
        "def power(a, b): return a ** b",
        "def power(a, b): return a * b",
        "def power(a, b): raise SystemExit",
    ):
        verdict = await tests.check(code)
        print(f"{verdict.score:.2f} in {verdict.sandbox} (trust {verdict.trust}): {verdict.feedback or 'accepted'}")


anyio.run(main)
