"""What is right: one verifier a file, each usable alone with `await verifier.check(output, arguments={…})`."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from .schema import Schema
    from .unit_tests import UnitTests

__all__ = ["Schema", "UnitTests"]

# Each with what it needs, pydantic or the sandbox, when it is first asked for.
_FILES = {"Schema": ".schema", "UnitTests": ".unit_tests"}


def __getattr__(name: str) -> _Any:
    if name in _FILES:
        return getattr(_import_module(_FILES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
