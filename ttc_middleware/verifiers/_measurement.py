"""What labelled samples say of a verifier, and what follows for how much to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ._figures import Estimate

_COIN = 0.5
_ESTIMATES = ("p", "sensitivity", "false_positive_rate", "auc", "precision")


@dataclass(frozen=True)
class Compared:
    """Ways to answer from n samples of a question: the mean share of right answers over questions."""

    n: int
    best: float
    """By the verifier: an accepted sample before any other, then the highest score."""
    vote: float
    """By majority, without the verifier."""
    lead: Estimate
    """`best - vote`, with an interval over questions."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How good a verifier is, and what it is good for. Prints readably; `to_dict()` is JSON data."""

    verifier: str
    confidence: float
    """Of every interval, each by itself."""
    samples: int
    """That were judged."""
    failures: int
    """Verifications that failed twice: they say nothing about the output, and count nowhere else."""
    questions: int
    """With two or more judged samples; 0 where no groups were given."""
    right: int
    right_accepted: int
    wrong_accepted: int
    p: Estimate
    """The share of single samples that are right: as given, or among the judged."""
    sensitivity: Estimate | None
    """a, the share of right samples that are accepted; None without right samples."""
    false_positive_rate: Estimate | None
    """b, the share of wrong samples that are accepted; None without wrong samples."""
    auc: Estimate | None
    """How often a right sample scores above a wrong one; None without both."""
    precision: Estimate | None
    """pa / (pa + (1-p)b), the share of right ones among accepted samples; None where nothing is accepted."""
    graded: bool
    """It gave scores between 0 and 1."""
    wrong: float
    """What an accepted wrong answer costs, where a right one earns 1 and none at all 0."""
    cost: float
    """What a draw costs, on the same scale."""
    largest_n: int | None
    """Up to how many draws a question are worth making; None where the samples cannot tell. See `measure`."""
    open_ended: bool
    """The questions have no more samples than `largest_n`: it may be larger."""
    compared: tuple[Compared, ...]
    """Best-of-n beside voting at some n; empty without questions."""

    @property
    def accept_rate(self) -> float | None:
        """How often a draw is accepted, r = pa + (1-p)b; None without right or without wrong samples."""
        if self.sensitivity is None or self.false_positive_rate is None:
            return None
        return self.p.value * self.sensitivity.value + (1 - self.p.value) * self.false_positive_rate.value

    def coverage(self, n: int) -> float | None:
        """1 - (1-r)^n: how often resampling until acceptance gets an answer from n draws, were all questions alike."""
        return None if self.accept_rate is None else 1 - (1 - self.accept_rate) ** n

    def expected_draws(self, n: int) -> float | None:
        """(1 - (1-r)^n) / r: draws that resampling until acceptance makes of n, were all questions alike."""
        covered, rate = self.coverage(n), self.accept_rate
        return None if covered is None else covered / rate if rate else float(n)

    @property
    def voting_beats_it(self) -> bool | None:
        """At the largest n that was compared: whether the interval of the lead lies below 0; None: not decided."""
        if not self.compared or self.compared[-1].lead.low <= 0 <= self.compared[-1].lead.high:
            return None
        return self.compared[-1].lead.high < 0

    @property
    def below_break_even(self) -> str | None:
        """Why the verifier is not worth its draws, in words; None where nothing measured says so."""
        if self.auc is None:
            return None
        if self.auc.low <= _COIN:
            few = "" if self.auc.high <= _COIN else "; label more samples if it should be better"
            return f"it is not known to tell right from wrong better than a coin: AUC {self.auc}{few}"
        if self.largest_n == 0:
            cost = f", with {self.cost:g} a draw" if self.cost else ""
            return (
                f"of what it accepts, {self.precision} is right: not enough where a wrong answer costs"
                f" {'as much as' if self.wrong == 1 else f'{self.wrong:g} times what'} a right one earns{cost}"
            )
        if self.graded and self.largest_n == 1:
            return "the best of several samples is no better than a single one, for what they cost"
        if self.voting_beats_it:
            last = self.compared[-1]
            return f"best of {last.n} is right {last.best:.2f} of the time, voting {last.vote:.2f}: {last.lead}"
        return None

    def worth_it(self, n: int) -> bool | None:
        """Whether n draws chosen by this verifier are worth making; None where the samples do not decide.

        False for a coin, and above `largest_n`. With questions, the interval of the lead over voting decides, at the
        largest n compared that is not above this one. Without, True where acceptance pays by the algebra of one
        question, which holds for any n.

        Raises:
            ValueError: `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"n is a number of draws from 1, not {n!r}")
        if self.auc is None:
            return None
        if self.auc.low <= _COIN or (self.largest_n is not None and n > self.largest_n and not self.open_ended):
            return False
        known = [each.lead for each in self.compared if each.n <= n <= self.compared[-1].n]
        if known:
            return True if known[-1].low > 0 else False if known[-1].high < 0 else None
        pays = self.precision is not None and self.precision.low >= self.wrong / (1 + self.wrong)
        return True if pays and not self.questions else None

    def to_dict(self) -> dict[str, Any]:
        """JSON data, from which `from_dict` makes an equal measurement."""
        data = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in _ESTIMATES:
            data[name] = None if data[name] is None else data[name].to_dict()
        data["compared"] = [
            {"n": each.n, "best": each.best, "vote": each.vote, "lead": each.lead.to_dict()} for each in self.compared
        ]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """A measurement from what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        given = dict(data)
        for name in _ESTIMATES:
            given[name] = Estimate.from_dict(given[name])
        given["compared"] = tuple(
            Compared(each["n"], each["best"], each["vote"], Estimate(**each["lead"])) for each in given["compared"]
        )
        return cls(**given)

    def __str__(self) -> str:
        of = f" of {self.questions:,} questions" if self.questions else ""
        failed = f"; {self.failures:,} verifications failed" if self.failures else ""
        counts = f"{self.samples:,} samples{of}, {self.right:,} right{failed}"
        lines = [f"{self.verifier}: {counts}; {self.confidence:.0%} intervals"]
        said = {
            "accepts right answers": self.sensitivity,
            "accepts wrong answers": self.false_positive_rate,
            "right above wrong (AUC)": self.auc,
            f"right among accepted, at p = {self.p.value:.2f}": self.precision,
        }
        lines += [f"  {name}: {'unknown' if each is None else each}" for name, each in said.items()]
        least = " or more" if self.open_ended else ""
        known = "unknown without several samples a question" if self.largest_n is None else f"{self.largest_n}{least}"
        lines.append(f"  largest n worth drawing: {known}")
        lines += [
            f"  best of {each.n}: {each.best:.2f}, voting: {each.vote:.2f}, lead {each.lead}" for each in self.compared
        ]
        return "\n".join([*lines, *([f"  below break-even: {why}"] if (why := self.below_break_even) else [])])
