"""Structured output: samples that do not fit the schema are rejected, and Refine shows the model why."""

import anyio
import openai
from pydantic import BaseModel, Field, ValidationError

import ttc_local
import ttc_middleware as ttc


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, le=130)


SHOWN = [{"role": "user", "content": "Tom is 7."}, {"role": "assistant", "content": '{"name": "Tom", "age": 7}'}]
TEXT = "Maria (34) moved here from Lisbon."


async def main(server: ttc_local.Server) -> None:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    # The function parses its own answer. Schema knows that a ValidationError means: this answer is wrong.
    @ttc.verifiable(ttc.verifiers.Schema(Person))
    async def extract(text: str) -> Person:
        reply = await client.chat.completions.create(
            model=server.model, messages=[*SHOWN, {"role": "user", "content": text}], max_tokens=24
        )
        return Person.model_validate_json(reply.choices[0].message.content or "")

    with ttc.policy(ttc.BestOfN(8), budget=ttc.Budget(tokens=20_000)):
        print(repr(await extract(TEXT)))  # a Person, as before

    with ttc.policy(ttc.Refine(rounds=3)):
        try:
            result = await extract.run(TEXT)
        except ValidationError as error:  # not one that fits: what the plain call would have raised
            result = ttc.result_of(error)
    print(result)  # each sample, with what was wrong with it


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
