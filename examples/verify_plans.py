"""Plans and proofs: Constraints, GoalState and Logic judge what the embedded model writes, and say what is wrong."""

from typing import Any

import anyio
import openai

import ttc_local
import ttc_middleware as ttc
from ttc_middleware.verifiers import Constraints, GoalState, Logic

# ---- Constraints: named rules; the score is the share that holds, the feedback names those that are broken.


def brief(text: str) -> bool:
    """It has at most sixteen words."""
    return len(text.split()) <= 16


def names_it(text: str, ask: str) -> bool:
    """It names the thing that it is about."""
    return ask.rpartition(" ")[2].rstrip(".") in text.lower()


# ---- GoalState: a plan is run step by step, from a state to a goal. Here: so many cups of a tray of six.


def pour(full: int, step: str) -> int | None:
    return full + 1 if step == "fill" and full < 6 else None  # None: an illegal step


def as_asked(full: int, ask: str) -> bool:
    return ask == f"Fill {full} cups."


# ---- Logic: z3 proves whether what the model concludes follows from the premise, which is the call's argument.

FOLLOWS = Logic("entailment", lambda ask: f"(declare-const x Int) {ask}")

# Each with questions and answers that show the form, and its question.
CUPS = [("Fill 2 cups.", "fill\nfill"), ("Fill 4 cups.", "fill\nfill\nfill\nfill")]
PROOFS = [("(assert (> x 7))", "(assert (> x 6))"), ("(assert (< x 20))", "(assert (< x 25))")]
TASKS: list[tuple[Any, list[tuple[str, str]], str]] = [
    (Constraints([brief, names_it]), [], "Write one short sentence that praises tea."),
    (GoalState(0, pour, as_asked), CUPS, "Fill 5 cups."),
    (FOLLOWS, PROOFS, "(assert (> x 12))"),
]


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    roles = ("user", "assistant")
    for verifier, shown, question in TASKS:
        turns = [{"role": role, "content": text} for pair in shown for role, text in zip(roles, pair, strict=True)]

        @ttc.scale(ttc.BestOfN(12, at_once=1), verifier=verifier, name=type(verifier).__name__)
        async def answer(ask: str, before: Any = turns) -> str:
            messages: Any = [*before, {"role": "user", "content": ask}]
            reply = await client.chat.completions.create(model=server.model, messages=messages, max_tokens=32)
            return reply.choices[0].message.content or ""

        result = await answer.run(question)
        print(repr(result.output), "\n", result, sep="")


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
