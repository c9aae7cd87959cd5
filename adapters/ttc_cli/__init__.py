"""The command `ttc`: `ttc demo` shows what the library does, `ttc try` does it to a function of yours.

`ttc verify` checks one candidate, `ttc sandbox probe` says which sandboxes work here; `ttc report` and `ttc trace` read
the run record, and `ttc audit` runs any program and says what its model calls cost.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 or more for an error that has been said, 130 after Ctrl-C."""
    from ._main import main as run  # noqa: PLC0415  # a program that is audited has no use for the commands

    return run(arguments)
