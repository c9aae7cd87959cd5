"""Verdicts that are remembered: equal answers to equal calls are judged once."""

from __future__ import annotations

import hashlib
import secrets
import warnings
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._inspect import label, parameters
from ttc_middleware._types import Sample, Verdict

from ._kept import Folder, Recent, canonical, entry, verdict_in
from ._members import Kind, Member, sample_of


class _Flight:
    """A check under way."""

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.verdict: Verdict | None = None
        self.error: Exception | None = None


@dataclass(frozen=True, eq=False)
class Cached:
    """Remembers a verifier's verdicts by what they were about, and asks it once about equal answers to equal calls.

    A verdict belongs to the SHA-256 of the answer, the call's arguments (of a function: those that it can see), the
    verifier's name and `version`. Only plain JSON data has such a hash, with the types that JSON knows: an answer or an
    argument of another kind, a tuple too, is judged anew each time. A failure is never remembered. A remembered verdict
    costs nothing, so its usage is None.

    Equal answers that are checked at the same time on one event loop wait for one check; where that is cancelled, the
    next in line does it, and where it fails, all of them have failed. What a store raises is a warning, and no verdict
    is lost by it. Fit for verifiers that always say the same of the same; a `Judge` at a temperature is held to the
    first thing that it said.

    Args:
        verifier: as `scale()` takes it; not one that looks at the `ttc.Sample`.
        store: where verdicts are kept, as text by hexadecimal digests: any mutable mapping, or a `Folder`. None: the
            4,096 that were used last, in memory.
        version: which verifier this is, such as "unit tests 3": to be changed with everything that its verdicts depend
            on, its tests or its rubric and model. None: nothing is shared with any other `Cached`, even in one store.

    Raises:
        TypeError: no verifier, or one that looks at the sample.
        ValueError: a folder without a version: what is in it outlives this object.
    """

    verifier: Any
    store: MutableMapping[str, str] | None = field(default=None, repr=False)
    version: str | None = field(default=None, kw_only=True)
    _member: Member = field(init=False, repr=False)
    _kept: MutableMapping[str, str] = field(init=False, repr=False)
    _own: str = field(init=False, repr=False)
    _sees: frozenset[str] | None = field(init=False, repr=False)
    """The arguments that it can see; None: all."""
    _flights: dict[tuple[Any, str], _Flight] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        member = Member.of(self.verifier)
        if member.sees_sample:
            raise TypeError(
                f"{label(self.verifier)} looks at the sample, and no two samples are the same: take the output"
            )
        if isinstance(self.store, Folder) and self.version is None:
            raise ValueError(
                "what a folder keeps outlives its verifier: version= must say which one the verdicts are of"
            )
        object.__setattr__(self, "_member", member)
        object.__setattr__(self, "_kept", Recent() if self.store is None else self.store)
        object.__setattr__(self, "_own", secrets.token_hex(16) if self.version is None else f"version {self.version}")
        object.__setattr__(self, "_sees", _seen(self.verifier))
        object.__setattr__(self, "_flights", {})

    @property
    def kind(self) -> Kind:
        """What the verifier is to a composition."""
        return self._member.kind

    @property
    def soft(self) -> bool:
        """The verifier's word is an opinion."""
        return self._member.kind == "soft"

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that the verifier cannot do without."""
        return self._member.parameters

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        """What the wrapped function raises when the verifier would reject its answer."""
        return self._member.check.rejects

    def explain(self, error: Exception) -> str:
        """The feedback of such an exception."""
        return self._member.check.explain(error)

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """The verdict on an output.

        Args:
            output: as the verifier takes it.
            arguments: the call's.

        Raises:
            VerifierFailed: the same check, under way for somebody else, has failed.
            Exception: what the verifier raises.
        """
        return await self.check_sample(sample_of(output, arguments), arguments=arguments or {})

    async def check_sample(self, sample: Sample[Any], *, arguments: Mapping[str, Any]) -> Verdict:
        """The verdict on a sample."""
        digest = self._digest(sample, arguments)
        if digest is None:
            return await self._member.said(sample, arguments)
        here = (anyio.lowlevel.current_token(), digest)  # an event belongs to one loop
        while (flight := self._flights.get(here)) is not None:
            await flight.ended.wait()
            if flight.error is not None:
                raise VerifierFailed(f"the same check has failed: {flight.error!s:.300}")
            if flight.verdict is not None:
                return flight.verdict
        flight = self._flights[here] = _Flight()
        try:
            verdict = await self._found(digest)
            if verdict is None:
                verdict = await self._member.said(sample, arguments)
                await self._keep(digest, verdict)
            flight.verdict = replace(verdict, usage=None)  # whoever waited has not paid for it
        except Exception as error:
            flight.error = error
            raise
        finally:  # cancelled, it leaves neither: whoever waits is next
            del self._flights[here]
            flight.ended.set()
        return verdict

    def _digest(self, sample: Sample[Any], arguments: Mapping[str, Any]) -> str | None:
        """What the verdict is about; None where that cannot be told."""
        if hasattr(self.verifier, "check_sample"):
            subject: Any = [sample.text, sample.output]
        elif hasattr(self.verifier, "check"):
            subject = sample.output if sample.text is None else sample.text
        else:
            subject = sample.output
        sees = self._sees
        seen = {name: value for name, value in arguments.items() if sees is None or name in sees}
        about = canonical([self._own, label(self.verifier), subject, seen])
        return None if about is None else hashlib.sha256(about).hexdigest()

    async def _found(self, digest: str) -> Verdict | None:
        try:
            if isinstance(self._kept, Folder):
                return verdict_in(await anyio.to_thread.run_sync(self._kept.get, digest))
            return verdict_in(self._kept.get(digest))
        except Exception as error:  # noqa: BLE001  # a broken store is no broken verifier
            _complain("read", error)
            return None

    async def _keep(self, digest: str, verdict: Verdict) -> None:
        if verdict.failed:
            return
        try:
            if isinstance(self._kept, Folder):
                await anyio.to_thread.run_sync(self._kept.__setitem__, digest, entry(verdict))
            else:
                self._kept[digest] = entry(verdict)
        except Exception as error:  # noqa: BLE001  # as above
            _complain("written", error)


def _complain(what: str, error: Exception) -> None:
    warnings.warn(
        f"a store of verdicts cannot be {what}: {type(error).__name__}: {error!s:.200}", UserWarning, stacklevel=2
    )


def _seen(verifier: Any) -> frozenset[str] | None:
    """The arguments that a function can be given; None: all of them, or nobody knows."""
    if hasattr(verifier, "check"):
        return None
    rest = parameters(verifier)[1:]
    if any(each.kind is each.VAR_KEYWORD for each in rest):
        return None
    return frozenset(each.name for each in rest)
