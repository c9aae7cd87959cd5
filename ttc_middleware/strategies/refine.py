"""Refine: revise by the verifier's feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ttc_middleware._brief import Brief
from ttc_middleware._search import NoSamples, best, gather
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T

from ._check import count


@dataclass(frozen=True, repr=False)
class Refine(Brief):
    """Show the model its answer and what the verifier found wrong with it, and let it try again.

    Madaan et al. 2023, "Self-Refine" (arXiv:2303.17651), with the feedback from outside, as in Reflexion (Shinn et al.,
    arXiv:2303.11366), because a model that judges itself gets worse (Huang et al., arXiv:2310.01798). A revision counts
    only if its verified score is higher; otherwise the next round starts from the better one again.

    Where it fails: one after the other, so the slowest of all; feedback that says only "wrong" leads nowhere; a hidden
    test in the feedback is a leak, and the model will fit it.

    Args:
        rounds: revisions at most, from 1, after the first answer.

    Raises:
        ValueError: `rounds` is below 1.
    """

    rounds: int = 3

    needs_verifier: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.INSTRUCTION})

    def __post_init__(self) -> None:
        count(self, rounds=self.rounds)

    @property
    def in_turn(self) -> int:
        """The first answer, and the revisions."""
        return 1 + self.rounds

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw, then revise the best so far until it is accepted."""
        found: list[Sample[Any]] = yield from gather([Draw()])
        for _ in range(self.rounds):
            if not found:
                raise NoSamples("no sample to revise")
            start = best(found)
            if start.accepted:
                break
            # An answer that never arrived cannot be revised: ask again.
            failed = start.status == "failed"
            draw = Draw() if failed else Draw(parent=start, instruction=revision(start))
            drawn = yield from gather([draw])
            if not drawn:
                break
            found += drawn
        return best(found)


def revision(sample: Sample[Any]) -> str:
    """What the model is told: its answer, and what is wrong with it."""
    answer = sample.text or ("" if sample.output is None else repr(sample.output))
    feedback = (sample.verdict and sample.verdict.feedback) or "It is not right."
    before = f"Your previous answer was:\n\n{answer}\n\n" if answer else ""
    return f"{before}It was checked and not accepted:\n\n{feedback}\n\nAnswer again, with this corrected."
