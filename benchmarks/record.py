"""Records what the embedded model answers: pools of whole answers, for benchmarks that replay them.

A line of recordings/FAMILY.jsonl.gz is one problem of the family's "test" split (FAMILY-tune.jsonl.gz: of "tune", to
choose settings on): what it was, a greedy answer, and samples drawn at temperature 0.8, each as [text, prompt tokens,
of these from the cache, completion tokens, finish reason, seconds]. Recording goes on where it was interrupted, and
adds a round of samples to every problem in turn, so that what is there can be used at any time.

    poe record-search                     all families: 40 problems, 64 samples each
    poe record-search sort4 --samples 32
    poe record-search mood --split tune
    poe record-search --searches          searches over steps, run live: searches.py
    poe record-search story6 --search "beam 8/2" --search "DVTS 8/2" --problems 24
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import openai
from families import FAMILIES, Family, Problem, Split

import ttc_local

FOLDER = Path(__file__).parent / "recordings"
PROBLEMS, SAMPLES = 40, 64
ROUND = 32
PARALLEL = 8

Told = tuple[str, int, int, int, str, float]
"""Text, prompt tokens, of these from the cache, completion tokens, finish reason, seconds."""


@dataclass
class Pool:
    """What was recorded of one problem."""

    problem: Problem
    greedy: Told | None = None
    samples: list[Told] = field(default_factory=list)


def _file(family: Family, split: Split) -> str:
    return f"{family.name}{'' if split == 'test' else f'-{split}'}.jsonl.gz"


def read(family: Family, folder: Path = FOLDER, split: Split = "test") -> list[Pool]:
    """The pools that are there.

    Raises:
        ValueError: they are of other problems than the family makes now.
    """
    file = folder / _file(family, split)
    if not file.exists():
        return []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        told = [json.loads(line) for line in lines]
    problems = family.problems(split, len(told))
    if [each["question"] for each in told] != [each.question for each in problems]:
        raise ValueError(f"{file} was recorded of other problems than {family.name} has now: record again")
    return [
        Pool(problem, tuple(each["greedy"]) if each["greedy"] else None, [tuple(one) for one in each["samples"]])
        for problem, each in zip(problems, told, strict=True)
    ]


def write(family: Family, pools: Sequence[Pool], folder: Path = FOLDER, split: Split = "test") -> None:
    """Put them where they are read, all at once."""
    lines = [{"question": pool.problem.question, "greedy": pool.greedy, "samples": pool.samples} for pool in pools]
    store(folder / _file(family, split), lines)


def store(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write JSON Lines, compressed, the same bytes for the same lines; whoever reads sees all of it or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".tmp")
    text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
    scratch.write_bytes(gzip.compress(text.encode(), mtime=0))
    scratch.replace(file)


async def drawn(
    client: openai.AsyncOpenAI, model: str, family: Family, problem: Problem, n: int, **more: Any
) -> list[Told]:
    """So many answers to one problem, in order of arrival."""
    told: list[Told] = []
    limit = anyio.CapacityLimiter(PARALLEL)

    async def one() -> None:
        async with limit:
            began = time.perf_counter()
            reply = await client.chat.completions.create(**{**family.request(problem), **more}, model=model)
            usage, choice = reply.usage, reply.choices[0]
            assert usage is not None
            details = usage.prompt_tokens_details
            cached = (details and details.cached_tokens) or 0
            told.append((
                choice.message.content or "", usage.prompt_tokens, cached, usage.completion_tokens,
                choice.finish_reason, round(time.perf_counter() - began, 3),
            ))  # fmt: skip

    async with anyio.create_task_group() as group:
        for _ in range(n):
            group.start_soon(one)
    return told


async def primed(server: ttc_local.Server, family: Family, split: Split) -> None:
    """Have the server read the family's examples, if it has any, in all its slots."""
    if examples := family.messages(family.problems(split, 1)[0])[:-1]:
        await anyio.to_thread.run_sync(server.prime, examples)


async def pools(
    server: ttc_local.Server, families: Sequence[Family], samples: int, problems: int, split: Split
) -> None:
    """Record what is missing, round by round."""
    from rich.progress import Progress  # noqa: PLC0415  # an extra

    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", timeout=600) as client:
        with Progress() as progress:
            for family in families:
                await primed(server, family, split)
                found = read(family, split=split)
                found += [Pool(each) for each in family.problems(split, problems)[len(found) :]]
                bar = progress.add_task(family.name, total=samples * len(found))
                for goal in (*range(ROUND, samples, ROUND), samples):
                    for pool in found:
                        progress.update(bar, completed=sum(min(len(each.samples), samples) for each in found))
                        if pool.greedy is None:
                            (pool.greedy,) = await drawn(client, server.model, family, pool.problem, 1, temperature=0)
                        missing = goal - len(pool.samples)
                        if missing > 0:
                            pool.samples += await drawn(client, server.model, family, pool.problem, missing)
                            write(family, found, split=split)
                progress.update(bar, completed=samples * len(found))


def interval(shares: Sequence[float]) -> float:
    """Half the width of a 95 % interval of the mean of problems' shares."""
    mean = sum(shares) / len(shares)
    return 1.96 * math.sqrt(sum((each - mean) ** 2 for each in shares) / (len(shares) - 1) / len(shares))


def rate(families: Sequence[Family], problems: int, samples: int, split: Split, *, temperature: float) -> None:
    """Print what single draws make of each family, and of one problem three answers."""

    async def rated(server: ttc_local.Server) -> None:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", timeout=600) as client:
            for family in families:
                began = time.perf_counter()
                shares, tokens, prompts, shown = [], 0, 0, []
                for problem in family.problems(split, problems):
                    told = await drawn(client, server.model, family, problem, samples, temperature=temperature)
                    shares.append(sum(family.verify(each[0], problem) for each in told) / samples)
                    tokens += sum(each[3] for each in told)
                    prompts += sum(each[1] for each in told)
                    shown = [problem.question, *(each[0] for each in told[:3])]
                seconds, count = time.perf_counter() - began, problems * samples
                print(
                    f"{family.name}: {sum(shares) / problems:.3f} ± {interval(shares):.3f} right,"
                    f" {tokens / count:.1f} tokens an answer after {prompts / count:.0f} of prompt,"
                    f" {tokens / seconds:.0f} tokens/s; as {shown}",
                    flush=True,
                )

    with ttc_local.serve(parallel=PARALLEL, context=512) as server:
        anyio.run(rated, server)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES), metavar="family")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    parser.add_argument("--split", choices=("tune", "test"), default="test", help="of whole answers")
    parser.add_argument("--searches", action="store_true", help="record searches over steps")
    parser.add_argument("--search", action="append", default=[], help="of these, only this one, by its name in tables")
    asked = parser.parse_args()
    if asked.searches or asked.search:
        import searches  # noqa: PLC0415  # that imports this

        stepwise = [name for name in asked.families if FAMILIES[name].steps]
        searches.main(stepwise, asked.problems, asked.search)
        return
    with ttc_local.serve(parallel=PARALLEL, context=512) as server:
        families = [FAMILIES[name] for name in asked.families]
        anyio.run(pools, server, families, asked.samples, asked.problems, asked.split)


if __name__ == "__main__":
    main()
