"""Named predicates as the verifier of plans, schedules, puzzles and texts with rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Union, cast

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict

from ._feedback import bounded
from ._named import Named, words

Predicates: TypeAlias = Union[
    "Mapping[str, Callable[..., bool]]", "Sequence[Callable[..., bool]]", "Callable[..., bool]"
]


@dataclass(frozen=True, eq=False)
class Constraints:
    """Accepts an output for which every predicate holds; the score is the share of them that do.

    A predicate is a plain function of the output and, by name, of any arguments of the call. It returns a bool; where
    it raises an exception, it counts as broken, since a malformed plan makes predicates raise, and the feedback has the
    exception's text. The feedback names those that are broken, in at most 400 characters: each by the first line of its
    docstring, else by its name. So a docstring is where to say what to do, and where not to give the answer away.

    Predicates run one after the other on the event loop: they should be quick, and end on any input.

    Where it fails: it accepts whatever the predicates do not forbid, such as an empty plan that breaks no rule.

    Example:
        ```python
        def on_time(plan: list[Visit], deadline: int) -> bool:
            \"\"\"Every visit ends before the deadline.\"\"\"
            return all(visit.end <= deadline for visit in plan)

        Constraints([on_time, no_overlap], parse=read_plan)
        ```

    Args:
        predicates: functions by name, or a sequence of functions, or one.
        parse: from the output to what the predicates judge, such as `json.loads`. Where it raises, all are broken.

    Raises:
        ValueError: no predicates, or two of one name.
        TypeError: a predicate is no plain function of the output, or `parse` is none.
    """

    predicates: Predicates
    parse: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    _asked: dict[str, Named] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        asked = {name: Named.of(f"the predicate {name!r}", each, 1) for name, each in _by_name(self.predicates)}
        if not asked:
            raise ValueError("predicates are at least one")
        if self.parse is not None:
            Named.of("parse", self.parse, 1)
        object.__setattr__(self, "_asked", asked)

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that the predicates cannot do without."""
        return frozenset[str]().union(*(each.parameters for each in self._asked.values()))

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Ask every predicate.

        Args:
            output: whatever the predicates, or `parse`, take.
            arguments: the call's.

        Raises:
            VerifierFailed: a predicate returns something else than a bool.
        """
        if self.parse is not None:
            try:
                output = self.parse(output)
            except Exception as error:  # noqa: BLE001  # whatever a malformed answer makes it raise
                return Verdict(0.0, bounded(f"The answer cannot be read: {words(error)}"), accepted=False)
        broken: list[str] = []
        for name, predicate in self._asked.items():
            try:
                if not predicate.holds(output, arguments=arguments):
                    broken.append(_described(name, predicate))
            except VerifierFailed:  # noqa: PERF203  # each on its own
                raise
            except Exception as error:  # noqa: BLE001  # as above
                broken.append(f"{_described(name, predicate)} ({words(error)})")
        if not broken:
            return Verdict(1.0, accepted=True)
        count = len(self._asked)
        held = count - len(broken)
        said = f"{held} of {count} constraints {'holds' if held == 1 else 'hold'}. Broken: {'; '.join(broken)}"
        return Verdict(held / count, bounded(said), accepted=False)


def _by_name(predicates: Predicates) -> list[tuple[str, Any]]:
    if isinstance(predicates, Mapping):
        return list(cast("Mapping[str, Any]", predicates).items())
    several = [predicates] if callable(predicates) else predicates
    if not isinstance(several, Sequence) or isinstance(several, (str, bytes)):
        raise TypeError(f"predicates are functions by name, or a sequence of functions, not {predicates!r:.100}")
    named = [(str(getattr(each, "__name__", type(each).__name__)), each) for each in several]
    names = [name for name, _ in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two predicates are called {twice!r}: name them in a dict")
    return named


def _described(name: str, predicate: Named) -> str:
    """The first line of a function's own docstring, not of its class."""
    doc = predicate.function.__doc__ if inspect.isroutine(predicate.function) else None
    lines = inspect.cleandoc(doc or "").splitlines()
    return (lines[0].rstrip(".") if lines else "") or name
