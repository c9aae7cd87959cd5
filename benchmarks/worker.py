"""One contender in a process of its own: reads commands as JSON lines, answers in JSON lines.

    python benchmarks/worker.py client|ttc|its-hub URL

Runs in the contender's own environment, so only the standard library is imported here. A contender has *ways* to get
eight completions judged by the same function, or one plain one; every way is timed by the same code.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  # the clients are asyncio's
import gc
import importlib.metadata
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

N = 8
QUESTION = [{"role": "user", "content": "What is 6 x 7? State the answer in the last line."}]
Way = Callable[[], Awaitable[Any]]
"""Makes one call, and returns the chosen text."""


def right(text: str) -> float:
    return float("answer is 42" in text)


def client(url: str) -> dict[str, Way]:
    """The bare SDK: what anyone would write by hand."""
    import openai

    sdk = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    async def plain() -> str:
        reply = await sdk.chat.completions.create(model="bench", messages=QUESTION)
        return reply.choices[0].message.content or ""

    async def with_n() -> str:
        reply = await sdk.chat.completions.create(model="bench", messages=QUESTION, n=N)
        return max((choice.message.content or "" for choice in reply.choices), key=right)

    async def fan_out() -> str:
        ask = sdk.chat.completions.create
        replies = await asyncio.gather(*(ask(model="bench-no-n", messages=QUESTION) for _ in range(N)))
        return max((reply.choices[0].message.content or "" for reply in replies), key=right)

    return {"plain": plain, "n": with_n, "fan-out": fan_out}


def ttc(url: str) -> dict[str, Way]:
    """The same SDK, wrapped."""
    import openai
    import ttc_openai

    import ttc_middleware

    def judge(reply: Any) -> float:
        return right(reply.choices[0].message.content or "")

    sdk = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    sdk = ttc_openai.wrap(sdk, ttc_middleware.BestOfN(N, stop="all"), verifier=judge)

    def way(model: str) -> Way:
        async def call() -> str:
            reply = await sdk.chat.completions.create(model=model, messages=QUESTION)
            return reply.choices[0].message.content or ""

        return call

    return {"n": way("bench"), "fan-out": way("bench-no-n")}


def its_hub(url: str) -> dict[str, Way]:
    """its-hub's best-of-N with a verifier of our own, without the limit of 32 requests that it has by default."""
    logging.disable(logging.CRITICAL)
    import its_hub as hub

    class Judge(hub.AbstractOutcomeRewardModel):
        async def ascore(self, messages: Any, **_: Any) -> Any:
            several = isinstance(messages[0], list)
            scores = [right(talk[-1].content or "") for talk in (messages if several else [messages])]
            return scores if several else scores[0]

        def score(self, messages: Any, **_: Any) -> Any:
            raise NotImplementedError

    model = hub.OpenAICompatibleLanguageModel(endpoint=url, api_key="none", model_name="bench-no-n")
    search = hub.BestOfN(Judge(), orchestrator=hub.LMOrchestrator(max_concurrency=-1))

    async def fan_out() -> str:
        found = await search.ainfer(model, QUESTION[0]["content"], budget=N, return_response_only=False)
        return str(found.the_one.get("content"))

    return {"fan-out": fan_out}


CONTENDERS = {"client": client, "ttc": ttc, "its-hub": its_hub}
PACKAGES = ("ttc-middleware", "openai", "httpx", "aiohttp", "its-hub", "pydantic", "anyio", "opentelemetry-api")


async def latency(way: Way, calls: int) -> dict[str, Any]:
    """Milliseconds of calls one after the other."""
    seconds: list[float] = []
    for _ in range(calls):
        start = time.perf_counter()
        chosen = await way()
        seconds.append(time.perf_counter() - start)
        assert "answer is" in chosen
    return {"ms": [1e3 * each for each in seconds]}


async def throughput(way: Way, calls: int, in_flight: int) -> dict[str, Any]:
    """Calls a second with so many in flight, and the CPU that each took in this process."""
    left = iter(range(calls))
    scores: list[float] = []

    async def caller() -> None:
        for _ in left:
            scores.append(right(await way()))

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    took, used = time.perf_counter() - start, time.process_time() - cpu
    return {"per_second": calls / took, "cpu_ms": 1e3 * used / calls, "right": sum(scores) / calls}


def memory(*, collect: bool = True) -> dict[str, float]:
    """Resident memory in MiB."""
    if collect:
        gc.collect()
    with open("/proc/self/status") as status:  # noqa: PTH123  # no pathlib, to stay small
        sizes = dict(line.split(":", 1) for line in status)
    return {"mib": int(sizes["VmRSS"].split()[0]) / 1024}


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"python": sys.version.split()[0], **found}


async def work(contender: str, url: str) -> None:
    ways = CONTENDERS[contender](url)
    loop = asyncio.get_running_loop()
    print(json.dumps({"ways": list(ways), "versions": versions()}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        kind = command.pop("do")
        if kind == "memory":
            reply = memory()
        else:
            way = ways[command.pop("way")]
            reply = await {"latency": latency, "throughput": throughput}[kind](way, **command)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2]))
