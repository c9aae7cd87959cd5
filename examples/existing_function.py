"""A function that you have, full of plain openai calls, decorated without editing it."""

import openai

import ttc_local
import ttc_middleware as ttc

# ---- your module, as it is: synchronous, two calls, no word of test-time compute


def slogan(client: openai.OpenAI, model: str, product: str) -> str:
    question = f"Why do people like {product}? One sentence."
    facts = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}], max_tokens=20)
    reply = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "You write very short slogans."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": facts.choices[0].message.content},
            {"role": "user", "content": f"Now write a slogan for {product} in five words."},
        ],
        max_tokens=16,
    )
    return reply.choices[0].message.content or ""


# ---- what you add


def short_and_to_the_point(text: str, product: str) -> ttc.Verdict:
    """A verifier: the output, then any arguments of the call by name."""
    named, finished, brief = product in text.lower(), text.endswith((".", "!")), len(text.split()) <= 8
    return ttc.Verdict((named + finished + brief) / 3)


scaled_slogan = ttc.scale(ttc.BestOfN(8, stop="all"), verifier=short_and_to_the_point)(slogan)

if __name__ == "__main__":
    with ttc_local.serve() as server, openai.OpenAI(base_url=server.base_url, api_key="none") as client:
        with ttc.tracking() as once:
            print("one sample: ", repr(slogan(client, server.model, "tea")))
        with ttc.tracking() as scaled:
            print("best of 8:  ", repr(scaled_slogan(client, server.model, "tea")))
        print("the one cost", once)
        print("the other   ", scaled)
