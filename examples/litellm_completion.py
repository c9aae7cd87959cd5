"""Any provider that LiteLLM reaches: the call inside stays what it is, and nine samples vote."""

import re

import anyio
import litellm

import ttc_local
import ttc_middleware as ttc


def last_number(text: str) -> int | None:
    """What a sample votes for; one without a number abstains."""
    numbers = re.findall(r"\d+", text)
    return int(numbers[-1]) if numbers else None


@ttc.scale(ttc.SelfConsistency(9, by=last_number), budget=ttc.Budget(tokens=20_000))
async def add(model: str, url: str, a: int, b: int) -> str:
    reply = await litellm.acompletion(
        model=model,
        api_base=url,
        api_key="none",
        messages=[{"role": "user", "content": f"What is {a} + {b}? End with: The answer is <number>."}],
        max_tokens=40,
    )
    return reply.choices[0].message.content


async def main(server: ttc_local.Server) -> None:
    result = await add.run(f"openai/{server.model}", server.base_url, 2, 3)
    print("votes: ", [last_number(sample.output) for sample in result.samples])
    print("answer:", last_number(result.output))
    print(result)


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
