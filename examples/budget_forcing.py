"""A model that comes along thinks for exactly so many tokens, then has to answer: no account, no key.

It is small and does not reason: what is shown is who decides how long it thinks, not that the answer gets better.
"""

import openai

import ttc_local
import ttc_middleware as ttc
import ttc_openai

QUESTION = "A train takes 40 minutes for 60 km. How far does it get in 2 hours?"


def main(server: ttc_local.Server) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key="none")
    # Where it stops thinking before 48 tokens it is told to wait; at 48 it is told to answer.
    strategy = ttc.BudgetForcing(min_tokens=48, max_tokens=48, times=20)
    thinker = ttc_openai.wrap(client, strategy, verifier=ttc.verifiers.Regex(r"(?s).*\d.*"))
    # The server is asked, once, whether it goes on with a partial answer.
    thinker.chat.completions.create(model=server.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=4)
    with ttc.tracking() as bill:
        reply = thinker.chat.completions.create(
            model=server.model,
            messages=[{"role": "user", "content": QUESTION}],
            max_tokens=24,  # of the answer
        )
    message = reply.choices[0].message
    # Where such servers put thoughts; the SDK lets it pass.
    print(f"thought: {getattr(message, 'reasoning_content', None)}")
    print(f"said:    {message.content}")
    print(f"bill:    {bill}")
    print(f"tokens of thinking: {bill.reasoning.output_tokens}")


if __name__ == "__main__":
    with ttc_local.serve() as server:
        main(server)
