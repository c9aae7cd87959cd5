"""z3 as the verifier of formal reasoning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal, get_args

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict

from ._aside import Aside, Exhausted
from ._code import extract_code
from ._given import Given
from ._short import Unread, accepted, rejected, said
from ._smtlib import Command, NotSmt, added_by, problem_in, read, verdict_in, with_values, written

Kind = Literal["entailment", "consistency", "answer"]


@dataclass(frozen=True, eq=False)
class Logic:
    """Accepts what z3 (de Moura and Bjorner 2008) proves right, of answers written in SMT-LIB 2.

    - `Logic("entailment", premises)`: the answer asserts a conclusion, which has to follow from the premises.
      `Logic("entailment", "(declare-const x Int) (assert (> x 2))")` accepts `(assert (> x 1))`, and not
      `(assert (> x 3))`. Premises that contradict each other are an error, and so nothing follows for free; a
      conclusion that holds without them says nothing and is rejected, unless there are none.
    - `Logic("consistency", premises)`: the answer asserts what has to be possible together with the premises.
      `Logic("consistency", "(declare-const x Int) (assert (> x 2))")` accepts `(assert (= (mod x 7) 0))`, and not
      `(assert (< x 0))`.
    - `Logic("answer", problem)`: the answer is `sat`, `unsat`, or a model. `Logic("answer", "(declare-const x Int)
      (assert (= (* x x) 49))")` accepts `(define-fun x () Int (- 7))`, `((x 7))` and `sat`, and not `((x 8))`. A model
      that leaves symbols out is right if the assertions hold whatever they are.

    A Markdown fence around the SMT-LIB is ignored, and so are words outside of brackets, `(set-logic …)`,
    `(check-sat)` and their like. The answer may repeat the problem's declarations. It may declare and define symbols of
    its own: a conclusion must hold whatever they are. Everything else is refused unread, recursive definitions too: one
    that contradicts itself would prove anything. z3 runs in a process of ours with limits; an answer that is too hard
    for it is not judged, but a failure of the verifier.

    Where it fails: what is proved is what was asserted, not what was meant; a premise repeated is a conclusion too;
    `sat` or `unsat` without a model is right half the time by guessing.

    Args:
        kind: what the answer has to be.
        problem: the premises, or the problem: SMT-LIB declarations, definitions and assertions; or a function of the
            call's arguments, by name, that returns it.
        seconds: of CPU for one answer.
        memory: bytes of address space for one answer, at least 128 MiB, the interpreter and z3 included.

    Raises:
        ValueError: an unknown kind, a problem that is no SMT-LIB, limits that are too low.
        TypeError: the problem is no text, or the function of the arguments is async or has positional-only parameters.
        ImportError: the package z3-solver is missing.
    """

    kind: Kind
    problem: str | Callable[..., str] = field(repr=False)
    seconds: float = field(default=5.0, kw_only=True)
    memory: int = field(default=1 << 30, kw_only=True)
    _given: Given[list[Command]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        if not 0 < self.seconds < 1e6:  # noqa: PLR2004  # eleven days
            raise ValueError(f"seconds are more than 0 and less than a million, not {self.seconds!r}")
        if self.memory < 128 << 20:
            raise ValueError(f"memory is at least 128 MiB, not {self.memory!r} bytes")
        if find_spec("z3") is None:
            raise ImportError('Logic needs z3-solver: pip install "ttc-middleware[logic]"')
        object.__setattr__(self, "_given", Given.of("problem", self.problem, _problem))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `problem` cannot do without."""
        return self._given.parameters

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Decide whether an output is right: score 1 or 0.

        Args:
            output: text.
            arguments: the call's, for a function of them.

        Raises:
            TypeError: the output is no text.
            ValueError: z3 does not understand the problem, or its premises contradict each other.
            VerifierFailed: z3 did not decide within the limits, or does not start.
        """
        problem = self._given.value(arguments)
        try:
            question = self._question(problem, extract_code(said(output, None)))
        except Unread as unread:
            return rejected(str(unread))
        except NotSmt as error:
            return rejected(f"The answer is not understood: {error}.")
        aside = Aside("_logic_worker.py", cpu_s=self.seconds, memory=self.memory)
        try:
            found = await aside.ask({**question, "kind": self.kind, "problem": written(problem)})
        except Exhausted as error:
            raise VerifierFailed(f"z3 did not decide within its limits: it {error}") from error
        if "problem" in found:
            raise ValueError(f"the problem is not one: {found['problem']}")
        if "undecided" in found:
            raise VerifierFailed(f"z3 did not decide: {found['undecided']}")
        if question.get("echo"):
            return rejected("The conclusion only repeats a premise, word for word.")
        return accepted() if found["right"] else rejected(found["why"])

    def _question(self, problem: list[Command], text: str) -> dict[str, str | bool]:
        terms = read(text)
        if self.kind != "answer":
            added = added_by(terms, problem)
            echo = self.kind == "entailment" and all(each in problem for each in added if each[0] == "assert")
            return {"whole": written([*problem, *added]), "echo": echo}
        words, filled = verdict_in(terms), with_values(problem, terms)
        if len(words) > 1 or (filled is not None and "unsat" in words):
            raise NotSmt("it says both sat and unsat")
        if filled is not None:
            return {"whole": written(filled)}
        if not words:
            raise NotSmt("it is neither sat nor unsat, and gives no values")
        return {"holds": "sat" in words}


def _problem(text: Any) -> list[Command]:
    if not isinstance(text, str):
        raise TypeError(f"a problem is text in SMT-LIB, not {text!r:.100}")
    try:
        found = problem_in(text)
    except NotSmt as error:
        raise ValueError(f"the problem is no SMT-LIB: {error}") from error
    if not found:
        raise ValueError("the problem declares and asserts nothing")
    return found
