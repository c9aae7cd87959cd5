"""Arguments, and what becomes of errors and of Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ttc_middleware import TTCError

from . import _demo, _try


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 for an error that has been said, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="ttc", description="Test-time compute for any LLM call site.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for module in (_demo, _try):
        module.add_to(commands)
    given = parser.parse_args(arguments)
    try:
        return int(given.run(given))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except (TTCError, ImportError, OSError, ValueError, TypeError) as error:
        if getattr(given, "debug", False):
            raise
        sys.stderr.write(f"ttc {given.command}: {error}\n")
        return 1
