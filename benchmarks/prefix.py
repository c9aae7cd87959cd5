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
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import openai
from report import Figure, Target, show

import ttc_local
import ttc_middleware as ttc
import ttc_openai

SLOTS = 8
STEPS = ("fan-out", "steps", "questions")


@dataclass
class Arm:
    """What one server was asked, as billed."""

    read: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    cached: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    seconds: float = 0.0
    primed: int = 0
    """Tokens read by priming, which no bill has."""

    def note(self, name: str, usages: Sequence[ttc.Usage]) -> None:
        for usage in usages:
            assert usage.cached_tokens is not None, "the server does not say what it had cached"
            self.read[name] += usage.input_tokens
            self.cached[name] += usage.cached_tokens

    def share(self, *names: str) -> float:
        names = names or STEPS
        return 100 * sum(self.cached[name] for name in names) / sum(self.read[name] for name in names)

    @property
    def evaluated(self) -> int:
        return sum(self.read.values()) - sum(self.cached.values()) + self.primed


@dataclass(frozen=True)
class Widely:
    """8 draws of a first step, then 4 more of each of 4 of them: what a search over steps asks for."""

    arm: Arm
    needs = frozenset({ttc.Capability.EXTEND})

    def search(self, _call: ttc.Call, /) -> ttc.Search[Any]:
        first = yield from ttc.gather([ttc.Draw(kind="step", max_tokens=12)] * SLOTS)
        self.arm.note("fan-out", [sample.usage for sample in first])
        begun = [sample for sample in first if sample.text][:4]
        draws = [ttc.Draw(parent=sample, extend=sample.text, max_tokens=8) for sample in begun for _ in range(4)]
        then = yield from ttc.gather(draws)
        self.arm.note("steps", [sample.usage for sample in then])
        return ttc.best(then)


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


async def measured(shots: str, questions: int, *, primed: bool) -> Arm:
    done = Arm()
    with ttc_local.serve(parallel=SLOTS) as server:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", timeout=1_800) as client:

            async def ask(strategy: ttc.Strategy, question: str) -> ttc.Usage:
                scaled = ttc_openai.wrap(client, strategy)
                with ttc.tracking() as bill:
                    await scaled.chat.completions.create(
                        model=server.model, messages=messages(question), max_tokens=8, temperature=0.8
                    )
                return bill.bill.total

            # Whether the server goes on with a partial answer is found out once; that is not measured.
            await ask(Widely(Arm()), "Hello.")
            begun = time.perf_counter()
            if primed:
                done.primed = await anyio.to_thread.run_sync(server.prime, messages(shots))
            bus = "A bus has 12 rows with 4 seats and 7 are taken. How many are free?"
            total = await ask(Widely(done), f"{shots}\nQuestion: {bus}")
            assert total.cached_tokens == sum(done.cached.values()), "the bill says something else than its samples"

            async def other(number: int) -> None:
                usage = await ask(
                    ttc.Single(), f"{shots}\nQuestion: A box has {number + 3} pens. How many are two boxes?"
                )
                done.note("questions", [usage])

            async with anyio.create_task_group() as group:
                for number in range(questions):
                    group.start_soon(other, number)
            done.seconds = time.perf_counter() - begun
    return done


def messages(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def compared(without: Arm, primed: Arm) -> list[Target]:
    targets = [Target(Figure(f"{name}: from the cache, without", "%", [without.share(name)])) for name in STEPS]
    targets += [
        Target(Figure(f"{name}: from the cache, primed", "%", [primed.share(name)]), 80, "higher") for name in STEPS
    ]
    return [
        *targets,
        Target(Figure("all: from the cache, without", "%", [without.share()])),
        Target(Figure("all: from the cache, primed", "%", [primed.share()]), 80, "higher"),
        Target(Figure("tokens read by the model, without", "tokens", [without.evaluated])),
        Target(Figure("tokens read by the model, primed, with priming", "tokens", [primed.evaluated])),
        Target(Figure("times fewer", "x", [without.evaluated / primed.evaluated])),
        Target(Figure("seconds, without", "s", [without.seconds])),
        Target(Figure("seconds, primed, with priming", "s", [primed.seconds])),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="for CI")
    quick = parser.parse_args().quick
    shots, questions = examples(4 if quick else 9), 10 if quick else 30
    without = anyio.run(partial(measured, shots, questions, primed=False))
    primed = anyio.run(partial(measured, shots, questions, primed=True))
    targets = compared(without, primed)
    rows = [
        [each.figure.name, f"{each.figure.median:.4g} {each.figure.unit}", each.said, each.verdict] for each in targets
    ]
    show(
        f"Prefixes on SmolLM2-135M, {SLOTS} slots, {primed.primed} tokens of examples",
        ["figure", "measured", "target", ""],
        rows,
    )
    if any(each.met is False for each in targets):
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
