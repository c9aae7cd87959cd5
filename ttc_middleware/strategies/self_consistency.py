"""Self-consistency: the answer that most samples agree on."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any

from ttc_middleware._brief import Brief
from ttc_middleware._inspect import parameters
from ttc_middleware._search import Drawing, best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T

from ._check import count
from ._tally import By, Same, Tally
from ._universal import elected
from ._weights import Weight, check_weight
from .stopping import Stop


@dataclass(frozen=True, repr=False)
class SelfConsistency(Brief):
    r"""Draw N samples and return the answer that most of them agree on.

    Wang et al. 2022 (arXiv:2203.11171). Only answers vote: abstentions, truncated and failed samples do not, though
    they are billed. With a verifier, samples that it rejected vote only if it accepted none. Ends as soon as no
    remaining sample can change the winning answer class, which gives exactly the class that all N would have given.
    The order in which samples arrive does not matter; ties go to the class with the earliest launched sample.

    Where it fails: the most frequent answer is wrong (more samples make it more surely wrong); free-form text, where no
    two answers are alike and every vote is a tie.

    Args:
        n: samples at most, from 1; 40 in the paper, odd numbers avoid ties.
        by: the answer that an output stands for, as a hashable value; None abstains. A function of the output, or of
            the sample if its first parameter is annotated `ttc.Sample`. What it raises on counts as an abstention, and
            comes out if it raises on all. By default: the tool calls; else what follows `\boxed` or "the answer is",
            numbers by value, labels without their brackets; else the whole text or value, ignoring case and spaces.
            "fields" votes on each field of a structured output: of a pydantic model, a dataclass or a mapping, of the
            JSON in a text or of a tool call's arguments, nested by path, items of lists by their place. The sample that
            agrees with most of the fields' winners wins, as it was drawn: one put together of fields that no sample
            has side by side would be nobody's answer, which no verifier has seen and in which nothing needs to fit.
            "universal" is for open text: the model itself is asked which of the n answers most agree with (universal
            self-consistency, Chen et al. 2023, arXiv:2311.17311), as data between fences, numbered in a random order. A
            reply that is no number abstains; where all do, equal texts vote. It costs `rounds` prompts with all n
            answers in them, billed as routing, and fails where these are more than the model reads well.
        same: whether two answers are the same, where equality is too strict: of the two texts or values, or what `by`
            has made of them. Symmetric or not, transitive or not: answers are in one class if a chain of same ones
            connects them. Asked of any two different answers, both ways; what it raises counts as no. Mind the chains:
            of 1.0, 1.1, … 9.9, each "within 0.1" of the next, all are one answer. Ends early only with more than half.
            Or an async function of all texts at once that returns a class for each, None for one of its own, asked at
            the end where it can matter: `ttc.verifiers.math_classes`, for which 1/2 is `\frac12` is 50 %.
        weight: what a vote weighs; None: one vote each. "score", the verifier's (Li et al. 2022, arXiv:2206.02336);
            "logprob", exp of the mean log-probability of the answer's tokens (Wang et al.), where the call asks for
            `logprobs`; "confidence", as the sample states it, or a `ttc.strategies.CISC()`; or a function of the
            output, or of the sample, that returns a number from 0. A sample that has none, or one that is negative, NaN
            or infinite, weighs the mean of the others; where none has any, all weigh the same, with a warning. Ends
            early where that changes nothing: with a function, whose weights have no bound, all n are waited for.
        stop: what ends the vote before the n-th sample, in place of certainty that nothing can change:
            `ttc.strategies.AdaptiveConsistency(0.95)` or `ttc.strategies.ESC(5)`. It decides by launch order, and
            samples are asked for in batches of the fewest that could end it.
        rounds: how often "universal" asks, each time with the answers in another order, from 1: models favour what
            stands first.
        seed: of these orders.
        at_once: draws under way at a time, from 1; None: all n, or all of a batch.

    Raises:
        ValueError: `n`, `at_once` or `rounds` is below 1; `weight` is no such word; or two arguments do not fit.
        TypeError: `by` or `same` cannot be called, or `stop` is no rule.
    """

    n: int = 8
    by: By = field(default=None, kw_only=True)
    same: Same | None = field(default=None, kw_only=True)
    weight: Weight | None = field(default=None, kw_only=True)
    stop: Stop | None = field(default=None, kw_only=True)
    rounds: int = field(default=3, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    at_once: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count(self, n=self.n, at_once=self.n if self.at_once is None else self.at_once, rounds=self.rounds)
        if self.by not in (None, "fields", "universal") and not callable(self.by):
            raise TypeError(
                f'SelfConsistency(by=) must be a function of the output, "fields" or "universal", got {self.by!r}'
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"SelfConsistency(seed=) must be a whole number, got {self.seed!r}")
        if self.same is not None and not callable(self.same):
            raise TypeError(f"SelfConsistency(same=) must be a function of two answers, got {self.same!r}")
        needed = [each for each in parameters(self.same) if each.default is each.empty] if self.same else []
        if iscoroutinefunction(self.same) and len(needed) != 1:
            raise TypeError(
                f"SelfConsistency(same=), where it is async, takes the list of all texts; got {self.same!r}"
            )
        if self.stop is not None and (isinstance(self.stop, type) or not callable(getattr(self.stop, "more", None))):
            raise TypeError(f"SelfConsistency(stop=) must be a rule like ttc.strategies.ESC(5), got {self.stop!r}")
        check_weight(self, self.weight)
        _fit(self)

    @property
    def needs_verifier(self) -> bool:
        """Whether votes weigh what a verifier says."""
        return self.weight == "score"

    @property
    def needs(self) -> frozenset[Capability]:
        """To be asked a question, where the model itself is to choose."""
        return frozenset({Capability.INSTRUCTION}) if self.by == "universal" else frozenset()

    @property
    def in_turn(self) -> int:
        """Its draws, so many at once, and the question who agrees."""
        return -(-self.n // (self.at_once or self.n)) + (self.by == "universal")

    @property
    def wants_all(self) -> bool:
        """Whether every draw is waited for."""
        return self.by == "universal" and self.at_once is None

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw until the vote is decided."""
        tally = Tally(self.n, self.by, self.same, self.weight)
        if self.by == "universal":
            samples = yield from gather([Draw()] * self.n, at_once=self.at_once)
            for sample in samples:
                tally.add(sample)
            chosen = yield from elected(tally.candidates, self.rounds, self.seed)
            if chosen:
                return chosen[0]
        elif self.stop is None:

            def decided(sample: Sample[Any]) -> bool:
                tally.add(sample)
                return tally.vote.decided

            samples = yield from gather([Draw()] * self.n, until=decided, at_once=self.at_once)
        else:
            samples = yield from self._ahead(tally, self.stop)
        yield from tally.equated()
        tally.warn()
        return tally.winner or best(samples)

    def _ahead(self, tally: Tally, stop: Stop) -> Drawing:
        """Draw in batches of the fewest samples that could end the vote, until one has."""
        samples: list[Sample[Any]] = []
        while len(samples) < self.n:
            more = stop.more(tally.answers(samples))
            if not isinstance(more, int):
                raise TypeError(f"more() of {stop!r} must return a whole number, got {more!r:.200}")
            more = min(more, self.n - len(samples))
            if more < 1:
                break
            batch = yield from gather([Draw()] * more, at_once=self.at_once)
            for sample in batch:
                tally.add(sample)
            samples += batch
            if len(batch) < more:  # the budget or the time is up
                break
        return samples


def _fit(strategy: SelfConsistency) -> None:
    """Raise unless what was asked for goes together."""
    by, told = strategy.by, {name: getattr(strategy, name) for name in ("same", "weight", "stop")}
    banned = {"fields": ("same", "stop"), "universal": ("same", "weight", "stop")}.get(
        by if isinstance(by, str) else "", ()
    )
    for name in banned:
        if told[name] is not None:
            raise ValueError(f"SelfConsistency({name}=) does not go with by={by!r}")
    if strategy.stop is not None and strategy.weight is not None:
        raise ValueError(f"SelfConsistency(stop={strategy.stop!r}) counts votes: it does not go with weight=")
    if strategy.stop is not None and iscoroutinefunction(strategy.same):
        raise ValueError("SelfConsistency(same=), where it is async, compares at the end: it does not go with stop=")
