"""A provider on loopback for benchmarks: answers chat completions after a fixed delay, and counts what it served.

    python benchmarks/server.py [--latency-ms 50]      prints its port, then serves until its stdin closes

One request takes the delay whatever its `n` is, as with a batching engine; models named "…-no-n" refuse `n` above 1.
HTTP by hand, one callback a request: the less CPU the server takes, the more a benchmark tells of the clients.
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: TID251  # no library code
import itertools
import json
import sys
from typing import Any

PROMPT, COMPLETION, REASONING = 20, 50, 30  # tokens: of a prompt, and of each choice
_ids = itertools.count()


class Served:
    """What was served since the last reset."""

    def __init__(self) -> None:
        self.requests = self.choices = self.refused = self.in_flight = self.peak = self.connections = 0


class Connection(asyncio.Protocol):
    """One keep-alive connection; a client sends its next request after it has read the answer to the last."""

    def __init__(self, latency: float, state: dict[str, Served]) -> None:
        self.latency = latency
        self.state = state
        self.buffer = b""
        self.waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.state["served"].connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's
        if self.waiting is not None:
            self.waiting.cancel()
            self.state["served"].in_flight -= 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return  # more is on its way
        first, *lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b":", 1) for line in lines)
        length = int(headers.get(b"content-length", b"0"))
        if len(rest) < length:
            return
        body, self.buffer = rest[:length], rest[length:]
        self.asked(first.split(b" ")[1].decode(), json.loads(body or b"{}"))

    def asked(self, path: str, body: dict[str, Any]) -> None:
        served = self.state["served"]
        if path == "/stats":
            self.answer(200, vars(served))
        elif path == "/reset":
            self.state["served"] = Served()
            self.state["served"].in_flight = served.in_flight
            self.answer(200, {})
        else:
            served.requests += 1
            served.in_flight += 1
            served.peak = max(served.peak, served.in_flight)
            self.waiting = asyncio.get_running_loop().call_later(self.latency, self.complete, body)

    def complete(self, body: dict[str, Any]) -> None:
        self.waiting, served = None, self.state["served"]
        served.in_flight -= 1
        n, model = int(body.get("n") or 1), str(body.get("model"))
        if n > 1 and model.endswith("-no-n"):
            served.refused += 1
            self.answer(400, {"error": {"message": "n must be 1", "type": "invalid_request_error"}})
            return
        served.choices += n
        self.answer(200, completion(model, n))

    def answer(self, status: int, said: dict[str, Any]) -> None:
        content = json.dumps(said).encode()
        head = f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self.transport.write(head.encode() + content)


def completion(model: str, n: int) -> dict[str, Any]:
    """Answers that differ; two of three are right."""
    numbers = [next(_ids) for _ in range(n)]
    texts = [f"Step by step, sample {number}.\nThe answer is {42 if number % 3 else 41}." for number in numbers]
    return {
        "id": f"chatcmpl-{next(_ids)}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {"index": place, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for place, text in enumerate(texts)
        ],
        "usage": {
            "prompt_tokens": PROMPT,
            "completion_tokens": COMPLETION * n,
            "total_tokens": PROMPT + COMPLETION * n,
            "completion_tokens_details": {"reasoning_tokens": REASONING * n},
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


async def serve(latency: float) -> None:
    loop, state = asyncio.get_running_loop(), {"served": Served()}
    server = await loop.create_server(lambda: Connection(latency, state), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)  # whoever started us has gone


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat completions server for benchmarks.")
    parser.add_argument("--latency-ms", type=float, default=50.0, help="of every completion (default 50)")
    asyncio.run(serve(parser.parse_args().latency_ms / 1000))


if __name__ == "__main__":
    main()
