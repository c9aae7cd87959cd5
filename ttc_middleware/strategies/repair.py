"""Repair: regenerate from the first bad step."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ttc_middleware._brief import Brief
from ttc_middleware._search import NoSamples, best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T, Verifier

from ._check import count, number
from ._lanes import Part
from ._steps import STEPPING, Steps, Walk, by_score, check_scores, limit_of


@dataclass(frozen=True, repr=False)
class Repair(Brief):
    """Draw an answer and, where it is not accepted, write it again from its first bad step on, not from the start.

    Tyen et al. 2024, "LLMs cannot find reasoning errors, but can correct them given the error location"
    (arXiv:2311.08516): backtracking, with a verifier that says where. Two kinds of these will do:

    - One that names the step, in `Verdict.first_bad`, as `ttc.verifiers.ProcessReward` does: answers are drawn in one
      go, cut before that step and gone on with. The next round begins from the better one. Where no verdict names a
      step, an answer is drawn anew.
    - One that only scores what there is so far (`value=`): it cannot look back, so the answer is written step by step
      and each step scored before the next is paid for; one below `below` is written again, and the better one kept. (To
      score the prefixes of a finished answer would find the same step after all that follows it was paid for; by
      bisection it would find some bad step and not the first, since a score may recover.) An answer that is rejected
      though no step of it was is written again from the one with the lowest score.

    For servers that continue a partial answer: the embedded model, llama.cpp, vLLM. What is kept is not written again;
    it is read again, mostly from a server's cache.

    Where it fails: on a wrong location, since what is wrong before it stays in every answer; on mistakes that were made
    by a plan at the beginning, which all that follows only carries out; and on models that write the same step again:
    one answer after another from the start has more variety.

    Args:
        rounds: times that something is written again at most, from 1, after the first answer.
        below: with `value`, the score under which a step is bad, from 0 to 1.
        depth: with `value`, steps of an answer at most, from 1; then it is drawn to its end in one go.
        steps: with `value`, how answers are cut into steps.
        value: a verifier of prefixes; None: the call site's verdicts name the step.

    Raises:
        ValueError: a number is out of its range.
        TypeError: `steps` or `value` is no such thing.
    """

    rounds: int = 3
    below: float = field(default=0.5, kw_only=True)
    depth: int = field(default=40, kw_only=True)
    steps: Steps = field(default=Steps(), kw_only=True)
    value: Verifier | None = field(default=None, kw_only=True)

    needs_verifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        count(self, rounds=self.rounds, depth=self.depth)
        number(self, 0, 1, below=self.below)
        check_scores(self, self.steps, self.value)

    @property
    def needs(self) -> frozenset[Capability]:
        """What its draws ask of a call site."""
        return frozenset({Capability.EXTEND}) if self.value is None else STEPPING

    @property
    def judges(self) -> tuple[Verifier, ...]:
        """The verifier of prefixes."""
        return () if self.value is None else (self.value,)

    def search(self, call: Call) -> Search[T]:
        """Draw, then repair the best so far until it is accepted."""
        if self.value is not None:
            walk = Walk(self.steps, self.value, limit_of(call))
            with suppress(NoSamples):  # of an inner search: the budget ran out
                yield from self._stepwise(walk)
            return walk.won or walk.best()
        found: list[Sample[Any]] = yield from gather([Draw()])
        for _ in range(self.rounds):
            if not found or best(found).accepted:
                break
            drawn = yield from gather([repaired(best(found))])
            if not drawn:
                break
            found += drawn
        return best(found)

    def _stepwise(self, walk: Walk) -> Part:
        path: list[Sample[Any]] = []
        left = self.rounds
        while True:
            parent = path[-1] if path else None
            at_end = parent is not None and (len(path) >= self.depth or walk.over(parent))
            part = walk.finish([parent]) if at_end and parent is not None else walk.draw([parent])
            tried: list[Sample[Any]] = yield from part
            while left and tried and not at_end and self._bad(walk, by_score(tried)[0]):
                more: list[Sample[Any]] = yield from walk.draw([parent])
                if not more:
                    return
                left -= 1
                tried += more
            there = [each for each in tried if each.whole or walk.open([each])]
            if not there:
                return
            step = by_score(there)[0]
            if not step.whole:
                path.append(step)
                continue
            if step.accepted or not left:
                return
            left -= 1
            lowest = min(path, key=_known, default=None)
            path = path[: 0 if lowest is None else path.index(lowest)]

    def _bad(self, walk: Walk, sample: Sample[Any]) -> bool:
        """Whether to write it again; a whole answer is looked at by the call site's verifier."""
        if sample.whole:
            return False
        return not walk.open([sample]) or (sample.score is not None and sample.score < self.below)


def _known(sample: Sample[Any]) -> float:
    """The score; a step whose verifier broke is not the one to blame."""
    return 1.0 if sample.score is None else sample.score


def repaired(sample: Sample[Any]) -> Draw:
    """The draw that goes on from what is good of an answer; a new one where nothing is, or nobody says."""
    first_bad = None if sample.verdict is None else sample.verdict.first_bad
    good = (sample.text or "")[: first_bad or 0]
    return Draw(parent=sample, extend=good) if good.strip() else Draw()
