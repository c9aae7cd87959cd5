"""Searches inside of a search, side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, Optional, Union, cast

from ttc_middleware._search import NoSamples
from ttc_middleware._types import Cancel, Draw, Sample

_PATIENCE = 1_000  # as the engine's

Part = Generator[Sequence[Union[Draw, Cancel]], Optional[Sample[Any]], Any]
"""A search, or a part of one, like `gather()`: what it returns is a sample or a list of them."""


class Lanes:
    """Runs searches inside of a search: each sees launch orders of its own, from 0, and only its own samples.

    Everything that the outer search draws goes through one of these, since it counts what was launched:

        lanes = Lanes()
        first = yield from lanes.run(gather([Draw()] * 2))
        winners = yield from lanes.together([strategy.search(call) for _ in range(4)])

    What is still under way when an inner search ends is cancelled; where that comes too late, the sample is only kept
    in `samples`.
    """

    def __init__(self) -> None:
        self.samples: list[Sample[Any]] = []
        """Everything that has finished, as the outer search sees it, in order of arrival."""
        self._owners: list[tuple[_Lane, int]] = []
        self._late: list[Cancel] = []

    def run(self, steps: Part) -> Part:
        """Run one, and return what it returns.

        Raises:
            NoSamples: it found nothing to choose from.
        """
        values = yield from self.together([steps])
        if values[0] is None:
            raise NoSamples("no sample to choose from")
        return values[0]

    def together(self, searches: Sequence[Part], *, until: Callable[[Any], bool] | None = None) -> Part:
        """Run several side by side.

        Args:
            searches: what to run.
            until: called with what each returns, as it ends; True drops the others.

        Returns:
            What each has returned, in their order; None for one that found nothing, or was dropped.
        """
        lanes = [_Lane(each) for each in searches]
        try:
            step: list[Draw | Cancel] = []
            for lane in lanes:
                step += self._sent(lane, None)
            while any(lane.open for lane in lanes):
                if until is not None and any(not lane.open and until(lane.value) for lane in lanes):
                    self._unasked(step)
                    break
                sample = yield step
                step = []
                if sample is None:
                    for lane in lanes:
                        step += self._sent(lane, None)
                else:
                    self.samples.append(sample)
                    lane, place = self._owners[sample.index]
                    step += self._sent(lane, lane.own(sample, place))
            self._late += [item for item in step if isinstance(item, Cancel)]
            for lane in lanes:
                self._late += lane.end()
            return [lane.value for lane in lanes]
        finally:
            for lane in lanes:
                lane.steps.close()

    def _sent(self, lane: _Lane, sample: Sample[Any] | None) -> list[Draw | Cancel]:
        """Tell one; returns what it asks for, in the outer search's own terms."""
        asked: list[Draw | Cancel] = [*self._late]
        self._late.clear()
        for _ in range(_PATIENCE):
            items = lane.send(sample)
            for item in items:
                if isinstance(item, Draw):
                    lane.launched.append((item, len(self._owners)))
                    lane.under_way.add(len(self._owners))
                    self._owners.append((lane, len(lane.launched) - 1))
                    asked.append(lane.outside(item))
                elif item.index < len(lane.launched):
                    number = lane.launched[item.index][1]
                    lane.under_way.discard(number)
                    asked.append(Cancel(number))
            if lane.under_way or not lane.open:
                return asked if lane.open else [*asked, *lane.end()]
            sample = None  # alone, it would be told now that no more will come
        raise RuntimeError(f"{lane.steps!r} goes on asking after it was told that no more come")

    def _unasked(self, step: Sequence[Draw | Cancel]) -> None:
        """Forget the draws of a step that is not taken: these were counted last."""
        for _ in [item for item in step if isinstance(item, Draw)]:
            lane, place = self._owners.pop()
            lane.under_way.discard(lane.launched[place][1])


class _Lane:
    """One of them."""

    def __init__(self, steps: Part) -> None:
        self.steps = steps
        self.open = True
        self.value: Any = None
        self.launched: list[tuple[Draw, int]] = []
        """What it asked for, and the launch order that this has outside."""
        self.under_way: set[int] = set()
        self._real: dict[int, tuple[Sample[Any], Sample[Any]]] = {}
        """By launch order, each sample as this search sees it, and as it is outside."""

    def send(self, sample: Sample[Any] | None) -> Sequence[Draw | Cancel]:
        if not self.open:
            return ()
        try:
            return self.steps.send(sample)
        except StopIteration as end:
            self.value = self._outside(end.value)
        except NoSamples:
            pass
        self.open = False
        return ()

    def own(self, sample: Sample[Any], place: int) -> Sample[Any]:
        """A sample as this search is to see it."""
        self.under_way.discard(sample.index)
        own = replace(sample, index=place, draw=replace(sample.draw, parent=self.launched[place][0].parent))
        self._real[place] = own, sample
        return own

    def outside(self, draw: Draw) -> Draw:
        """A draw of this search as the outer one asks for it."""
        return draw if draw.parent is None else replace(draw, parent=self._real_of(draw.parent))

    def end(self) -> list[Cancel]:
        """Cancel what is left."""
        self.open = False
        left = [Cancel(number) for number in sorted(self.under_way)]
        self.under_way.clear()
        return left

    def _outside(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._outside(each) for each in cast("Sequence[Any]", value)]
        return self._real_of(cast("Any", value)) if isinstance(value, Sample) else value

    def _real_of(self, sample: Sample[Any]) -> Sample[Any]:
        own = self._real.get(sample.index)
        return own[1] if own is not None and own[0] is sample else sample
