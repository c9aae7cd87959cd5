"""The first draw alone, so that the others find its prompt in the provider's cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ttc_middleware import _strategy
from ttc_middleware._types import Call, Cancel, Draw, Sample, Search, Strategy

from ._around import Around


@dataclass(frozen=True, repr=False)
class Primed(Around):
    """Any strategy, its first draw sent alone: `Primed(ttc.BestOfN(8))`. The others start when that has ended.

    Requests that are sent together cannot read each other's prompt from the provider's cache: "a cache entry only
    becomes available after the first response begins" (Anthropic's documentation of prompt caching). Cached tokens cost
    a tenth to a half of others, so this pays where the prompt is much longer than the answers and its provider caches
    it: OpenAI's from 1,024 tokens on by itself, Anthropic's where the caller sets `cache_control`, vLLM with prefix
    caching. `cached_tokens` on the bill shows whether it did.

    Where it fails: the answer comes later by one whole draw. Draws that share one request (`n`) pay their prompt once
    anyway, and this takes the first out of it. Of draws for several models only the first one's model is primed. On
    llama.cpp each slot has a cache of its own, which a request fills for no other: `ttc_local.Server.prime` does.

    Args:
        strategy: whose draws they are. It is told of the first before the others start: best-of-N with a verifier ends
            there where that is accepted.

    Raises:
        TypeError: it is no strategy.
    """

    strategy: Strategy

    def __post_init__(self) -> None:
        _strategy.check_strategy(self.strategy)

    @property
    def in_turn(self) -> int:
        """As the strategy's own, after the first."""
        return _strategy.in_turn(self.strategy) + 1

    def search(self, call: Call) -> Search[Any]:
        """As the strategy searches, but for the first step."""
        steps = _strategy.begin(self.strategy, call)
        sent: Sample[Any] | None = None
        try:
            asked = list(steps.send(None))
            held = asked[1:]
            sent = yield asked[:1]
            if sent is not None and held:
                more = steps.send(sent)
                # What it drops of those held can be dropped only once they have started.
                late = [each for each in more if isinstance(each, Cancel)]
                sent = yield [*held, *(each for each in more if isinstance(each, Draw))]
                sent = yield [*late, *steps.send(sent)]
            while True:
                sent = yield steps.send(sent)
        except StopIteration as end:
            winner: Sample[Any] = end.value
            return winner
        finally:
            steps.close()
