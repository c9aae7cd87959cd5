"""Early rejection: an answer whose beginning scores low is not written to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count as counted
from typing import Any

from ttc_middleware._types import Sample

from ._check import count, number
from ._lanes import Part
from ._steps import Steps, StepSearch, Value, Walk, by_score, check_scores


@dataclass(frozen=True, repr=False)
class EarlyReject(StepSearch):
    """Write N answers step by step, drop one as soon as it scores too low, and begin another in its place.

    Cheshmi et al. 2025, "Accelerating LLM Reasoning via Early Rejection with Partial Reward Modeling"
    (arXiv:2508.01969): what a reward model says of a part foretells what it will say of the whole. They drop beams of a
    search within a step; here it is answers, which know nothing of each other and never wait for each other. Each has
    `after_step` steps before it can be dropped; from then on every step is looked at. A verifier that breaks drops
    nothing. Ends with the first accepted answer, or when all n are written or dropped with `starts` used up; then the
    answer with the highest score is returned. Where all were dropped, the prefix with the highest score is drawn to its
    end.

    For servers that continue a partial answer: the embedded model, llama.cpp, vLLM. Each step pays its prompt again,
    most of which a server has cached.

    Where it fails: scores that start low and recover, such as those of an answer that tries a wrong way first; on
    scores of another scale `below` means something else, so look at some before choosing it; and where most answers
    fall below, `starts` is all that limits what is spent.

    Args:
        n: answers under way at a time, from 1.
        below: the score under which an answer is dropped, from 0 to 1.
        after_step: steps that each answer has for a start, from 1.
        starts: answers that are begun in all, from n; None: twice n.
        depth: steps of an answer at most, from 1; then it is drawn to its end in one go.
        steps: how answers are cut into steps.
        value: a verifier of prefixes, such as `ttc.verifiers.ProcessReward`; None: the call site's own, which then has
            to make sense of what is not finished.

    Raises:
        ValueError: a number is out of its range.
        TypeError: `steps` or `value` is no such thing.
    """

    n: int = 8
    below: float = field(default=0.3, kw_only=True)
    after_step: int = field(default=4, kw_only=True)
    starts: int | None = field(default=None, kw_only=True)
    depth: int = field(default=40, kw_only=True)
    steps: Steps = field(default=Steps(), kw_only=True)
    value: Value | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, n=self.n, after_step=self.after_step, depth=self.depth)
        number(self, 0, 1, below=self.below)
        if self.starts is not None:
            count(self, starts=self.starts)
            if self.starts < self.n:
                raise ValueError(f"EarlyReject(starts={self.starts}) must not be below n={self.n}")
        check_scores(self, self.steps, self.value)

    def walk(self, walk: Walk) -> Part:
        """All places side by side, each until it has an answer."""
        begun = counted()
        places = [self._place(Walk(self.steps, self.value, walk.limit), begun) for _ in range(self.n)]
        yield from walk.lanes.together(places, until=lambda _: walk.won is not None)
        if walk.won is None and not walk.answers:
            left = by_score(walk.open(walk.lanes.samples))
            longest = [each for each in left if each.score == left[0].score]
            yield from walk.finish(sorted(longest, key=lambda each: -len(each.text or ""))[:1])

    def _place(self, walk: Walk, begun: counted[int]) -> Part:
        """One answer after the other, until one is not dropped."""
        most = 2 * self.n if self.starts is None else self.starts
        while next(begun) < most:
            sample: Sample[Any] | None = None
            for step in range(1, self.depth + 1):
                drawn: list[Sample[Any]] = yield from walk.draw([sample])
                if not drawn:
                    return
                sample = drawn[0]
                if sample.whole:
                    return
                low = sample.score is not None and sample.score < self.below
                if not walk.open([sample]) or (low and step >= self.after_step):
                    break
                if step == self.depth or walk.over(sample):
                    yield from walk.finish([sample])
                    return
