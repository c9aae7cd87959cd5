"""What the LangChain adapter adds to one call, in CPU time of this process: no HTTP, a model that answers at once.

    python benchmarks/chains.py [--calls 200] [--runs 7]

Each contender makes the same calls, in turns; a line has the lowest run of one, and what it adds to the bare one. An
agent with a middleware that only writes to the state, as ours has to, stands between the two: that part is LangChain's.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

import ttc_middleware as ttc
from ttc_langchain import ObserveModelCalls, ScaledState, ScaleModelCalls, scale_model, scale_node

USAGE = {"input_tokens": 20, "output_tokens": 50, "total_tokens": 70}
ASK = {"messages": [HumanMessage("how many?")]}


class Instant(BaseChatModel):
    """Answers at once."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        message = AIMessage("The answer is 42.", usage_metadata=USAGE)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
        return self._generate()


class Writing(AgentMiddleware[ScaledState, Any, Any]):
    """Does nothing but write to the agent's state."""

    state_schema = ScaledState

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> ExtendedModelResponse:
        update = {"ttc_usage": {"calls": 1, "status": "exact"}}
        return ExtendedModelResponse(await handler(request), Command(update=update))


def contenders() -> dict[str, Callable[[], Awaitable[Any]]]:
    model, strategy = Instant(), ttc.Single()

    async def answer(state: MessagesState) -> dict[str, Any]:
        ttc.record_usage(ttc.Usage(input_tokens=20, output_tokens=50))
        return {"messages": [await model.ainvoke(state["messages"])]}

    def graph(node: Any) -> Any:
        return StateGraph(MessagesState).add_node("answer", node).add_edge(START, "answer").compile()

    bare_agent, agent = create_agent(model), create_agent(model, middleware=[ScaleModelCalls(strategy)])
    writing = create_agent(model, middleware=[Writing()])
    scaled, bare_graph, scaled_graph = scale_model(model, strategy), graph(answer), graph(scale_node(answer, strategy))
    watching = {"callbacks": [ObserveModelCalls()]}
    return {
        "chat model": lambda: model.ainvoke("how many?"),
        "scale_model": lambda: scaled.ainvoke("how many?"),
        "ObserveModelCalls": lambda: model.ainvoke("how many?", watching),
        "agent": lambda: bare_agent.ainvoke(ASK),
        "writing agent": lambda: writing.ainvoke(ASK),
        "ScaleModelCalls": lambda: agent.ainvoke(ASK),
        "graph": lambda: bare_graph.ainvoke(ASK),
        "scale_node": lambda: scaled_graph.ainvoke(ASK),
    }


BARE = {
    "scale_model": "chat model",
    "ObserveModelCalls": "chat model",
    "writing agent": "agent",
    "ScaleModelCalls": "writing agent",
    "scale_node": "graph",
}


async def measured(calls: int, runs: int) -> dict[str, float]:
    took: dict[str, list[float]] = {}
    everybody = contenders()
    with ttc.tracking():
        for place in range(runs + 1):
            for name, call in everybody.items():
                gc.collect()
                started = time.process_time()
                for _ in range(calls):
                    await call()
                if place:  # the first round warms up
                    took.setdefault(name, []).append((time.process_time() - started) / calls * 1_000)
    return {name: min(each) for name, each in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    took = anyio.run(measured, options.calls, options.runs)
    for name, milliseconds in took.items():
        bare = BARE.get(name)
        more = "" if bare is None else f", {milliseconds - took[bare]:+.2f} ms over the {bare} (target: 1)"
        print(f"{name}: {milliseconds:.2f} ms CPU a call{more}")


if __name__ == "__main__":
    main()
