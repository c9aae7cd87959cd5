"""Arguments, and what becomes of errors and of Ctrl-C."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import cast

from ttc_middleware import TTCError

from . import _audit, _demo, _report, _sandbox, _tree, _try, _verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 or more for an error that has been said, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="ttc", description="Test-time compute for any LLM call site.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for module in (_demo, _try, _verify, _sandbox, _report, _tree, _audit):
        module.add_to(commands)
    given = parser.parse_args(arguments)
    stdout: object = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):  # what it cannot write, a bar or a name, is no reason to say nothing
        cast("io.TextIOWrapper", stdout).reconfigure(errors="replace")
    if given.command != "audit":  # which leaves the program as it is
        os.environ.pop("TTC_DISABLED", None)  # whoever asks wants to see it at work
    try:
        return int(given.run(given))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except Exception as error:
        if given.debug:
            raise
        # What we raise says enough; anything else is from somebody's function, or a bug.
        known = isinstance(error, (TTCError, ImportError, OSError, ValueError, TypeError))
        said = str(error) if known else f"{type(error).__name__}: {error} (--debug shows where)"
        sys.stderr.write(f"ttc {given.command}: {said}\n")
        return getattr(given, "failure", 1)
