"""Particle filtering over steps."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

from ttc_middleware._types import Sample

from ._check import count, number, whole
from ._lanes import Part
from ._smc import Weights
from ._steps import Steps, StepSearch, Value, Walk, can_go_on, check_steps, wrong

_CLIP = 1e-6
"""A value never counts as certain: a particle that nothing could bring back would not be weighed but dropped."""


@dataclass(frozen=True, repr=False)
class ParticleFilter(StepSearch):
    """Draw n answers step by step; now and then, those that do badly go on from where the others are.

    Puri et al. 2025, "Rollout Roulette" (arXiv:2502.01618): sequential Monte Carlo, for answers in proportion to what
    they are worth instead of the best alone. A particle's weight is the odds v / (1 - v) of its value, as there. Here
    each step *multiplies* the weight by what the odds have become over what they were, so that a prefix is weighed
    once; weighing it anew after every step, as the authors' code does, counts early steps again at every resampling
    and is greedier than what it samples from. Resampling is systematic, and only where the effective number of
    particles is low. Answers that have ended keep their weight and are resampled with the others. A step that is proven
    wrong in all particles is drawn again, and counts towards `depth` (after Del Moral et al. 2015, "The Alive Particle
    Filter").

    Ends with the first accepted answer, or when all have ended; then the answer with the highest score is returned, as
    in the authors' code, of all that were drawn.

    For servers that continue a partial answer. Where it fails: values that do not tell prefixes apart (then it is
    best-of-N, one step at a time), few particles with steep values (all go on from one), and short answers, which have
    their final weight before the others.

    Args:
        n: particles, from 1.
        depth: steps of an answer at most, from 1; then it is drawn to its end in one go.
        resample_below: resample where the effective number is below this share of n, from 0 (never) to 1 (always,
            unless all weights are equal).
        seed: of the resampling; the model's own chance is the call's.
        steps: how answers are cut into steps.
        value: a verifier of prefixes, or a `MonteCarloValue`; None: the call site's own verifier, which then has to
            make sense of what is not finished.

    Raises:
        ValueError: a number is out of its range.
        TypeError: `steps` or `value` is no such thing.
    """

    n: int = 8
    depth: int = 40
    resample_below: float = field(default=0.5, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    steps: Steps = field(default=Steps(), kw_only=True)
    value: Value | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, n=self.n, depth=self.depth)
        number(self, 0, 1, resample_below=self.resample_below)
        whole(self, seed=self.seed)
        check_steps(self, self.steps, self.value)

    def walk(self, walk: Walk) -> Part:
        """Step by step, all particles at once."""
        chance = random.Random(self.seed)  # noqa: S311  # repeatable on purpose
        weights = Weights(self.n)
        particles: list[Sample[Any] | None] = [None] * self.n
        odds = [0.0] * self.n
        for level in range(self.depth + 1):
            going = [place for place in range(self.n) if weights.logs[place] > -math.inf and _going(particles[place])]
            if not going:
                return
            drawn = yield from self._drawn(walk, [particles[place] for place in going], last=level == self.depth)
            if not drawn or walk.won is not None:
                return
            ended = [place for place in range(self.n) if weights.logs[place] > -math.inf and place not in going]
            if not ended and not any(map(_counts, drawn)):
                if any(map(wrong, drawn)):
                    continue
                return
            for place, sample in zip(going, drawn, strict=True):
                particles[place] = sample
            values: list[float] = yield from walk.values(drawn)
            now = list(odds)
            for place, sample, value in zip(going, drawn, values, strict=True):
                now[place] = _log_odds(value) if _counts(sample) else -math.inf
            weights.add(
                [after - before if after > -math.inf else after for after, before in zip(now, odds, strict=True)]
            )
            if walk.won is not None:
                return
            chosen = weights.resampled(chance, below=self.resample_below)
            places = range(self.n) if chosen is None else chosen
            particles, odds = [particles[place] for place in places], [now[place] for place in places]

    @staticmethod
    def _drawn(walk: Walk, parents: list[Sample[Any] | None], *, last: bool) -> Part:
        """What comes after each of these, in their order; nothing where the search is over."""
        over = [each is not None and (last or walk.over(each)) for each in parents]
        rest = [each for each, ends in zip(parents, over, strict=True) if each is not None and ends]
        finished: list[Sample[Any]] = (yield from walk.finish(rest)) if rest else []
        going = [each for each, ends in zip(parents, over, strict=True) if not ends]
        stepped: list[Sample[Any]] = (yield from walk.draw(going)) if going and walk.won is None else []
        if len(finished) + len(stepped) < len(parents):
            return []
        return [finished.pop(0) if ends else stepped.pop(0) for ends in over]


def _going(sample: Sample[Any] | None) -> bool:
    return sample is None or can_go_on(sample)


def _counts(sample: Sample[Any]) -> bool:
    return sample.status in ("answer", "truncated") and not wrong(sample)


def _log_odds(value: float) -> float:
    value = min(max(value, _CLIP), 1 - _CLIP)
    return math.log(value / (1 - value))
