"""Race: decide as samples finish, and cancel the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ttc_middleware._brief import Brief
from ttc_middleware._types import Call, Draw, Sample, Search, T

from ._arrivals import Arrivals, check_by
from ._certificate import Certificate
from ._check import count


@dataclass(frozen=True, repr=False)
class Race(Brief):
    """Self-consistency as a race: start more than one probably needs, decide as they finish, and cancel the rest.

    Ends when an answer is `lead` votes ahead of every other, or when it cannot be caught up with any more by all that
    remain of n (curtailment). More samples start as soon as even full agreement of those under way would decide nothing
    (look-ahead batching, as in ConSol, Lee et al. 2025, arXiv:2503.17587). Cancelled samples are billed for what they
    came to. Only answers vote; those that a verifier rejected only if it accepted none; ties go to the class that
    finished first.

    It acts on the order in which samples arrive. Early finishers are the short ones, so the vote leans towards short
    answers, and no error rate follows from it. The order in which samples were *launched* knows nothing of their
    lengths: with `certify=` the race goes by that, and ends with a certificate in place of a lead.

    Where it fails: where answers that come soon are wrong more often than others; on hard questions, whose second batch
    begins late; and wherever the most frequent answer is wrong. It saves tokens first: `SelfConsistency`, which starts
    all n at once and ends when nobody can catch up, mostly answers sooner. `poe bench-races` has the figures, losses
    included, and chooses the defaults on one half of the questions.

    Args:
        n: samples at most, from 1.
        first: samples that start at once, from 1.
        more: samples that are added at a time, from 1.
        lead: votes that the winner is to be ahead by, from 1.
        certify: in place of the lead: the allowed chance that the winner is not the model's most frequent answer, above
            0 and below 1. Waits for those launched first, so it saves less. A race that ends by curtailment or at n has
            no certificate: `certified()` tells.
        by: the answer that an output stands for, as in `SelfConsistency(by=)`.

    Raises:
        ValueError: a number is out of its range.
        TypeError: `by` cannot be called.
    """

    n: int = 40
    first: int = field(default=8, kw_only=True)
    more: int = field(default=28, kw_only=True)
    lead: int = field(default=6, kw_only=True)
    certify: float | None = field(default=None, kw_only=True)
    by: Callable[[Any], Hashable | None] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, n=self.n, first=self.first, more=self.more, lead=self.lead)
        check_by(self, self.by)
        if self.certify is not None:
            _check_error("Race(certify=)", self.certify)

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw until the race is decided."""
        arrived = Arrivals(self.by)
        certificate = None if self.certify is None else Certificate(self.certify)
        launched = min(self.first, self.n)
        sample = yield [Draw()] * launched
        while sample is not None:
            answer = arrived.add(sample)
            if certificate is not None:
                certificate.add(sample.index, answer)
                if certificate.answer is not None:
                    return arrived.winner(certificate.answer)
            finished = len(arrived.samples)
            if finished == self.n or self._decided(arrived, certificate, finished):
                break
            before = launched
            while launched < self.n and not self._decided(arrived, certificate, launched, launched - finished):
                launched = min(launched + self.more, self.n)
            sample = yield [Draw()] * (launched - before)
        return arrived.winner()

    def _decided(self, arrived: Arrivals, certificate: Certificate | None, finished: int, agreeing: int = 0) -> bool:
        """Whether the leader is far enough ahead, or out of reach; or would be, with so many more votes for it."""
        leader, second = arrived.counts
        ahead = leader + agreeing - second
        if ahead > self.n - finished:
            return True
        return ahead >= self.lead if certificate is None else bool(agreeing) and certificate.could_end(agreeing)

    def certified(self, samples: Iterable[Sample[Any]], *, error: float = 0.05) -> Hashable | None:
        """The answer that these samples certify as the model's most frequent one; None: not certified.

        Goes by the order of their launch, up to the first that did not finish. Whatever the race did, the chance that
        this ever names an answer that is not the most frequent one is at most `error`, for samples that are independent
        and alike. It says nothing about that answer being right. Takes 8 in agreement at an error of 5 %. A race that
        ends by its lead rarely has as many: those that it cancels were mostly launched among the first.

        Args:
            samples: `Result.samples`.
            error: the allowed chance of a wrong certificate, above 0 and below 1.

        Raises:
            ValueError: the error is out of its range.
        """
        _check_error("certified(error=)", error)
        arrived, certificate = Arrivals(self.by), Certificate(error)
        for sample in samples:
            certificate.add(sample.index, arrived.add(sample))
        return certificate.answer


def _check_error(name: str, error: object) -> None:
    if isinstance(error, bool) or not isinstance(error, (int, float)) or not 0 < error < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {error!r}")
