"""How good is my verifier? measure() on 320 recorded answers, and Measured on a function that you decorate."""

import json
import warnings
from pathlib import Path
from typing import Any

import anyio

import ttc_middleware as ttc
from ttc_middleware.verifiers import Labelled, Measured, RewardModel, math_classes, measure

RECORDED = Path(__file__).with_name("data") / "math500.json"  # 40 problems, 8 answers each; source and licence inside
QUESTIONS = json.loads(RECORDED.read_text())["questions"]
REWARDS: dict[str, float] = {text: reward for each in QUESTIONS for text, _, reward in each["answers"]}


def boxed(text: str) -> bool:
    """A verifier that many would write first: the model was told to put its answer into a box."""
    return "\\boxed" in text


def reward(_task: str, answer: str) -> float:
    """What a reward model of 1.5 billion parameters has said of this answer; here, it is looked up."""
    return REWARDS[answer]


async def main() -> None:
    # Labelled answers: the output, whether it is right, the call's arguments, and which question it answers.
    labelled = [
        Labelled(text, right, {"task": each["id"]}, group=each["id"])
        for each in QUESTIONS
        for text, right, _ in each["answers"]
    ]

    # What a majority votes on: classes of equal results, `1/2` with `0.5`.
    votes: dict[str, str | None] = {}
    for each in QUESTIONS:
        texts = [text for text, *_ in each["answers"]]
        for text, number in zip(texts, await math_classes(texts), strict=True):
            votes[text] = None if number is None else f"{each['id']}: {number}"

    prm = RewardModel(reward, scale="probability", passes=0.75)
    for verifier in (boxed, prm):
        print(await measure(verifier, labelled, by=votes.get))

    # A verifier that carries its measurement warns once, where it decorates a function that it is not good enough for.
    measured = Measured(boxed, await measure(boxed, labelled, by=votes.get))
    with warnings.catch_warnings(record=True) as warned:

        @ttc.scale(ttc.BestOfN(8), verifier=measured)
        async def solve(task: str) -> Any:
            ttc.record_usage(ttc.Usage(calls=0))  # no model here: a recorded answer
            return next(each.output for each in labelled if each.group == task)

    print("warned:", warned[-1].message)
    print("at n = 8, is it worth it?", measured.measurement.worth_it(8))
    print(f"it still judges: {(await solve.run('math500-3')).accepted}")


if __name__ == "__main__":
    anyio.run(main)
