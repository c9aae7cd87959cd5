"""The search that the examples beside this file trace: best of four, on the embedded model, with a price."""

import anyio
import openai

import ttc_local
import ttc_middleware as ttc


def search() -> ttc.Bill:
    """Run it; what comes back is what a tool has to show."""
    with ttc_local.serve() as server:
        ttc.configure(prices={server.model: ttc.Price(input="0.10", output="0.40")})  # dollars per million tokens

        @ttc.scale(ttc.BestOfN(4, stop="all"), verifier=lambda text: "blue" in text, name="colour_of")
        async def colour_of(thing: str) -> str:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as client:
                question = {"role": "user", "content": f"What colour is {thing}? One sentence."}
                reply = await client.chat.completions.create(model=server.model, messages=[question], max_tokens=30)
                return reply.choices[0].message.content or ""

        with ttc.tags(session="examples", user="ada"), ttc.tracking() as bill:
            anyio.run(colour_of, "the sky")
        return bill.bill
