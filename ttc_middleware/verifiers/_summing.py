"""From judged samples to a measurement; `measure` says how."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ._figures import Estimate, area, best_of, first_accepted, mean_of, share, voted
from ._measurement import Compared, Measurement

_FARTHEST = 64  # draws a question that are looked at
_ORDERS = 200  # random orders of a question's samples that its vote is averaged over
_NOTHING = 1e-12  # a gain that is rounding


@dataclass(frozen=True)
class Judged:
    """A labelled sample with what the verifier said."""

    question: Hashable | None
    right: bool
    accepted: bool
    score: float
    answer: Hashable | None
    """The answer class that it votes for; None abstains."""


@dataclass(frozen=True)
class Terms:
    """What goes into a measurement beside the samples; `measure` says what is what.

    Raises:
        ValueError: a number is out of its range.
    """

    verifier: str
    p: float | None
    confidence: float
    wrong: float
    cost: float

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence lies between 0 and 1, not {self.confidence!r}")
        if self.p is not None and not 0 <= self.p <= 1:
            raise ValueError(f"p is a share from 0 to 1, not {self.p!r}")
        for name, value in (("wrong", self.wrong), ("cost", self.cost)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is a number from 0, not {value!r}")


def summed_up(judged: Sequence[Judged], failures: int, terms: Terms) -> Measurement:
    """The measurement of samples."""
    numbers: dict[Hashable, int] = {}
    grouped: dict[int, list[Judged]] = {}
    scored: list[tuple[int, float, bool]] = []
    for at, each in enumerate(judged):
        question = -1 - at if each.question is None else numbers.setdefault(each.question, len(numbers))
        scored.append((question, each.score, each.right))
        if question >= 0:
            grouped.setdefault(question, []).append(each)
    questions = [each for each in grouped.values() if len(each) > 1]
    right = sum(each.right for each in judged)
    wrong = len(judged) - right
    good, bad = (sum(each.accepted and each.right is side for each in judged) for side in (True, False))
    alpha, beta = share(good, right, terms.confidence), share(bad, wrong, terms.confidence)
    if terms.p is None:
        p = share(right, len(judged), terms.confidence) or Estimate(0.0, 0.0, 1.0)
        precision = share(good, good + bad, terms.confidence)
    else:
        p = Estimate(terms.p, terms.p, terms.p)
        surer = (1 + terms.confidence) / 2  # two intervals that hold together
        precision = _precision(terms.p, share(good, right, surer), share(bad, wrong, surer))
    graded = any(each.score not in (0, 1) for each in judged)
    kept, largest = _kept(questions)
    worth, open_ended = _worth(kept, largest, graded=graded, terms=terms)
    if not kept and not graded and alpha is not None and beta is not None:
        gain = p.value * alpha.value - terms.wrong * (1 - p.value) * beta.value  # of a draw
        worth = None if gain > terms.cost else 0
    return Measurement(
        verifier=terms.verifier,
        confidence=terms.confidence,
        samples=len(judged),
        failures=failures,
        questions=len(questions),
        right=right,
        right_accepted=good,
        wrong_accepted=bad,
        p=p,
        sensitivity=alpha,
        false_positive_rate=beta,
        auc=area(scored, terms.confidence),
        precision=precision,
        graded=graded,
        wrong=terms.wrong,
        cost=terms.cost,
        largest_n=worth,
        open_ended=open_ended,
        compared=_compared(kept, largest, terms.confidence),
    )


def _precision(p: float, alpha: Estimate | None, beta: Estimate | None) -> Estimate | None:
    """Of accepted samples: it rises with the sensitivity and falls with the false-positive rate."""
    if alpha is None or beta is None:
        return None

    def at(sensitivity: float, false: float) -> float | None:
        accepted = p * sensitivity + (1 - p) * false
        return p * sensitivity / accepted if accepted else None

    value, low, high = at(alpha.value, beta.value), at(alpha.low, beta.high), at(alpha.high, beta.low)
    return None if value is None else Estimate(value, low or 0.0, 1.0 if high is None else high)


def _kept(questions: Sequence[Sequence[Judged]]) -> tuple[list[Sequence[Judged]], int]:
    """The questions with at least n samples, for the largest n that half of them have."""
    if not questions:
        return [], 0
    sizes = sorted(map(len, questions), reverse=True)
    largest = min(_FARTHEST, sizes[(len(sizes) - 1) // 2])
    return [each for each in questions if len(each) >= largest], largest


def _worth(
    questions: Sequence[Sequence[Judged]], largest: int, *, graded: bool, terms: Terms
) -> tuple[int | None, bool]:
    """The largest n worth drawing, and whether that is where the samples end."""
    if not questions:
        return None, False
    total = [0.0] * largest
    for samples in questions:
        gains = _qualities(samples, largest) if graded else _earned(samples, largest, terms)
        total = [a + b for a, b in zip(total, gains, strict=True)]
    worth = [0.0, *(each / len(questions) for each in total)]
    if graded:  # one draw is made in any case
        worth = [-1.0 - terms.cost, *(each - terms.cost * k for k, each in enumerate(worth[1:], 1))]
    best = 0
    for k, each in enumerate(worth):
        best = k if each > worth[best] + _NOTHING else best
    return best, best == largest


def _qualities(samples: Sequence[Judged], largest: int) -> list[float]:
    """How often best-of-k is right, ranked as strategies rank: an accepted sample before any other, then by score."""
    return best_of([(2.0 * each.accepted + each.score, each.right) for each in samples], largest)


def _earned(samples: Sequence[Judged], largest: int, terms: Terms) -> list[float]:
    """What resampling until acceptance earns in k draws at most, for k from 1."""
    accepted = sum(each.accepted for each in samples)
    right = sum(each.accepted and each.right for each in samples)
    chances = first_accepted(accepted, len(samples), largest)
    value = (right - terms.wrong * (accepted - right)) / accepted if accepted else 0.0
    drawing = [1.0, *(max(0.0, 1 - each) for each in accumulate(chances))]  # that the k-th draw is made
    return list(accumulate(value * chance - terms.cost * made for chance, made in zip(chances, drawing, strict=False)))


def _compared(questions: Sequence[Sequence[Judged]], largest: int, confidence: float) -> tuple[Compared, ...]:
    if not questions:
        return ()
    sizes = sorted({n for n in (2, 4, 8, 16, 32, largest) if n <= largest})
    rng = random.Random(0)  # noqa: S311  # repeatable, and no secret
    best: list[list[float]] = []
    vote: list[list[float]] = []
    for samples in questions:
        qualities = _qualities(samples, largest)
        best.append([qualities[n - 1] for n in sizes])
        vote.append(voted([(each.answer, each.right) for each in samples], sizes, rng, _ORDERS))
    rows: list[Compared] = []
    for at, n in enumerate(sizes):
        ours, theirs = ([each[at] for each in every] for every in (best, vote))
        lead = mean_of([a - b for a, b in zip(ours, theirs, strict=True)], confidence, rng)
        rows.append(Compared(n, sum(ours) / len(ours), sum(theirs) / len(theirs), lead))
    return tuple(rows)
