"""Budget forcing: thinking that is held to a number of tokens, from below and from above."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ttc_middleware._brief import Brief
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T

from ._check import count

OPEN, CLOSE = "<think>\n", "</think>"


@dataclass(frozen=True, repr=False)
class BudgetForcing(Brief):
    """Let the model think for so many tokens, no more and, as far as words can do it, no less; then have it answer.

    Muennighoff et al. 2025, "s1: Simple test-time scaling" (arXiv:2501.19393). Where the model ends its thinking early
    the end is dropped, `extend` put in its place, and it goes on; where it has used `max_tokens` its thinking is
    ended for it, and "Final Answer:" put there (nothing is, where a `response_format` says how to answer). Each step is
    a draw that continues the one before, with exactly the tokens that are left of `max_tokens`, counted by the server's
    own usage: what the model generates between `<think>` and `</think>` is never more, to the token. Words that are put
    in are part of the prompt, and are not counted.

    For servers that continue a partial answer: llama.cpp and vLLM, models with thinking tags of their own or without.
    The caller's own `max_tokens` and `stop` hold for the answer, after the thinking; the thoughts come apart from it,
    in `reasoning_content`. On the bill each step is *reasoning*, with the prompt that it pays again, most of which a
    server has cached.

    Where it fails: a model that was not trained to think for long goes in circles when it is made to (s1's own curve
    is flat from six times on); accuracy rises, then falls with forced thinking (Ghosal et al. 2025,
    arXiv:2506.04210), and as many tokens spent on parallel samples are often worth more.

    Args:
        max_tokens: of thinking, from 1.
        min_tokens: of thinking, below which its end is dropped, up to `max_tokens`; None: it is dropped `times` times,
            however long the thinking, as in the paper.
        extend: what is put in the place of the end.
        times: how often at most, from 0; the paper's 1 to 6.

    Raises:
        ValueError: a number is out of its range, or `extend` is empty.
    """

    max_tokens: int = field(kw_only=True)
    min_tokens: int | None = field(default=None, kw_only=True)
    extend: str = field(default="Wait", kw_only=True)
    times: int = field(default=1, kw_only=True)

    needs: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.EXTEND, Capability.MAX_TOKENS, Capability.STOP},
    )

    def __post_init__(self) -> None:
        count(self, max_tokens=self.max_tokens)
        least, times = self.min_tokens, self.times
        if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 0):
            raise ValueError(f"BudgetForcing(min_tokens=) must be a whole number from 0, or None; got {least!r}")
        if least is not None and least > self.max_tokens:
            raise ValueError(f"BudgetForcing(min_tokens={least}) must be at most max_tokens={self.max_tokens}")
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise ValueError(f"BudgetForcing(times=) must be a whole number from 0, got {times!r}")
        if not isinstance(self.extend, str) or not self.extend.strip():
            raise ValueError(f"BudgetForcing(extend=) must be a text to go on with, got {self.extend!r}")

    def search(self, call: Call) -> Search[T]:
        """Think in steps, then answer."""
        # What is to be JSON cannot begin with words.
        lead = "" if call.arguments.get("response_format") else "Final Answer:"
        text, used, dropped = OPEN, 0, 0
        steps: list[Sample[Any]] = []
        while True:
            left = self.max_tokens - used
            last = steps[-1] if steps else None
            draw = Draw(parent=last, extend=text, kind="draft", stop=(CLOSE,), max_tokens=left)
            drawn = yield from gather([draw])
            if not drawn:
                return best([])  # a thought is no answer
            step = drawn[0]
            if step.status != "failed":
                steps.append(step)
                used += _tokens(step, left)
                text = continued(draw, step)
            elif not steps:
                return step
            if step.status in ("failed", "truncated") or used >= self.max_tokens:
                ending = f"\n{CLOSE}\n\n{lead}"
                break
            enough = self.min_tokens is not None and used >= self.min_tokens
            if enough or dropped == self.times:
                ending = f"\n{CLOSE}\n\n"
                break
            dropped += 1
            text = f"{text.rstrip()}\n{self.extend}"
        return best((yield from gather([Draw(parent=steps[-1], extend=text.rstrip() + ending)])))


def _tokens(sample: Sample[Any], asked: int) -> int:
    """What a step has used, retries included; all that it was allowed where nobody says."""
    return asked if sample.gaps else min(sample.usage.output_tokens, asked)


def continued(draw: Draw, sample: Sample[Any]) -> str:
    """The text so far: some servers give all of it back, some only what they have added."""
    before, said = draw.extend or "", sample.text or ""
    return said if said.startswith(before.rstrip()) else before + said
