"""Many small parts of one search, so many of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ttc_middleware._types import Cancel, Draw, Sample

from ._lanes import Part

_PATIENCE = 1_000  # as the engine's


def pooled(more: Callable[[], Part | None], *, at_once: int | None, until: Callable[[Sample[Any]], bool]) -> Part:
    """Keep parts of a search going; all of them see the same samples, by the launch orders of the search they are in.

    Args:
        more: the next part; None: there is none, or none before another has ended.
        at_once: so many under way at a time; None: all that there are.
        until: called with each sample as it arrives; True drops everything.

    Returns:
        How many ended by themselves; ends where there are no more, or where the budget or the time has run out.
    """
    owners: dict[int, _Task] = {}
    tasks: set[_Task] = set()
    launched = ended = 0
    step: list[Draw | Cancel] = []

    def advance(task: _Task, sample: Sample[Any] | None) -> None:
        nonlocal launched, ended
        asked = task.send(sample)
        for each in asked:
            if isinstance(each, Draw):
                owners[launched] = task
                launched += 1
        step.extend(asked)
        if not task.open:
            tasks.discard(task)
            ended += 1

    try:
        while True:
            while (at_once is None or len(tasks) < at_once) and (part := more()) is not None:
                tasks.add(task := _Task(part))
                advance(task, None)
            if not tasks:
                break
            sample = yield step
            if sample is None or until(sample):
                break
            step = []
            advance(owners.pop(sample.index), sample)
    finally:
        for task in tasks:
            task.part.close()
    return ended


class _Task:
    """One of them."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.open = True
        self.under_way = 0

    def send(self, sample: Sample[Any] | None) -> Sequence[Draw | Cancel]:
        """What it asks for next."""
        self.under_way -= sample is not None
        asked: list[Draw | Cancel] = []
        for _ in range(_PATIENCE):
            try:
                items = self.part.send(sample)
            except StopIteration:
                self.open = False
                return asked
            asked += items
            self.under_way += sum(isinstance(each, Draw) for each in items)
            if self.under_way:
                return asked
            sample = None  # it waits for nothing
        raise RuntimeError(f"{self.part!r} goes on asking for nothing")
