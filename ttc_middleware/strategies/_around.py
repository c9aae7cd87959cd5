"""What a strategy that runs another one says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from typing_extensions import Self

from ttc_middleware import _strategy
from ttc_middleware._brief import Brief
from ttc_middleware._types import Capability, Strategy


class Around(Brief):
    """Says of itself what the strategy inside says, but for what a subclass says otherwise. For frozen dataclasses."""

    strategy: Strategy

    @property
    def needs_verifier(self) -> bool:
        """As the strategy's own."""
        return _strategy.needs_verifier(self.strategy)

    @property
    def needs(self) -> frozenset[Capability]:
        """As the strategy's own."""
        return _strategy.needs(self.strategy)

    @property
    def wants_all(self) -> bool:
        """As the strategy's own."""
        return _strategy.needs_all(self.strategy)

    @property
    def judges(self) -> tuple[Any, ...]:
        """As the strategy's own."""
        return _strategy.judges(self.strategy)

    @property
    def parameters(self) -> frozenset[str]:
        """As the strategy's own."""
        return _strategy.asks(self.strategy)

    @property
    def in_turn(self) -> int:
        """As the strategy's own."""
        return _strategy.in_turn(self.strategy)

    def suited(self, can: frozenset[Capability]) -> Self:
        """The same around what its strategy gives to use."""
        fit = _strategy.suited(self.strategy, can)
        return self if fit is self.strategy else replace(self, strategy=fit)
