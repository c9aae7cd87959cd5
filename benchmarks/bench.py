"""Measures what ttc_middleware costs, beside the bare client and its-hub, in one go.

    python benchmarks/bench.py [--quick] [--json FILE]

Every contender runs in a process of its own against one server on loopback (server.py, 50 ms a completion). Runs
alternate (A B C, C B A, …) and ratios are taken within a round, so that they hold on a machine that is busy otherwise.
With uv on PATH, its-hub and the newest SDK get an environment of their own under build/; the SDK of this environment
is measured too. Nothing here fails because a target is missed: the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from report import Better, Figure, Target, paired, show

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
PEER = "its-hub[lm]==1.2.0"
IN_FLIGHT, CHOICES = 32, 8
NOT_IMPORTED = ("litellm", "openai", "httpx", "httpx2", "langchain", "langchain_core", "pydantic", "opentelemetry.sdk")


def tell(progress: str) -> None:
    print(f"  {progress}", file=sys.stderr, flush=True)


class Lines:
    """A process that answers lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.hello = self.read()

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, **command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.read()


@contextmanager
def running(*command: str | Path) -> Iterator[Lines]:
    """A process that ends when its stdin closes."""
    with subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Lines(process)
        assert process.stdin is not None
        process.stdin.close()


def peer_python() -> Path | None:
    """The interpreter of an environment with its-hub and the newest SDK, made where uv is there; None: it is not."""
    python, uv = BUILD / "env" / "bin" / "python", shutil.which("uv")
    if not python.exists():
        if uv is None:
            tell("no uv on PATH: its-hub and the newest SDK are skipped")
            return None
        tell(f"making an environment for {PEER} in {BUILD / 'env'}")
        try:
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, python.parent.parent], check=True)
            wanted = [PEER, "openai>=3,<4", "-e", HERE.parent]
            subprocess.run([uv, "pip", "install", "-q", "--python", python, *wanted], check=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(python.parent.parent, ignore_errors=True)
            tell(f"its-hub and the newest SDK are skipped: {error}")
            return None
    return python


def calls(server: str, quick: bool, pythons: list[Path]) -> tuple[list[Figure], list[Target]]:
    """Latency of calls one after the other, and calls a second with 32 in flight."""
    rounds = 3 if quick else 7
    latency: dict[tuple[str, str], Figure] = {}
    speed: dict[tuple[str, str], Figure] = {}
    cpu: list[Figure] = []
    with ExitStack() as stack:
        ways: list[tuple[str, str, Lines]] = []
        for python in pythons:
            for contender in ("client", "ttc", "its-hub") if python != Path(sys.executable) else ("client", "ttc"):
                lines = stack.enter_context(running(python, HERE / "worker.py", contender, f"{server}/v1"))
                versions = lines.hello["versions"]
                name = contender if contender == "its-hub" else f"{contender}, openai {versions['openai']}"
                tell(f"{name}: {versions}")
                ways += [(name, way, lines) for way in lines.hello["ways"]]
        for name, way, lines in ways:
            lines.ask(do="throughput", way=way, calls=2 * IN_FLIGHT, in_flight=IN_FLIGHT)  # warm
            latency[name, way] = Figure(f"{name}: {way}", "ms")
            speed[name, way] = Figure(f"{name}: {way}", "calls/s")
            cpu.append(Figure(f"{name}: {way}", "CPU ms/call"))
        for turn in range(rounds):
            tell(f"calls: round {turn + 1} of {rounds}")
            order = list(enumerate(ways))[:: -1 if turn % 2 else 1]
            for _, (name, way, lines) in order:
                run = Figure(way, "ms", lines.ask(do="latency", way=way, calls=5 if quick else 15)["ms"])
                latency[name, way].runs.append(run.median)
            for place, (name, way, lines) in order:
                many = (2 if way == "fan-out" else 4) * IN_FLIGHT * (1 if quick else 2)
                get(f"{server}/reset")
                said = lines.ask(do="throughput", way=way, calls=many, in_flight=IN_FLIGHT)
                served = get(f"{server}/stats")
                assert served["choices"] == many * (1 if way == "plain" else CHOICES), (name, way, served)
                assert way == "plain" or said["right"] > 0.9, (name, way, said)
                assert served["requests"] == many * (CHOICES if way == "fan-out" else 1), (name, way, served)
                speed[name, way].runs.append(said["per_second"])
                cpu[place].runs.append(said["cpu_ms"])
    peer = speed.get(("its-hub", "fan-out"))
    targets: list[Target] = []
    for bare in dict.fromkeys(name for name, _ in latency if name.startswith("client")):
        sdk = bare.removeprefix("client, ")
        ours = f"ttc, {sdk}"

        def ratio(what: str, both: tuple[Figure, Figure], limit: float, better: Better, sdk: str = sdk) -> Target:
            return Target(paired(f"{what} ({sdk})", *both), limit, better)

        with_n, without = speed[ours, "n"], speed[ours, "fan-out"]
        targets += [
            ratio("latency with n ÷ one raw call", (latency[ours, "n"], latency[bare, "plain"]), 1.06, "lower"),
            ratio(
                "latency without n ÷ 8-way gather", (latency[ours, "fan-out"], latency[bare, "fan-out"]), 1.1, "lower"
            ),
            ratio("calls/s with n ÷ bare client with n", (with_n, speed[bare, "n"]), 0.9, "higher"),
            ratio("calls/s without n ÷ bare fan-out", (without, speed[bare, "fan-out"]), 0.9, "higher"),
        ]
        if peer is not None:
            targets.append(ratio("calls/s with n ÷ its-hub's BestOfN", (with_n, peer), 1.0, "higher"))
    return [*latency.values(), *speed.values(), *cpu], targets


def memory(server: str, quick: bool, python: Path) -> tuple[list[Figure], list[Target]]:
    """Resident memory after the same calls, each time in new processes."""
    rounds, way_calls = (2, IN_FLIGHT) if quick else (5, 4 * IN_FLIGHT)
    figures = {contender: Figure(f"{contender}: resident after calls", "MiB") for contender in ("client", "ttc")}
    for turn in range(rounds):
        tell(f"memory: round {turn + 1} of {rounds}")
        for contender, figure in list(figures.items())[:: -1 if turn % 2 else 1]:
            with running(python, HERE / "worker.py", contender, f"{server}/v1") as lines:
                for way in ("n", "fan-out"):
                    lines.ask(do="throughput", way=way, calls=way_calls, in_flight=IN_FLIGHT)
                figure.runs.append(lines.ask(do="memory")["mib"])
    ours, bare = figures["ttc"], figures["client"]
    more = Figure(
        "resident memory over the bare client", "MiB", [a - b for a, b in zip(ours.runs, bare.runs, strict=True)]
    )
    return [bare, ours], [Target(more, 8)]


def engine(quick: bool) -> list[Target]:
    """CPU and memory of a draw without HTTP."""

    def runs(*options: str, figure: str = "ms_per_draw") -> list[float]:
        tell(f"engine: {' '.join(options)}")
        command = [sys.executable, HERE / "engine.py", "--runs", "3" if quick else "7", *options]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return [run[figure] for run in json.loads(said)["runs"]]

    sizes = ("100", "1000") if quick else ("100", "1000", "10000")
    targets = [
        Target(Figure(f"CPU a draw, {name}, {draws} draws", "ms", runs("--draws", draws, *options)), limit)
        for name, options, limit in (
            ("no SDK", (), 0.15),
            ("no SDK, with a model call", ("--model-call",), 0.15),
            ("SDK and batch processor", ("--sdk",), 0.35),
            ("SDK and batch processor, with a model call", ("--sdk", "--model-call"), 0.35),
        )
        for draws in (sizes if limit < 0.2 else sizes[:2])
    ]
    held = runs("--draws", "10000", "--hold", figure="kib_per_draw")
    return [*targets, Target(Figure("memory a draw, 10,000 in flight at once", "KiB", held))]


def imports(quick: bool) -> list[Target]:
    """What `import ttc_middleware` takes over the bare interpreter, bytecode compiled."""
    hidden = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env["PYTHONPYCACHEPREFIX"] = str(BUILD / "bytecode")
    ours = "import ttc_middleware"
    loaded = f"{ours}, sys; print([name for name in {NOT_IMPORTED!r} if name in sys.modules])"

    def run(code: str) -> tuple[float, float]:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=env)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    said = subprocess.run([sys.executable, "-c", loaded], check=True, env=env, capture_output=True, text=True).stdout
    assert said.strip() == "[]", f"{ours} imports {said}"
    wall = Figure(f"{ours}, over the bare interpreter", "s")
    cpu = Figure(f"{ours}, CPU over the bare interpreter", "s")
    for turn in range(5 if quick else 15):
        pair = [run(code) for code in ((ours, "pass") if turn % 2 else ("pass", ours))][:: -1 if turn % 2 else 1]
        wall.runs.append(pair[1][0] - pair[0][0])
        cpu.runs.append(pair[1][1] - pair[0][1])
    return [Target(wall, 0.15), Target(cpu, 0.15)]


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.loads(response.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every run there too")
    args = parser.parse_args()
    about = {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "load average at the start": [round(each, 1) for each in os.getloadavg()],
    }
    targets = [*imports(args.quick), *engine(args.quick)]
    peer = peer_python()
    pythons = [python for python in (peer, Path(sys.executable)) if python is not None]
    with running(sys.executable, HERE / "server.py") as server:
        url = f"http://127.0.0.1:{server.hello}"
        figures, more = memory(url, args.quick, pythons[0])
        measured, most = calls(url, args.quick, pythons)
    figures, targets = [*measured, *figures], [*most, *more, *targets]
    about["load average at the end"] = [round(each, 1) for each in os.getloadavg()]
    show("Measured: median [lowest … highest run]", ["what", "", "unit"], [[f.name, str(f), f.unit] for f in figures])
    rows = [[t.figure.name, str(t.figure), t.figure.unit, t.said, t.verdict] for t in targets]
    show("Targets", ["what", "median [lowest … highest run]", "unit", "target", ""], rows)
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    if args.json:
        document = {
            "about": about,
            "targets": [target.to_dict() for target in targets],
            "figures": [figure.to_dict() for figure in figures],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
