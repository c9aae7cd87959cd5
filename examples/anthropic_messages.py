"""Anthropic's client, scaled in one line: here on the model that comes along, which speaks the same protocol."""

import anthropic

import ttc_anthropic
import ttc_local
import ttc_middleware as ttc

QUESTION = "What is 17 + 25? Reply with the number only."


def main(server: ttc_local.Server) -> None:
    # For Claude: `anthropic.Anthropic()`. Nothing below changes.
    client = anthropic.Anthropic(base_url=server.base_url.removesuffix("/v1"), api_key="none")

    def is_right(message: anthropic.types.Message) -> bool:
        return any(block.type == "text" and "42" in block.text for block in message.content)

    scaled = ttc_anthropic.wrap(
        client,
        ttc.BestOfN(6, at_once=1),  # one after the other, until one passes
        verifier=is_right,
        budget=ttc.Budget(tokens=4_000, seconds=60),
    )
    asked: list[anthropic.types.MessageParam] = [{"role": "user", "content": QUESTION}]

    with ttc.tracking() as bill:
        message = scaled.messages.create(model=server.model, max_tokens=16, messages=asked)
    print("answer:", "".join(block.text for block in message.content if block.type == "text"))
    print(bill)

    voting = ttc_anthropic.wrap(client, ttc.SelfConsistency(3))
    with ttc.tracking() as bill, voting.messages.stream(model=server.model, max_tokens=16, messages=asked) as stream:
        print("winner:", "".join(stream.text_stream))  # streamed once it has won
    print(bill)


if __name__ == "__main__":
    with ttc_local.serve() as server:
        main(server)
