"""From a model's raw scores to probabilities, learnt from scores whose answers are known to be right or wrong."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_STEPS = 100
_SMALLEST_STEP = 1e-10
_RIDGE = 1e-12  # keeps the Hessian invertible, as in the paper


@dataclass(frozen=True)
class Platt:
    """A sigmoid: the probability at score s is 1 / (1 + exp(a s + b)).

    Platt 1999, "Probabilistic outputs for support vector machines"; fitted by Newton's method on regularised targets,
    after Lin, Lin and Weng 2007, "A note on Platt's probabilistic outputs". Good with some dozen labels; wrong where
    the truth does not rise or fall in the form of a sigmoid.

    Args:
        a: negative where a higher score means a better answer.
        b: the offset.

    Raises:
        ValueError: a parameter is not finite.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.a) and math.isfinite(self.b)):
            raise ValueError(f"a and b are finite numbers, not {self.a!r} and {self.b!r}")

    def __call__(self, score: float) -> float:
        """The probability that an answer of this score is right."""
        return sigmoid(-(self.a * score + self.b))

    @classmethod
    def fit(cls, scores: Sequence[float], labels: Sequence[Any]) -> Platt:
        """Learn from scores and whether their answers were right (anything true or false).

        Raises:
            ValueError: they differ in number, a score is not finite, or all labels are the same.
        """
        rights = _labels(scores, labels)
        right, wrong = sum(rights), len(rights) - sum(rights)
        # Not 1 and 0: with few labels these would be learnt as certainties.
        high, low = (right + 1) / (right + 2), 1 / (wrong + 2)
        targets = [high if each else low for each in rights]
        # On standardised scores, so that neither their size nor their distance from 0 matters to the numerics.
        mean = math.fsum(scores) / len(scores)
        spread = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores)) or 1.0
        a, b = _newton([(score - mean) / spread for score in scores], targets, math.log((wrong + 1) / (right + 1)))
        return cls(a / spread, b - a * mean / spread)


@dataclass(frozen=True)
class Isotonic:
    """A rising curve of any form: the best fit among those that never fall, by pooling adjacent violators.

    Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability estimates". Between
    points the curve is a straight line, beyond them it is flat. Needs some hundred labels, and gives 0 and 1 at the
    ends where these are all wrong and all right.

    Args:
        scores: rising; where the curve bends.
        probabilities: of the same number, never falling, from 0 to 1.

    Raises:
        ValueError: they are not that.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scores or len(self.scores) != len(self.probabilities):
            raise ValueError(
                f"there are as many scores as probabilities, at least one: not {len(self.scores)} and"
                f" {len(self.probabilities)}"
            )
        if not all(math.isfinite(score) for score in self.scores) or not _rises(self.scores, strictly=True):
            raise ValueError(f"the scores are finite and rise, not {self.scores!r:.200}")
        if not all(0 <= each <= 1 for each in self.probabilities) or not _rises(self.probabilities, strictly=False):
            raise ValueError(f"the probabilities are from 0 to 1 and never fall, not {self.probabilities!r:.200}")

    def __call__(self, score: float) -> float:
        """The probability that an answer of this score is right."""
        if math.isnan(score):
            return math.nan
        place = bisect_right(self.scores, score)
        if place == 0 or place == len(self.scores):
            return self.probabilities[0 if place == 0 else -1]
        left, right = self.scores[place - 1], self.scores[place]
        low, high = self.probabilities[place - 1], self.probabilities[place]
        between = low + (high - low) * (score - left) / (right - left)
        return min(between, high)  # rounding can lift it above, where the curve would fall again

    @classmethod
    def fit(cls, scores: Sequence[float], labels: Sequence[Any]) -> Isotonic:
        """Learn from scores and whether their answers were right (anything true or false).

        Raises:
            ValueError: they differ in number, a score is not finite, or all labels are the same.
        """
        rights = _labels(scores, labels)
        # Blocks of [lowest score, highest score, how many, how many of them right]; equal scores are one block.
        blocks: list[list[float]] = []
        for score, right in sorted(zip(scores, rights, strict=True)):
            if blocks and blocks[-1][1] == score:
                blocks[-1][2] += 1
                blocks[-1][3] += right
            else:
                blocks.append([score, score, 1, right])
        pooled: list[list[float]] = []
        for block in blocks:
            pooled.append(block)
            while len(pooled) > 1 and pooled[-2][3] * pooled[-1][2] >= pooled[-1][3] * pooled[-2][2]:
                last = pooled.pop()
                pooled[-1] = [pooled[-1][0], last[1], pooled[-1][2] + last[2], pooled[-1][3] + last[3]]
        points = {edge: right / count for low, high, count, right in pooled for edge in (low, high)}
        return cls(tuple(points), tuple(points.values()))


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), for every float."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1 + grown)


def _labels(scores: Sequence[float], labels: Sequence[Any]) -> list[bool]:
    rights = [bool(each) for each in labels]
    if len(scores) != len(rights):
        raise ValueError(f"there are as many scores as labels, not {len(scores)} and {len(rights)}")
    if not all(math.isfinite(score) for score in scores):
        raise ValueError("every score is a finite number")
    if len(set(rights)) < 2:  # noqa: PLR2004  # right ones and wrong ones
        raise ValueError("a calibration is learnt from right and wrong answers; the labels are all the same")
    return rights


def _rises(values: Sequence[float], *, strictly: bool) -> bool:
    return all(low < high or (low == high and not strictly) for low, high in pairwise(values))


def _newton(scores: Sequence[float], targets: Sequence[float], b: float) -> tuple[float, float]:
    """Where the cross-entropy is lowest: Newton's method with backtracking (the paper's appendix)."""
    a, loss = 0.0, _loss(scores, targets, 0.0, b)
    for _ in range(_STEPS):
        aa = bb = _RIDGE
        ab = slope_a = slope_b = 0.0
        for score, target in zip(scores, targets, strict=True):
            p = sigmoid(-(a * score + b))
            curve, error = p * (1 - p), target - p
            aa, ab, bb = aa + score * score * curve, ab + score * curve, bb + curve
            slope_a, slope_b = slope_a + score * error, slope_b + error
        if abs(slope_a) < 1e-9 and abs(slope_b) < 1e-9:  # noqa: PLR2004  # flat
            break
        det = aa * bb - ab * ab
        step_a, step_b = (ab * slope_b - bb * slope_a) / det, (ab * slope_a - aa * slope_b) / det
        downhill, length = slope_a * step_a + slope_b * step_b, 1.0
        while length >= _SMALLEST_STEP:
            lower = _loss(scores, targets, a + length * step_a, b + length * step_b)
            if lower < loss + 1e-4 * length * downhill:
                break
            length /= 2
        else:
            break  # no step helps any more
        a, b, loss = a + length * step_a, b + length * step_b, lower
    return a, b


def _loss(scores: Sequence[float], targets: Sequence[float], a: float, b: float) -> float:
    total = 0.0
    for score, target in zip(scores, targets, strict=True):
        x = a * score + b
        # -(t log p + (1 - t) log(1 - p)), in the form that does not overflow
        total += (target * x if x >= 0 else (target - 1) * x) + math.log1p(math.exp(-abs(x)))
    return total
