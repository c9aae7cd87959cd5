"""Answers step by step: how they are cut, gone on with and scored. What step searches are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from ttc_middleware._brief import Brief
from ttc_middleware._search import NoSamples, best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T, Verifier

from ._check import count
from ._lanes import Lanes, Part

STEPPING = frozenset({Capability.EXTEND, Capability.MAX_TOKENS, Capability.STOP})
"""What a call site must be able to do: go on with a partial answer, up to a stop word or a limit."""


@dataclass(frozen=True, repr=False)
class Steps(Brief):
    r"""How an answer is cut into steps, and how its end is told.

    Where the server says whether the model ended by itself or at the separator (llama.cpp and vLLM do), nothing else is
    needed. Elsewhere a step that adds nothing to the text is taken for the end, and the answer is drawn to its end from
    there.

    Args:
        separator: the text between two steps, a blank line by default; "\n" for answers of one step a line.
        max_tokens: of one step, from 1; what is cut there is gone on with as it is.
        ends: when a text is a whole answer, whatever the server says: a regular expression that is searched for, such
            as `r"\\boxed\\{.*\\}"`, or a function of the text.

    Raises:
        ValueError: the separator is empty, `max_tokens` below 1, or the expression does not compile.
        TypeError: `ends` is neither.
    """

    separator: str = "\n\n"
    max_tokens: int = 256
    ends: str | Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.separator, str) or not self.separator:
            raise ValueError(f"Steps(separator=) must be the text between two steps, got {self.separator!r}")
        count(self, max_tokens=self.max_tokens)
        if isinstance(self.ends, str):
            try:
                re.compile(self.ends)
            except re.error as error:
                raise ValueError(f"Steps(ends=) must be a regular expression, got {self.ends!r}: {error}") from error
        elif self.ends is not None and not callable(self.ends):
            raise TypeError(f"Steps(ends=) must be a regular expression or a function of the text, got {self.ends!r}")

    def step(self, parent: Sample[Any] | None = None, *, judge: Verifier | None = None) -> Draw:
        """The draw of one more step.

        Args:
            parent: the step that it comes after; None: the first.
            judge: scores what there is then; None: the call site's verifier does.
        """
        extend = None if parent is None else self.text(parent)
        return Draw(
            kind="step", parent=parent, extend=extend, stop=(self.separator,), max_tokens=self.max_tokens,
            ends=self._ends(), judge=judge,
        )  # fmt: skip

    def rest(self, parent: Sample[Any]) -> Draw:
        """The draw of all that is still missing of an answer."""
        return Draw(parent=parent, extend=self.text(parent))

    def text(self, sample: Sample[Any]) -> str:
        """What there is so far, ready to be gone on with."""
        text = sample.text or ""
        cut = sample.status == "truncated" or sample.ended or sample.draw.kind != "step"
        return text if cut or self.stuck(sample) else text + self.separator

    def stuck(self, sample: Sample[Any]) -> bool:
        """Whether a step has added nothing: the model had already ended."""
        before = sample.draw.extend
        return before is not None and (sample.text or "").strip() == before.strip()

    def _ends(self) -> Callable[[str], bool] | None:
        return _Searched(self.ends) if isinstance(self.ends, str) else self.ends


@dataclass(frozen=True)
class _Searched:
    """Whether an expression is found; equal where the expression is, so that equal draws are."""

    pattern: str

    def __call__(self, text: str) -> bool:
        return re.search(self.pattern, text) is not None


class Walk:
    """One search over steps under way.

    Args:
        steps: how answers are cut.
        value: scores prefixes; None: the call site's verifier does.
    """

    def __init__(self, steps: Steps, value: Verifier | None) -> None:
        self.steps = steps
        self.value = value
        self.lanes = Lanes()

    def draw(self, parents: Sequence[Sample[Any] | None]) -> Part:
        """One more step after each of these, None for a first one; ends early where an answer is accepted.

        Returns:
            The samples in launch order; fewer where the budget or the time ran out.
        """
        draws = [self.steps.step(parent, judge=self.value) for parent in parents]
        return self.lanes.run(gather(draws, until=_accepted))

    def finish(self, parents: Sequence[Sample[Any]]) -> Part:
        """Draw these to their ends, as they are; ends early where an answer is accepted."""
        return self.lanes.run(gather([self.steps.rest(parent) for parent in parents], until=_accepted))

    def open(self, samples: Iterable[Sample[Any]]) -> list[Sample[Any]]:
        """Those that can be gone on with: each text once, the earliest of equals."""
        texts: dict[str, Sample[Any]] = {}
        for sample in samples:
            if sample.status in ("answer", "truncated") and not sample.whole:
                texts.setdefault(self.steps.text(sample), sample)
        return list(texts.values())

    @property
    def won(self) -> Sample[Any] | None:
        """The first answer that was accepted."""
        return next((sample for sample in self.lanes.samples if sample.accepted), None)

    @property
    def answers(self) -> list[Sample[Any]]:
        """What has been drawn to its end."""
        return [sample for sample in self.lanes.samples if sample.whole and sample.status == "answer"]

    def best(self) -> Sample[Any]:
        """The best answer; where there is none, the best of what there is of one.

        Raises:
            NoSamples: nothing was drawn.
        """
        samples = self.lanes.samples
        whole = [sample for sample in samples if sample.whole and sample.status != "failed"]
        parts = [sample for sample in samples if sample.status != "failed"]
        return best(whole or parts or samples)


def _accepted(sample: Sample[Any]) -> bool:
    return sample.accepted


def value_of(sample: Sample[Any]) -> float:
    """The score of what there is so far; 0 where nobody gave one."""
    return sample.score or 0.0


def ranked(samples: Iterable[Sample[Any]]) -> list[Sample[Any]]:
    """The highest score first; ties go to the earliest launched."""
    return sorted(samples, key=lambda sample: (-value_of(sample), sample.index))


class StepSearch(Brief):
    """What searches over steps have in common."""

    needs_verifier: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = STEPPING
    steps: Steps
    value: Verifier | None

    @property
    def judges(self) -> tuple[Verifier, ...]:
        """The verifier of prefixes, where it is not the call site's own."""
        return () if self.value is None else (self.value,)

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Walk until an answer is accepted, or to the end."""
        walk = Walk(self.steps, self.value)
        with suppress(NoSamples):  # of an inner search: the budget ran out
            yield from self.walk(walk)
        return walk.won or walk.best()

    def walk(self, walk: Walk) -> Part:
        """The search itself; its answers are kept in the walk."""
        raise NotImplementedError


def check_steps(strategy: object, steps: object, value: object) -> None:
    """Raise unless these are what a search over steps takes."""
    if not isinstance(steps, Steps):
        raise TypeError(f"{type(strategy).__name__}(steps=) must be a Steps, got {steps!r}")
    if value is not None and not callable(value) and not callable(getattr(value, "check", None)):
        raise TypeError(f"{type(strategy).__name__}(value=) must be a verifier, got {value!r}")
