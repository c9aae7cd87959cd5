"""Structured output: samples that do not fit the schema are rejected, and Refine shows the model why."""

import anyio
import openai
from pydantic import BaseModel, Field

import ttc_local
import ttc_middleware as ttc


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, le=130)


PROMPT = 'Text: Tom is 7 years old.\nJSON: {{"name": "Tom", "age": 7}}\n\nText: {text}\nJSON:'
TEXT = "Our neighbour Maria, who is 34 years old, moved here from Lisbon."


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    # The function parses its own answer. Schema knows that a ValidationError means: this answer is wrong.
    @ttc.verifiable(ttc.verifiers.Schema(Person))
    async def extract(text: str) -> Person:
        reply = await client.chat.completions.create(
            model=server.model,
            messages=[{"role": "user", "content": PROMPT.format(text=text)}],
            max_tokens=40,
        )
        return Person.model_validate_json(reply.choices[0].message.content or "")

    with ttc.policy(ttc.BestOfN(16), budget=ttc.Budget(tokens=20_000)):
        print(repr(await extract(TEXT)))  # a Person, as before

    with ttc.policy(ttc.Refine(rounds=4)):
        print(await extract.run(TEXT))  # each sample with what was wrong with it


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
