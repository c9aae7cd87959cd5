"""A Pydantic AI agent whose model requests are scaled: its own output validator picks among the samples."""

import sys

from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelRetry, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import ttc_local
import ttc_middleware as ttc
from ttc_pydantic_ai import Scale, valid_output


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


def main(base_url: str, model: str) -> None:
    agent = Agent(
        OpenAIChatModel(model, provider=OpenAIProvider(base_url=base_url, api_key="none")),
        output_type=NativeOutput(Person),
        model_settings={"temperature": 1.0, "max_tokens": 60},
        retries=5,  # the agent's own, after a search in which no sample was valid
        capabilities=[Scale(ttc.BestOfN(8, at_once=1), verifier=valid_output, budget=ttc.Budget(tokens=10_000))],
    )

    @agent.output_validator
    def in_the_text(person: Person) -> Person:
        print("  a sample:", repr(person))  # and once more for the winner
        if (person.name, person.age) not in (("Ada", 36), ("Ben", 19)):
            raise ModelRetry("Take a name and that one's age from the text.")
        return person

    with ttc.tracking() as bill:
        done = agent.run_sync(f"Who is it, and how old? {TEXT}")
    print("answer:", repr(done.output))
    print("the run's usage:", done.usage.input_tokens + done.usage.output_tokens, "tokens")
    print("bill:", bill)


TEXT = "In 1851, at 36, Ada still worked on engines; her brother Ben was 19."

if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(*sys.argv[1:3])  # any OpenAI-compatible server, and its model
    else:
        with ttc_local.serve() as server:
            main(server.base_url, server.model)
