"""Spending by difficulty on the embedded model: a cascade, four ways to choose a tier, and a task in parts."""

import re
from typing import Any

import anyio
import openai

import ttc_local
import ttc_middleware as ttc
from ttc_middleware.strategies import Agreement, Classify, FirstScore, Tier


def numbers(text: str) -> list[str]:
    """The whole numbers in a text."""
    return re.findall(r"-?\d+", text)


def last(text: str) -> str | None:
    """What votes are counted by: the number that an answer ends with; None abstains."""
    return next(reversed(numbers(text)), None)


def adds_up(text: str, sums: list[tuple[int, int]]) -> float:
    """The share of the sums whose result is among the numbers of the text."""
    return sum(str(a + b) in numbers(text) for a, b in sums) / len(sums)


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    async def reckon(sums: list[tuple[int, int]]) -> str:
        task = "What is " + ", and ".join(f"{a} + {b}" for a, b in sums) + "? Give the result only."
        messages: Any = [{"role": "user", "content": task}]
        reply = await client.chat.completions.create(model=server.model, messages=messages, max_tokens=20)
        return reply.choices[0].message.content or ""

    # Only one model comes along, so both tiers are the same here; the second would be a larger one.
    cascade = ttc.Cascade([Tier(lead=2, cap=3), Tier(server.model, lead=2, cap=6)], by=last)
    print(await ttc.scale(cascade)(reckon).run([(3, 4)]))

    tiers: dict[str, ttc.Strategy] = {"easy": ttc.Single(), "medium": ttc.BestOfN(4), "hard": ttc.BestOfN(8)}
    for difficulty in (Agreement(by=last), FirstScore([0.9, 0.5]), Classify(), how_many):
        adaptive = ttc.Adaptive(difficulty, tiers)
        print(await ttc.scale(adaptive, verifier=adds_up)(reckon).run([(2, 2)]))

    # A model of this size divides nothing sensibly; a function of the arguments does.
    parts = ttc.Decompose(in_parts, ttc.SelfConsistency(3, by=last), parts=3, draws=9)
    print(await ttc.scale(parts, verifier=adds_up)(reckon).run([(3, 4), (2, 6)]))


def how_many(sums: list[tuple[int, int]]) -> str:
    """The tier of a call, by nothing but its arguments."""
    return "easy" if len(sums) == 1 else "hard"


def in_parts(sums: list[tuple[int, int]]) -> list[str]:
    """One part for each sum."""
    return [f"What is {a} + {b}?" for a, b in sums]


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
