"""`ttc sandbox probe`: which sandboxes work here, how fast, and what each stops."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import anyio

from ttc_middleware import SandboxUnavailable
from ttc_middleware.sandbox import Limits, Probe, Sandbox, select

from ._demo import console_for

_NAMES = ("bubblewrap", "fork-server", "landlock", "unsafe")
_RUNS = 5


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser("sandbox", help="what keeps code in", description=__doc__)
    parser.add_argument("what", choices=["probe"], help="try every sandbox, by running a program that tries to get out")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Try every sandbox; 0 if one that isolates works, else 1."""
    console = console_for(to_stderr=given.json)
    with console.status("trying every sandbox"):
        found = anyio.run(_all)
        bare = _bare_ms()
    if given.json:
        sys.stdout.write(json.dumps({"python_ms": bare, "sandboxes": found}, indent=2) + "\n")
    else:
        from rich.table import Table  # noqa: PLC0415  # slow to import

        table = Table("", *found)
        works = ["yes" if each["works"] else "no" for each in found.values()]
        table.add_row("works here", *works)
        speeds = [f"{each['ms']:.0f} ms" if each["works"] else "" for each in found.values()]
        table.add_row("start to first answer", *speeds)
        times = [f"{each['ms'] / bare:.1f} x" if each["works"] else "" for each in found.values()]
        table.add_row(f"… of a bare python, {bare:.0f} ms", *times, end_section=True)
        for attempt in dict.fromkeys(what for each in found.values() for what in (*each["stops"], *each["lets"])):
            marks = [
                ("stopped" if attempt in each["stops"] else "possible") if each["works"] else ""
                for each in found.values()
            ]
            table.add_row(attempt, *marks)
        console.print(table)
        for name, each in found.items():
            if not each["works"]:
                console.print(f"{name}: {each['reason']}")
        console.print('"auto" takes the first that works and isolates')
    return 0 if any(each["works"] and each["trust"] != "none" for each in found.values()) else 1


async def _all() -> dict[str, dict[str, Any]]:
    return {name: await _one(name) for name in _NAMES}


async def _one(name: Any) -> dict[str, Any]:
    try:
        sandbox = await select(name)
    except SandboxUnavailable as error:
        return _told(Probe(works=False, reason=str(error)), trust="none", ms=None)
    probe = await sandbox.probe()
    return _told(probe, trust=sandbox.trust, ms=await _ms(sandbox))


def _told(probe: Probe, *, trust: str, ms: float | None) -> dict[str, Any]:
    says = {"works": probe.works, "reason": probe.reason, "trust": trust, "ms": ms}
    return {**says, "stops": list(probe.could_not), "lets": list(probe.could)}


async def _ms(sandbox: Sandbox) -> float:
    """Milliseconds from nothing to an answer: the median of a few."""
    took: list[float] = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        session = await sandbox.start(Limits())
        try:
            await session.load("def f(x): return x")
            await session.call("f", (1,), {})
            took.append(time.perf_counter() - began)
        finally:
            await session.kill()
    return 1e3 * statistics.median(took)


def _bare_ms() -> float:
    """Milliseconds that this interpreter takes to start and end."""
    took: list[float] = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        took.append(time.perf_counter() - began)
    return 1e3 * statistics.median(took)
