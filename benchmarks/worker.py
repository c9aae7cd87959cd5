"""One contender in a process of its own: reads commands as JSON lines, answers in JSON lines.

    python benchmarks/worker.py client|ttc|its-hub URL

Runs in the contender's own environment, so only the standard library is imported at the top. A contender has *ways* to
get eight completions judged by the same function, or one plain one; every way is timed by the same code.
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
    import openai  # noqa: PLC0415

    def ask() -> Any:
        # A client for each way: connections that one leaves open would slow the others down.
        return openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0).chat.completions.create

    def plain(create: Any) -> Way:
        async def call() -> str:
            return text(await create(model="bench", messages=QUESTION))

        return call

    def with_n(create: Any) -> Way:
        async def call() -> str:
            reply = await create(model="bench", messages=QUESTION, n=N)
            return max((choice.message.content for choice in reply.choices), key=right)

        return call

    def fan_out(create: Any) -> Way:
        async def call() -> str:
            replies = await asyncio.gather(*(create(model="bench-no-n", messages=QUESTION) for _ in range(N)))
            return max(map(text, replies), key=right)

        return call

    return {"plain": plain(ask()), "n": with_n(ask()), "fan-out": fan_out(ask())}


def ttc(url: str) -> dict[str, Way]:
    """The same SDK, wrapped."""
    import openai  # noqa: PLC0415

    import ttc_middleware  # noqa: PLC0415
    import ttc_openai  # noqa: PLC0415

    def judge(reply: Any) -> float:
        return right(text(reply))

    def way(model: str) -> Way:
        bare = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        wrapped = ttc_openai.wrap(bare, ttc_middleware.BestOfN(N, stop="all"), verifier=judge)

        async def call() -> str:
            return text(await wrapped.chat.completions.create(model=model, messages=QUESTION))

        return call

    return {"n": way("bench"), "fan-out": way("bench-no-n")}


def text(reply: Any) -> str:
    return reply.choices[0].message.content or ""


def its_hub(url: str) -> dict[str, Way]:
    """its-hub's best-of-N with a verifier of our own, without the limit of 32 requests that it has by default."""
    logging.disable(logging.CRITICAL)
    import its_hub as hub  # noqa: PLC0415

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
PACKAGES = (
    "ttc-middleware",
    "openai",
    "httpx",
    "httpx2",
    "aiohttp",
    "its-hub",
    "pydantic",
    "anyio",
    "opentelemetry-api",
)


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
            scores.append(right(await way()))  # noqa: PERF401  # clearer

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
    here = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    return {"python": sys.version.split()[0], **{name: here[name] for name in PACKAGES if name in here}}


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
