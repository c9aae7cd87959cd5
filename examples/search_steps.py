"""Search step by step on the embedded model: digits to be sorted, one a line, where a program checks lines for free."""

from typing import Any

import openai

import ttc_local
import ttc_middleware as ttc
import ttc_openai

SHOWN = ["4 2 9 7", "7 1 3 5", "5 8 6 2", "3 9 1 8"]
QUESTIONS = ["8 2 5 1", "6 9 4 3"]
FORM = r'root ::= [1-9] ("\n" [1-9]){0,8}'  # llama.cpp keeps a step to it, too: it binds what is new


def in_order(sample: ttc.Sample[Any], messages: Any) -> ttc.Verdict:
    """Whether these are the digits of the question in order, none left out; half a point at most for a part that is."""
    digits, wanted = (sample.text or "").split(), sorted(messages[-1]["content"].split()[1:])
    so_far = digits == wanted[: len(digits)]
    done = digits == wanted
    # What begins wrongly is never gone on with.
    first_bad = None if so_far else 0
    score = 1.0 if done else 0.5 * len(digits) / len(wanted) if so_far else 0.0
    return ttc.Verdict(score, accepted=done, first_bad=first_bad)


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
        ttc.BeamSearch(6, 3, depth=4, steps=steps),
        ttc.DVTS(6, 2, depth=4, steps=steps),
        ttc.MCTS(12, depth=4, exploration=0.5, steps=steps),
        ttc.ParticleFilter(6, depth=4, steps=steps),
        ttc.DVTS(4, 2, depth=4, steps=steps, value=ttc.MonteCarloValue(3, stop="all")),
    ]
    with ttc_local.serve() as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="none")
        for strategy in searches:
            scaled = ttc_openai.wrap(client, strategy, verifier=in_order)
            found = 0
            with ttc.tracking(results=True) as spent:
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
            cached = spent.bill.total.cached_tokens
            if cached is not None:  # what is dropped on the way has not said
                print(f"  {cached:,} prompt tokens came from the server's cache")
    # What the last one's roll-outs say of each prefix, to train a reward model on.
    rows = [row for result in spent.results for row in ttc.strategies.step_labels(result)]
    for row in rows[:3]:
        print(f"  {row['prefix']!r}: {row['verified']} of {row['rollouts']} roll-outs are right")


if __name__ == "__main__":
    main()
