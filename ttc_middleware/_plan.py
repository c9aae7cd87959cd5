"""How one call site is searched, everything resolved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ._budget import Budget
from ._types import Adapter, Call, Capability, Draw, Reading, Request, Strategy, T
from ._verify import Check
from .thinking._amount import Thinking

Invoke = Callable[[Call], Awaitable[T]]
OnReject = Literal["best", "raise"]


class PlainFunction:
    """The adapter of a function: its model calls are seen and steered at the SDK's seam, inside."""

    can: frozenset[Capability] = frozenset(Capability) - {Capability.EXTEND, Capability.CHOICES}
    slots: int | None = None

    def apply(self, call: Call, draw: Draw, /) -> Call:  # noqa: ARG002  # the protocol's
        """The call itself: what the draw asks reaches the model calls inside."""
        return call

    def merge(self, call: Call, n: int, /) -> Call:
        """Functions never merge."""
        raise NotImplementedError

    def split(self, output: Any, /) -> Sequence[Any]:
        """Functions never merge."""
        raise NotImplementedError

    def describe(self, call: Call, /) -> Request | None:  # noqa: ARG002  # the protocol's
        """Nothing: a function is no model call."""
        return None

    def bound(self, call: Call, /) -> int:
        """Functions have no prompt of their own."""
        raise NotImplementedError

    def read(self, output: Any, /) -> Reading:
        """The text, where the function returns text."""
        return Reading(text=output if isinstance(output, str) else None)


@dataclass(frozen=True)
class Plan:
    """How one call site is searched, everything resolved."""

    name: str
    strategy: Strategy
    check: Check | None = None
    accept: float = 1.0
    on_reject: OnReject = "best"
    budget: Budget = field(default_factory=Budget)
    thinking: Thinking | None = None
    adapter: Adapter = field(default_factory=PlainFunction)
    patience: float = 60.0
    """Seconds for one verification."""
    in_thread: bool = False
    """The function blocks, so its verifier runs in a thread too."""
    around: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The arguments of the function inside which this call is made: its verifier may ask for them, too."""

    @property
    def plain(self) -> bool:
        """Whether the call site is a function with model calls inside, not a model call itself."""
        return isinstance(self.adapter, PlainFunction)
