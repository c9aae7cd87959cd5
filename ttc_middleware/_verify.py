"""Asking a verifier: what it may look like, what it may return, and what it means when it breaks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from ._errors import VerifierFailed
from ._inspect import label, parameters, takes_sample
from ._types import Sample, Verdict
from ._usage import Usage

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Check:
    """A verifier, made ready at decoration."""

    name: str
    ask: Callable[[Sample[Any], Mapping[str, Any]], Any]
    """Returns what the verifier returns, which may be awaitable."""
    rejects: tuple[type[Exception], ...] = ()
    """Exceptions of the wrapped function that mean: this answer is wrong."""
    explain: Callable[[Exception], str] = str
    """The feedback of such an exception."""
    dear: bool = False
    """It asks a model: equal answers of one search are judged once."""
    waits: bool = False
    """Known to be async; one that is not known to be may still return something to wait for."""

    def rejection(self, error: Exception) -> Verdict:
        """The verdict on an answer that the function itself could not parse."""
        try:
            feedback = self.explain(error)
        except Exception:  # noqa: BLE001  # an explanation that breaks must not sink the call
            feedback = f"{type(error).__name__}: {error!s:.500}"
        return Verdict(0.0, feedback=feedback, accepted=False)


def prepare(verifier: Any, known: frozenset[str] | None) -> Check:
    """Check a verifier against the function that it judges.

    Args:
        verifier: a function, or an object with `check(output, *, arguments)`.
        known: the parameters of the wrapped function; None: any.

    Raises:
        TypeError: it cannot be called, takes no output, or asks for an argument that the function does not have.
    """
    check = getattr(verifier, "check", None)
    if callable(check) and isinstance(verifier, type):
        raise TypeError(f"the verifier {verifier.__name__} is a class: write {verifier.__name__}(…)")
    if callable(check):
        _takes_arguments(verifier, check)
        _known_names(label(verifier), cast("frozenset[str]", getattr(verifier, "parameters", frozenset[str]())), known)
        of_sample = getattr(verifier, "check_sample", None)  # a composition, whose members may judge outputs or texts
        return Check(
            name=label(verifier),
            ask=(
                (lambda sample, arguments: of_sample(sample, arguments=arguments))
                if callable(of_sample)
                else lambda sample, arguments: check(_subject(sample), arguments=arguments)
            ),
            dear=bool(getattr(verifier, "soft", False)),
            rejects=tuple(cast("Iterable[type[Exception]]", getattr(verifier, "rejects", ()))),
            explain=getattr(verifier, "explain", str),
            waits=_is_async(check),
        )
    if not callable(verifier):
        raise TypeError(f"a verifier must be a function of the output or have a check() method, got {verifier!r}")
    return _from_function(verifier, known)


def _takes_arguments(verifier: object, check: Callable[..., Any]) -> None:
    asked = parameters(check)
    if asked and not any(each.name == "arguments" or each.kind is inspect.Parameter.VAR_KEYWORD for each in asked):
        raise TypeError(f"{label(verifier)}.check must be check(output, *, arguments)")


def _subject(sample: Sample[Any]) -> Any:
    """What a built-in verifier judges: the text where there is one, else the output itself."""
    return sample.output if sample.text is None else sample.text


def _from_function(verifier: Callable[..., Any], known: frozenset[str] | None) -> Check:
    asked = parameters(verifier)
    if not asked or (asked[0].kind not in _POSITIONAL and asked[0].kind is not inspect.Parameter.VAR_POSITIONAL):
        raise TypeError(f"verifier {label(verifier)} must take the output as its first parameter")
    rest = [each for each in asked[1:] if each.kind is not inspect.Parameter.VAR_POSITIONAL]
    everything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in rest)
    named = [each for each in rest if each.kind is not inspect.Parameter.VAR_KEYWORD]
    if any(each.kind is inspect.Parameter.POSITIONAL_ONLY for each in named):
        raise TypeError(f"verifier {label(verifier)} gets the call's arguments by name: only the first may be /")
    required = frozenset(each.name for each in named if each.default is inspect.Parameter.empty)
    _known_names(label(verifier), required, known)
    names = frozenset(each.name for each in named)
    whole = takes_sample(verifier)
    # Where it takes everything, not what it has already: the output, and its own object.
    taken = {asked[0].name} if asked[0].kind is not inspect.Parameter.POSITIONAL_ONLY else set[str]()
    if inspect.ismethod(verifier):
        taken |= {each.name for each in parameters(verifier.__func__)[:1]}

    def ask(sample: Sample[Any], arguments: Mapping[str, Any]) -> Any:
        given = {
            name: value for name, value in arguments.items() if name in names or (everything and name not in taken)
        }
        return verifier(sample if whole else sample.output, **given)

    return Check(name=label(verifier), ask=ask, waits=_is_async(verifier))


def _is_async(fn: Callable[..., Any]) -> bool:
    target = inspect.unwrap(fn)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)


def _known_names(verifier: str, asked: frozenset[str], known: frozenset[str] | None) -> None:
    unknown = asked - known if known is not None else frozenset[str]()
    if unknown and known is not None:
        have = ", ".join(sorted(known)) or "none"
        raise TypeError(
            f"verifier {verifier} asks for {', '.join(sorted(unknown))}, which the function does not have"
            f" (it has: {have})"
        )


def verdict_of(raw: Any, accept: float) -> Verdict:
    """What a verifier returned, as a verdict with `accepted` decided.

    Raises:
        VerifierFailed: it is no bool, no score from 0 to 1 and no verdict.
    """
    if isinstance(raw, Verdict):
        _whole(raw)
        if not raw.failed:
            _in_range(raw.score)
        if raw.failed or raw.accepted is None:
            return replace(raw, accepted=not raw.failed and raw.score >= accept)
        return raw
    if isinstance(raw, bool):
        return Verdict(float(raw), accepted=raw)
    if hasattr(raw, "item") and getattr(raw, "shape", None) == ():  # a scalar of numpy or torch
        return verdict_of(raw.item(), accept)
    if isinstance(raw, (int, float)):
        _in_range(raw)
        return Verdict(float(raw), accepted=raw >= accept)
    raise VerifierFailed(f"a verifier must return a bool, a score from 0 to 1 or a Verdict; got {raw!r:.200}")


def _whole(verdict: Verdict) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "accepted": (bool,), "feedback": (str,), "usage": (Usage,), "first_bad": (int,),
    }  # fmt: skip
    for name, kind in kinds.items():
        value = getattr(verdict, name)
        if value is not None and not isinstance(value, kind):
            raise VerifierFailed(f"a Verdict's {name} must be a {kind[0].__name__} or None, got {value!r:.200}")
    if verdict.first_bad is not None and verdict.first_bad < 0:
        raise VerifierFailed(f"a Verdict's first_bad counts characters from 0, got {verdict.first_bad}")


def _in_range(score: Any) -> None:
    number = isinstance(score, (int, float)) or hasattr(score, "__float__")
    if not number or not (math.isfinite(score) and 0 <= score <= 1):
        raise VerifierFailed(f"a verifier's score must be from 0 to 1, got {score!r}")
