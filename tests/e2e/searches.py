"""The searches that the tools are shown: what was spent on each, by its bill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anyio
import openai
from provider import Provider, Reply

import ttc_local
import ttc_middleware as ttc
import ttc_openai

PRICE = ttc.Price(input="250", output="1000")  # dear, so that tools which round to cents show something
REASONER = "reasoner-1"
_GRADE = {
    "type": "json_object",
    "schema": {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": 60},
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
        },
        "required": ["reason", "score"],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True)
class Truth:
    """What a search has cost, and where it is in the traces."""

    name: str
    """Of the function, as in `gen_ai.workflow.name`."""
    input: int
    output: int
    reasoning: int | None
    usd: Decimal


def run(server: ttc_local.Server) -> list[Truth]:
    """Run them all, one after the other; each is a trace."""
    ttc.configure(prices={server.model: PRICE, REASONER: PRICE})
    with Provider(lambda body, number: Reply("forty two" if number == 2 else "no idea", reasoning=40 + number)) as own:

        async def searches() -> list[Truth]:
            return [await _best_of_8(server), await _judged(server), await _reasoning(own)]

        return anyio.run(searches)


async def _best_of_8(server: ttc_local.Server) -> Truth:
    task = next(task for task in ttc_local.load_tasks(ttc_local.TASKS) if task.entry)
    verifier = ttc.verifiers.UnitTests(task.tests, entry=task.entry)
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:

        @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=verifier, name="write_function")
        async def write_function(prompt: str) -> str:
            reply = await client.chat.completions.create(
                model=server.model,
                messages=[{"role": "user", "content": ttc_local.PROMPT.format(prompt=prompt)}],
                max_tokens=ttc_local.MAX_TOKENS,
                temperature=ttc_local.TEMPERATURE,
                stop=ttc_local.STOP,
            )
            return reply.choices[0].message.content or ""

        return await _told("write_function", write_function, task.prompt)


async def _judged(server: ttc_local.Server) -> Truth:
    judge = ttc.verifiers.Judge(
        ttc_local.ask(server, response_format=_GRADE), "Right, and one sentence.", passes=3, prompt="What is the sky?"
    )
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:

        @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=judge, name="describe")
        async def describe(thing: str) -> str:
            question = {"role": "user", "content": f"What is {thing}? One sentence."}
            reply = await client.chat.completions.create(model=server.model, messages=[question], max_tokens=30)
            return reply.choices[0].message.content or ""

        return await _told("describe", describe, "the sky")


async def _reasoning(provider: Provider) -> Truth:
    async with openai.AsyncOpenAI(base_url=provider.url, api_key="none") as plain:
        client = ttc_openai.wrap(plain)

        @ttc.scale(ttc.BestOfN(4, stop="all"), verifier=lambda text: "two" in text, name="think")
        async def think(question: str) -> str:
            messages = [{"role": "user", "content": question}]
            reply = await client.chat.completions.create(model=REASONER, messages=messages)
            return reply.choices[0].message.content or ""

        truth = await _told("think", think, "what is six times seven")
    billed = provider.settled()
    assert (truth.input, truth.output, truth.reasoning) == (billed.prompt, billed.completion, billed.reasoning)
    return truth


async def _told(name: str, ask: Any, argument: str) -> Truth:
    with ttc.tags(session="e2e", user="ada"):
        result = await ask.run(argument)
    bill = result.bill
    assert bill.status == "exact", bill
    assert bill.total.usd is not None
    print(f"{name}: {bill}")
    # A model that does not report its thinking has not said that there is none; tools show no figure for either.
    reasoning = bill.total.reasoning_tokens or None
    return Truth(name, bill.total.input_tokens, bill.total.output_tokens, reasoning, bill.total.usd)


def models(server: ttc_local.Server) -> Sequence[str]:
    """Whose prices a tool has to know."""
    return server.model, REASONER
