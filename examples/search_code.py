"""Two searches for a program on the embedded model: wider or deeper (AB-MCTS), and by agreement (CodeSearch)."""

from typing import Any

import anyio
import openai

import ttc_local
import ttc_middleware as ttc
from ttc_local import Task
from ttc_middleware.verifiers import Behaviour, UnitTests

INPUTS = {"sum_of_squares": [0, 1, 2, 5, 9]}


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")
    tasks = {task.name: task for task in ttc_local.load_tasks()}

    async def write(task: Task) -> str:
        messages: Any = [{"role": "user", "content": f"{task.prompt} Reply with the code only."}]
        reply = await client.chat.completions.create(
            model=server.model, messages=messages, max_tokens=60, temperature=0.8, stop=["```\n"]
        )
        return reply.choices[0].message.content or ""

    # The share of tests that pass is the score, and says which answers are worth going on from.
    search = ttc.scale(ttc.ABMCTS(8), verifier=UnitTests(lambda task: task.tests), name="deeper or wider")(write)
    print(await search.run(tasks["average"]))

    # One public test lets wrong programs pass: those that do the same on further inputs vouch for each other.
    agreed = ttc.scale(
        ttc.CodeSearch(4, rounds=1, behaviour=Behaviour(lambda task: INPUTS[task.name])),
        verifier=UnitTests(lambda task: task.tests[:1]),
        name="by agreement",
    )(write)
    task = tasks["sum_of_squares"]
    result = await agreed.run(task)
    print(result)
    verdict = await UnitTests(task.tests).check(result.output)
    print(f"{verdict.score:.2f} of all tests. {verdict.feedback or ''}")


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
