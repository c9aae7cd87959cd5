"""An outcome reward model: what a trained model thinks of a whole answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict
from ttc_middleware._usage import Usage

from ._ask import called
from ._endpoint import Endpoint
from ._http import number
from ._shown import Task, as_text, unfit
from .calibration import sigmoid


@dataclass(frozen=True, eq=False)
class RewardModel:
    """Scores an answer by a model that was trained to predict how good or how probably right answers are.

    Cobbe et al. 2021, "Training verifiers to solve math word problems" (arXiv:2110.14168). The score is a probability,
    by a calibration or by what `scale` says of the raw score; fit a `Platt` or an `Isotonic` on labelled answers where
    it has to mean something on its own: the sigmoid of a logit ranks answers, but is rarely right one time in two at
    0.5. Many such models can be gamed: best of very many picks what fools the model (Gao et al. 2022,
    arXiv:2210.10760), which is why the verdict's trust is "weak", and compositions never let it overrule a check.

    An empty answer, or one of more than 200,000 characters, is rejected without asking.

    Args:
        source: the address of a server, an `Endpoint`, or a plain or async function of the task and the answer (both
            text) that returns a number; a plain one runs in a thread.
        scale: what the raw score is: "logit" (any number, taken through a sigmoid) or "probability" (from 0 to 1).
        calibrate: a function of the raw score that gives the probability, in place of `scale`.
        prompt: the task as the model is shown it: a text or a function of the call's arguments, by name. None: all of
            the arguments.
        passes: the probability from which an answer is accepted. None: `scale(accept=)` decides.

    Raises:
        ValueError: an address that is none, both or neither of `scale` and `calibrate`, or a `passes` out of range.
        TypeError: a source of another kind, or a `prompt` that is no text and no plain function by name.
    """

    source: str | Endpoint | Callable[[str, str], Any]
    scale: Literal["logit", "probability"] | None = field(default=None, kw_only=True)
    calibrate: Callable[[float], float] | None = field(default=None, kw_only=True)
    prompt: str | Callable[..., Any] | None = field(default=None, kw_only=True, repr=False)
    passes: float | None = field(default=None, kw_only=True)
    soft: ClassVar[bool] = True
    """Its word is an opinion: compositions ask it last, and never let it overrule a check."""
    _task: Task = field(init=False, repr=False)
    _endpoint: Endpoint | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.calibrate is None):
            raise ValueError('a raw score means nothing by itself: give scale="logit" or "probability", or calibrate=')
        if self.scale not in (None, "logit", "probability"):
            raise ValueError(f'scale is "logit" or "probability", not {self.scale!r}')
        if self.passes is not None and not 0 < self.passes <= 1:
            raise ValueError(f"passes is a probability above 0, not {self.passes!r}")
        source = self.source
        endpoint = Endpoint(source) if isinstance(source, str) else source if isinstance(source, Endpoint) else None
        if endpoint is None and not callable(source):
            raise TypeError(f"a reward model is an address, an Endpoint or a function of task and answer: {source!r}")
        object.__setattr__(self, "_endpoint", endpoint)
        object.__setattr__(self, "_task", Task(self.prompt))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `prompt` cannot do without."""
        return self._task.parameters

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Score an output.

        Args:
            output: text, or a value that is shown as JSON.
            arguments: the call's: the task.

        Raises:
            VerifierFailed: no score, or one out of its range; or the task is too long to show.
            Exception: what a function raises.
        """
        answer = as_text(output)
        problem = unfit(answer)
        if problem is not None:
            return Verdict(0.0, problem, accepted=False)
        raw, usage = await self._raw(self._task.text(arguments), answer)
        score = self._probability(raw)
        feedback = f"The reward model gives the answer {score:.2f} on a scale from 0 to 1." if score < 1 else None
        accepted = None if self.passes is None else score >= self.passes
        return Verdict(score, feedback, accepted, usage=usage, trust="weak")

    async def _raw(self, prompt: str, answer: str) -> tuple[float, Usage | None]:
        if self._endpoint is not None:
            return await self._endpoint.score(prompt, answer)
        raw = await called(self.source, prompt, answer)  # type: ignore[arg-type]  # a function, as the constructor has seen
        raw = raw.item() if hasattr(raw, "item") else raw  # a scalar of numpy or torch
        return number(raw, "a reward"), None

    def _probability(self, raw: float) -> float:
        if self.calibrate is not None:
            score = number(self.calibrate(raw), "a calibrated score")
        else:
            score = sigmoid(raw) if self.scale == "logit" else raw
        if not 0 <= score <= 1:
            raise VerifierFailed(f"a probability must be from 0 to 1, got {score!r}: is the raw score a logit?")
        return score
