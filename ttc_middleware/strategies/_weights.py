"""What a vote weighs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, TypeAlias, Union

from ttc_middleware._brief import Brief
from ttc_middleware._inspect import takes_sample
from ttc_middleware._types import Sample

from ._check import LARGEST

_TAIL = 4_000  # characters of a text in which a confidence is looked for
_CONFIDENCE = re.compile(
    r"[*_]{0,3}\bconfidence\b[^\n\d(-]{0,20}(?:\([^()\n]{0,20}\))?[^\n\d(-]{0,8}(?:- )?"
    r"(-?(?:\d{1,9}(?:\.\d{1,9})?|\.\d{1,9}))[ \t]{0,3}(%|/ ?100?\b)?",
    re.IGNORECASE,
)
_LARGEST = 1e200  # weights beyond it have no sum
_COLDEST = 0.01


@dataclass(frozen=True, repr=False)
class CISC(Brief):
    """Votes weighted by how sure each sample is of itself: for `SelfConsistency(weight=)`.

    Confidence-improved self-consistency, Taubenfeld et al. 2025 (arXiv:2502.06233): a vote weighs exp(c / T), c the
    confidence from 0 to 1, which is the paper's softmax over the samples of a question up to a common factor. A sample
    without a confidence gets the mean of the others'.

    Where it fails: what counts is whether, on one question, right answers are surer than wrong ones; models that are
    always sure, and confidences that are well calibrated over questions, do not help.

    Args:
        temperature: T, from 0.01: the lower, the more the surest sample decides. The paper fits it on held-out
            questions, per model; there is no good value for all.
        of: the confidence, from 0 to 1, of an output, or of the sample if its first parameter is annotated
            `ttc.Sample`; None: there is none. By default what the text states last, as in "Confidence: 85", from 0 to
            100, or from 0 to 1 (a bare 1 is certain); ask for it in your prompt.

    Raises:
        ValueError: the temperature is below 0.01.
        TypeError: `of` cannot be called.
    """

    temperature: float = field(default=1.0, kw_only=True)
    of: Callable[[Any], float | None] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        given = self.temperature
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not _COLDEST <= given <= LARGEST:
            raise ValueError(f"CISC(temperature=) must be at least {_COLDEST}, got {given!r}")
        if self.of is not None and not callable(self.of):
            raise TypeError(f"CISC(of=) must be a function of the output, got {self.of!r}")


Weight: TypeAlias = Union[Literal["score", "logprob", "confidence"], CISC, Callable[[Any], Union[float, None]]]
"""What `SelfConsistency(weight=)` takes, besides None."""


class Weigher:
    """How votes are weighed.

    Args:
        read: what a sample weighs by; None where it does not say.
        named: what it is called in a warning.
        most: what `read` never exceeds; it is never below 0.
        turned: the weight that belongs to what was read, rising with it.
    """

    def __init__(
        self,
        read: Callable[[Sample[Any]], object],
        named: str,
        *,
        most: float = math.inf,
        turned: Callable[[float], float] = float,
    ) -> None:
        self._read = read
        self._most = most
        self.named = named
        self.turned = turned
        self.bounds = turned(0.0), math.inf if most == math.inf else turned(most)
        """Between these a weight lies that is not known yet."""
        self.wrong: object = None
        """The first thing read that is no weight, or what reading has raised."""

    def read(self, sample: Sample[Any]) -> float | None:
        """What the sample weighs by; None where it does not say, or says what cannot be added up."""
        try:
            value: Any = self._read(sample)
            if value is None:
                return None
            if isinstance(value, Real) and 0 <= float(value) <= min(self._most, _LARGEST):
                return float(value)
            wrong: object = value
        except Exception as error:  # noqa: BLE001  # the caller's own function, late in a search that is paid for
            wrong = error
        if self.wrong is None:
            self.wrong = wrong
        return None


def equal() -> Weigher:
    """One vote for each."""
    weigher = Weigher(lambda _: 1.0, "vote", most=1.0)
    weigher.bounds = 1.0, 1.0
    return weigher


def weigher_of(weight: Weight | None) -> Weigher:
    """How `SelfConsistency(weight=)` weighs."""
    if weight is None:
        return equal()
    if weight == "score":
        return Weigher(lambda sample: sample.score, "verifier's score", most=1.0)
    if weight == "logprob":
        return Weigher(_likelihood, "log-probability (the call is to ask for them, with logprobs=True)", most=1.0)
    if weight == "confidence" or isinstance(weight, CISC):
        cisc = weight if isinstance(weight, CISC) else CISC()
        cold = cisc.temperature
        read = _stated_by if cisc.of is None else _asked(cisc.of)
        # Counted from full confidence down, so that nothing overflows.
        return Weigher(read, "confidence", most=1.0, turned=lambda sure: math.exp((sure - 1) / cold))
    return Weigher(_asked(weight), "weight")


def check_weight(strategy: object, weight: object) -> None:
    """Raise unless this says what a vote weighs."""
    if weight is CISC:
        raise TypeError(f"{type(strategy).__name__}(weight=) takes an object, not a class: write CISC()")
    if weight is None or isinstance(weight, CISC) or weight in ("score", "logprob", "confidence") or callable(weight):
        return
    raise ValueError(
        f'{type(strategy).__name__}(weight=) must be "score", "logprob", "confidence", a CISC(), or a function of the'
        f" output, got {weight!r}"
    )


def reads_text(weight: Weight | None) -> bool:
    """Whether what a sample weighs by stands in the text of its answer."""
    return weight == "confidence" or (isinstance(weight, CISC) and weight.of is None)


def without_confidence(text: str) -> str:
    """The text without what it says about its confidence, which is no part of the answer."""
    return text[:-_TAIL] + _CONFIDENCE.sub("", text[-_TAIL:])


def stated_confidence(text: str | None) -> float | None:
    """The confidence that a text states last, from 0 to 1; None where it states none, or one beyond its scale."""
    said = list(_CONFIDENCE.finditer((text or "")[-_TAIL:]))
    if not said:
        return None
    number, scale = said[-1].groups()
    value = float(number)
    if scale is not None:
        value /= 10 if scale.endswith("10") else 100
    elif value > 1:
        value /= 100
    return value if 0 <= value <= 1 else None


def _stated_by(sample: Sample[Any]) -> float | None:
    return stated_confidence(sample.text)


def _likelihood(sample: Sample[Any]) -> float | None:
    """The geometric mean of the probabilities of its tokens: "normalized" in Wang et al. 2022, table 1."""
    return None if sample.logprob is None else math.exp(min(sample.logprob, 0.0))


def _asked(fn: Callable[[Any], object]) -> Callable[[Sample[Any]], object]:
    return fn if takes_sample(fn) else lambda sample: fn(sample.output)
