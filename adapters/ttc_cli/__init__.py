"""The command `ttc`: `ttc demo` shows what the library does, `ttc try` does it to a function of yours."""

from ._main import main

__all__ = ["main"]
