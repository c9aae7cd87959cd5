"""`ttc verify`: one candidate, one verdict. Exit status: 0 accepted, 1 rejected, 2 no verdict."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import anyio

from ttc_middleware import Verdict, VerifierFailed, verifiers
from ttc_middleware.sandbox import SandboxName


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser("verify", help="check one candidate", description=__doc__)
    parser.add_argument("candidate", help="the file that holds it; - reads standard input")
    parser.add_argument("--verifier", choices=sorted(_MAKERS), required=True)
    parser.add_argument(
        "--tests", metavar="FILE", help="unit_tests: test code (.py), or [[args, …], expected] pairs (.json)"
    )
    parser.add_argument("--hidden", metavar="FILE", help="unit_tests: more of them, which the feedback does not tell")
    parser.add_argument("--entry", help="unit_tests: the function under test")
    parser.add_argument("--sandbox", choices=SandboxName.__args__, default="auto", help="unit_tests (auto)")
    parser.add_argument(
        "--allow-unsafe", action="store_true", help="unit_tests: a plain process, if nothing better works"
    )
    parser.add_argument("--schema", metavar="FILE", help="schema: a JSON Schema")
    parser.add_argument("--answer", help="exact, math_answer: the right answer; regex: the pattern")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run, failure=2)


def run(given: argparse.Namespace) -> int:
    """Check the candidate; 0 for accepted, 1 for rejected.

    Raises:
        ValueError: an option that the verifier needs is missing, or a file does not hold what it should.
        OSError: a file cannot be read.
        TTCError: the verifier broke.
    """
    verifier = _MAKERS[given.verifier](given)
    candidate = sys.stdin.read() if given.candidate == "-" else _text(given.candidate)

    async def check() -> Verdict:
        verdict: Verdict = await verifier.check(candidate)
        return verdict

    verdict = anyio.run(check)
    if verdict.failed:
        raise VerifierFailed(verdict.feedback or "the verifier broke")
    accepted = verdict.score >= 1 if verdict.accepted is None else verdict.accepted
    if given.json:
        sys.stdout.write(json.dumps({**asdict(verdict), "accepted": accepted, "verifier": repr(verifier)}) + "\n")
    else:
        where = f", in {verdict.sandbox}" if verdict.sandbox else ""
        print(f"{'accepted' if accepted else 'rejected'}: score {verdict.score:.3g}, trust {verdict.trust}{where}")
        if verdict.feedback:
            print(verdict.feedback)
    return 0 if accepted else 1


def _unit_tests(given: argparse.Namespace) -> Any:
    return verifiers.UnitTests(
        _tests(_needed(given, "tests")),
        hidden=None if given.hidden is None else _tests(given.hidden),
        entry=given.entry,
        sandbox=given.sandbox,
        allow_unsafe=given.allow_unsafe,
    )


def _tests(path: str) -> Any:
    text = _text(path)
    if not path.endswith(".json"):
        return text
    cases: list[tuple[Any, Any]] = []
    for pair in cast("list[Any]", json.loads(text)):
        if not isinstance(pair, list) or len(cast("list[Any]", pair)) != 2:  # noqa: PLR2004  # a pair
            raise ValueError(f"{path} is a list of [[argument, …], expected] pairs, and has {pair!r:.100}")
        args, expected = cast("list[Any]", pair)
        cases.append((tuple(cast("list[Any]", args)) if isinstance(args, list) else args, expected))
    return cases


def _needed(given: argparse.Namespace, option: str) -> str:
    value: str | None = getattr(given, option)
    if value is None:
        raise ValueError(f"--verifier {given.verifier} needs --{option}")
    return value


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


_MAKERS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "unit_tests": _unit_tests,
    "schema": lambda given: verifiers.Schema(json.loads(_text(_needed(given, "schema")))),
    "exact": lambda given: verifiers.Exact(_needed(given, "answer")),
    "math_answer": lambda given: verifiers.MathAnswer(_needed(given, "answer")),
    "regex": lambda given: verifiers.Regex(_needed(given, "answer")),
}
