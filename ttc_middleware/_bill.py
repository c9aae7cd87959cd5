"""Adding up: which model call of a search was worth what to its caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ._context import Entry, Tab
from ._leaf import share_of, visible_bill
from ._types import Sample
from ._usage import EXACT, Bill, Usage

_UNSEEN = Usage(0)
"""What it cost, nobody knows; known figures are added to it."""

Draws = Sequence[tuple[Tab, Sequence[Sample[Any]], Sequence[Tab]]]
"""For each draw, or several that shared a request: its tab, the samples it brought, the tabs of their verifications."""


def bill_of(draws: Draws, *, winner: Sample[Any] | None, unseen: bool, routing: Tab) -> Bill:
    """The bill of a search; its parts add up to the sum of all entries on all tabs."""
    bill, plain, drawn = Bill(), Usage.zero(), False
    gaps = {"nothing observed": 1} if unseen else {}
    continued = steps_of(winner)
    if unseen:
        bill += Bill(visible=_UNSEEN)
    for tab, samples, judged in draws:
        if tab.role == "routing":
            bill += routing_of(tab)
            continue
        bill += _drawn(tab, samples, winner, continued) + _judged(judged)
        own = winner is not None and any(sample.index == winner.index for sample in samples)
        if not drawn or (own and not plain.tokens):
            drawn, plain = True, _plain(tab, samples)
    bill += routing_of(routing)
    before = None if winner is None or winner.draw.extend is None else winner.draw.parent
    if winner is not None and before is not None and before.draw.kind == "step":
        plain = _in_one(winner)
    return replace(bill, plain=plain, gaps={**bill.gaps, **gaps})


def _drawn(tab: Tab, samples: Sequence[Sample[Any]], winner: Sample[Any] | None, continued: frozenset[int]) -> Bill:
    """The model calls of a draw."""
    running = len(tab.pending)
    bill = Bill(discarded=Usage(running), gaps={"still running": running}) if running else Bill()
    own = winner is not None and any(sample.index == winner.index for sample in samples)
    steps = [sample for sample in samples if sample.index in continued]
    read = steps[0] if steps else winner if own else None
    for entry in tab.entries:
        bill += _step(entry) if steps and _thought(steps[0], winner) else _entry(entry, read)
    return bill


def _judged(verifications: Sequence[Tab]) -> Bill:
    """The model calls of verifiers."""
    bill = Bill()
    for tab in verifications:
        running = len(tab.pending)
        if running:
            bill += Bill(verifying=Usage(running), gaps={"still running": running})
        for entry in tab.entries:
            bill += Bill(verifying=entry.usage, gaps=_gap(entry))
    return bill


def routing_of(tab: Tab) -> Bill:
    """The model calls that asked how to search."""
    running = len(tab.pending)
    bill = Bill(routing=Usage(running), gaps={"still running": running}) if running else Bill()
    for entry in tab.entries:
        bill += Bill(routing=entry.usage, gaps=_gap(entry))
    return bill


def _in_one(winner: Sample[Any]) -> Usage:
    """What an answer that was drawn in steps would have cost in one call: its prompt once, and all of its words."""
    chain = [winner]
    while chain[-1].draw.extend is not None and chain[-1].draw.parent is not None:
        chain.append(chain[-1].draw.parent)
    return Usage(1, chain[-1].usage.input_tokens, sum(step.usage.output_tokens for step in chain))


def _gap(entry: Entry) -> dict[str, int]:
    return {entry.gap: 1} if entry.gap else {}


def _entry(entry: Entry, winner: Sample[Any] | None) -> Bill:
    if winner is None or not entry.answered:
        return Bill(discarded=entry.usage, gaps=_gap(entry))
    if not winner.apportioned:
        return replace(visible_bill(entry.usage, entry.reasoning_usd), gaps=_gap(entry))
    # One request served several samples: the winner's share is read, the rest is not.
    share = winner.usage
    thinking, tokens = entry.reasoning_usd, entry.usage.reasoning_tokens
    part = None if thinking is None or not tokens else share_of(thinking, share.reasoning_tokens or 0, tokens)
    return replace(visible_bill(share, part), discarded=minus(entry.usage, share), gaps=_gap(entry))


def steps_of(winner: Sample[Any] | None) -> frozenset[int]:
    """The launch orders of the samples that the winner continues, step by step.

    An answer of which only a part was kept, as by a repair, is not among them: it has lost.
    """
    steps: set[int] = set()
    while winner is not None and winner.draw.extend is not None and winner.draw.parent is not None:
        winner = winner.draw.parent
        if winner.draw.kind == "answer":
            break
        steps.add(winner.index)
    return frozenset(steps)


def _thought(step: Sample[Any], winner: Sample[Any] | None) -> bool:
    """Whether what the winner goes on with is thinking: nothing that can be read in it."""
    read = winner is not None and step.text and winner.text and step.text in winner.text
    return step.draw.kind == "draft" and not read


def _step(entry: Entry) -> Bill:
    """A model call that thought what the winner goes on with."""
    return Bill(reasoning=entry.usage, gaps=_gap(entry)) if entry.answered else _entry(entry, None)


def _plain(tab: Tab, samples: Sequence[Sample[Any]]) -> Usage:
    """What the first draw would have cost alone: its own answers, with the whole prompt."""
    total = answered(tab)
    if samples and samples[0].apportioned:
        first = min(samples, key=lambda sample: sample.index)
        return replace(first.usage, calls=total.calls, input_tokens=total.input_tokens, usd=None)
    return total


def answered(tab: Tab) -> Usage:
    """The sum of the model calls that gave a draw something to go on with."""
    total = Usage.zero()
    for entry in tab.entries:
        if entry.answered:
            total += entry.usage
    return total


def minus(whole: Usage, part: Usage) -> Usage:
    """What is left of a usage."""
    return Usage(
        whole.calls - part.calls,
        whole.input_tokens - part.input_tokens,
        whole.output_tokens - part.output_tokens,
        None if whole.reasoning_tokens is None else whole.reasoning_tokens - (part.reasoning_tokens or 0),
        None if whole.cached_tokens is None else whole.cached_tokens - (part.cached_tokens or 0),
        None if whole.usd is None else EXACT.subtract(whole.usd, part.usd or 0),
        whole.seconds - part.seconds,
        None if whole.cache_write_tokens is None else whole.cache_write_tokens - (part.cache_write_tokens or 0),
        None
        if whole.cache_write_1h_tokens is None
        else whole.cache_write_1h_tokens - (part.cache_write_1h_tokens or 0),
    )


def apportion(usage: Usage, weights: Sequence[int]) -> list[Usage]:
    """Split a usage by weight; the integers and the dollars of the parts add up to the whole exactly."""
    total = sum(weights) or 1
    parts: list[Usage] = []
    done, before = 0, Usage.zero()
    for place, weight in enumerate(weights):
        done += weight
        upto = _upto(usage, done, total) if place < len(weights) - 1 else usage
        parts.append(minus(upto, before))  # so the calls are all the first one's
        before = upto
    return parts


def _upto(usage: Usage, done: int, total: int) -> Usage:
    def share(amount: int) -> int:
        return amount * done // total

    return Usage(
        usage.calls,
        share(usage.input_tokens),
        share(usage.output_tokens),
        None if usage.reasoning_tokens is None else share(usage.reasoning_tokens),
        None if usage.cached_tokens is None else share(usage.cached_tokens),
        None if usage.usd is None else share_of(usage.usd, done, total),
        usage.seconds * done / total,
        None if usage.cache_write_tokens is None else share(usage.cache_write_tokens),
        None if usage.cache_write_1h_tokens is None else share(usage.cache_write_1h_tokens),
    )
