"""`ttc demo`: a small model writes small functions, once and best-of-N, checked by unit tests in a sandbox."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

import ttc_middleware as ttc

from ._trace import traced

if TYPE_CHECKING:
    from rich.console import Console

    from ttc_local import Server, Task
    from ttc_middleware import Result

# What the hidden tokens would have cost with a model that one pays for: a list price, in dollars per million tokens.
PRICED_MODEL, PRICE = "gpt-5-mini", ttc.Price(input="0.25", output="2.00")
GENERATED = 8_000
LEAST = 32  # tokens below which no function fits


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo", help="see it work, on a real model on this machine", description=__doc__
    )
    parser.add_argument("--tasks", type=Path, metavar="FILE.jsonl", help="your own tasks instead of the built-in ones")
    parser.add_argument("--n", type=int, default=16, help="samples for each task at most (16)")
    parser.add_argument("--model", type=Path, metavar="FILE.gguf", help="another model than the built-in SmolLM2-135M")
    parser.add_argument("--tokens", type=int, default=GENERATED, help=f"generated tokens at most, in all ({GENERATED})")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--trace", action="store_true", help="print the spans as a tree")
    parser.add_argument("--otlp", metavar="URL", help="send the spans to a collector, like http://localhost:6006")
    parser.add_argument("--unsafe-sandbox", action="store_true", help="run the model's code without isolation")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


@dataclass
class Row:
    """What one task brought."""

    task: Task
    result: Result[str] | None = None
    error: str | None = None

    @property
    def single(self) -> bool:
        """Whether draw 0 was accepted."""
        return self.result is not None and bool(self.result.samples) and self.result.samples[0].accepted

    @property
    def scaled(self) -> bool:
        """Whether any draw was."""
        return self.result is not None and self.result.accepted

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        story = {} if self.result is None else self.result.to_dict()
        return {"task": self.task.name, "single": self.single, "scaled": self.scaled, "error": self.error, **story}


def run(given: argparse.Namespace) -> int:
    """Run the demo; fails where every task ended in an error.

    Raises:
        ValueError: an argument is out of its range, or a task is none.
        SandboxUnavailable: nothing isolates here, and `--unsafe-sandbox` was not given.
    """
    console = console_for(to_stderr=given.json)
    from rich.markup import escape  # noqa: PLC0415  # an extra

    import ttc_local  # noqa: PLC0415  # an extra
    from ttc_middleware import sandbox  # noqa: PLC0415  # nothing else here needs it

    if given.n < 1:
        raise ValueError(f"--n must be at least 1, got {given.n}")
    tasks = ttc_local.load_tasks(given.tasks or ttc_local.TASKS)
    most = min(ttc_local.MAX_TOKENS, given.tokens // (len(tasks) * given.n))
    if most < LEAST:
        raise ValueError(
            f"--tokens {given.tokens:,} leave {most} tokens for each of {len(tasks)} x {given.n} samples, and a"
            f" function takes at least {LEAST}: raise --tokens, or lower --n"
        )
    choice: sandbox.Choice = "unsafe" if given.unsafe_sandbox else "auto"
    with ExitStack() as stack:
        traces = stack.enter_context(traced(given.otlp, keep=given.trace))
        with console.status("looking for a sandbox"):
            isolated = anyio.run(sandbox.select, choice)
        with console.status("starting the model"):
            server = stack.enter_context(ttc_local.serve(given.model, parallel=8))
        console.print(
            f"[bold]{escape(server.model)}[/] writes {len(tasks)} functions, up to {given.n} samples of each;"
            f" unit tests judge them, in a sandbox ({isolated.name})."
        )
        board = Board(console, len(tasks))
        rows = _solved(tasks, server, board, n=given.n, most=most, sandbox=choice)
        seconds = time.perf_counter() - board.started
    if given.trace:
        traces.show(console)
    _report(rows, given, console, seconds, server.model)
    return 1 if all(row.error for row in rows) else 0


class Board:
    """What one sees while it runs."""

    def __init__(self, console: Console, tasks: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415  # an extra

        self.started = time.perf_counter()
        self.generated = self.drawn = self.solved = 0
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} functions"),
            TimeElapsedColumn(), console=console, transient=True,
        )  # fmt: skip
        self.line = self.bar.add_task("starting", total=tasks)

    def sample(self, generated: int) -> None:
        """Count a sample."""
        self.drawn += 1
        self.generated += generated
        self._say()

    def finished(self, row: Row) -> None:
        """Count a task."""
        self.solved += row.scaled
        self.bar.advance(self.line)
        self._say()

    def _say(self) -> None:
        rate = self.generated / (time.perf_counter() - self.started)
        said = f"{self.solved} accepted, {self.drawn} samples, {self.generated:,} tokens, {rate:.0f}/s"
        self.bar.update(self.line, description=said)


def _solved(tasks: Sequence[Task], server: Server, board: Board, *, n: int, most: int, sandbox: Any) -> list[Row]:
    """Write every function: all tasks at once, as many draws as the server serves."""
    import openai  # noqa: PLC0415  # an extra

    import ttc_local  # noqa: PLC0415  # an extra

    rows = [Row(task) for task in tasks]

    async def passes(output: str, task: Task) -> ttc.Verdict:
        return await ttc.verifiers.UnitTests(task.tests, entry=task.entry, sandbox=sandbox).check(output)

    async def solve_all() -> None:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:
            # One at a time, while the other tasks keep the model busy: draw 0 is what one sample alone would have been,
            # and nothing is ever cancelled, so the bill is exact.
            @ttc.scale(ttc.BestOfN(n, at_once=1), verifier=passes, name="write_function")
            async def write_function(task: Task) -> str:
                reply = await client.chat.completions.create(
                    model=server.model,
                    messages=[{"role": "user", "content": ttc_local.PROMPT.format(prompt=task.prompt)}],
                    max_tokens=most,
                    temperature=ttc_local.TEMPERATURE,
                    stop=ttc_local.STOP,
                )
                board.sample(0 if reply.usage is None else reply.usage.completion_tokens)
                return reply.choices[0].message.content or ""

            async def solve(row: Row) -> None:
                try:
                    row.result = await write_function.run(row.task)
                except Exception as error:  # noqa: BLE001  # one task's failure is a line of the table
                    row.error, row.result = f"{type(error).__name__}: {error}", ttc.result_of(error)
                board.finished(row)

            with ttc.policy(budget=ttc.Budget(concurrency=8)):
                async with anyio.create_task_group() as group:
                    for row in rows:
                        group.start_soon(solve, row)

    with board.bar:
        anyio.run(solve_all)
    return rows


def _summary(rows: Sequence[Row], bill: ttc.Bill, seconds: float, model: str) -> dict[str, Any]:
    """The totals, every figure from this run; only the price is given."""
    return {
        "model": model,
        "tasks": len(rows),
        "accepted_by_one_sample": sum(row.single for row in rows),
        "accepted_by_search": sum(row.scaled for row in rows),
        "samples": bill.total.calls,
        "generated_tokens": bill.total.output_tokens,
        "seconds": seconds,
        "tokens_per_second": bill.total.output_tokens / seconds,
        "priced_as": {"model": PRICED_MODEL, "input": str(PRICE.input), "output": str(PRICE.output)},
        "hidden_usd_at_that_price": format(PRICE.cost(bill.hidden).total, "f"),
        "bill": bill.to_dict(),
    }


def _table(rows: Sequence[Row], n: int) -> Any:
    from rich.markup import escape  # noqa: PLC0415  # an extra
    from rich.table import Table  # noqa: PLC0415  # an extra

    bills = [_bill(row) for row in rows]
    table = Table(show_footer=True, box=None, pad_edge=False, footer_style="bold")  # 80 columns are enough
    table.add_column("function", "total", no_wrap=True)
    table.add_column("one sample", f"{sum(row.single for row in rows)} of {len(rows)}", no_wrap=True)
    table.add_column(f"best of {n}", f"{sum(row.scaled for row in rows)} of {len(rows)}", no_wrap=True)
    table.add_column("drawn", f"{sum(bill.total.calls for bill in bills)}", justify="right")
    table.add_column("visible", f"{sum(bill.visible.tokens for bill in bills):,}", justify="right")
    table.add_column("hidden", f"{sum(bill.hidden.tokens for bill in bills):,}", justify="right")
    table.add_column("seconds", "", justify="right")
    for row, bill in zip(rows, bills, strict=True):
        took = "" if row.result is None else f"{row.result.seconds:.1f}"
        marks = [_mark(ok=row.single), _mark(ok=row.scaled)]
        said = marks if row.error is None else [f"[red]{escape(row.error[:40])}[/]", ""]
        figures = [f"{bill.total.calls}", f"{bill.visible.tokens:,}", f"{bill.hidden.tokens:,}", took]
        table.add_row(escape(row.task.name), *said, *figures)
    return table


def _bill(row: Row) -> ttc.Bill:
    return ttc.Bill() if row.result is None else row.result.bill


def _mark(*, ok: bool) -> str:
    return "[green]accepted[/]" if ok else "[dim]-[/]"


def _report(rows: Sequence[Row], given: argparse.Namespace, console: Console, seconds: float, model: str) -> None:
    bill = sum((_bill(row) for row in rows), ttc.Bill())
    summary = _summary(rows, bill, seconds, model)
    if given.json:
        sys.stdout.write(json.dumps({"rows": [row.to_dict() for row in rows], **summary}, indent=2) + "\n")
        return
    console.print(_table(rows, given.n))
    times = "" if bill.multiplier is None else f", {bill.multiplier:.1f} times those of one sample each"
    console.print(
        f"{summary['accepted_by_one_sample']} of {len(rows)} functions pass with one sample,"
        f" [bold]{summary['accepted_by_search']} of {len(rows)}[/] with up to {given.n}:"
        f" {bill.total.tokens:,} tokens{times}.{_missing(bill)}"
    )
    console.print(
        f"{bill.hidden.tokens:,} of them nobody reads: from {PRICED_MODEL}, at ${PRICE.input} and ${PRICE.output} a"
        f" million tokens in and out, they would cost ${Decimal(summary['hidden_usd_at_that_price']):.4f}."
    )
    console.print(
        f"{bill.total.output_tokens:,} tokens were generated in {seconds:.0f} s,"
        f" {summary['tokens_per_second']:.0f} a second, all on this machine."
    )
    console.print("Next, a function of yours, side by side: [bold]ttc try module:function --args '…' --n 8[/]")


def _missing(bill: ttc.Bill) -> str:
    """What the total does not hold."""
    if bill.status == "exact":
        return ""
    said = ", ".join(f"{count} {reason}" for reason, count in bill.gaps.items())
    return f" That is the least: of some samples nobody knows what they cost ({said})."


WIDTH = 160


def console_for(*, to_stderr: bool) -> Console:
    """Where people read; JSON has stdout for itself."""
    try:
        from rich.console import Console as RichConsole  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ImportError('this command draws with rich: pip install "ttc-middleware[local]"') from error
    # What goes into a file or a pipe has the room that it needs.
    wide = None if (sys.stderr if to_stderr else sys.stdout).isatty() or "COLUMNS" in os.environ else WIDTH
    return RichConsole(stderr=to_stderr, highlight=False, width=wide)
