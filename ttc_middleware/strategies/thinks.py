"""A strategy whose draws think as much as one says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ttc_middleware._strategy import begin, check_strategy, needs
from ttc_middleware._types import Call, Cancel, Capability, Draw, Sample, Search, Strategy
from ttc_middleware.thinking._amount import ThinkingLike, thinking_of

from ._around import Around


@dataclass(frozen=True, repr=False)
class Thinks(Around):
    """Any strategy, its draws thinking as much as said: `Thinks(ttc.BestOfN(8), 4_000)`.

    For strategies that are compared, or chosen by name in a configuration, each with its own amount of thinking;
    otherwise `thinking=` of the decorator or of the block says it for all. A draw that says so itself keeps its own,
    and a question about how to search is asked as it is.

    Args:
        strategy: whose draws they are.
        thinking: how much they think: a `ttc.Thinking`, or tokens or an effort for short.

    Raises:
        TypeError: it is no strategy.
        ValueError: `thinking` is none of what it takes.
    """

    strategy: Strategy
    thinking: ThinkingLike

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        said = thinking_of(self.thinking)
        if said is None:
            raise ValueError("Thinks(thinking=) must say how much to think, got None")
        object.__setattr__(self, "thinking", said)

    @property
    def needs(self) -> frozenset[Capability]:
        """What the strategy needs, and a call site that can be told how much to think."""
        return needs(self.strategy) | {Capability.THINKING}

    def search(self, call: Call) -> Search[Any]:
        """As the strategy searches."""
        steps = begin(self.strategy, call)
        sent: Sample[Any] | None = None
        try:
            while True:
                sent = yield [self._thinking(each) for each in steps.send(sent)]
        except StopIteration as end:
            winner: Sample[Any] = end.value
            return winner
        finally:
            steps.close()

    def _thinking(self, asked: Draw | Cancel) -> Draw | Cancel:
        if isinstance(asked, Draw) and asked.thinking is None and asked.kind != "routing":
            return replace(asked, thinking=self.thinking)
        return asked
