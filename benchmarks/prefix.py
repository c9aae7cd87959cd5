"""How much of prompts that begin alike comes from llama.cpp's prefix cache, with and without reading it first.

Few-shot examples stand before every question. On the embedded model with 8 slots, each arm on a server of its own that
has read nothing yet:

- a fan-out: 8 equal draws of one question;
- steps: 4 of its partial answers are gone on with by 4 draws each;
- questions: more of them with the same examples, asked at once.

Once without anything, and once after `Server.prime(examples)`. Tokens are those of the library's own bill
(`Usage.cached_tokens` of `Usage.input_tokens`), so what cannot be shared, the question and the template's words, counts
as not cached. Seconds depend on what else the machine does: the arms are run one after the other.

    poe bench-prefix
    poe bench-prefix --quick    shorter examples, and it fails where a target is missed: for CI
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Awaitable
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
import openai
from report import Figure, Target, show

import ttc_local
import ttc_middleware as ttc
import ttc_openai

SLOTS = 8
STEPS = ("fan-out", "steps", "questions")


@dataclass(frozen=True)
class Widely:
    """8 draws of a first step, then 4 more of each of 4 of them: what a search over steps asks for."""

    needs = frozenset({ttc.Capability.EXTEND})
    steps: bool = True

    def search(self, call: ttc.Call, /) -> ttc.Search[object]:
        first = yield from ttc.gather([ttc.Draw(kind="step", max_tokens=12)] * SLOTS)
        if not self.steps:
            return first[0]
        partial = [sample for sample in first if sample.text][:4]
        draws = [
            ttc.Draw(parent=sample, extend=sample.text, max_tokens=8) for sample in partial for _ in range(4)
        ]
        return ttc.best((yield from ttc.gather(draws)))


@dataclass
class Arm:
    """What one server was asked, as billed."""

    read: dict[str, int] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    primed: int = 0
    """Tokens read by priming, which no bill has."""

    def share(self, *names: str) -> float:
        names = names or STEPS
        return 100 * sum(self.cached[name] for name in names) / sum(self.read[name] for name in names)

    @property
    def evaluated(self) -> int:
        return sum(self.read.values()) - sum(self.cached.values()) + self.primed


def examples(count: int) -> str:
    chance, shots = random.Random(1), []
    for _ in range(count):
        boxes, each, sold = (chance.randint(2, 60) for _ in range(3))
        shots.append(
            f"Question: A shop has {boxes} boxes with {each} apples and sells {sold}. How many are left?\n"
            f"Step 1: There are {boxes} * {each} = {boxes * each} apples.\n"
            f"Step 2: {boxes * each} - {sold} = {boxes * each - sold}.\n"
        )
    return "\n".join(shots)


async def arm(shots: str, questions: int, *, primed: bool) -> Arm:
    done = Arm()
    with ttc_local.serve(parallel=SLOTS) as server:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", timeout=1_800) as client:
            # First of all, whether the server goes on with a partial answer: asked once, and not measured.
            probing = ttc_openai.wrap(client, Widely(), budget=ttc.Budget(samples=1))
            await probing.chat.completions.create(model=server.model, messages=messages("Hello."), max_tokens=1)
            begun = time.perf_counter()
            if primed:
                done.primed = await anyio.to_thread.run_sync(server.prime, messages(shots))

            async def ask(strategy: ttc.Strategy, question: str) -> ttc.Usage:
                scaled = ttc_openai.wrap(client, strategy)
                with ttc.tracking() as bill:
                    await scaled.chat.completions.create(
                        model=server.model, messages=messages(f"{shots}\nQuestion: {question}"), max_tokens=8
                    )
                return bill.bill.total

            bus = "A bus has 12 rows with 4 seats and 7 are taken. How many are free?"
            first = await ask(Widely(steps=False), bus)
            both = await ask(Widely(), bus)
            del first, both
            done.seconds = time.perf_counter() - begun
    return done


def messages(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]
