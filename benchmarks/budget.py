"""What a budget really costs: checked before each call, as is usual, or reserved, with many calls in flight.

A model in this process answers 2,000 requests under a budget of 50,000 tokens. Answers have random lengths (log-normal,
median 300 tokens, at most 4,096) and it honours `max_tokens`. All of it passes the library's own seam.

- check: look whether anything is left, call, add what it cost.
- reserve: `ttc.policy(budget=)`; the caller gives `max_tokens=4096`.
- reserve, open: the same for a caller who gives none.
- streams, capped: the same, streamed, by a model that may think in secret: each holds its whole cap, and who finds no
  room waits, as for any call, while the stream is being read.
- streams, bytes: streamed by a model that is known not to think: a lease at a time, by the bytes that have come.
  Newcomers leave room for those that are open; who is cut at the end is charged for bytes.
- streams, counted: the same, from a server that sends its count of tokens along.

Overshoot is what was spent beyond the budget, used is what was spent of it; both in tokens that the model has really
made. Held at the end has to be 0. Stranded is what was charged though it was never made.

    poe bench-budget
    poe bench-budget --quick    fewer runs, and it fails on any overshoot: for CI
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, field, replace

import anyio
import anyio.lowlevel

import ttc_middleware as ttc
from ttc_middleware.seam import Leaf, call_model

LIMIT = 50_000
PROMPT = 20
CAP = 4_096
BYTES = 4  # of a token's text
METHODS = ("check", "reserve", "reserve, open", "streams, capped", "streams, bytes", "streams, counted")


@dataclass(frozen=True)
class Adapter:
    """What the engine must know of the model below."""

    can: frozenset[ttc.Capability] = frozenset({ttc.Capability.MAX_TOKENS})
    slots: int | None = None
    aloud: bool = True

    def apply(self, call, draw):
        return replace(call, arguments={**call.arguments, "max_tokens": draw.max_tokens})

    def describe(self, call):
        most, stream = call.arguments.get("max_tokens"), call.arguments["stream"]
        return ttc.Request(provider="local", model="bench", max_tokens=most, stream=stream, aloud=self.aloud)

    def bound(self, call):  # noqa: ARG002  # all prompts are alike
        return PROMPT

    def read(self, output):
        return output


@dataclass
class Run:
    """One method with so many calls in flight."""

    method: str
    flight: int
    seed: int
    made: int = 0
    """Tokens that the model has made, prompts included."""
    whole: int = 0
    cut: int = 0
    refused: int = 0
    seconds: float = 0.0
    stranded: int = 0
    held: int = 0
    known: int = 0
    lengths: list[int] = field(default_factory=list)

    async def go(self, requests: int) -> None:
        chance = random.Random(self.seed)
        self.lengths = [min(CAP, max(1, int(chance.lognormvariate(5.7, 0.8)))) for _ in range(requests)]
        started = time.perf_counter()
        with ttc.policy(budget=ttc.Budget(tokens=10**12 if self.method == "check" else LIMIT)):
            from ttc_middleware._context import SCOPE  # noqa: PLC0415  # to look at the account

            account = SCOPE.get().ledger
            async with anyio.create_task_group() as group:
                for _ in range(self.flight):
                    group.start_soon(self.works)
            balance = account.balance()
            self.held = int(balance.held["tokens"])
            self.stranded = int(balance.spent["tokens"]) - self.made
        self.seconds = time.perf_counter() - started

    async def works(self) -> None:
        while self.lengths:
            length = self.lengths.pop()
            if self.method == "check" and self.known >= LIMIT:
                self.refused += 1
                continue
            try:
                await self.call(length)
            except ttc.BudgetExceeded:
                self.refused += 1

    async def call(self, length: int) -> None:
        arguments = {"stream": self.method.startswith("streams")}
        if self.method in ("check", "reserve"):
            arguments["max_tokens"] = CAP
        call = ttc.Call(name="bench", arguments=arguments)

        async def send(given: ttc.Call, leaf: Leaf) -> ttc.Reading:
            if given.arguments["stream"]:
                return await self.streamed(given, leaf, length)
            made = await self.generated(given, length)
            return ttc.Reading(text="x", usage=ttc.Usage(1, PROMPT, made))

        reading = await call_model(Adapter(aloud=self.method != "streams, capped"), call, send)
        self.known += reading.usage.tokens if reading.usage else 0

    async def generated(self, given: ttc.Call, length: int) -> int:
        """The whole answer, at sixteen tokens a step."""
        made = min(length, given.arguments.get("max_tokens") or CAP)
        self.made += PROMPT + made
        for _ in range(1 + made // 16):
            await anyio.lowlevel.checkpoint()
        self.ended(made, length)
        return made

    async def streamed(self, given: ttc.Call, leaf: Leaf, length: int) -> ttc.Reading:
        """The answer in chunks of a few tokens; closed where the lease ends, which costs another chunk on its way."""
        leaf.defer()
        most, made = min(length, given.arguments["max_tokens"]), 0
        each = 1 if self.method == "streams, counted" else BYTES
        self.made += PROMPT
        while made < most:
            leaf.asked()
            step = min(8, most - made)
            made, self.made = made + step, self.made + step
            if not leaf.lasts(made * each):
                late = min(8, most - made)  # made before the server has noticed
                made, self.made = made + late, self.made + late
                reading = ttc.Reading(status="truncated", fault="cut")
                leaf.finish(reading)
                self.ended(made, length)
                return reading
            await anyio.lowlevel.checkpoint()
            leaf.given()
        reading = ttc.Reading(text="x", usage=ttc.Usage(1, PROMPT, made))
        leaf.finish(reading)
        self.ended(made, length)
        return reading

    def ended(self, made: int, length: int) -> None:
        if made < length:
            self.cut += 1
        else:
            self.whole += 1


def measured(method: str, flight: int, runs: int, requests: int) -> list[Run]:
    done = []
    for seed in range(runs):
        run = Run(method, flight, seed)
        anyio.run(run.go, requests)
        done.append(run)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="for CI")
    quick = parser.parse_args().quick
    runs, requests = (1, 600) if quick else (5, 2_000)
    print(f"{LIMIT:,} tokens, {requests:,} requests, {runs} runs; overshoot: worst; the rest: mean")
    print(f"{'method':<16} {'in flight':>9} {'overshoot':>10} {'used':>7} {'whole':>6} {'cut':>5} {'refused':>8}"
          f" {'stranded':>9} {'held':>5} {'calls/s':>8}")  # fmt: skip
    wrong = False
    for method in METHODS:
        for flight in (1, 8, 64, 256):
            done = measured(method, flight, runs, requests)
            over = max(max(0, run.made - LIMIT) for run in done)
            mean = {name: sum(getattr(run, name) for run in done) / runs for name in
                    ("made", "whole", "cut", "refused", "stranded", "held", "seconds")}  # fmt: skip
            stranded = "" if method == "check" else f"{mean['stranded']:.0f}"
            print(f"{method:<16} {flight:>9} {over / LIMIT:>10.1%} {mean['made'] / LIMIT:>7.1%} {mean['whole']:>6.0f}"
                  f" {mean['cut']:>5.0f} {mean['refused']:>8.0f} {stranded:>9} {mean['held']:>5.0f}"
                  f" {(mean['whole'] + mean['cut']) / mean['seconds']:>8,.0f}")  # fmt: skip
            wrong |= method != "check" and bool(over or mean["held"])
    if wrong:
        sys.exit("a reserved budget was exceeded, or something is still held")


if __name__ == "__main__":
    main()
