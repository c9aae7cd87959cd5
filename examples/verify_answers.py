"""Short answers: Exact, Choice and Regex on what the embedded model says, MathAnswer and a vote on recorded answers."""

import json
from pathlib import Path
from typing import Any

import anyio
import openai

import ttc_local
import ttc_middleware as ttc
from ttc_middleware.verifiers import Choice, Exact, MathAnswer, Regex, math_classes

RECORDED = Path(__file__).with_name("data") / "math500.json"  # 40 problems, 8 answers each; source and licence inside

# Each with a question that shows the form, the answer to it, and the question.
TASKS: dict[str, tuple[Any, tuple[str, str, str]]] = {
    "Exact": (
        Exact(["Paris", "Paris, France"]),
        ("The capital of Italy?", "The answer is Rome.", "The capital of France?"),
    ),
    "Choice": (
        Choice("ABC", "C"),
        ("Which barks? (A) cat (B) dog (C) cow", "(B)", "Which is largest? (A) Mars (B) Venus (C) Jupiter"),
    ),
    "Regex": (
        Regex(r"\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])"),
        ("March 3, 2021", "2021-03-03", "October 5, 2012"),
    ),
}  # fmt: skip


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    async def answer(shown: str, reply: str, question: str) -> str:
        messages: Any = [
            {"role": "user", "content": shown},
            {"role": "assistant", "content": reply},
            {"role": "user", "content": question},
        ]
        said = await client.chat.completions.create(model=server.model, messages=messages, max_tokens=16)
        return said.choices[0].message.content or ""

    for name, (verifier, task) in TASKS.items():
        scaled = ttc.scale(ttc.BestOfN(8, at_once=1), verifier=verifier, name=name)(answer)
        print(await scaled.run(*task))  # of each rejected sample, what is wrong with it, and never what is right

    # Recorded answers to a problem of MATH-500, judged one by one, and put into classes for a vote.
    problem = next(each for each in json.loads(RECORDED.read_text())["questions"] if each["id"] == "math500-37")
    texts = [text for text, *_ in problem["answers"]]
    judge = MathAnswer(lambda gold: gold)
    for text in texts:
        verdict = await judge.check(text, arguments={"gold": problem["gold"]})
        print("right" if verdict.score == 1 else "wrong", repr(text))
    classes = await math_classes(texts)
    votes = [each for each in classes if each is not None]
    elected = texts[classes.index(max(votes, key=votes.count))]
    print("classes:", classes, "elected:", repr(elected), "gold:", problem["gold"])


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
