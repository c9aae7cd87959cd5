"""Figures with their runs, targets, and how both are shown."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Better: TypeAlias = Literal["lower", "higher"]


@dataclass
class Figure:
    """What was measured, run by run."""

    name: str
    unit: str
    runs: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def __str__(self) -> str:
        return f"{number(self.median)} [{number(min(self.runs))} … {number(max(self.runs))}]"

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "unit": self.unit, "median": self.median, "runs": self.runs}


@dataclass
class Target:
    """What a figure has to be; without a limit it is only told."""

    figure: Figure
    limit: float | None = None
    better: Better = "lower"

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        return (operator.le if self.better == "lower" else operator.ge)(self.figure.median, self.limit)

    @property
    def said(self) -> str:
        return "" if self.limit is None else f"{'≤' if self.better == 'lower' else '≥'} {number(self.limit)}"

    @property
    def verdict(self) -> str:
        return {None: "", True: "met", False: "MISSED"}[self.met]

    def to_dict(self) -> dict[str, Any]:
        return {**self.figure.to_dict(), "limit": self.limit, "better": self.better, "met": self.met}


def paired(name: str, ours: Figure, beside: Figure) -> Figure:
    """Ours over the other's, run by run: what slows the machine down slows both."""
    return Figure(name, "x", [a / b for a, b in zip(ours.runs, beside.runs, strict=True)])


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: by rich where it is installed, else plain."""
    try:
        from rich.console import Console  # noqa: PLC0415  # may be absent
        from rich.table import Table  # noqa: PLC0415
    except ImportError:
        widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
        print(f"\n{title}")
        for row in (columns, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row, style="red" if row[-1] == "MISSED" else None)
    Console(width=None if Console().is_terminal else 140).print(table)


def markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as the README has it."""
    print(f"\n{title}\n")
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(row)} |")
