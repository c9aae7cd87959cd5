"""Ways to vote, on the embedded model: how many votes it takes, what one weighs, and which answers are the same."""

from typing import Any

import openai

import ttc_local
import ttc_middleware as ttc
import ttc_openai
from ttc_middleware.strategies import CISC, ESC, AdaptiveConsistency

ASKED = "The river was cold. Is that a place, a person or an animal? Say it in one word."
FORM = 'root ::= "place" | "person" | "animal"'
FIELDS = r'root ::= "{\"kind\": \"" ("place" | "person") "\", \"wet\": " ("true" | "false") "}"'
SENTENCE = 'root ::= [A-Z] [a-z, ]{20,60} "."'
CONFIDENT = 'root ::= ("place" | "person" | "animal") "\\nConfidence: " [1-9]? [0-9] "/100"'


def alike(one: str, other: str) -> bool:
    """Whether two answers are the same to us: neither is an animal, or both are."""
    return (one == "animal") == (other == "animal")


def main() -> None:
    votes: list[tuple[ttc.SelfConsistency, str]] = [
        (ttc.SelfConsistency(8), FORM),
        (ttc.SelfConsistency(24, stop=AdaptiveConsistency(0.95)), FORM),
        (ttc.SelfConsistency(24, stop=ESC(4)), FORM),
        (ttc.SelfConsistency(8, weight="logprob"), FORM),
        (ttc.SelfConsistency(8, weight=CISC()), CONFIDENT),
        (ttc.SelfConsistency(8, by="fields"), FIELDS),
        (ttc.SelfConsistency(5, by="universal", rounds=1), SENTENCE),
        (ttc.SelfConsistency(8, same=alike), FORM),
    ]
    with ttc_local.serve() as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="none")
        for strategy, form in votes:
            scaled = ttc_openai.wrap(client, strategy)
            more: dict[str, Any] = {"logprobs": True} if strategy.weight == "logprob" else {}
            with ttc.tracking(results=True) as spent:
                reply = scaled.chat.completions.create(
                    model=server.model,
                    messages=[{"role": "user", "content": ASKED}],
                    max_tokens=64,  # a sentence that is cut has no vote
                    temperature=1.0,
                    extra_body={"grammar": form},
                    **more,
                )
            (result,) = spent.results
            said = (reply.choices[0].message.content or "").partition("\n")[0]
            print(f"{strategy}: {said!r} after {len(result.samples)} samples; {spent.bill}")


if __name__ == "__main__":
    main()
