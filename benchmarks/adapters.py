"""What each adapter adds to one call (`Single`) beside the bare SDK or framework, in CPU time of this process.

    python benchmarks/adapters.py [--quick]

No server: SDKs get their answer from a transport in this process, frameworks from a model of their own. The ways of one
adapter take turns within a round, and a difference is taken within its round. Where a framework takes time for anything
that stands at its hook, one that does nothing there is a row too: that part is the framework's.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import anthropic
import anyio
import httpx
import httpx2
import openai
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel
from report import Figure, Target, show

import ttc_anthropic
import ttc_litellm
import ttc_middleware as ttc
import ttc_openai
from ttc_langchain import ObserveModelCalls, ScaledState, ScaleModelCalls, scale_model, scale_node
from ttc_pydantic_ai import Scale, ScaledModel

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import would ask the network for prices
import litellm  # after the above

LIMIT = 1.0
"""Milliseconds of CPU that an adapter may add to a call."""
ONCE = ttc.Single()
Way = Callable[[], Awaitable[object]]
MESSAGES = [{"role": "user", "content": "What is 6 times 7?"}]
CLAUDE: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 64, "messages": MESSAGES}
COMPLETION = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-5-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "42"}}],
    "usage": {"prompt_tokens": 14, "completion_tokens": 5, "total_tokens": 19},
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "42"}], "usage": {"input_tokens": 14, "output_tokens": 5},
}  # fmt: skip


def ways(stack: AsyncExitStack) -> Iterator[tuple[str, dict[str, Way]]]:
    """For each adapter the bare call first, and then the others."""
    yield "openai", of_openai(stack)
    yield "anthropic", of_anthropic(stack)
    yield "litellm", of_litellm()
    yield "langchain", of_chat_models()
    yield "langchain agent", of_agents()
    yield "langgraph", of_graphs()
    yield "pydantic-ai", of_pydantic_ai()


def of_openai(stack: AsyncExitStack) -> dict[str, Way]:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=COMPLETION))
    client = openai.AsyncOpenAI(api_key="x", http_client=httpx.AsyncClient(transport=transport))
    stack.push_async_callback(client.close)
    scaled = ttc_openai.wrap(client, ONCE)

    async def observed() -> None:
        with ttc.tracking():
            await client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)

    return {
        "bare": lambda: client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES),
        "tracking()": observed,
        "wrap(client)": lambda: scaled.chat.completions.create(model="gpt-5-mini", messages=MESSAGES),
    }


def of_anthropic(stack: AsyncExitStack) -> dict[str, Way]:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=MESSAGE))
    client = anthropic.AsyncAnthropic(api_key="x", http_client=httpx2.AsyncClient(transport=transport))
    stack.push_async_callback(client.close)
    scaled = ttc_anthropic.wrap(client, ONCE)

    async def observed() -> None:
        with ttc.tracking():
            await client.messages.create(**CLAUDE)

    return {
        "bare": lambda: client.messages.create(**CLAUDE),
        "tracking()": observed,
        "wrap(client)": lambda: scaled.messages.create(**CLAUDE),
    }


def of_litellm() -> dict[str, Way]:
    asked = {"model": "openai/gpt-5-mini", "messages": MESSAGES, "mock_response": "42"}
    acompletion = ttc_litellm.wrap(litellm.acompletion, ONCE)

    async def observed() -> None:
        with ttc.tracking():
            await litellm.acompletion(**asked)

    return {
        "bare": lambda: litellm.acompletion(**asked),
        "tracking()": observed,
        "wrap(acompletion)": lambda: acompletion(**asked),
    }


class Instant(BaseChatModel):
    """Answers at once."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        usage = {"input_tokens": 20, "output_tokens": 50, "total_tokens": 70}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("It is 42.", usage_metadata=usage))])

    async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
        return self._generate()


def of_chat_models() -> dict[str, Way]:
    model = Instant()
    scaled = scale_model(model, ONCE)
    watching = {"callbacks": [ObserveModelCalls()]}
    return {
        "bare": lambda: model.ainvoke("how many?"),
        "ObserveModelCalls": lambda: model.ainvoke("how many?", watching),
        "scale_model": lambda: scaled.ainvoke("how many?"),
    }


class Writing(AgentMiddleware[ScaledState, Any, Any]):
    """Does nothing but write to the agent's state, as ours has to."""

    state_schema = ScaledState

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> ExtendedModelResponse:
        update = {"ttc_usage": {"calls": 1, "status": "exact"}}
        return ExtendedModelResponse(await handler(request), Command(update=update))


def of_agents() -> dict[str, Way]:
    asked = {"messages": [HumanMessage("how many?")]}
    bare = create_agent(Instant())
    writing = create_agent(Instant(), middleware=[Writing()])
    scaled = create_agent(Instant(), middleware=[ScaleModelCalls(ONCE)])
    return {
        "bare": lambda: bare.ainvoke(asked),
        "one that only writes to the state": lambda: writing.ainvoke(asked),
        "ScaleModelCalls": lambda: scaled.ainvoke(asked),
    }


def of_graphs() -> dict[str, Way]:
    model, asked = Instant(), {"messages": [HumanMessage("how many?")]}

    async def answer(state: MessagesState) -> dict[str, Any]:
        ttc.record_usage(ttc.Usage(input_tokens=20, output_tokens=50))
        return {"messages": [await model.ainvoke(state["messages"])]}

    def graph(node: Any) -> Any:
        return StateGraph(MessagesState).add_node("answer", node).add_edge(START, "answer").compile()

    bare, scaled = graph(answer), graph(scale_node(answer, ONCE))
    return {"bare": lambda: bare.ainvoke(asked), "scale_node": lambda: scaled.ainvoke(asked)}


class Idle(AbstractCapability):
    """Does nothing."""


def of_pydantic_ai() -> dict[str, Way]:
    model = FunctionModel(lambda *_: ModelResponse(parts=[TextPart("four")]))
    agents = {
        "bare": Agent(model),
        "ScaledModel": Agent(ScaledModel(model, ONCE)),
        "a capability that does nothing": Agent(model, capabilities=[Idle()]),
        "Scale": Agent(model, capabilities=[Scale(ONCE)]),
    }
    return {name: lambda agent=agent: agent.run("how many?") for name, agent in agents.items()}


async def cpu(way: Way, calls: int) -> float:
    """Milliseconds of CPU per call, all threads together."""
    gc.collect()
    started = time.process_time()
    for _ in range(calls):
        await way()
    return (time.process_time() - started) * 1_000 / calls


async def added(adapter: str, each: dict[str, Way], calls: int, rounds: int) -> list[Target]:
    """What each way but the first takes more than the first, round by round."""
    figures = {name: Figure(f"{adapter}: {name}", "ms") for name in list(each)[1:]}
    for way in each.values():
        await cpu(way, calls)  # warm
    for turn in range(rounds):
        took = {name: await cpu(each[name], calls) for name in list(each)[:: 1 if turn % 2 else -1]}
        for name, figure in figures.items():
            figure.runs.append(took[name] - took["bare"])
    ours = ("tracking()", "wrap", "Scale", "scale", "Observe")
    return [Target(each, LIMIT if name.startswith(ours) else None) for name, each in figures.items()]


async def measured(calls: int, rounds: int) -> list[Target]:
    async with AsyncExitStack() as stack:
        return [row for adapter, each in ways(stack) for row in await added(adapter, each, calls, rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="for CI")
    calls, rounds = (10, 3) if parser.parse_args().quick else (40, 25)
    rows = [(row.figure.name, str(row.figure), row.said, row.verdict) for row in anyio.run(measured, calls, rounds)]
    show("CPU that one call takes more", ("what", "median (lowest … highest round), ms", "target", ""), rows)


if __name__ == "__main__":
    main()
