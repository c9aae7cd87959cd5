"""CodeSearch: programs in parallel, debugged, and chosen by what they do."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

from ttc_middleware._brief import Brief
from ttc_middleware._errors import SandboxError
from ttc_middleware._search import best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T

from ._check import count
from ._lanes import Lanes, Part
from .refine import Refine


class Behaves(Protocol):
    """Finds out what programs do: `ttc.verifiers.Behaviour`, or an object like it."""

    @property
    def question(self) -> str | None:
        """What the model is asked, to write inputs; None where there are some."""
        ...

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that it cannot do without."""
        ...

    def inputs_for(self, arguments: Mapping[str, Any], /) -> Sequence[tuple[Any, ...]] | None:
        """The inputs for a call with these arguments; None where the model is asked."""
        ...

    def read(self, reply: str, /) -> Sequence[tuple[Any, ...]]:
        """The inputs in what a model said; raises ValueError or TypeError where there are none."""
        ...

    def of(
        self, output: Any, inputs: Sequence[tuple[Any, ...]], /, *, arguments: Mapping[str, Any]
    ) -> Awaitable[str | None]:
        """What a program does, as a text that is equal where another does the same; None: nothing."""
        ...


@dataclass(frozen=True, repr=False)
class CodeSearch(Brief):
    """Write n programs, debug each by its public tests, and return the one that most of the others agree with.

    S* (Li, Cao et al. 2025, "S*: Test Time Scaling for Code Generation", arXiv:2502.14382) for the first half: programs
    are drawn side by side, and each is revised by the verifier's feedback, as in `Refine`. Then those that were
    accepted run on further inputs, in a sandbox, and are clustered by what they do there, as in AlphaCode (Li et al.
    2022, arXiv:2203.07814); the largest cluster wins, and of it the program launched first. Where none was accepted,
    all answers take part, and clusters are weighted by CodeT's agreement (Chen et al. 2022, arXiv:2207.10397): programs
    of the same behaviour and score, times that score, the share of tests passed. (S* itself has a model choose between
    pairs of programs, by inputs that it writes to tell these apart.)

    Where the inputs or the sandbox fail, or the budget ends before, the best by the verifier alone is returned.

    Where it fails: programs that agree can be wrong alike, since models make the same mistakes; and where the public
    tests are complete, the first program that passes them is as good, and `BestOfN` stops there. It pays where public
    tests are few. Debugging is one round after the other, and fits the public tests in the end.

    Args:
        n: programs, from 1; each has one draw, and `rounds` revisions at most.
        rounds: revisions of each program at most, from 0; one that was accepted has no more.
        behaviour: how programs are compared, and on which inputs: `ttc.verifiers.Behaviour(…)`.

    Raises:
        ValueError: `n` is below 1, or `rounds` below 0.
        TypeError: `behaviour` is nothing that can tell what programs do.
    """

    n: int = 8
    rounds: int = 2
    behaviour: Behaves = field(kw_only=True)

    needs_verifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        count(self, n=self.n)
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"CodeSearch(rounds=) must be a whole number from 0, got {self.rounds!r}")
        if isinstance(self.behaviour, type) or not callable(getattr(self.behaviour, "inputs_for", None)):
            raise TypeError(f"CodeSearch(behaviour=) must be like ttc.verifiers.Behaviour(), got {self.behaviour!r}")

    @property
    def needs(self) -> frozenset[Capability]:
        """Revisions and inputs are asked for by an instruction."""
        asks = self.rounds or self.behaviour.question is not None
        return frozenset({Capability.INSTRUCTION}) if asks else frozenset()

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that it cannot do without."""
        return self.behaviour.parameters

    @property
    def in_turn(self) -> int:
        """A program with all of its revisions, the question for inputs, and the comparison."""
        return self.rounds + 2 + (self.behaviour.question is not None)

    def search(self, call: Call) -> Search[T]:
        """Draw and debug side by side, then compare."""
        inputs = self.behaviour.inputs_for(call.arguments)  # what is wrong with them is said before anything is spent
        lanes = Lanes()
        ended: list[Sample[Any] | None] = yield from lanes.together([self._program(call) for _ in range(self.n)])
        programs = contenders([program for program in ended if program is not None])
        if len(programs) > 1 and inputs is None:
            asked = yield from lanes.run(gather([Draw(kind="routing", instruction=self.behaviour.question)]))
            inputs = self._inputs_in(asked)
        if len(programs) <= 1 or inputs is None:
            return best(programs or lanes.samples)
        runs = [partial(self.behaviour.of, each.output, inputs, arguments=call.arguments) for each in programs]
        compared = yield from lanes.run(gather([Draw(kind="routing", run=run) for run in runs]))
        done: list[str | None] = [None] * len(programs)
        for sample in compared:
            done[runs.index(sample.draw.run)] = _said(sample)
        return agreed(programs, done)

    def _program(self, call: Call) -> Part:
        if not self.rounds:
            return best((yield from gather([Draw()])))
        debugging: Search[Any] = Refine(self.rounds).search(call)
        return (yield from debugging)

    def _inputs_in(self, asked: Sequence[Sample[Any]]) -> Sequence[tuple[Any, ...]] | None:
        try:
            return self.behaviour.read((asked[0].text or "") if asked else "")
        except (ValueError, TypeError):  # a model may say anything
            return None


def contenders(programs: Sequence[Sample[T]]) -> list[Sample[T]]:
    """What takes part in the choice: what was accepted, else every answer; in launch order."""
    accepted = [program for program in programs if program.accepted]
    taken = accepted or [program for program in programs if program.status == "answer"]
    return sorted(taken, key=lambda program: program.index)


def agreed(programs: Sequence[Sample[T]], done: Sequence[str | None]) -> Sample[T]:
    """The earliest program of the cluster with the most agreement; ties go to the cluster that begins first.

    Args:
        programs: what to choose from, in launch order, from one on: all accepted, or none.
        done: what each does; None is like nothing else, and loses to any cluster.
    """
    if not any(done):
        return best(programs)
    clusters: dict[tuple[str, float], list[Sample[T]]] = {}
    for program, what in zip(programs, done, strict=True):
        if what is not None:
            share = 1.0 if program.accepted else program.score or 0.0
            clusters.setdefault((what, share), []).append(program)
    (_, _), cluster = max(clusters.items(), key=lambda each: len(each[1]) * each[0][1])  # keeps the first of equals
    return cluster[0]


def _said(sample: Sample[Any]) -> str | None:
    if isinstance(sample.error, SandboxError):
        warnings.warn(f"programs are not compared by what they do: {sample.error}", stacklevel=2)
    return sample.output if sample.status == "answer" and isinstance(sample.output, str) else None
