"""Best-of-8 with unit tests as the verifier, on a model that comes along: no account, no key."""

import openai

import ttc_local
import ttc_middleware as ttc

TASK = "Write a Python function digit_sum(n) that returns the sum of the digits of n. Reply with the code only."
TESTS = ["assert digit_sum(0) == 0", "assert digit_sum(7) == 7", "assert digit_sum(12345) == 15"]


def main(server: ttc_local.Server) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key="none")

    @ttc.scale(
        ttc.BestOfN(8, at_once=1),  # one after the other, until one passes
        verifier=ttc.verifiers.UnitTests(TESTS),
        budget=ttc.Budget(tokens=10_000, seconds=60),
    )
    def write(task: str) -> str:
        reply = client.chat.completions.create(
            model=server.model, messages=[{"role": "user", "content": task}], max_tokens=60
        )
        return reply.choices[0].message.content or ""

    result = write.run(TASK)
    print(result.output)  # what `write(TASK)` returns
    print(result)  # and the whole story: verdicts, samples, the bill


if __name__ == "__main__":
    with ttc_local.serve() as server:
        main(server)
