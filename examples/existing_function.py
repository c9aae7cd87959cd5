"""A function that you have, full of plain openai calls, decorated without editing it."""

import openai

import ttc_local
import ttc_middleware as ttc

# ---- your module, as it is: synchronous, two calls, no word of test-time compute


def slogan(client: openai.OpenAI, model: str, product: str) -> str:
    facts = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": f"Name one good thing about {product}."}], max_tokens=40
    )
    reply = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "You write very short slogans."},
            {"role": "user", "content": f"{facts.choices[0].message.content}\nA slogan for {product}, please."},
        ],
        max_tokens=30,
    )
    return reply.choices[0].message.content or ""


# ---- what you add


def short_and_to_the_point(text: str, product: str) -> ttc.Verdict:
    """A verifier: the output, then any arguments of the call by name."""
    words, named = len(text.split()), product.lower() in text.lower()
    feedback = None if named else f"The slogan does not mention {product}."
    return ttc.Verdict((0.5 if words <= 15 else 0.0) + (0.5 if named else 0.0), feedback=feedback)


scaled_slogan = ttc.scale(ttc.BestOfN(8), verifier=short_and_to_the_point)(slogan)

if __name__ == "__main__":
    with ttc_local.serve() as server, ttc.tracking() as bill:
        client = openai.OpenAI(base_url=server.base_url, api_key="none")
        print("single:", slogan(client, server.model, "tea"))
        print("best of 8:", scaled_slogan(client, server.model, "tea"))
        print("spent on both:", bill)
