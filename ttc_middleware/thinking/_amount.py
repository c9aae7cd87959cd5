"""How much a model may think: one way to say it, whatever the provider calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, Union, get_args

from ttc_middleware._brief import Brief

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""From the least thinking to the most."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Thinking(Brief):
    """How much a model may think: `Thinking(tokens=4_000)`, `Thinking(effort="high")`, `Thinking.off()`.

    Wherever a `thinking=` is taken, `4_000` and `"high"` say the same, and `0` and `"none"` are `Thinking.off()`. Each
    model is asked in the words that it knows, and what it cannot do becomes the nearest thing that it can, with one
    warning. Thinking counts in `max_tokens`: where tokens are asked for and the caller gives no limit, one is sent that
    leaves 4,096 tokens for the answer; within the caller's own limit, thinking is cut so that 256 are left.

    Args:
        tokens: of thinking, from 0; what the provider keeps to it as is, some less exactly than others.
        effort: "none", "minimal", "low", "medium", "high", "xhigh" or "max".
        prompted: for a model without thinking of its own: ask it, in words, to write its thoughts down before it
            answers, about as many as `tokens` or `effort` say. They are taken off the answer, and billed as reasoning.
            A length asked for in words is a hint, never a limit (Aggarwal & Welleck 2025, arXiv:2503.04697).

    Raises:
        ValueError: not exactly one of `tokens` and `effort` (none may do with `prompted`), or one out of its range.
    """

    tokens: int | None = None
    effort: Effort | None = None
    prompted: bool = False

    def __post_init__(self) -> None:
        tokens, effort = self.tokens, self.effort
        if tokens is not None and (not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0):
            raise ValueError(f"Thinking(tokens=) must be a whole number from 0, got {tokens!r}")
        if effort is not None and effort not in EFFORTS:
            raise ValueError(f"Thinking(effort=) must be one of {', '.join(EFFORTS)}; got {effort!r}")
        if not isinstance(self.prompted, bool):
            raise ValueError(f"Thinking(prompted=) must be True or False, got {self.prompted!r}")  # noqa: TRY004  # as its siblings
        if tokens is not None and effort is not None:
            raise ValueError(f"Thinking() takes tokens or an effort, not both; got {tokens!r} and {effort!r}")
        if tokens is None and effort is None and not self.prompted:
            raise ValueError("Thinking() needs tokens=, effort= or prompted=True; Thinking.off() is for none")
        if self.prompted and self.is_off:
            raise ValueError("Thinking(prompted=True) asks for thoughts: it cannot ask for none as well")

    @classmethod
    def off(cls) -> Thinking:
        """No thinking, or the least that the model knows."""
        return _OFF

    @property
    def is_off(self) -> bool:
        """Whether this asks not to think."""
        return self.tokens == 0 or self.effort == "none"

    @property
    def said(self) -> str:
        """The shorthand, as one would write it."""
        if self.prompted:
            return repr(self)
        return repr(self.tokens if self.effort is None else self.effort)


_OFF = Thinking(tokens=0)

ThinkingLike: TypeAlias = Union[Thinking, int, Effort]
"""What a `thinking=` takes: a `Thinking`, or a shorthand for one."""


def thinking_of(said: object) -> Thinking | None:
    """What a `thinking=` says; None stays None.

    Raises:
        ValueError: it is none of what one takes.
    """
    if said is None or isinstance(said, Thinking):
        return said
    if isinstance(said, str) and said in EFFORTS:
        return _OFF if said == "none" else Thinking(effort=said)
    if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
        return Thinking(tokens=said) if said else _OFF
    raise ValueError(f"thinking= must be tokens from 0 or one of {', '.join(EFFORTS)}, or a ttc.Thinking; got {said!r}")
