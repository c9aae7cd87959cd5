"""What a verifier goes by: a value, or a function of the call's arguments that gives it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Given(Generic[T]):
    """A value that is checked when the verifier is made, or a function whose values are checked call by call."""

    source: Any
    read: Callable[[Any], T]
    """Checks a value and makes of it what the verifier needs; raises ValueError or TypeError."""
    _value: tuple[T, ...] = ()

    @classmethod
    def of(cls, name: str, source: Any, read: Callable[[Any], T]) -> Given[T]:
        """Check what a user gave for the argument `name`.

        Raises:
            TypeError: the function is async, or takes positional-only parameters.
            Exception: what `read` raises.
        """
        if not callable(source):
            return cls(source, read, (read(source),))
        if inspect.iscoroutinefunction(source):
            raise TypeError(f"{name} is a plain function of the call's arguments, not an async one")
        if any(each.kind is each.POSITIONAL_ONLY for each in _asked(source)):
            raise TypeError(f"{name} gets the call's arguments by name: no parameter of it may be positional-only")
        return cls(source, read)

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that the function cannot do without."""
        if self._value:
            return frozenset()
        return frozenset(
            each.name for each in _asked(self.source) if each.kind in _NAMED and each.default is each.empty
        )

    def value(self, arguments: Mapping[str, Any] | None) -> T:
        """The value for a call with these arguments."""
        if self._value:
            return self._value[0]
        asked = _asked(self.source)
        everything = any(each.kind is each.VAR_KEYWORD for each in asked)
        names = {each.name for each in asked}
        taken = {name: each for name, each in (arguments or {}).items() if everything or name in names}
        return self.read(self.source(**taken))


def _asked(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())
