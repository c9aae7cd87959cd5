"""A function that you have, full of plain openai calls, decorated without editing it."""

import openai

import ttc_local
import ttc_middleware as ttc

# ---- your module, as it is: synchronous, two calls, no word of test-time compute


def slogan(client: openai.OpenAI, model: str, product: str) -> str:
    question = f"Why do people like {product}? One sentence."
    facts = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}], max_tokens=16)
    reply = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "You write very short slogans."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": facts.choices[0].message.content},
            {"role": "user", "content": f"Now write a slogan for {product} in five words."},
        ],
        max_tokens=12,
    )
    return reply.choices[0].message.content or ""


# ---- what you add


def short_and_to_the_point(text: str, product: str) -> float:
    """A verifier: the output, then any arguments of the call by name; a score from 0 to 1."""
    named, brief, finished = product in text.lower(), len(text.split()) <= 10, text.endswith((".", "!"))
    return 0.5 * named + 0.3 * brief + 0.2 * finished


scaled_slogan = ttc.scale(ttc.BestOfN(4, stop="all"), verifier=short_and_to_the_point)(slogan)


def main(server: ttc_local.Server) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key="none")
    with ttc.tracking() as one:
        print(f"one sample: {slogan(client, server.model, 'tea')!r}")
    with ttc.tracking() as scaled:
        print(f"best of 4:  {scaled_slogan(client, server.model, 'tea')!r}")
    print("one sample took", one)
    print("best of 4 took ", scaled)


if __name__ == "__main__":
    with ttc_local.serve() as server:
        main(server)
