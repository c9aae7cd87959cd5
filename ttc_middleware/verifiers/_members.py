"""What verifiers that hold other verifiers share: asking a member, whatever it is, and adding up what it said."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from ttc_middleware._inspect import label, parameters, takes_sample
from ttc_middleware._types import Call, Draw, Sample, Trust, Verdict
from ttc_middleware._usage import Usage
from ttc_middleware._verify import Check, prepare, verdict_of

from ._feedback import bounded

Kind = Literal["hard", "mixed", "soft"]
"""A check; a composition with checks and opinions in it; an opinion, or a composition of nothing else."""
_ORDER: dict[Kind, int] = {"hard": 0, "mixed": 1, "soft": 2}


@dataclass(frozen=True, eq=False)
class Member:
    """A verifier inside of another one."""

    verifier: Any
    check: Check
    kind: Kind
    parameters: frozenset[str]
    """The arguments of the call that it cannot do without."""
    sees_sample: bool
    """It looks at the sample, and not only at the output and the arguments."""

    @classmethod
    def of(cls, verifier: Any) -> Member:
        """Make a verifier ready, as `scale()` does.

        Raises:
            TypeError: it is none.
        """
        check = prepare(verifier, None)
        said = getattr(verifier, "kind", None)
        kind: Kind = "soft" if getattr(verifier, "soft", False) else "mixed" if said == "mixed" else "hard"
        if callable(getattr(verifier, "check", None)):
            needs = frozenset(cast("frozenset[str]", getattr(verifier, "parameters", frozenset[str]())))
            return cls(verifier, check, kind, needs, bool(getattr(verifier, "sees_sample", False)))
        named = [each for each in parameters(verifier)[1:] if each.default is each.empty]
        needs = frozenset(each.name for each in named if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
        return cls(verifier, check, kind, needs, takes_sample(verifier))

    async def said(self, sample: Sample[Any], arguments: Mapping[str, Any]) -> Verdict:
        """Its verdict, with `accepted` None where it leaves that open.

        Raises:
            VerifierFailed: it says nothing that a verifier may say.
            Exception: what it raises.
        """
        whole: Callable[..., Any] | None = getattr(self.verifier, "check_sample", None)
        asked = self.check.ask(sample, arguments) if whole is None else whole(sample, arguments=arguments)
        raw: Any = await asked if inspect.isawaitable(asked) else asked
        raw = raw.item() if hasattr(raw, "item") and getattr(raw, "shape", None) == () else raw
        verdict = verdict_of(raw, 1.0)
        left_open = raw.accepted is None and not raw.failed if isinstance(raw, Verdict) else not isinstance(raw, bool)
        return replace(verdict, accepted=None) if left_open else verdict

    async def decided(self, sample: Sample[Any], arguments: Mapping[str, Any], accept: float) -> Verdict:
        """Its verdict, with `accepted` decided; a failed one where it breaks."""
        try:
            return verdict_of(await self.said(sample, arguments), accept)
        except Exception as error:  # noqa: BLE001  # whatever a verifier raises
            broke = bounded(f"{self.check.name}: {type(error).__name__}: {error}")
            return Verdict(0.0, broke, accepted=False, failed=True)


@dataclass(eq=False)
class Tally:
    """What the members have said so far."""

    usage: Usage | None = None
    trust: Trust = "strong"
    said: list[tuple[Member, Verdict]] = field(default_factory=list[tuple[Member, Verdict]])

    def add(self, member: Member, verdict: Verdict) -> Verdict:
        """Note a member's verdict."""
        self.said.append((member, verdict))
        if verdict.usage is not None:
            self.usage = verdict.usage if self.usage is None else self.usage + verdict.usage
        if verdict.trust == "weak":
            self.trust = "weak"
        return verdict

    def verdict(self, score: float, said: Verdict, *, accepted: bool) -> Verdict:
        """The verdict of all of them, with what one has said is wrong."""
        score = min(1.0, max(0.0, score))
        return Verdict(score, said.feedback, accepted, usage=self.usage, trust=self.trust, first_bad=said.first_bad)

    def failed(self, verdict: Verdict) -> Verdict:
        """The verdict where one of them broke that could have decided."""
        return replace(verdict, usage=self.usage, accepted=False, failed=True)


class Combined(ABC):
    """A verifier that asks others: checks before compositions with opinions in them, and these before opinions."""

    accept: float

    def _hold(self, verifiers: Sequence[Any], accept: float) -> None:
        if not verifiers:
            raise ValueError(f"{type(self).__name__} is made of at least one verifier")
        if not 0 <= accept <= 1:
            raise ValueError(f"accept is a score from 0 to 1, not {accept!r}")
        ready = sorted((Member.of(each) for each in verifiers), key=lambda member: _ORDER[member.kind])
        object.__setattr__(self, "accept", accept)
        object.__setattr__(self, "_members", tuple(ready))

    @property
    def members(self) -> tuple[Member, ...]:
        """The verifiers, in the order in which they are asked."""
        return cast("tuple[Member, ...]", self.__dict__["_members"])

    @property
    def kind(self) -> Kind:
        """What its members are."""
        first = self.members[0].kind
        return first if all(member.kind == first for member in self.members) else "mixed"

    @property
    def soft(self) -> bool:
        """All of its members are opinions, so it is one."""
        return self.kind == "soft"

    @property
    def sees_sample(self) -> bool:
        """A member looks at the sample, and not only at the output and the arguments."""
        return any(member.sees_sample for member in self.members)

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that the members cannot do without."""
        return frozenset[str]().union(*(member.parameters for member in self.members))

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        """What the wrapped function raises when a member would reject its answer."""
        return tuple(dict.fromkeys(kind for member in self.members for kind in member.check.rejects))

    def explain(self, error: Exception) -> str:
        """The feedback of such an exception, by the member that knows it."""
        return next(m.check.rejection(error).feedback or "" for m in self.members if isinstance(error, m.check.rejects))

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Ask about an output.

        Args:
            output: as the members take it.
            arguments: the call's.

        Returns:
            The verdict; a failed one where a member broke that could have decided.
        """
        return await self.check_sample(sample_of(output, arguments), arguments=arguments or {})

    async def check_sample(self, sample: Sample[Any], *, arguments: Mapping[str, Any]) -> Verdict:
        """Ask about a sample: members that judge text get its text, functions the output."""
        return await self._judge(sample, arguments, Tally())

    @abstractmethod
    async def _judge(self, sample: Sample[Any], arguments: Mapping[str, Any], tally: Tally) -> Verdict: ...


def sample_of(output: Any, arguments: Mapping[str, Any] | None) -> Sample[Any]:
    """A sample of an output that no search has made."""
    call = Call(name="", arguments=arguments or {})
    return Sample(index=0, draw=Draw(), call=call, output=output, text=output if isinstance(output, str) else None)


def weights_of(weighted: Mapping[Any, float] | Sequence[tuple[Any, float]]) -> list[tuple[Any, float]]:
    """Verifiers and their weights.

    Raises:
        ValueError: a weight is not positive and finite, or a verifier comes twice.
    """
    pairs = list(weighted.items()) if isinstance(weighted, Mapping) else list(weighted)
    if len({id(verifier) for verifier, _ in pairs}) < len(pairs):
        raise ValueError("each verifier has one weight, but one is given twice")
    for verifier, weight in pairs:
        if isinstance(weight, bool) or not 0 < weight < math.inf:
            raise ValueError(f"a weight is a positive number, not {weight!r} (of {label(verifier)})")
    return pairs
