"""How good a verifier is, measured on labelled samples, and what follows for how much to draw."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from ttc_middleware._answers import answer_key
from ttc_middleware._inspect import parameters
from ttc_middleware._types import Call, Draw, Sample, Verdict
from ttc_middleware._verify import Check, prepare, verdict_of

from ._measurement import Measurement
from ._summing import Judged, Terms, summed_up


@dataclass(frozen=True, eq=False)
class Labelled:
    """An output that somebody has judged."""

    output: Any
    right: bool
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The call's, for verifiers that go by them."""
    group: Hashable | None = None
    """The question that it answers, or its number: several samples of one question tell most."""


async def measure(
    verifier: Any,
    labelled: Iterable[Labelled | tuple[Any, ...]],
    *,
    p: float | None = None,
    confidence: float = 0.95,
    accept: float = 1.0,
    wrong: float = 1.0,
    cost: float = 0.0,
    by: Callable[[Any], Hashable | None] | None = None,
    at_once: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    """Run a verifier over labelled samples.

    Sensitivity a and false-positive rate b have Clopper-Pearson intervals, which take samples for independent: of few
    questions with many samples each they are too narrow. The AUC is Mann-Whitney's, its interval DeLong's (1988), by
    Obuchowski (1997) where questions have several samples. It compares samples of different questions too: a verifier
    that only knows which questions are easy has a high one and chooses no better for it, which `compared` shows.

    Precision at acceptance is the same after any number of draws of one question (Stroebl, Kapoor and Narayanan, "The
    Limits of Inference Scaling Through Resampling", arXiv:2411.17501): pa / (pa + (1-p)b). Its interval is the exact
    one of the accepted samples, or, at a given `p`, follows from those of a and b. Over different questions it falls
    from draw to draw, because late acceptances come from hard ones. So `largest_n` needs several samples a question:

    - A verifier that says yes or no: the n at which resampling until acceptance earns most, at 1 a right answer,
      -`wrong` an accepted wrong one, -`cost` a draw; exact over all orders of each question's samples. Without groups,
      0 where not even one draw pays (pa - (1-p)b `wrong` is not above `cost`), else None.
    - A verifier with grades: the k at which the share of right answers among best-of-k, minus `cost` a draw, is
      highest; exact over all subsets, and None without groups. It is the samples' own: see by the intervals of
      `compared` whether it could be chance.

    `compared` sets best-of-n beside a majority vote, whose share is averaged over 200 random orders; the interval is a
    bootstrap over questions (1,000 resamples; all seeded, so that it is repeatable). Looked at are n up to 64 for which
    at least half of the questions have as many samples; questions with fewer are left out there.

    All of this holds for traffic like the samples: label outputs of the same model on the same kind of questions.

    Args:
        verifier: whatever `scale` takes. A plain function runs on the loop; an object's verdicts cost what they cost.
        labelled: `Labelled`, or tuples of its fields in order: `(output, right)` at least.
        p: the share of right answers that the model gives in use, where the labelled samples were chosen otherwise.
            Groups are taken as they are.
        confidence: of each interval, between 0 and 1.
        accept: the score from which a sample counts as accepted, as in `scale(accept=)`.
        wrong: what an accepted wrong answer costs, where a right one earns 1 and no answer 0.
        cost: what a draw costs, on the same scale.
        by: the answer that an output stands for in a vote, as in `SelfConsistency(by=)`.
        at_once: verifications under way at a time, from 1.
        progress: called with how many are done and how many there are, after each.

    Raises:
        ValueError: there are no samples, or a number is out of its range.
        TypeError: a label is no bool, or the verifier cannot be one.
    """
    check = prepare(verifier, None)
    terms = Terms(check.name, p, confidence, wrong, cost)
    if at_once < 1:
        raise ValueError(f"at_once is a whole number from 1, not {at_once!r}")
    samples = _checked(labelled)
    key = answer_key(by)
    found: list[Judged | None] = [None] * len(samples)
    waiting = iter(range(len(samples)))
    done = 0

    async def work() -> None:
        nonlocal done
        for at in waiting:  # shared: each worker takes the next
            each = samples[at]
            sample = _sample(at, each)
            verdict = await verdict_on(check, sample, each.arguments, accept)
            if verdict is not None:
                found[at] = Judged(each.group, each.right, bool(verdict.accepted), verdict.score, _answer(key, sample))
            done += 1
            if progress is not None:
                progress(done, len(samples))

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(samples))):
            group.start_soon(work)
    judged = [each for each in found if each is not None]
    return summed_up(judged, len(samples) - len(judged), terms)


@dataclass(frozen=True, eq=False)
class Measured:
    """A verifier that carries its measurement, and judges as before.

    A function that is decorated with it can warn when the verifier is below break-even.
    """

    verifier: Any = field(repr=False)
    measurement: Measurement
    _check: Check = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_check", prepare(self.verifier, None))

    @property
    def __name__(self) -> str:
        """The verifier's own, for logs and spans."""
        return self._check.name

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that the verifier cannot do without."""
        if callable(getattr(self.verifier, "check", None)):
            return frozenset(getattr(self.verifier, "parameters", frozenset[str]()))
        asked = parameters(self.verifier)[1:]
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return frozenset(each.name for each in asked if each.default is each.empty and each.kind not in variable)

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        """What a function raises whose answer the verifier rejects."""
        return self._check.rejects

    @property
    def soft(self) -> bool:
        """Whether its word is an opinion."""
        return bool(getattr(self.verifier, "soft", False))

    def explain(self, error: Exception) -> str:
        """The feedback of such an exception."""
        return self._check.explain(error)

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Any:
        """What the verifier says: a verdict, or what it returns in place of one."""
        known = arguments or {}
        said = self._check.ask(_sample(0, Labelled(output, False, known)), known)  # the label is not looked at
        return await said if inspect.isawaitable(said) else said


def warning_of(verifier: Any) -> str | None:
    """What to warn of when this verifier is used: that it was measured, and found below break-even; else None."""
    measurement = getattr(verifier, "measurement", None)
    if not isinstance(measurement, Measurement) or (why := measurement.below_break_even) is None:
        return None
    return f"verifier {measurement.verifier} was measured to be below break-even: {why}"


def _checked(labelled: Iterable[Labelled | tuple[Any, ...]]) -> list[Labelled]:
    samples = [each if isinstance(each, Labelled) else Labelled(*each) for each in labelled]
    if not samples:
        raise ValueError("labelled is empty: there is nothing to measure on")
    for at, each in enumerate(samples):
        if not isinstance(each.right, bool):
            raise TypeError(f"labelled[{at}].right is True or False, not {each.right!r:.100}")
    return samples


def _sample(at: int, each: Labelled) -> Sample[Any]:
    text = each.output if isinstance(each.output, str) else None
    call = Call(name="measure", arguments=each.arguments)
    return Sample(index=at, draw=Draw(), call=call, output=each.output, text=text)


def _answer(key: Callable[[Sample[Any]], Hashable | None], sample: Sample[Any]) -> Hashable | None:
    try:
        return key(sample)
    except Exception:  # noqa: BLE001  # `by` cannot read this output: it abstains, as in a vote
        return None


async def verdict_on(check: Check, sample: Sample[Any], arguments: Mapping[str, Any], accept: float) -> Verdict | None:
    """The verdict, tried twice like in use; None: the verifier failed."""
    for _ in range(2):
        try:
            said = check.ask(sample, arguments)
            verdict = verdict_of(await said if inspect.isawaitable(said) else said, accept)
        except Exception:  # noqa: BLE001, S112  # whatever a verifier raises; the failure is counted
            continue
        if not verdict.failed:
            return verdict
    return None
