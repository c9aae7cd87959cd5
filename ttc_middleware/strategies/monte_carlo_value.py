"""What a prefix is worth, by drawing it to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from ttc_middleware._brief import Brief
from ttc_middleware._search import gather
from ttc_middleware._types import Draw, Sample

from ._certificate import evidence
from ._check import count
from ._lanes import Part


@dataclass(frozen=True, repr=False)
class MonteCarloValue(Brief):
    """The value of a prefix as the share of roll-outs from it that end verified, for `value=` of a search over steps.

    Wang et al. 2024, "Math-Shepherd" (arXiv:2312.08935), the soft estimate. A roll-out is an answer that goes on from
    the prefix to its end, judged by the call site's own verifier, and can win like any other. The value is the mean of
    their scores: the share that is verified, where the verifier says yes or no. With `MonteCarloValue(1)` a search has
    the textbook's single roll-out. A prefix is asked once in a search (in `DVTS`, once in a group).

    Roll-outs come in batches, each the fewest that could settle on which side of one half the share of verified ones
    is; when it is settled, the others are not drawn. The test is anytime-valid (a mixture of likelihood ratios and
    Ville's inequality), for roll-outs that are independent and alike: the chance that it ever names the wrong side is
    at most `certify`. It says nothing about the mean itself, which stopping early moves away from one half.

    Where it fails: dear, roll-outs times the price of a whole answer for each prefix. With a verifier that only says
    yes or no, and `stop="first accepted"`, a prefix has value 0 or the search is over: only scores in between can
    guide it. A right answer from wrong steps counts as right (Zhang et al. 2025, arXiv:2501.07301, find such labels
    worse than those of a judge or of people).

    Args:
        rollouts: of a prefix at most, from 1.
        stop: "first accepted" ends the search with the first accepted roll-out; "all" goes on, for labels of steps
            (`step_labels()`), and the answers of the search itself, or the best roll-out, win.
        certify: the allowed chance of a wrong side, above 0 and below 1; None: all roll-outs are drawn.

    Raises:
        ValueError: a number is out of its range, or `stop` is neither word.
    """

    rollouts: int = 8
    stop: Literal["first accepted", "all"] = field(default="first accepted", kw_only=True)
    certify: float | None = field(default=0.1, kw_only=True)

    def __post_init__(self) -> None:
        count(self, rollouts=self.rollouts)
        if self.stop not in ("first accepted", "all"):
            raise ValueError(f'MonteCarloValue(stop=) must be "first accepted" or "all", got {self.stop!r}')
        if self.certify is not None and not 0 < self.certify < 1:
            raise ValueError(f"MonteCarloValue(certify=) must be above 0 and below 1, or None; got {self.certify!r}")

    def estimate(self, draw: Draw) -> Part:
        """Roll out: draw this until its value is known.

        Args:
            draw: all that is missing of the answer.

        Returns:
            The value, from 0 to 1; 0 where no roll-out said anything.
        """
        scores: list[float] = []
        verified = launched = 0
        while launched < self.rollouts:
            batch = self._batch(verified, len(scores) - verified, self.rollouts - launched)
            if not batch:
                break
            samples: list[Sample[Any]] = yield from gather([draw] * batch)
            launched += batch
            counted = [sample for sample in samples if told(sample)]
            scores += [sample.score or 0.0 for sample in counted]
            verified += sum(sample.accepted for sample in counted)
            if len(samples) < batch:  # the budget or the time ran out
                break
        return sum(scores) / len(scores) if scores else 0.0

    def _batch(self, verified: int, others: int, left: int) -> int:
        """How many to draw next; 0: it is settled."""
        if self.certify is None:
            return left
        ahead, behind = max(verified, others), min(verified, others)
        return next(
            (more for more in range(left) if evidence(ahead + more, behind) * Fraction(self.certify) >= 1), left
        )


def told(sample: Sample[Any]) -> bool:
    """Whether it says something of its prefix: what was cut or refused is an answer that is not right."""
    if sample.status == "answer":
        return sample.verdict is not None and not sample.verdict.failed
    return sample.status != "failed"
