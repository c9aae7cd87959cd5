"""Search step by step on the embedded model: digits to be sorted, one a line, where a program checks lines for free."""

from typing import Any

import openai

import ttc_local
import ttc_middleware as ttc
import ttc_openai

SHOWN = ["4 2 9", "7 1 3", "5 8 6", "3 9 1"]
QUESTIONS = ["8 2 5", "6 9 4", "2 7 1"]
FORM = r'root ::= [1-9] ("\n" [1-9]){0,8}'  # llama.cpp keeps a step to it, too: it binds what is new


def in_order(sample: ttc.Sample[Any], messages: Any) -> ttc.Verdict:
    """Whether these are digits of the question in order; half a point for the part of an answer that is."""
    digits, given = (sample.text or "").split(), messages[-1]["content"].split()[1:]
    rising = digits == sorted(digits) and len({*digits} & {*given}) == len(digits)
    done = rising and len(digits) == len(given)
    return ttc.Verdict(1.0 if done else 0.5 * len(digits) / len(given) if rising else 0.0, accepted=done)


def asked(question: str) -> Any:
    """The prompt: a few questions with their answers, then this one."""
    said: list[dict[str, str]] = []
    for shown in SHOWN:
        answer = "\n".join(sorted(shown.split()))
        said += [{"role": "user", "content": f"Sort: {shown}"}, {"role": "assistant", "content": answer}]
    return [*said, {"role": "user", "content": f"Sort: {question}"}]


def main() -> None:
    steps = ttc.Steps("\n", max_tokens=4)
    searches: list[ttc.Strategy] = [
        ttc.Single(),
        ttc.BeamSearch(4, 2, depth=3, steps=steps),
        ttc.MCTS(9, depth=3, exploration=0.5, steps=steps),
        ttc.ParticleFilter(4, depth=3, steps=steps),
    ]
    with ttc_local.serve() as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="none")
        for strategy in searches:
            scaled = ttc_openai.wrap(client, strategy, verifier=in_order)
            found = 0
            with ttc.tracking() as spent:
                for question in QUESTIONS:
                    reply = scaled.chat.completions.create(
                        model=server.model,
                        messages=asked(question),
                        max_tokens=12,
                        temperature=0.8,
                        extra_body={"grammar": FORM},
                    )
                    found += (reply.choices[0].message.content or "").split() == sorted(question.split())
            print(f"{type(strategy).__name__}: {found} of {len(QUESTIONS)} right; {spent}")
            print(f"  {spent.bill.total.cached_tokens:,} prompt tokens came from the server's cache")


if __name__ == "__main__":
    main()
