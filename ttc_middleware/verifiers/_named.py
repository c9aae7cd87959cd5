"""Functions of a user that take a value, and by name whatever arguments of the call they ask for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ttc_middleware._errors import VerifierFailed

from ._feedback import bounded

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_WORDS = 120


@dataclass(frozen=True)
class Named:
    """A plain function, ready to be asked."""

    name: str
    function: Callable[..., Any]
    takes: frozenset[str] = frozenset()
    """The arguments that it takes by name."""
    parameters: frozenset[str] = frozenset()
    """Those among them that it cannot do without."""
    leaves: frozenset[str] | None = None
    """It takes whatever there is, but for these names."""

    @classmethod
    def of(cls, name: str, function: Any, values: int) -> Named:
        """Check a function.

        Args:
            name: what messages call it.
            function: takes `values` by position.
            values: how many.

        Raises:
            TypeError: it is no plain function, or does not take that many.
        """
        waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        if not callable(function) or waits:
            raise TypeError(f"{name} is a plain function, not {function!r:.100}")
        try:
            asked = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # a builtin that does not tell: it gets the values alone
            return cls(name, function)
        first, rest = asked[:values], asked[values:]
        several = next((at for at, each in enumerate(asked) if each.kind is each.VAR_POSITIONAL), None)
        if several is not None and several < values:
            first, rest = asked[:several], asked[several + 1 :]
        elif len(first) < values or any(each.kind in (each.KEYWORD_ONLY, each.VAR_KEYWORD) for each in first):
            raise TypeError(f"{name} takes {values} value{'s' * (values > 1)} by position first")
        if any(each.kind is each.POSITIONAL_ONLY and each.default is each.empty for each in rest):
            raise TypeError(
                f"{name} gets the call's arguments by name: no other parameter of it may be positional-only"
            )
        named = [each for each in rest if each.kind in _NAMED]
        return cls(
            name,
            function,
            frozenset(each.name for each in named),
            frozenset(each.name for each in named if each.default is each.empty),
            frozenset(each.name for each in first) if any(each.kind is each.VAR_KEYWORD for each in rest) else None,
        )

    def ask(self, *values: Any, arguments: Mapping[str, Any] | None) -> Any:
        """What the function returns for these values and a call with these arguments."""
        given = arguments or {}
        if self.leaves is not None:
            return self.function(*values, **{name: each for name, each in given.items() if name not in self.leaves})
        return self.function(*values, **{name: given[name] for name in self.takes if name in given})

    def holds(self, *values: Any, arguments: Mapping[str, Any] | None) -> bool:
        """What a predicate says.

        Raises:
            VerifierFailed: neither True nor False, as where a `return` is missing.
        """
        said = self.ask(*values, arguments=arguments)
        if hasattr(said, "item") and getattr(said, "shape", None) == ():  # a bool of numpy
            said = said.item()
        if not isinstance(said, bool):
            raise VerifierFailed(f"{self.name} must return True or False, not {said!r:.100}")
        return said


def words(error: Exception) -> str:
    """An exception's type and text, for feedback."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # an exception class of somebody else's
        text = ""
    return bounded(f"{type(error).__name__}: {text}" if text else type(error).__name__, _WORDS)
