"""Thinking longer: the same question again with more room to think."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ttc_middleware._brief import Brief
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T
from ttc_middleware.thinking._amount import ThinkingLike, thinking_of


@dataclass(frozen=True, repr=False)
class ThinkLonger(Brief):
    """Ask with little thinking first, and with more each time until the verifier accepts.

    Sequential test-time compute that is spent only where it is needed, as the adaptive budgets of Snell et al. 2024
    (arXiv:2408.03314) suggest: easy questions are answered at the first step. For any API whose models can be told how
    much to think; a model that takes efforts gets the nearest one.

    Where it fails: one after the other, so as slow as all steps together; what the first steps thought is thrown away
    and billed as discarded; longer is not always better (Gema et al. 2025, arXiv:2507.14417, "Inverse Scaling in
    Test-Time Compute"), and a verifier that cannot tell stops at the first step.

    Args:
        steps: how much to think, from the least to the most; each a `ttc.Thinking`, or tokens or an effort for short.

    Raises:
        ValueError: there are none, or one is none of what `thinking=` takes.
    """

    steps: tuple[ThinkingLike, ...] = (1_024, 4_096, 16_384)

    needs_verifier: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.THINKING})

    def __post_init__(self) -> None:
        given: object = self.steps
        if not isinstance(given, (tuple, list)) or not given:
            raise ValueError(f"ThinkLonger(steps=) must be a tuple of how much to think, got {given!r}")
        said = tuple(thinking_of(each) for each in self.steps)
        if None in said:
            raise ValueError(f"ThinkLonger(steps=) must say how much to think at each step, got {given!r}")
        object.__setattr__(self, "steps", said)

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw with one amount of thinking after the other."""
        found: list[Sample[Any]] = []
        for thinking in self.steps:
            drawn = yield from gather([Draw(thinking=thinking)])
            found += drawn
            if not drawn or drawn[0].accepted:
                break
        return best(found)
