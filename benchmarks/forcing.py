"""Budget forcing on the embedded model: does it think for exactly so many tokens, and does it answer?

A mechanical test: SmolLM2-135M does not reason, so nothing is said here of answers that are right. Asked for a sum, it
"thinks" for exactly 24 tokens, whatever it would rather do, or for at most 24 at a temperature that lets it stop early;
then it is asked for the answer, a number, which `extra_body={"grammar": …}` holds it to, and a verifier reads that.
Streams are capped at 24 too, which counts what their reader is shown: what the server makes before it notices that its
stream was closed (a token or two, in llama.cpp) it tells nobody.

Tokens are counted by llama.cpp itself (`timings.predicted_n`), read off the wire beside the library, and compared with
what was asked for and with the bill.

    poe bench-forcing
    poe bench-forcing --quick    fewer runs, and it fails where a target is missed: for CI
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from dataclasses import dataclass, field

import anyio
import httpx
import openai
from report import Figure, Target, show

import ttc_local
import ttc_middleware as ttc
import ttc_openai

TOKENS = 24
ANSWER = ttc.verifiers.Regex(r"(Final Answer:)?\s*-?\d+")
EXACT = ttc.BudgetForcing(min_tokens=TOKENS, max_tokens=TOKENS, times=50)
AT_MOST = ttc.BudgetForcing(max_tokens=TOKENS, times=1)


@dataclass
class Seen:
    """What went over the wire for one run."""

    thought: int = 0
    answered: int = 0
    prompts: int = 0
    steps: int = 0
    cut: bool = False
    """The last step of thinking ended at the limit, not by itself."""


@dataclass
class Wire:
    """Reads every response beside the library: its run is told by the seed."""

    runs: dict[int, Seen] = field(default_factory=lambda: defaultdict(Seen))

    async def read(self, response: httpx.Response) -> None:
        await response.aread()
        sent, said = json.loads(response.request.content), response.json()
        if "seed" not in sent:  # how the server goes on with a partial answer
            return
        seen = self.runs[sent["seed"]]
        made = said["timings"]["predicted_n"]
        seen.prompts += said["usage"]["prompt_tokens"]
        if "</think>" in (sent.get("stop") or ()):
            seen.steps, seen.thought = seen.steps + 1, seen.thought + made
            seen.cut = said["choices"][0]["finish_reason"] == "length"
        else:
            seen.answered += made


async def measured(
    server: ttc_local.Server, strategy: ttc.BudgetForcing, runs: int
) -> tuple[Wire, list[str], ttc.Bill]:
    wire, answers = Wire(), [""] * runs
    limit = anyio.CapacityLimiter(8)
    async with openai.DefaultAsyncHttpxClient(event_hooks={"response": [wire.read]}) as http:
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none", http_client=http)
        scaled = ttc_openai.wrap(client, strategy)

        async def one(seed: int) -> None:
            chance = random.Random(seed)
            question = f"What is {chance.randint(1, 9)} + {chance.randint(1, 9)}?"
            async with limit:
                reply = await scaled.chat.completions.create(
                    model=server.model,
                    messages=[{"role": "user", "content": question}],
                    max_tokens=8,
                    seed=seed,
                    temperature=0.8,
                    extra_body={"grammar": 'root ::= " " [0-9]{1,3}'},
                )
            answers[seed] = reply.choices[0].message.content or ""

        await scaled.chat.completions.create(
            model=server.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=1
        )
        with ttc.tracking() as bill:
            async with anyio.create_task_group() as group:
                for seed in range(runs):
                    group.start_soon(one, seed)
    return wire, answers, bill.bill


async def capped(server: ttc_local.Server, runs: int) -> tuple[list[int], list[str]]:
    """Tokens of thinking shown beyond the cap, by llama.cpp's running count, and what is said after it."""
    over, answers = [0] * runs, [""] * runs
    limit = anyio.CapacityLimiter(8)
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:
        asked = ttc.Thinking(tokens=TOKENS)
        scaled = ttc_openai.wrap(client, ttc.Single(), thinking=asked, backend="llama.cpp")

        async def one(seed: int) -> None:
            question = {"role": "user", "content": "Tell me a long story about a river."}
            begun = {"role": "assistant", "content": "<think>\nOnce"}  # or this model would not think at all
            messages = [question, begun]
            async with limit:
                stream = await scaled.chat.completions.create(
                    model=server.model, messages=messages, max_tokens=300, seed=seed, stream=True
                )
                async for event in stream:
                    text = event.choices[0].delta.content or "" if event.choices else ""
                    if "</think>" not in answers[seed]:
                        made = (getattr(event, "timings", None) or {}).get("predicted_n", 0)
                        over[seed] = max(over[seed], made - TOKENS)
                    answers[seed] += text

        async with anyio.create_task_group() as group:
            for seed in range(runs):
                group.start_soon(one, seed)
    return over, answers


async def parsed(answers: list[str]) -> float:
    good = 0
    for answer in answers:
        verdict = await ANSWER.check(answer, arguments={})
        good += verdict.score == 1
    return 100 * good / len(answers)


async def compared(server: ttc_local.Server, runs: int) -> list[Target]:
    targets: list[Target] = []
    for name, strategy in (("exactly 24", EXACT), ("at most 24", AT_MOST)):
        wire, answers, bill = await measured(server, strategy, runs)
        seen = list(wire.runs.values())
        assert len(seen) == runs, "a run was not seen on the wire"
        off = [abs(each.thought - TOKENS) if strategy is EXACT or each.cut else max(0, each.thought - TOKENS)
               for each in seen]  # fmt: skip
        thought, answered = sum(each.thought for each in seen), sum(each.answered for each in seen)
        prompts = sum(each.prompts for each in seen)
        wrong = abs(bill.total.output_tokens - thought - answered) + abs(bill.total.input_tokens - prompts)
        wrong += abs(bill.reasoning.output_tokens - thought)
        targets += [
            Target(Figure(f"{name}: tokens off, worst of {runs}", "tokens", [max(off)]), 0),
            Target(Figure(f"{name}: the bill is off by", "tokens", [wrong]), 0),
            Target(Figure(f"{name}: answers that parse", "%", [await parsed(answers)]), 99, "higher"),
            Target(Figure(f"{name}: steps of thinking a run", "", [sum(each.steps for each in seen) / runs])),
            Target(Figure(f"{name}: ended by themselves", "%", [100 * sum(not each.cut for each in seen) / runs])),
            Target(Figure(f"{name}: prompt tokens a run, each step's", "tokens", [prompts / runs])),
        ]
    few = max(8, runs // 5)
    over, answers = await capped(server, few)
    said = sum(bool(answer.partition("</think>")[2].strip()) for answer in answers)
    targets += [
        Target(Figure(f"streams capped at {TOKENS}: shown beyond, worst of {few}", "tokens", [max(over)]), 2),
        Target(Figure(f"streams capped at {TOKENS}: with something said after it", "%", [100 * said / few])),
    ]
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="for CI")
    runs = 24 if parser.parse_args().quick else 200
    with ttc_local.serve(parallel=8) as server:
        targets = anyio.run(compared, server, runs)
    rows = [
        [each.figure.name, f"{each.figure.median:.4g} {each.figure.unit}", each.said, each.verdict] for each in targets
    ]
    show(
        "Budget forcing on SmolLM2-135M (a mechanical test: it does not reason)",
        ["figure", "measured", "target", ""],
        rows,
    )
    if any(each.met is False for each in targets):
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
