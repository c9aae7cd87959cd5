"""Speculative rejection: best-of-N that stops writing what begins badly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from ttc_middleware._brief import Brief
from ttc_middleware._search import NoSamples, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T, Verifier

from ._check import count
from ._lanes import Part
from ._steps import Steps, Walk, by_score, check_scores, limit_of, tokens_of, value_of
from .prefix_record import PrefixRecord


@dataclass(frozen=True, repr=False)
class SpeculativeRejection(Brief):
    """Best-of-N whose answers are scored while they are short: of each length, only the better share is written on.

    Sun et al. 2024, "Fast Best-of-N Decoding via Speculative Rejection" (arXiv:2410.20290); they reject when the GPU's
    memory is full, here it is at fractions of the expected length. Answers that have ended compete for the places with
    their own score. Ends with the first accepted answer; else the answer with the highest score is returned.

    What it can save at most is Σ keep^j (f_{j+1} - f_j) of the output tokens, f_0 = 0 and the last f = 1: with the
    defaults 31 %, so 3.2 x fewer. The paper's 16 to 32 times are GPU hours, not tokens. Beginnings are read again with
    every chunk: input tokens that a server has cached, and that a provider may charge for.

    It rejects only what scores lower: what is equal to the last of those that are kept is kept too, so a score that
    does not tell beginnings apart (0 for all that is not finished) rejects nothing, and this is best-of-N. Whether the
    differences mean anything is learnt where it is given a `record`: at fractions where nothing shows that they do,
    nothing is rejected. To learn it, the first eight searches and every tenth draw all n to their ends.

    For servers that continue a partial answer: the embedded model, llama.cpp, vLLM.

    Where it fails: beginnings that say little of ends, as where the deciding step comes last. Below a rank correlation
    of about 0.3 it is worse than plain best-of-N with as many tokens (`poe bench-rejection` draws the curve); lengths
    that differ much, so that a fraction means another part of each; and short answers, whose prompt costs more than
    what is saved.

    Args:
        n: answers that are begun, from 1.
        fractions: of the expected length, at which beginnings are scored: rising, above 0 and below 1.
        keep: the share that is written on, above 0, at most 1; rounded up.
        length: tokens that an answer is expected to have, from 1. None: the first answer is drawn in one go, as one of
            the n, and is as long as the others are expected to be; they wait for it.
        record: learns whether beginnings tell how answers end; None: they are taken to.
        value: a verifier of beginnings, such as a reward model; None: the call site's own, which then has to make sense
            of what is not finished.

    Raises:
        ValueError: a number is out of its range.
        TypeError: `value` or `record` is no such thing.
    """

    n: int = 16
    fractions: tuple[float, ...] = field(default=(1 / 8, 1 / 4, 1 / 2), kw_only=True)
    keep: float = field(default=0.5, kw_only=True)
    length: int | None = field(default=None, kw_only=True)
    record: PrefixRecord | None = field(default=None, kw_only=True)
    value: Verifier | None = field(default=None, kw_only=True)

    needs_verifier: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.EXTEND, Capability.MAX_TOKENS})

    def __post_init__(self) -> None:
        count(self, n=self.n, length=1 if self.length is None else self.length)
        object.__setattr__(self, "fractions", _rising(self.fractions))
        if isinstance(self.keep, bool) or not isinstance(self.keep, (int, float)) or not 0 < self.keep <= 1:
            raise ValueError(f"SpeculativeRejection(keep=) must be above 0 and at most 1, got {self.keep!r}")
        if self.record is not None and not isinstance(self.record, PrefixRecord):
            raise TypeError(f"SpeculativeRejection(record=) must be a PrefixRecord, got {self.record!r}")
        check_scores(self, Steps(), self.value)

    @property
    def judges(self) -> tuple[Verifier, ...]:
        """The verifier of beginnings, where it is not the call site's own."""
        return () if self.value is None else (self.value,)

    def search(self, call: Call) -> Search[T]:
        """Chunk by chunk, ever fewer."""
        walk = Walk(Steps(), self.value, limit_of(call))
        rejects = dict.fromkeys(self.fractions, True) if self.record is None else self.record.begin(self.fractions)
        chunks = _Chunks(walk, self.value, limit_of(call), to_end=rejects is None)
        with suppress(NoSamples):  # of an inner search: the budget ran out
            yield from self._chunked(chunks, rejects or {})
        if self.record is not None and rejects is None:
            self.record.learn(chunks.scores(self.fractions))
        return walk.won or walk.best()

    def _chunked(self, chunks: _Chunks, rejects: dict[float, bool]) -> Part:
        length, alive = self.length, self.n
        finished: list[Sample[Any]] = []
        if length is None:
            finished += yield from chunks.draw([Draw()])
            alive -= 1
            length = max(map(_tokens, finished), default=0)
            if chunks.decided or not length:  # without any length, this is best-of-N
                yield from chunks.draw([Draw()] * (0 if chunks.decided else alive))
                return
        parts: list[Any] = [None] * alive
        for fraction in self.fractions:
            upto = max(chunks.written + 1, math.ceil(fraction * length))
            if not parts or (chunks.limit is not None and upto >= chunks.limit):
                break
            level: list[Sample[Any]] = yield from chunks.further(parts, upto)
            if chunks.decided or not level:
                return
            finished += [each for each in level if each.whole]
            parts = [each for each in level if not each.whole]
            if rejects.get(fraction):
                kept = self._kept(finished + parts)
                finished = [each for each in finished if each in kept]
                parts = [each for each in parts if each in kept]
        yield from chunks.finish(parts)

    def _kept(self, samples: Sequence[Sample[Any]]) -> list[Sample[Any]]:
        """The better share, with all that equal the last of it, and what the verifier broke on."""
        scored = by_score(each for each in samples if each.score is not None)
        least = value_of(scored[math.ceil(self.keep * len(scored)) - 1]) if scored else 0.0
        return [each for each in samples if each.score is None or value_of(each) >= least]


class _Chunks:
    """The answers of one search, as far as they are written."""

    def __init__(self, walk: Walk, value: Verifier | None, limit: int | None, *, to_end: bool) -> None:
        self.limit = limit
        """Tokens that the caller allows an answer; None: nobody says."""
        self.written = 0
        """Tokens that each has by now, or fewer where it has ended."""
        self._walk = walk
        self._value = value
        self._to_end = to_end

    @property
    def decided(self) -> bool:
        """Whether there is nothing left to look for."""
        return self._walk.won is not None and not self._to_end

    def draw(self, draws: Sequence[Draw]) -> Part:
        """Draw; ends early where that decides the search."""
        return self._walk.lanes.run(gather(draws, until=lambda sample: sample.accepted and not self._to_end))

    def further(self, parts: Sequence[Sample[Any] | None], upto: int) -> Part:
        """Write each on to so many tokens; what turns out to have ended is finished, what failed is left out."""
        more, self.written = upto - self.written, upto
        draws = [
            Draw(
                kind="step", parent=part, extend=_text(part), max_tokens=more,
                judge=self._value,
            )
            for part in parts
        ]  # fmt: skip
        level: list[Sample[Any]] = yield from self.draw(draws)
        stuck = [each for each in level if not each.whole and self._walk.steps.stuck(each)]
        if stuck and not self.decided:
            ended: list[Sample[Any]] = yield from self.finish(stuck)
            level = [each for each in level if each not in stuck] + ended
        return [each for each in level if each.status in ("answer", "truncated")]

    def finish(self, parts: Sequence[Sample[Any] | None]) -> Part:
        """Draw these to their ends."""
        left = None if self.limit is None or not self.written else max(1, self.limit - self.written)
        return self.draw([Draw(parent=part, extend=_text(part), max_tokens=left) for part in parts])

    def scores(self, fractions: Sequence[float]) -> dict[float, list[tuple[float, float]]]:
        """By fraction, each answer's score there and at its end."""
        found: dict[float, list[tuple[float, float]]] = {each: [] for each in fractions}
        for sample in self._walk.answers:
            chain = [sample]
            while (parent := chain[-1].draw.parent) is not None:
                chain.append(parent)
            parts = [each for each in reversed(chain) if not each.whole]
            for fraction, part in zip(fractions, parts, strict=False):
                if part.score is not None and sample.score is not None:
                    found[fraction].append((part.score, sample.score))
        return found


def _text(part: Sample[Any] | None) -> str | None:
    """What there is to go on with."""
    return None if part is None else part.text or None


def _tokens(sample: Sample[Any]) -> int:
    return tokens_of(sample) if sample.status in ("answer", "truncated") else 0


def _rising(fractions: Sequence[float]) -> tuple[float, ...]:
    given = tuple(fractions)
    bounds = (0.0, *given, 1.0)
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in given)
    if not given or not numbers or not all(a < b for a, b in pairwise(bounds)):
        raise ValueError(f"SpeculativeRejection(fractions=) must rise, above 0 and below 1, got {fractions!r}")
    return given
