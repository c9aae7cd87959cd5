"""Opinions: Judge, RewardModel and ProcessReward, a Chain of a check and a judge, and verdicts that are Cached."""

import json
from pathlib import Path
from typing import Any

import anyio
import openai

import ttc_local
import ttc_middleware as ttc
from ttc_middleware.verifiers import Cached, Chain, Judge, Platt, ProcessReward, RewardModel, judge_steps

RECORDED = json.loads((Path(__file__).with_name("data") / "math500.json").read_text())  # source and licence inside
REASON = {"type": "string", "maxLength": 40}


def reply_of(**fields: Any) -> dict[str, Any]:
    """A reply of this form and nothing else: small models need it, and most servers can do it."""
    schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}


def names_it(text: str, drink: str) -> bool:
    return drink in text.lower()


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    # A judge is any function of messages. This one is far too small: see `measure_verifier.py` before you rely on one.
    points = reply_of(reason=REASON, score={"type": "integer", "minimum": 1, "maximum": 5})
    ask = ttc_local.ask(server, temperature=0, max_tokens=100, response_format=points)
    judge = Judge(ask, "One short sentence that praises tea.", passes=3)

    verifier = Cached(Chain(names_it, judge))  # the check comes first, the judge sees what passed it, once

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=verifier)
    async def praise(drink: str) -> str:
        messages: Any = [{"role": "user", "content": f"Write one short sentence that praises {drink}."}]
        reply = await client.chat.completions.create(model=server.model, messages=messages, max_tokens=24)
        return reply.choices[0].message.content or ""

    result = await praise.run("tea")
    print(result)  # the judge's tokens are on the bill, as verifying
    with ttc.tracking() as again:
        print("judged again:", (await verifier.check(result.output, arguments={"drink": "tea"})).score)
    print("for", again)

    # A reward model is any function of task and answer, or a server's address. This one's scores are recorded.
    recorded = {text: (score, right) for each in RECORDED["questions"] for text, right, score in each["answers"]}
    curve = Platt.fit(*zip(*recorded.values(), strict=True))  # from its raw score to a probability
    reward = RewardModel(lambda _task, answer: recorded[answer][0], calibrate=curve)
    for text in (min(recorded, key=recorded.__getitem__), max(recorded, key=recorded.__getitem__)):
        print(f"reward model: {recorded[text]} {(await reward.check(text)).feedback}")

    # Step by step: 242 is 2 * 11 * 11, so the first step is wrong already.
    solution = RECORDED["solution"]
    each = {"type": "integer", "minimum": 0, "maximum": 10}
    scores = reply_of(reason=REASON, scores={"type": "array", "items": each, "minItems": 3, "maxItems": 3})
    steps = judge_steps(ttc_local.ask(server, temperature=0, max_tokens=100, response_format=scores))
    verdict = await ProcessReward(steps, aggregate="min", prompt=solution["task"]).check(solution["text"])
    print(f"steps: {verdict.score} ({verdict.trust} trust). {verdict.feedback}")
    print(f"the reward model gave all of it {solution['reward']}: right is {solution['right']}")


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
