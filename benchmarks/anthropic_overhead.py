"""What the Anthropic adapter costs a call that is drawn once: CPU beside the bare client, over a transport without HTTP.

python benchmarks/anthropic_overhead.py [--calls 300] [--rounds 5]         prints milliseconds of CPU per call
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import anthropic
import httpx2

import ttc_anthropic
import ttc_middleware as ttc

ASKED = {"model": "claude-opus-5", "max_tokens": 64, "messages": [{"role": "user", "content": "What is 6 times 7?"}]}
REPLY = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "42"}], "usage": {"input_tokens": 14, "output_tokens": 5},
}  # fmt: skip


def ms(ask: Callable[[], object], calls: int) -> float:
    """Milliseconds of CPU per call, all threads together."""
    start = time.process_time()
    for _ in range(calls):
        ask()
    return (time.process_time() - start) * 1_000 / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=REPLY))
    client = anthropic.Anthropic(api_key="x", http_client=httpx2.Client(transport=transport))
    scaled = ttc_anthropic.wrap(client, ttc.Single())

    def bare() -> object:
        return client.messages.create(**ASKED)

    def single() -> object:
        return scaled.messages.create(**ASKED)

    def seen() -> object:
        with ttc.tracking():
            return client.messages.create(**ASKED)

    ways = {"bare": bare, "tracking()": seen, "wrap(Single())": single}
    for ask in ways.values():
        ms(ask, 20)  # warm
    rounds = [{name: ms(ask, options.calls) for name, ask in ways.items()} for _ in range(options.rounds)]
    for name in ways:
        each = statistics.median(taken[name] for taken in rounds)
        more = statistics.median(taken[name] - taken["bare"] for taken in rounds)
        print(f"{name:>14}: {each:.2f} ms a call, {more:+.2f} ms over the bare client")


if __name__ == "__main__":
    main()
