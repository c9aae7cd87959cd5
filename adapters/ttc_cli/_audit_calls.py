"""What an audited program has left behind, as checked objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._checked import a_count, a_dict, a_number, a_text
from ._searches import Called, called_of
from ._spent import Spent

_LARGEST = 1e15
NO_LINE = "no line of the program"
"""Where a library's own thread made a call."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A model call of the audited program."""

    place: str
    """`file:line`, the file as seen from the working directory."""
    function: str
    called: Called
    start: float
    pid: int
    asked: str
    """Equal for equal requests; "" where they cannot be compared."""
    truncated: bool
    """The answer ended at `max_tokens`."""
    temperature: float | None
    capped: bool
    """The caller has set `max_tokens`."""
    format: str
    """"json_schema", "json_object" or ""."""
    code: bool
    """The answer has a code block."""
    parses: bool | None
    """Whether an answer that was asked for as JSON is JSON; None where nobody has looked."""

    @property
    def spent(self) -> Spent:
        """What it cost."""
        return self.called.spent

    @property
    def alone(self) -> bool:
        """The program's own call, and none of a ttc search."""
        return not self.called.role

    @property
    def hidden(self) -> int:
        """Tokens that nobody reads: all of a call that failed or was cut, else its thinking."""
        return (self.called.reasoning or 0) if self.called.answered else self.spent.tokens


@dataclass
class Log:
    """All that was observed."""

    calls: list[Observed] = field(default_factory=list[Observed])
    pythons: set[int] = field(default_factory=set[int])
    """The Python processes that have begun."""
    sdks: set[str] = field(default_factory=set[str])
    others: set[str] = field(default_factory=set[str])
    """SDKs that were imported, and whose calls are not seen."""
    problems: dict[str, int] = field(default_factory=dict[str, int])
    """What could not be watched, and how often."""


def log_of(lines: Iterable[Mapping[str, Any]], folder: Path) -> Log:
    """What the lines tell; `folder` is the one that files are named from."""
    log = Log()
    for line in lines:
        if isinstance(line.get("call"), dict):
            log.calls.append(_observed(a_dict(line["call"]), folder))
        elif (pid := a_number(line.get("python"))) is not None:
            log.pythons.add(pid)
        elif sdk := a_text(line.get("sdk")):
            log.sdks.add(sdk)
        elif other := a_text(line.get("other")):
            log.others.add(other)
        elif problem := a_text(line.get("problem")):
            log.problems[problem] = log.problems.get(problem, 0) + 1
    log.calls.sort(key=lambda call: call.start)
    return log


def _observed(told: Mapping[str, Any], folder: Path) -> Observed:
    parses = told.get("parses")
    return Observed(
        place=_place(told, folder),
        function=a_text(told.get("function")),
        called=called_of(told),
        start=_number(told.get("start")) or 0.0,
        pid=a_count(told.get("pid")),
        asked=a_text(told.get("asked")),
        truncated=told.get("status") == "truncated" and not told.get("fault"),
        temperature=_number(told.get("temperature")),
        capped=a_number(told.get("max_tokens")) is not None,
        format=a_text(told.get("format")),
        code=told.get("code") is True,
        parses=parses if isinstance(parses, bool) else None,
    )


def _place(told: Mapping[str, Any], folder: Path) -> str:
    file = told.get("file")
    if not isinstance(file, str) or not file:
        return NO_LINE
    path = Path(file)
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return a_text(f"{shown}:{a_count(told.get('line'))}")


def _number(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST
    return float(value) if number else None
