"""Best-of-8 with unit tests as the verifier, on a model that comes along: no account, no key."""

import anyio
import openai

import ttc_local
import ttc_middleware as ttc

TASK = "Write a Python function digit_sum(n) that returns the sum of the digits of n. Reply with the code only."
TESTS = ["assert digit_sum(0) == 0", "assert digit_sum(7) == 7", "assert digit_sum(12345) == 15"]
BUDGET = ttc.Budget(tokens=10_000, seconds=60)


async def main() -> None:
    server = await anyio.to_thread.run_sync(ttc_local.serve)
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:

        @ttc.scale(ttc.BestOfN(8, at_once=1), verifier=ttc.verifiers.UnitTests(TESTS), budget=BUDGET)
        async def write(task: str) -> str:
            reply = await client.chat.completions.create(
                model=server.model, messages=[{"role": "user", "content": task}], max_tokens=60, stop=["```\n"]
            )
            return reply.choices[0].message.content or ""

        result = await write.run(TASK)
    server.close()
    print(result.output)  # what `await write(TASK)` returns
    print(result)  # and the whole story: verdicts, samples, the bill


if __name__ == "__main__":
    anyio.run(main)
