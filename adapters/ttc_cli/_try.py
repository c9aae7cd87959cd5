"""`ttc try`: a function of your own, single and scaled, side by side."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio

import ttc_middleware as ttc

from ._demo import console_for


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "try", help="run one of your functions single and scaled, side by side", description=__doc__
    )
    parser.add_argument("function", metavar="module:function", help="looked for in the working directory first")
    parser.add_argument("--args", default="[]", help='the arguments as JSON: ["a", 1] by position, {"a": 1} by name')
    parser.add_argument("--n", type=int, default=8, help="samples at most (8)")
    parser.add_argument("--verifier", metavar="module:function", help="what is right, if the function does not say")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run the function once, and once more with n samples.

    Raises:
        ValueError: the arguments are no JSON list or object, there is no such function, or a verifier is given for one
            that is decorated.
        ImportError: there is no such module.
    """
    console = console_for(to_stderr=given.json)
    args, kwargs = _arguments(given.args)
    sys.path.insert(0, str(Path.cwd()))
    function = _named(given.function)
    verifier = None if given.verifier is None else _named(given.verifier)
    if not (hasattr(function, "run") and hasattr(function, "__wrapped__")):
        # Not decorated: what is right comes from the command line, if at all.
        function = ttc.verifiable(verifier)(function) if verifier is not None else ttc.scale(ttc.Single())(function)
    elif verifier is not None:
        raise ValueError(f"--verifier is for functions that are not decorated: {given.function} is")
    judged = verifier is not None or getattr(function, "verifier", None) is not None
    strategy = ttc.BestOfN(given.n) if judged else ttc.SelfConsistency(given.n)
    results: dict[str, ttc.Result[Any]] = {}
    for title, policy in (("single", ttc.Single()), (repr(strategy), strategy)):
        with console.status(title), ttc.policy(policy):
            results[title] = _run(function.run, args, kwargs)
    if given.json:
        sys.stdout.write(json.dumps({title: result.to_dict() for title, result in results.items()}, indent=2) + "\n")
        return 0
    console.print(_table(results, judged=judged))
    return 0


def _run(runner: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> ttc.Result[Any]:
    if inspect.iscoroutinefunction(runner):

        async def main() -> Any:
            return await runner(*args, **kwargs)

        return anyio.run(main)
    return runner(*args, **kwargs)  # type: ignore[no-any-return]


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--args must be JSON, like '[\"a\", 1]' or '{{\"a\": 1}}': {error}") from error
    if isinstance(given, dict):
        return [], cast("dict[str, Any]", given)
    if isinstance(given, list):
        return cast("list[Any]", given), {}
    raise ValueError(f"--args must be a JSON list or object, got {text}")


def _named(path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ValueError(f"a function is given as module:function, got {path!r}")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{module} has no {name}")
        found = getattr(found, part)
    return found


def _table(results: dict[str, ttc.Result[Any]], *, judged: bool) -> Any:
    from rich.table import Table  # noqa: PLC0415  # an extra

    table = Table("")
    for title in results:
        table.add_column(title, overflow="fold")
    lines: dict[str, Callable[[ttc.Result[Any]], str]] = {
        "output": lambda result: _short(result.output),
        "accepted": lambda result: ("yes" if result.accepted else "no") if judged else "not verified",
        "samples": lambda result: str(len(result.samples)),
        "tokens": lambda result: _tokens(result.bill),
        "hidden tokens": lambda result: f"{result.bill.hidden.tokens:,}",
        "dollars": lambda result: _dollars(result.bill),
        "seconds": lambda result: f"{result.seconds:.1f}",
        "ended": lambda result: result.stop_reason,
    }
    for name, line in lines.items():
        table.add_row(name, *(_escaped(line(result)) for result in results.values()))
    return table


def _tokens(bill: ttc.Bill) -> str:
    return "unknown" if bill.status == "unknown" else f"{bill.total.tokens:,} ({bill.status})"


def _dollars(bill: ttc.Bill) -> str:
    return "unknown" if bill.total.usd is None or bill.status == "unknown" else f"${bill.total.usd:f}"


def _short(output: object, width: int = 400) -> str:
    text = output if isinstance(output, str) else repr(output)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415  # an extra

    return escape(text)
