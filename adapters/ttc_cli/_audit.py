"""`ttc audit`: run any program as it is, and say what its model calls cost, by the line that makes them.

Seen are chat completions and responses of openai and litellm and messages of anthropic, and so of what is built on
them, in the program and in the Python processes that it starts. Nothing is steered, retried or capped. One thing is
asked beside what the program asks: that streams end with their usage, which the program does not get to see. No
prompt and no answer is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttc_middleware.seam import record_lines

from ._audit_advice import advice
from ._audit_calls import log_of
from ._audit_figures import Audit, places
from ._audit_tables import NOTES, caveats, four, headline, tables
from ._demo import WIDTH
from ._page import document
from ._report import drawn

if TYPE_CHECKING:
    from rich.console import Console

NOT_FOUND, NOT_EXECUTABLE, BY_SIGNAL = 127, 126, 128  # as a shell says it
GRACE = 0.5
"""Seconds until a signal is passed on: to a whole group it has come by itself."""
_SITE = Path(__file__).parent / "_audit_site"


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "audit",
        help="what the model calls of any program cost, line by line",
        usage="ttc audit [-h] [--json FILE] [--html FILE] -- COMMAND [ARGUMENT ...]",
        description=__doc__,
        epilog="The exit status is the command's own, 128 and the signal's number if one has ended it, 127 if it was"
        " not found. The report goes to stderr when the command has ended, or only to the files that are asked for.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON, and print nothing")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page, and print nothing")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of the audit itself")
    parser.add_argument(
        "program",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="what to run: python app.py, pytest, uvicorn app:app",
    )
    parser.set_defaults(run=run, failure=2)


def run(given: argparse.Namespace) -> int:
    """Run the command and report; returns its exit status.

    Raises:
        ValueError: there is no command.
        OSError: a file cannot be written.
        ImportError: rich is not installed.
    """
    command: list[str] = given.program[1:] if given.program[:1] == ["--"] else given.program
    if not command:
        raise ValueError("there is no command: ttc audit -- python app.py")
    if shutil.which(command[0]) is None:
        there = Path(command[0]).exists() and os.sep in command[0]
        sys.stderr.write(f"ttc audit: {command[0]}: {'cannot be executed' if there else 'command not found'}\n")
        return NOT_EXECUTABLE if there else NOT_FOUND
    console = None if given.json or given.html else _console()
    for file in (given.json, given.html):  # before the program has cost anything
        if file is not None:
            file.touch()
    with tempfile.TemporaryDirectory(prefix="ttc-audit-", ignore_cleanup_errors=True) as place:
        folder, started = Path(place), time.monotonic()
        (folder / "key").write_bytes(secrets.token_bytes(32))
        (folder / "audit.jsonl").touch(mode=0o600)
        status = _ended(command, folder)
        log = log_of(record_lines(folder / "audit.jsonl"), Path.cwd())
    found = places(log.calls)
    audit = Audit(log, found, advice(found))
    try:
        _say(audit, given, console, {"command": command, "exit_status": status, "seconds": time.monotonic() - started})
    except OSError as error:  # a full disk, a terminal that has gone: the status is the program's all the same
        sys.stderr.write(f"ttc audit: {error}\n")
    return status


def _ended(command: Sequence[str], folder: Path) -> int:
    """Run it to its end; gives the exit status, as a shell would."""
    path = os.environ.get("PYTHONPATH")
    # An empty part would be the working directory.
    environment = {
        **os.environ,
        "PYTHONPATH": f"{_SITE}{os.pathsep}{path}" if path else str(_SITE),
        "TTC_AUDIT": str(folder),
    }
    with _deaf() as running:
        process = subprocess.Popen(command, env=environment)  # noqa: S603  # what the user has asked for
        running.append(process)
        status = process.wait()
    return BY_SIGNAL - status if status < 0 else status


@contextmanager
def _deaf() -> Generator[list[subprocess.Popen[bytes]], None, None]:
    """Outlive the signals that are meant for the program: Ctrl-C reaches it too, others are passed on after a while."""
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _: object) -> None:
        for process in running:
            timer = threading.Timer(GRACE, process.send_signal, (number,))
            timer.daemon = True
            timer.start()

    def stay(_number: int, _frame: object) -> None:
        pass

    ours = {signal.SIGINT: stay, signal.SIGQUIT: stay, signal.SIGTERM: pass_on, signal.SIGHUP: pass_on}
    # What is ignored stays ignored, and so it is for the program (nohup, say).
    before = {number: signal.getsignal(number) for number in ours}
    for number, handler in ours.items():
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield running
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(audit: Audit, given: argparse.Namespace, console: Console | None, about: dict[str, Any]) -> None:
    if given.json is not None:
        given.json.write_text(json.dumps({**about, **audit.to_dict()}, indent=2) + "\n", encoding="utf-8")
    if given.html is not None:
        ran = f"{' '.join(about['command'])}: exit status {about['exit_status']} after {about['seconds']:,.1f} s"
        title = "What the model calls of a program cost"
        page = document(title, headline(audit), [ran], four(audit), caveats(audit), tables(audit), NOTES)
        given.html.write_text(page, encoding="utf-8")
    if console is not None:
        _show(console, audit)


def _show(console: Console, audit: Audit) -> None:
    from rich.text import Text  # noqa: PLC0415  # an extra

    console.print(Text(f"\nttc audit: {headline(audit)}", style="bold"))
    for said in caveats(audit):
        console.print(Text(said, style="yellow"))
    for table in tables(audit):
        console.print()
        console.print(drawn(table, console.width))
    if audit.log.calls:
        console.print(Text(f"\n{NOTES}", style="dim"))


def _console() -> Console:
    """stderr: stdout is the program's."""
    try:
        from rich.console import Console as RichConsole  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ImportError('ttc audit draws with rich: pip install "ttc-middleware[report]"') from error
    wide = None if sys.stderr.isatty() or "COLUMNS" in os.environ else WIDTH
    return RichConsole(stderr=True, highlight=False, width=wide)
