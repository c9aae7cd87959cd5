"""AB-MCTS: wider or deeper, by what has paid so far."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from ttc_middleware._brief import Brief
from ttc_middleware._search import best
from ttc_middleware._types import Call, Capability, Draw, Sample, Search, T

from ._abmcts_tree import Node, Tree
from ._beliefs import BELIEFS, BeliefName
from ._check import count
from .refine import revision


@dataclass(frozen=True, repr=False)
class ABMCTS(Brief):
    """Adaptive branching Monte Carlo tree search: draw anew or revise an answer, whichever has paid so far.

    AB-MCTS-A of Inoue et al. 2025, "Wider or Deeper? Scaling LLM Inference-Time Compute with Adaptive Branching Tree
    Search" (arXiv:2503.04412). A node is a whole answer, so any API will do. From the call down, Thompson sampling
    decides at each node between GEN (make a new child of it: of the call an unchanged draw, of an answer a revision by
    the verifier's feedback) and CONT (go into a child). Each score goes back to GEN, to CONT and to the child, all the
    way up. Best-of-N is the search that only goes wide, `Refine` the one that only goes deep.

    Scores are what it lives by: a sample that failed, or whose verifier broke, is not put into the tree, and to the
    choice of a model a failed one is worth 0. With `at_once` above 1, it acts on the order in which samples arrive:
    each end of a draw starts the next one, by all scores that are known then.

    Where it fails: with a verifier that only says yes or no, every answer but the last scores 0 and nothing is learnt,
    neither where to go on nor which model to ask. The paper's best figure (30 % of ARC-AGI-2) is Pass@250, that *some*
    answer is right: which one, your verifier must know. And where revisions do not help, half of the draws are wasted
    before it is sure of that.

    Args:
        n: samples at most, from 1.
        models: models to choose from by how well each has scored in this call; None: the call's own.
        posterior: what is believed of scores. "gaussian" (normal-inverse-gamma), or "beta", which never believes a
            score below 0 or above 1 and starts out more hopeful.
        stop: "first accepted" ends with the first accepted sample to arrive; "all" draws all n and returns the best.
        at_once: draws under way at a time, from 1. Each is chosen without the scores of those still under way: faster,
            and less informed.
        seed: of all its choices: the same samples in the same order give the same search.

    Raises:
        ValueError: `n` or `at_once` is below 1, `stop` or `posterior` is none of its words, `models` is empty or names
            one twice.
        TypeError: `models` is no sequence of names, or `seed` no whole number.
    """

    n: int = 16
    models: Sequence[str] | None = field(default=None, kw_only=True)
    posterior: BeliefName = field(default="gaussian", kw_only=True)
    stop: Literal["first accepted", "all"] = field(default="first accepted", kw_only=True)
    at_once: int = field(default=1, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    needs_verifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        count(self, n=self.n, at_once=self.at_once)
        if self.stop not in ("first accepted", "all"):
            raise ValueError(f'ABMCTS(stop=) must be "first accepted" or "all", got {self.stop!r}')
        if self.posterior not in get_args(BeliefName):
            raise ValueError(f'ABMCTS(posterior=) must be "gaussian" or "beta", got {self.posterior!r}')
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"ABMCTS(seed=) must be a whole number, got {self.seed!r}")
        if self.models is not None:
            object.__setattr__(self, "models", _names(self.models))

    @property
    def needs(self) -> frozenset[Capability]:
        """Revisions are asked for by an instruction; other models by name."""
        return frozenset({Capability.INSTRUCTION, *([Capability.MODEL] if self.models else [])})

    @property
    def in_turn(self) -> int:
        """Its draws, so many at once."""
        return -(-self.n // self.at_once)

    def search(self, call: Call) -> Search[T]:  # noqa: ARG002  # the protocol's
        """Draw one by one, each where it promises most."""
        makers: Sequence[str | None] = self.models or [None]
        tree = Tree(BELIEFS[self.posterior], makers, random.Random(self.seed))  # noqa: S311  # repeatable, no secret
        chosen = [tree.choose() for _ in range(min(self.at_once, self.n))]  # by launch order
        samples: list[Sample[Any]] = []
        sample: Sample[Any] | None = yield [_draw(*each) for each in chosen]
        while sample is not None:
            samples.append(sample)
            if len(samples) == self.n or (self.stop == "first accepted" and sample.accepted):
                break
            node, model = chosen[sample.index]
            if sample.status == "failed":
                tree.makers[model].see(0.0)
            elif sample.verdict is None or not sample.verdict.failed:
                tree.add(node, model, sample.score or 0.0, sample)
            refill = [tree.choose()] if len(chosen) < self.n else []
            chosen += refill
            sample = yield [_draw(*each) for each in refill]
        return best(samples)


def _draw(node: Node, model: str | None) -> Draw:
    start: Sample[Any] | None = node.value
    return Draw(model=model) if start is None else Draw(parent=start, instruction=_further(start), model=model)


def _further(sample: Sample[Any]) -> str:
    """What the model is told of an answer that it is to do better."""
    if not sample.accepted:
        return revision(sample)
    said = sample.verdict.feedback if sample.verdict and sample.verdict.feedback else "It could be better still."
    answer = sample.text if sample.text is not None else repr(sample.output)
    scored = f"It was accepted with a score of {sample.score:.2f} of 1:\n\n{said}"
    return f"Your previous answer was:\n\n{answer}\n\n{scored}\n\nAnswer again, better."


def _names(models: object) -> tuple[str, ...]:
    if isinstance(models, (str, bytes)) or not isinstance(models, Sequence):
        raise TypeError(f"ABMCTS(models=) must be a sequence of names, got {models!r:.200}")
    names = tuple[object, ...](models)  # pyright: ignore[reportUnknownArgumentType]
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"ABMCTS(models=) must be a sequence of names, got {models!r:.200}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"ABMCTS(models=) must name one model or more, each once; got {models!r:.200}")
    return tuple(str(name) for name in names)
