"""LangChain without an agent: a scaled chat model in a chain, a scaled node in a graph, and a handler that counts."""

import anyio
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, Field

import ttc_local
import ttc_middleware as ttc
from ttc_langchain import ObserveModelCalls, scale_model, scale_node


class Sum(BaseModel):
    total: int = Field(ge=0, le=999)


def short(update: dict, state: MessagesState) -> float:
    """A verifier of what a node returns; by name, it gets what the node was given."""
    text, asked = update["messages"][-1].text, state["messages"][0].text
    return 1 / (1 + abs(len(text.split()) - 5)) if text not in asked else 0.0


async def main(server: ttc_local.Server) -> None:
    model = ChatOpenAI(model=server.model, base_url=server.base_url, api_key="none", max_tokens=24, temperature=0.8)

    # A chain: five samples vote on the parsed total, and the chain goes on with one.
    voting = scale_model(model, ttc.SelfConsistency(5))
    prompt = ChatPromptTemplate.from_template("What is {a} + {b}? Answer in JSON.")
    chain = prompt | voting.with_structured_output(Sum)
    with ttc.tracking() as bill:
        print("total: ", await chain.ainvoke({"a": 2, "b": 3}))
    print("chain: ", bill)

    # A graph: the whole node is drawn four times; its stream shows the winner once.
    async def slogan(state: MessagesState) -> dict:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("slogan", scale_node(slogan, ttc.BestOfN(4, stop="all"), verifier=short))
    graph.add_edge(START, "slogan")
    asked = {"messages": [("user", "A slogan for tea, in five words.")]}
    with ttc.tracking() as bill:
        async for message, _ in graph.compile().astream(asked, stream_mode="messages"):
            print("slogan:", repr(message.text))
    print("graph: ", bill)

    # Nothing scaled: what passes is counted, once, whether or not the SDK below is instrumented.
    with ttc.tracking() as bill:
        await model.ainvoke("Hello!", {"callbacks": [ObserveModelCalls()]})
    print("plain: ", bill)


if __name__ == "__main__":
    with ttc_local.serve() as server:
        anyio.run(main, server)
