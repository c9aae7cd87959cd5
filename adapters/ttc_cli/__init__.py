"""The command `ttc`: `ttc demo` shows what the library does, `ttc try` does it to a function of yours.

`ttc verify` checks one candidate, `ttc sandbox probe` says which sandboxes work here; `ttc report` and `ttc trace` read
the run record.
"""

from ._main import main

__all__ = ["main"]
