"""Beam search over steps, guided by what each prefix is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from ttc_middleware._types import Sample

from ._check import count
from ._lanes import Part
from ._steps import Steps, StepSearch, Value, Walk, can_go_on, check_steps, wrong


@dataclass(frozen=True, repr=False)
class BeamSearch(StepSearch):
    """Draw candidates for the next step, keep the prefixes that score highest, and go on from these.

    Snell et al. 2024, "Scaling LLM Test-Time Compute Optimally" (arXiv:2408.03314, section 5); the defaults are those
    of Hugging Face's search-and-learn (Beeching et al. 2024). Starts with `beams` first steps; of every level the
    `beams` ÷ `expand` best prefixes are kept, copies of one too, and more copies where there are fewer that can be gone
    on with; each is gone on with `expand` times. A level that is proven wrong as a whole is drawn again, and counts
    towards `depth`. Ends with the first accepted answer, when `beams` answers are complete, or at `depth`, where what
    was kept is drawn to its end; then the answer with the highest score is returned.

    For servers that continue a partial answer: the embedded model, llama.cpp, vLLM. Each step pays its prompt again,
    most of which a server has cached.

    Where it fails: prefixes whose score does not tell how they will end; then the search narrows to copies of one
    mistake, and `BestOfN` with as many tokens is better. Wide searches over-optimise a learned reward: `DVTS` keeps
    more variety.

    Args:
        beams: candidates of a level, from `expand`.
        expand: ways in which each prefix that was kept is gone on with, from 1.
        depth: steps of an answer at most, from 1; then it is drawn to its end in one go.
        steps: how answers are cut into steps.
        value: a verifier of prefixes, such as `ttc.verifiers.ProcessReward`, or a `MonteCarloValue`; None: the call
            site's own verifier, which then has to make sense of what is not finished.

    Raises:
        ValueError: a number is out of its range.
        TypeError: `steps` or `value` is no such thing.
    """

    beams: int = 16
    expand: int = 4
    depth: int = 40
    steps: Steps = field(default=Steps(), kw_only=True)
    value: Value | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, beams=self.beams, expand=self.expand, depth=self.depth)
        if self.beams < self.expand:
            raise ValueError(f"{type(self).__name__}(beams={self.beams}) must not be below expand={self.expand}")
        check_steps(self, self.steps, self.value)

    def walk(self, walk: Walk) -> Part:
        """Level by level."""
        yield from narrowing(walk, self.beams, self.expand, self.depth)


def narrowing(walk: Walk, beams: int, expand: int, depth: int) -> Part:
    """One beam search of a walk; its own answers and prefixes only."""
    parents: list[Sample[Any] | None] = [None] * beams
    level: list[Sample[Any]] = []
    complete = 0
    for to_come in reversed(range(depth)):
        level = yield from walk.draw(parents)
        complete += sum(sample.whole and not wrong(sample) for sample in level)
        if not level or complete >= beams or walk.won is not None:
            return
        if not to_come or all(map(wrong, level)):  # drawn again where all of it is wrong
            continue
        # Copies keep their places: a good prefix that was drawn often gets more of the next level.
        ranked: list[Sample[Any]] = yield from walk.ranked([sample for sample in level if can_go_on(sample)])
        kept = list(islice(cycle(ranked), beams // expand))
        if not kept or walk.won is not None:
            return
        over = walk.open(sample for sample in kept if walk.over(sample))
        if over:
            complete += len((yield from walk.finish(over)))
        parents = [sample for sample in kept if not walk.over(sample) for _ in range(expand)]
    best: list[Sample[Any]] = (yield from walk.ranked(walk.open(level)))[: beams // expand]
    if best and walk.won is None:
        yield from walk.finish(best)
