"""What the Anthropic adapter costs a call that is drawn once: CPU beside the bare client, without any HTTP.

python benchmarks/anthropic_overhead.py [--calls 300] [--rounds 5]         prints milliseconds of CPU per call
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable

import anthropic
import anyio
import httpx2

import ttc_anthropic
import ttc_middleware as ttc

ASKED = {"model": "claude-opus-5", "max_tokens": 64, "messages": [{"role": "user", "content": "What is 6 times 7?"}]}
REPLY = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "42"}], "usage": {"input_tokens": 14, "output_tokens": 5},
}  # fmt: skip


def replied(_: object) -> httpx2.Response:
    return httpx2.Response(200, json=REPLY)


def ms(ask: Callable[[], object], calls: int) -> float:
    """Milliseconds of CPU per call of a client that blocks, all threads together."""
    start = time.process_time()
    for _ in range(calls):
        ask()
    return (time.process_time() - start) * 1_000 / calls


async def ams(ask: Callable[[], Awaitable[object]], calls: int) -> float:
    """The same of an async client."""
    start = time.process_time()
    for _ in range(calls):
        await ask()
    return (time.process_time() - start) * 1_000 / calls


def printed(title: str, rounds: list[dict[str, float]]) -> None:
    for name in rounds[0]:
        # The least of many rounds: whatever else runs on the machine only ever adds.
        each, bare = (min(taken[way] for taken in rounds) for way in (name, "bare"))
        print(f"{title:>8} {name:>14}: {each:.2f} ms a call, {each - bare:+.2f} ms over the bare client")


def blocking(calls: int, rounds: int) -> None:
    client = anthropic.Anthropic(api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(replied)))
    scaled = ttc_anthropic.wrap(client, ttc.Single())

    def seen() -> object:
        with ttc.tracking():
            return client.messages.create(**ASKED)

    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: client.messages.create(**ASKED),
        "tracking()": seen,
        "wrap(Single())": lambda: scaled.messages.create(**ASKED),
    }
    for ask in ways.values():
        ms(ask, 20)  # warm
    printed("blocking", [{name: ms(ask, calls) for name, ask in ways.items()} for _ in range(rounds)])


async def asynchronous(calls: int, rounds: int) -> None:
    transport = httpx2.MockTransport(replied)
    client = anthropic.AsyncAnthropic(api_key="x", http_client=httpx2.AsyncClient(transport=transport))
    scaled = ttc_anthropic.wrap(client, ttc.Single())

    async def seen() -> object:
        with ttc.tracking():
            return await client.messages.create(**ASKED)

    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "bare": lambda: client.messages.create(**ASKED),
        "tracking()": seen,
        "wrap(Single())": lambda: scaled.messages.create(**ASKED),
    }
    for ask in ways.values():
        await ams(ask, 20)  # warm
    printed("async", [{name: await ams(ask, calls) for name, ask in ways.items()} for _ in range(rounds)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    anyio.run(asynchronous, options.calls, options.rounds)
    blocking(options.calls, options.rounds)


if __name__ == "__main__":
    main()
