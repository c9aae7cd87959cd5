"""Measures what ttc_pydantic_ai adds to one call of an agent, beside the bare framework, in one go.

    python benchmarks/pydantic_ai_cost.py [--rounds 40]

CPU time of the process for one `agent.run()` with the framework's own fake model, so that nothing but the framework and
the adapter is measured. The agents take turns in each round, and the difference is taken within a round: it holds on a
machine that is busy otherwise.
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: TID251  # the framework runs on nothing else
import time
from statistics import median

import pydantic_ai
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel

import ttc_middleware as ttc
from ttc_pydantic_ai import ScaledModel, valid_output

CALLS = 20


async def cpu(agent: Agent) -> float:
    """Milliseconds for one call."""
    started = time.process_time()
    for _ in range(CALLS):
        await agent.run("how many?")
    return (time.process_time() - started) * 1_000 / CALLS


async def main(rounds: int) -> None:
    model = FunctionModel(lambda messages, info: ModelResponse(parts=[TextPart("four")]))  # noqa: ARG005  # as FunctionModel calls it
    agents = {
        "bare": Agent(model),
        "ScaledModel(Single())": Agent(ScaledModel(model, ttc.Single())),
        "ScaledModel(Single(), verifier=valid_output)": Agent(ScaledModel(model, ttc.Single(), verifier=valid_output)),
    }
    try:
        from pydantic_ai.capabilities import AbstractCapability  # noqa: PLC0415  # absent with old versions

        from ttc_pydantic_ai import Scale  # noqa: PLC0415  # as above

        class Idle(AbstractCapability):
            """Does nothing: what the framework itself takes for a capability."""

        agents["a capability that does nothing"] = Agent(model, capabilities=[Idle()])
        agents["Scale(Single())"] = Agent(model, capabilities=[Scale(ttc.Single())])
    except ImportError as error:
        print(error)
    for agent in agents.values():
        await cpu(agent)
    times: dict[str, list[float]] = {name: [] for name in agents}
    for turn in range(rounds):
        for name, agent in list(agents.items())[:: 1 if turn % 2 else -1]:
            times[name].append(await cpu(agent))
    print(f"pydantic-ai {pydantic_ai.__version__}, CPU for one call, median of {rounds} rounds")
    for name, took in times.items():
        more = median(mine - bare for mine, bare in zip(took, times["bare"], strict=True))
        print(f"  {name:46} {median(took):6.2f} ms  {more:+.2f} ms over the bare agent")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=40)
    asyncio.run(main(parser.parse_args().rounds))
