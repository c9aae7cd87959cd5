"""What a calibration of thinking found: accuracy and cost by budget, the sweet spot, a decline, and longer or wider."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from ttc_middleware.verifiers._figures import Estimate


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thinking budget. Means over problems; intervals are bootstraps of problems, paired over budgets."""

    budget: str
    """As it was given: tokens or an effort."""
    accuracy: Estimate
    """The share of samples that the verifier accepts."""
    below_best: Estimate
    """Accuracy of the best budget minus this one's, on the same problems."""
    tokens: Estimate | None
    """Of a sample, prompt included; None where nobody observed any."""
    reasoning: float | None
    """Of these, thinking; None where the provider does not say."""
    usd: float | None
    """Dollars of a sample; None where a price is unknown."""
    seconds: Estimate
    """Latency of a sample, on the clock."""


@dataclass(frozen=True)
class Decline:
    """The largest drop of accuracy from one budget to a larger one, against chance."""

    peak: str
    past: str
    drop: Estimate
    """Accuracy at `peak` minus that at `past`."""
    p: float
    """How often as large a drop, anywhere, would be chance if no budget were worse than a smaller one."""


@dataclass(frozen=True)
class Wider:
    """n samples at one budget, of which a vote or the verifier chooses one."""

    budget: str
    n: int
    accuracy: Estimate
    tokens: float | None
    """Of the n samples together."""


@dataclass(frozen=True)
class Versus:
    """Two ways to spend the same tokens: one long sample, or n shorter ones."""

    longer: str
    wider: str
    n: int
    """As many samples at the smaller budget as the tokens of the longer one pay for."""
    tokens: tuple[float, float]
    """Of the long sample, and of the n shorter ones together."""
    lead: Estimate
    """Accuracy of going wider minus that of going longer, paired."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Prints as tables; `to_dict()` is JSON data, `plot(path)` a picture, `html(path)` a page of both."""

    name: str
    """Of the function."""
    confidence: float
    """Of every interval."""
    problems: int
    """That have all their samples at every budget: only these are counted."""
    samples: int
    """Of each problem at each budget."""
    rows: tuple[Row, ...]
    """From the least thinking to the most; empty where no problem is complete."""
    sweet_spot: str | None
    """The cheapest budget whose accuracy is not significantly below the best one's: the interval of `below_best`
    reaches 0. With few problems that is easy: look how far the interval reaches."""
    decline: Decline | None
    """None with a single budget."""
    wider: tuple[Wider, ...]
    """Accuracy of 1, 2, 4, … samples at each budget; empty with one sample each."""
    versus: tuple[Versus, ...]
    """Longer against wider at equal tokens."""
    chosen_by: str
    """How one of several samples is chosen: "vote" or "verifier"."""
    runs: int
    """Model runs on record, those of incomplete problems included."""
    left_out: int
    """Of these, runs that are not counted: their problem is incomplete, or a limit may have cut them short."""
    faults: int
    """Runs of this session that the service or the verifier failed; they are made again when the file is resumed."""
    stopped: bool
    """The budget ran out before everything was measured."""
    spent: dict[str, Any]
    """The bill of this session, as `Bill.to_dict()` says it: verifiers and failed runs included."""

    @property
    def declines(self) -> bool:
        """Whether more thinking makes answers worse, at the confidence that was asked for."""
        return self.decline is not None and self.decline.p <= 1 - self.confidence

    def to_dict(self) -> dict[str, Any]:
        """JSON types, no content."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)} | {"declines": self.declines}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw accuracy over tokens: one sample at each budget, and several, as a PNG.

        Raises:
            ImportError: matplotlib is not installed; the `report` extra has it.
            ValueError: there is nothing to draw: no problem is complete, or no tokens were observed.
            OSError: the file cannot be written.
        """
        from ._plot import draw  # noqa: PLC0415  # an extra, and slow to import

        draw(self, path)

    def html(self, path: str | os.PathLike[str]) -> None:
        """Write all of this, with the picture, as one page of HTML that loads nothing.

        Raises:
            ImportError: matplotlib is not installed; the `report` extra has it.
            ValueError: there is nothing to draw: no problem is complete, or no tokens were observed.
            OSError: the file cannot be written.
        """
        from ._page import write  # noqa: PLC0415  # an extra, and slow to import

        write(self, path, [*self._heading, *self._found, *self._spending], self._tables)

    def __str__(self) -> str:
        heading, *more = self._heading
        lines = [heading, *(f"  {line}" for line in more)]
        if not self.rows:
            return "\n".join([*lines, "  no problem is complete: nothing can be compared"])
        (_, budgets), *several = self._tables
        lines += [*_aligned(budgets), *(f"  {line}" for line in self._found)]
        for title, table in several:
            lines += [f"  {title}:", *_aligned(table)]
        return "\n".join([*lines, *(f"  {line}" for line in self._spending)])

    @property
    def _heading(self) -> list[str]:
        each = f"{self.samples} sample" + ("" if self.samples == 1 else "s")
        lines = [f"{self.name}: {self.problems:,} problems, {each} at each budget; {self.confidence:.0%} intervals"]
        if self.stopped:
            lines.append("stopped: the budget ran out")
        if self.left_out or self.faults:
            lines.append(f"{self.runs:,} runs, {self.left_out:,} of them not counted; {self.faults:,} failed")
        return lines

    @property
    def _found(self) -> list[str]:
        lines = [f"* the cheapest that is not significantly below the best: {self.sweet_spot}"]
        if self.decline is not None:
            drop = self.decline
            said = "declines" if self.declines else "no significant decline"
            lines.append(f"{said} with more thinking: {drop.peak} to {drop.past} loses {drop.drop}, p = {drop.p:.3f}")
        return lines

    @property
    def _spending(self) -> list[str]:
        return [
            f"longer or wider: {each.longer} ({each.tokens[0]:,.0f} tokens) or {each.n} x {each.wider}"
            f" ({each.tokens[1]:,.0f}): wider minus longer is {_points(each.lead)}"
            for each in self.versus
        ]

    @property
    def _tables(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        """What was measured, each with its title; the first line of each names its columns."""
        head = ("thinking", "accuracy", "below the best", "tokens", "thinking", "dollars", "seconds")
        budgets = [head, *(_cells(row, sweet=row.budget == self.sweet_spot) for row in self.rows)]
        if not self.wider:
            return [("by budget", budgets)]
        told: list[tuple[str, ...]] = [("thinking", "", "accuracy", "tokens in all")]
        told += ((each.budget, f"{each.n} x", str(each.accuracy), _count(each.tokens)) for each in self.wider)
        return [("by budget", budgets), (f"several samples, chosen by {self.chosen_by}", told)]


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.to_dict()
    if isinstance(value, (Row, Decline, Wider, Versus)):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _cells(row: Row, *, sweet: bool) -> tuple[str, ...]:
    return (
        f"{row.budget}{' *' if sweet else ''}",
        str(row.accuracy),
        _points(row.below_best),
        "unknown" if row.tokens is None else f"{row.tokens.value:,.0f}",
        _count(row.reasoning),
        "unknown" if row.usd is None else f"{row.usd:.4g}",
        f"{row.seconds.value:.2f}",
    )


def _points(each: Estimate) -> str:
    return f"{each.value:+.2f} ({each.low:+.2f} to {each.high:+.2f})"


def _count(number: float | None) -> str:
    return "unknown" if number is None else f"{number:,.0f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["    " + "  ".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)) for line in table]
