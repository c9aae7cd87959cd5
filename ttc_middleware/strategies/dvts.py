"""Diverse verifier tree search: several narrow beam searches that know nothing of each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._check import count
from ._lanes import Part
from ._steps import Steps, StepSearch, Value, Walk, check_steps
from .beam_search import narrowing


@dataclass(frozen=True, repr=False)
class DVTS(StepSearch):
    """Split the beams into groups that search on their own, each greedily: the search cannot collapse onto one prefix.

    Beeching et al. 2024, "Scaling test-time compute with open models" (Hugging Face). A group draws `beams` ÷ `groups`
    candidates for its next step, and goes on from the best. Ends with the first accepted answer, or with the best of
    all groups' answers.

    For servers that continue a partial answer. Where it fails: as `BeamSearch`; with few beams, where one search over
    all of them finds more; and where the first step decides, since each group has only a few of these.

    Args:
        beams: candidates of a level, over all groups; a multiple of `groups`.
        groups: searches of their own, from 1.
        depth: steps of an answer at most, from 1; then it is drawn to its end in one go.
        steps: how answers are cut into steps.
        value: a verifier of prefixes, or a `MonteCarloValue`; None: the call site's own verifier.

    Raises:
        ValueError: a number is out of its range, or `beams` no multiple of `groups`.
        TypeError: `steps` or `value` is no such thing.
    """

    beams: int = 16
    groups: int = 4
    depth: int = 10
    steps: Steps = field(default=Steps(), kw_only=True)
    value: Value | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, beams=self.beams, groups=self.groups, depth=self.depth)
        if self.beams % self.groups:
            raise ValueError(f"DVTS(beams={self.beams}) must be a multiple of groups={self.groups}")
        check_steps(self, self.steps, self.value)

    def walk(self, walk: Walk) -> Part:
        """All groups side by side."""
        width = self.beams // self.groups
        inner = [Walk(self.steps, self.value, walk.limit) for _ in range(self.groups)]
        searches = [narrowing(each, width, width, self.depth) for each in inner]
        yield from walk.lanes.together(searches, until=lambda _: walk.won is not None)
