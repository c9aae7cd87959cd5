"""Drafted steps: a small model writes, a large one takes over where a step scores low."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ttc_middleware._types import Capability, Draw, Sample

from ._check import count, number
from ._lanes import Part
from ._steps import STEPPING, Steps, StepSearch, Value, Walk, check_scores, wrong


@dataclass(frozen=True, repr=False)
class DraftSteps(StepSearch):
    """Let a small model write an answer step by step, and a large one write again each step that scores low.

    Liao et al. 2025, "Reward-Guided Speculative Decoding" (arXiv:2501.19324), where a process reward model scores each
    step; Pan et al. 2025, "SpecReason" (arXiv:2504.07891), where the large model does: give it as
    `value=ttc.verifiers.Judge(…)`. What the large model writes is taken as it is, and the small one goes on from there.
    Unlike speculative decoding of tokens, the answer is not the one that the large model would have given. One answer
    is written; it is the whole answer that the call site's verifier accepts or not.

    Both models must be served by the same endpoint, under these names (a router of llama.cpp, vLLM with several), and
    it must continue a partial answer of either.

    Where it fails: scores that do not tell a good step from a fluent one, so that the small model's mistakes stay in;
    a `value` that holds an early step against all that follow (`ProcessReward` with "min" or "product": take "last"),
    so that the large model writes all of the rest; and small models that are wrong at most steps, which then are paid
    twice. Each change of models pays the prompt again, and each server slot that has only seen the other model's part
    has to read it.

    Args:
        small: the name of the model that writes.
        large: the name of the model that takes over; None: the call's own.
        below: the score under which a step is written again, from 0 to 1. The papers' are stricter: 0.7.
        depth: steps of an answer at most, from 1; then the large model draws it to its end in one go.
        steps: how answers are cut into steps.
        value: a verifier of prefixes; None: the call site's own, which then has to make sense of what is not finished.

    Raises:
        ValueError: a number is out of its range, or a name empty.
        TypeError: `steps` or `value` is no such thing.
    """

    small: str
    large: str | None = None
    below: float = field(default=0.5, kw_only=True)
    depth: int = field(default=40, kw_only=True)
    steps: Steps = field(default=Steps(), kw_only=True)
    value: Value | None = field(default=None, kw_only=True)

    needs: ClassVar[frozenset[Capability]] = STEPPING | {Capability.MODEL}

    def __post_init__(self) -> None:
        given: dict[str, object] = {"small": self.small, "large": self.large}
        for name, model in given.items():
            if (name, model) != ("large", None) and (not isinstance(model, str) or not model):
                raise ValueError(f"DraftSteps({name}=) must be the name of a model, got {model!r}")
        if self.small == self.large:
            raise ValueError(f"DraftSteps(small={self.small!r}) must be another model than large={self.large!r}")
        number(self, 0, 1, below=self.below)
        count(self, depth=self.depth)
        check_scores(self, self.steps, self.value)

    def walk(self, walk: Walk) -> Part:
        """Step by step, each by the small model first."""
        last: Sample[Any] | None = None
        for _ in range(self.depth):
            draw = walk.step(last)
            drafted: list[Sample[Any]] = yield from walk.take([replace(draw, model=self.small)])
            step = self._good(drafted)
            if step is None:
                taken_over: list[Sample[Any]] = yield from walk.take([replace(draw, model=self.large)])
                there = [each for each in (*taken_over, *drafted) if each.status != "failed"]
                if not there:
                    return
                step = there[0]
            if step.whole or not walk.open([step]):
                return
            last = step
            if walk.over(step):
                break
        if last is not None:
            yield from walk.take([self._rest(walk, last)])

    def _good(self, drafted: list[Sample[Any]]) -> Sample[Any] | None:
        """The small model's step, where it is not to be written again; a verifier that breaks says nothing."""
        if not drafted or drafted[0].status not in ("answer", "truncated"):
            return None
        score = drafted[0].score
        low = score is not None and score < self.below and not drafted[0].accepted
        return None if low or wrong(drafted[0]) else drafted[0]

    def _rest(self, walk: Walk, last: Sample[Any]) -> Draw:
        """The end of the answer: by who has ended already, else by the large model."""
        writer = last.draw.model if walk.steps.stuck(last) else self.large
        return replace(walk.rest(last), model=writer)
