"""A LangChain agent whose model calls are scaled: the samples vote on which tool to call, and the tool runs once."""

import sys

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

import ttc_middleware as ttc
from ttc_langchain import ScaleModelCalls


def order_tea(cups: int) -> str:
    """Order so many cups of tea."""
    print(f"  ordering {cups} cups")  # a side effect: seen once, however many samples asked for it
    return f"{cups} cups are on their way"


def main(base_url: str, model: str) -> None:
    scaled = ScaleModelCalls(ttc.SelfConsistency(8), budget=ttc.Budget(tokens=20_000))
    agent = create_agent(
        ChatOpenAI(model=model, base_url=base_url, api_key="none"),
        [order_tea],
        system_prompt="You order tea for the guests.",
        middleware=[scaled],
    )
    with ttc.tracking() as bill:
        state = agent.invoke({"messages": [HumanMessage("Three guests, two cups each, please.")]})
    print("answer:", state["messages"][-1].text)
    print("in the agent's state:", state["ttc_usage"])
    print("bill:", bill)


if __name__ == "__main__":
    main(*sys.argv[1:3])  # an OpenAI-compatible server and a model that calls tools
