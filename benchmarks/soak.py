"""Ten thousand calls against a server at its worst, and what is left of them: nothing may be.

    poe soak

Every fault of `tests/provider.py` comes up, one caller in ten leaves at a random moment, and there is neither money
nor time enough for all. Prints what came of the calls, and fails where a span was lost, a reservation left open, a
task, thread or socket left over, an exception raised that is not on the list, or memory lost.
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: TID251  # counts its tasks
import gc
import json
import os
import random
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import anyio
import openai
from openai_clients import CHAT, async_client, blocking_client
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import set_tracer_provider
from provider import Provider, Reply

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware._context import SCOPE
from ttc_middleware._types import Fault

MODES = (
    *(Reply(text="fine", words=2) for _ in range(30)),
    Reply(status=429),
    Reply(status=429, headers={"retry-after-ms": "20"}),
    Reply(status=429, headers={"retry-after": "3600"}),
    *(Reply(status=status) for status in (400, 401, 403, 500, 503, 529)),
    *(
        Reply(text="one two three", fault=fault)
        for fault in (
            "html", "empty choices", "no usage", "cut json", "cut stream", "error event", "empty body", "short body",
            "reset", "slow headers", "slow body", "no finish",
        )
    ),
    Reply(text=None),
    Reply(text=None, refusal="I cannot"),
    Reply(text="half", finish="content_filter"),
    Reply(text="half", finish="length"),
    Reply(delay=60),
    Reply(text="late", delay=0.1),
    Reply(text="drop by drop", pause=0.05),
)  # fmt: skip


class NoTextError(Exception):
    """What the decorated function raises, of a response without choices."""


EXPECTED = (openai.APIError, json.JSONDecodeError, ttc.BadResponse, ttc.BudgetExceeded, NoTextError)
SHORT = {"max_tokens": 300}


class Spans(SpanProcessor):
    """Counts spans, and what they say was wrong."""

    def __init__(self) -> None:
        self.started = self.ended = 0
        self.faults: Counter[str] = Counter()
        self._lock = threading.Lock()

    def on_start(self, *_, **__):
        with self._lock:
            self.started += 1

    def on_end(self, span):
        with self._lock:
            self.ended += 1
            if span.name.startswith("chat") and span.attributes.get("error.type"):
                self.faults[span.attributes["error.type"]] += 1


class Soak:
    """The calls, and what came of them."""

    def __init__(self, provider: Provider, seed: int) -> None:
        self.provider = provider
        self.dice = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.surprises: list[BaseException] = []
        provider.script = self.script
        self.seed = seed
        self.client = async_client(provider)
        self.blocking = blocking_client(provider)
        judged = {"verifier": lambda _: False}
        scaled = ttc_openai.wrap(self.client, ttc.BestOfN(2), **judged)
        scaled_blocking = ttc_openai.wrap(self.blocking, ttc.BestOfN(2), **judged)

        @ttc.scale(ttc.SelfConsistency(3))
        async def voted() -> str:
            reply = await self.client.chat.completions.create(**CHAT, **SHORT)
            try:
                return reply.choices[0].message.content or ""
            except (AttributeError, IndexError):
                raise NoTextError from None

        self.kinds = {
            "plain": lambda: self.client.chat.completions.create(**CHAT, **SHORT),
            "plain stream": lambda: self.read(self.client),
            "scaled": lambda: scaled.chat.completions.create(**CHAT, **SHORT),
            "scaled stream": lambda: self.read(scaled),
            "function": voted,
            "blocking": lambda: in_thread(lambda: self.blocking.chat.completions.create(**CHAT, **SHORT)),
            "blocking stream": lambda: in_thread(
                lambda: list(self.blocking.chat.completions.create(**CHAT, **SHORT, stream=True))
            ),
            "scaled blocking": lambda: in_thread(lambda: scaled_blocking.chat.completions.create(**CHAT, **SHORT)),
        }

    def script(self, _, number: int) -> Reply:
        self.provider.bodies[number] = {}  # the server's own memory is not what is measured
        self.provider.headers.clear()
        return random.Random(self.seed * 1_000_003 + number).choice(MODES)

    async def read(self, client) -> list:
        return [chunk async for chunk in await client.chat.completions.create(**CHAT, **SHORT, stream=True)]

    async def call(self) -> None:
        kind, leaves = self.dice.choice(list(self.kinds)), self.dice.random() < 0.1
        patience = self.dice.uniform(0, 0.1) if leaves else None
        outcome = "left"
        try:
            with anyio.move_on_after(patience), ttc.policy(budget=ttc.Budget(seconds=1)):
                await self.kinds[kind]()
                outcome = "answered"
        except EXPECTED as error:
            outcome = f"{type(error).__name__} {getattr(error, 'resource', '')}".strip()
        except Exception as error:  # noqa: BLE001  # what must not be
            outcome = "UNEXPECTED"
            self.surprises.append(error)
        self.outcomes[outcome] += 1

    async def close(self) -> None:
        await self.client.close()
        self.blocking.close()


async def in_thread(work):
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


async def until(condition, seconds: float = 90) -> None:
    """Wait for threads that nobody waits for, as long as they may take to notice."""
    with anyio.move_on_after(seconds):
        while not condition():
            gc.collect()
            await anyio.sleep(0.05)


def megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sockets() -> int:
    return sum(is_socket(fd) for fd in Path("/proc/self/fd").iterdir())


def is_socket(fd: Path) -> bool:
    try:
        return str(fd.readlink()).startswith("socket:")
    except OSError:  # the one that lists the folder
        return False


def busy() -> int:
    """Threads that are at something of ours: anyio keeps idle ones for a while."""
    return sum(at_work(frame) for frame in sys._current_frames().values())  # noqa: SLF001  # there is no other way


def at_work(frame) -> bool:
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in ("ttc_openai", "httpcore", "tests/provider.py")):
            return True
        frame = frame.f_back
    return False


async def soak(calls: int, at_once: int, seed: int) -> bool:
    tokens = calls * 80  # enough for most of it: the last calls find nothing left
    spans, sdk = Spans(), TracerProvider()
    sdk.add_span_processor(spans)
    set_tracer_provider(sdk)
    ttc.instrument()
    warnings.simplefilter("ignore")
    with Provider() as provider:
        before = sockets()
        run, memory, left = Soak(provider, seed), [], iter(range(calls))
        started = time.monotonic()

        async def caller() -> None:
            for number in left:
                await run.call()
                if number % (calls // 5) == calls // 5 - 1:
                    memory.append(megabytes())

        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=tokens)):
            async with anyio.create_task_group() as group:
                for _ in range(at_once):
                    group.start_soon(caller)
            ledger = SCOPE.get().ledger
            seconds = time.monotonic() - started
            await until(lambda: not ledger.reserved["tokens"] and spans.started == spans.ended)
        await run.close()
        del caller
        await until(lambda: not provider.sockets and not busy())
        await until(lambda: sockets() <= before + 4, 10)  # its loop has some of its own
        known = set(get_args(Fault))
        print(f"seed {seed}: {calls:,} calls, {at_once} at once, {seconds:.0f} s; {dict(run.outcomes.most_common())}")
        print(f"requests {provider.billed.requests:,}, of them failed: {dict(spans.faults.most_common())}")
        print(f"bill {bill.total.calls:,} calls, {bill.total.tokens:,} tokens, {bill.bill.status}")
        print(f"budget {tokens:,} tokens, of them charged {ledger.spent['tokens']:,}")
        print(f"memory after each fifth: {', '.join(f'{each:.0f}' for each in memory)} MB")
        checks = {
            "spans lost": spans.started - spans.ended,
            "tokens still reserved": ledger.reserved["tokens"],
            "callers still waiting for room": len(ledger.waiting_for_money) + len(ledger.waiting_for_seats),
            "tokens over the budget": max(0, ledger.spent["tokens"] - tokens - ledger.overrun["tokens"]),
            "tasks left": len(asyncio.all_tasks()) - 1,
            "threads left at work": busy(),
            "connections left at the server": provider.sockets,
            "sockets left": max(0, sockets() - before - 4),
            "exceptions not on the list": len(run.surprises),
            "faults not in the closed set": len(set(spans.faults) - known),
            "calls without an outcome": calls - sum(run.outcomes.values()),
            "MB lost since the second fifth, beyond 32": max(0, round(memory[-1] - memory[1]) - 32),
        }
        for error in run.surprises[:3]:
            print(f"unexpected: {type(error).__name__}: {error}")
    for what, count in checks.items():
        print(f"{what}: {count}")
    return not any(checks.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    return 0 if asyncio.run(soak(asked.calls, asked.at_once, asked.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
