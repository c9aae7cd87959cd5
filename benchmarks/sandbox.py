"""What a verification costs in each sandbox, beside starting a bare interpreter.

    python benchmarks/sandbox.py [--quick] [--json FILE]

One candidate with five input/output cases, or with two `assert` tests that are no such cases. *Cold* starts its sandbox
when it is asked for; *ready* takes a process that waits. All ratios are of runs in turn, so they hold on a busy
machine; verifications a second do not, and say what this machine could do meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from report import Figure, Target, paired, show

from ttc_middleware.sandbox import Limits, Ready, select
from ttc_middleware.verifiers import UnitTests

CODE = "def add(a, b):\n    return a + b\n"
CASES = [((n, n + 1), 2 * n + 1) for n in range(5)]
ASSERTS = ["assert add(1, 2) < 4", "x = add(2, 2)\nassert x == 4"]
PER_SECOND = {"bubblewrap": (60, 30), "fork-server": (150, 100), "landlock": (None, None)}


async def milliseconds(call: Callable[[], Awaitable[Any]]) -> float:
    start = time.perf_counter()
    await call()
    return 1e3 * (time.perf_counter() - start)


async def bare() -> None:
    """An interpreter that starts and ends; in the loop's thread, as sandboxes are started."""
    subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)  # noqa: ASYNC221


async def per_second(verifier: UnitTests, many: int) -> float:
    async def check() -> None:
        assert (await verifier.check(CODE)).score == 1

    start = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(many):
            group.start_soon(check)
    return many / (time.perf_counter() - start)


async def kill_ms(sandbox: Any) -> float:
    session = await sandbox.start(Limits())
    await session.load("def spin():\n    while True: pass")
    async with anyio.create_task_group() as group:
        group.start_soon(quietly, session)
        await anyio.sleep(0.02)
        took = await milliseconds(session.kill)
        group.cancel_scope.cancel()
    return took


async def quietly(session: Any) -> None:
    with contextlib.suppress(Exception):  # it was killed
        await session.call("spin", (), {})


async def one(name: Any, rounds: int, many: int) -> tuple[list[Figure], list[Target]]:
    print(f"  {name}", file=sys.stderr, flush=True)
    sandbox = await select(name)
    python, cold, warm, kills = (Figure(f"{name}: {what}", "ms") for what in ("bare python", "cold", "ready", "kill"))
    speeds = Figure(f"{name}: cases", "/s"), Figure(f"{name}: other asserts", "/s")
    verifiers = UnitTests(CASES, sandbox=sandbox), UnitTests(ASSERTS, sandbox=sandbox)
    async with Ready(sandbox, spare=1) as ready:
        kept = UnitTests(CASES, sandbox=ready)
        await kept.check(CODE)
        for _ in range(rounds):
            python.runs.append(await milliseconds(bare))
            cold.runs.append(await milliseconds(lambda: verifiers[0].check(CODE)))
            await anyio.sleep(0.1)  # time for the spare to start
            warm.runs.append(await milliseconds(lambda: kept.check(CODE)))
            kills.runs.append(await kill_ms(sandbox))
    for _ in range(3):
        for speed, verifier in zip(speeds, verifiers, strict=True):
            speed.runs.append(await per_second(verifier, many))
    targets = [Target(paired(f"{name}: cold ÷ bare python", cold, python), 4)]
    if name != "fork-server":  # which never starts an interpreter: ready is no half of nothing
        targets.append(Target(paired(f"{name}: ready ÷ cold", warm, cold), 0.5))
    targets.append(Target(kills, 100))
    targets += [Target(speed, least, "higher") for speed, least in zip(speeds, PER_SECOND[name], strict=True)]
    return [python, cold, warm], targets


async def measured(quick: bool) -> tuple[list[Figure], list[Target]]:
    figures: list[Figure] = []
    targets: list[Target] = []
    for name in PER_SECOND:
        more, met = await one(name, 7 if quick else 25, 20 if quick else 100)
        figures += more
        targets += met
    return figures, targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every run there too")
    args = parser.parse_args()
    figures, targets = anyio.run(measured, args.quick)
    show("Measured: median [lowest … highest run]", ["what", "", "unit"], [[f.name, str(f), f.unit] for f in figures])
    rows = [[t.figure.name, str(t.figure), t.figure.unit, t.said, t.verdict] for t in targets]
    show("Targets", ["what", "median [lowest … highest run]", "unit", "target", ""], rows)
    print(f"python {platform.python_version()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    if args.json:
        document = {"targets": [t.to_dict() for t in targets], "figures": [f.to_dict() for f in figures]}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
