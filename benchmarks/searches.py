"""Searches over steps, recorded live from the embedded model, and replayed through the real strategies.

A pool of whole answers cannot stand in for a search that goes on with prefixes of its own choice. So each search is run
once, through `ttc_openai.wrap()`, and everything that the strategy asked for and was sent is kept: recordings/
FAMILY-searches.jsonl.gz has one search a line. A replay sends the same samples to today's strategy and checks that it
asks for the same draws; where it does not, the recording is of another version.

    poe record-search --searches [family …]     records what is missing; goes on where it was interrupted
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import openai
from families import FAMILIES, Family, Problem
from record import FOLDER, primed, store

import ttc_local
import ttc_middleware as ttc
import ttc_openai

WIDE, NARROW = 1, 4
"""Problems that are searched side by side, so that the model's batches are full: by searches that fill one by
themselves, and by those that draw a sample or a few at a time."""


def strategies(family: Family) -> dict[str, ttc.Strategy]:
    """The searches, by what tables call them."""
    steps = ttc.Steps("\n", max_tokens=family.step_tokens, ends=family.ends)
    return {
        "beam 4/2": ttc.BeamSearch(4, 2, depth=10, steps=steps),
        "beam 8/2": ttc.BeamSearch(8, 2, depth=10, steps=steps),
        "beam 8/4": ttc.BeamSearch(8, 4, depth=10, steps=steps),
        "DVTS 8/2": ttc.DVTS(8, 2, depth=10, steps=steps),
        "particle filter 8": ttc.ParticleFilter(8, depth=10, steps=steps),
        "beam 16/4": ttc.BeamSearch(16, 4, depth=10, steps=steps),
        "DVTS 16/4": ttc.DVTS(16, 4, depth=10, steps=steps),
        "particle filter 16": ttc.ParticleFilter(16, depth=10, steps=steps),
        "MCTS-50": ttc.MCTS(50, 3, depth=10, steps=steps),
        "MCTS-200": ttc.MCTS(200, 3, depth=10, steps=steps),
        "EarlyReject 4": ttc.EarlyReject(4, below=0, starts=64, depth=10, steps=steps),
    }


ONE_BY_ONE = frozenset({"MCTS-50", "MCTS-200", "EarlyReject 4"})
"""Those that draw little at a time."""


class OtherVersion(Exception):
    """The strategy asks for something else than it did when the search was recorded."""


@dataclass
class Recorded:
    """One search: what was asked, turn by turn, and what came."""

    name: str
    strategy: str
    """Its repr."""
    family: str
    question: str
    turns: list[list[Any]] = field(default_factory=list)
    """Each has what the strategy yielded, and what it was sent: a place in `samples`, or None."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    """In order of arrival."""
    winner: int | None = None
    """Its launch order."""
    bill: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Noting:
    """A strategy that writes down everything that another one asks for and is sent."""

    strategy: Any
    into: Recorded

    def __getattr__(self, name: str) -> Any:  # needs, needs_verifier, wants_all, judges
        return getattr(self.strategy, name)

    def __repr__(self) -> str:
        return repr(self.strategy)

    def search(self, call: ttc.Call) -> ttc.Search[Any]:
        began = time.perf_counter()
        steps = self.strategy.search(call)
        step = next(steps)
        try:
            while True:
                sample = yield step
                place = None if sample is None else len(self.into.samples)
                self.into.turns.append([[signature(each) for each in step], place])
                if sample is not None:
                    self.into.samples.append(told(sample, time.perf_counter() - began))
                step = steps.send(sample)
        except StopIteration as end:
            self.into.winner = end.value.index
            return end.value


def signature(item: ttc.Draw | ttc.Cancel) -> list[Any]:
    """A draw in short: its kind, its parent's launch order, and a checksum of all that it asks for."""
    if isinstance(item, ttc.Cancel):
        return ["cancel", item.index]
    asked = (item.extend, item.instruction, item.model, item.temperature, item.seed, item.max_tokens, item.stop)
    parent = None if item.parent is None else item.parent.index
    return [item.kind, parent, zlib.crc32(repr((*asked, item.thinks)).encode())]


def told(sample: ttc.Sample[Any], seconds: float) -> dict[str, Any]:
    """A sample as it is kept: what it added to the text that it went on with."""
    text, before = sample.text or "", sample.draw.extend or ""
    goes_on = text.startswith(before)
    return {
        "index": sample.index,
        "goes_on": goes_on,
        "added": text[len(before) :] if goes_on else text,
        "status": sample.status,
        "ended": sample.ended,
        "score": sample.score,
        "in": sample.usage.input_tokens,
        "cached": sample.usage.cached_tokens,
        "out": sample.usage.output_tokens,
        "at": round(seconds, 3),
    }


def called(family: Family) -> ttc.Call:
    """The call of a search, as far as strategies look at it."""
    return ttc.Call(name=f"bench:{family.name}", arguments={"max_tokens": family.max_tokens})


def replay(strategy: ttc.Strategy, search: Recorded, judge: Any) -> ttc.Sample[Any]:
    """Send a recorded search's samples to a strategy again; returns its winner.

    Raises:
        OtherVersion: it asks for other draws than were recorded, or the verifier gives other scores.
    """
    call = called(FAMILIES[search.family])
    launched: list[ttc.Draw] = []
    steps = strategy.search(call)
    sent: ttc.Sample[Any] | None = None
    first = True
    try:
        for asked, place in search.turns:
            step = next(steps) if first else steps.send(sent)
            first = False
            _same(search, [signature(each) for each in step], asked)
            launched += [each for each in step if isinstance(each, ttc.Draw)]
            sent = None if place is None else _sample(search, search.samples[place], launched, call, judge)
        steps.send(sent)
    except StopIteration as end:
        if end.value.index != search.winner:
            raise OtherVersion(f"{_which(search)}: {end.value.index} wins, not {search.winner}; record again") from None
        return end.value
    finally:
        steps.close()
    raise OtherVersion(f"{_which(search)}: it goes on where it had ended; record again")


def _same(search: Recorded, asks: list[Any], asked: list[Any]) -> None:
    if asks != asked:
        raise OtherVersion(f"{_which(search)}: it asks for {asks}, not {asked}; record again")


def _which(search: Recorded) -> str:
    return f"recorded with another version of {search.strategy}, on {search.question!r}"


def _sample(
    search: Recorded, kept: dict[str, Any], launched: Sequence[ttc.Draw], call: ttc.Call, judge: Any
) -> ttc.Sample[Any]:
    draw = launched[kept["index"]]
    text = (draw.extend or "" if kept["goes_on"] else "") + kept["added"]
    verdict = None if kept["score"] is None else judge.check(text)
    if verdict is not None and verdict.score != kept["score"]:
        raise OtherVersion(f"{_which(search)}: the verifier says {verdict.score}, not {kept['score']}; record again")
    usage = ttc.Usage(input_tokens=kept["in"], output_tokens=kept["out"], cached_tokens=kept["cached"])
    return ttc.Sample(
        index=kept["index"], draw=draw, call=call, output=text, text=text, status=kept["status"], ended=kept["ended"],
        verdict=verdict, usage=usage, error=RuntimeError("as recorded") if kept["status"] == "failed" else None,
    )  # fmt: skip


def read(family: Family, folder: Path = FOLDER) -> list[Recorded]:
    """The searches that are there."""
    file = folder / f"{family.name}-searches.jsonl.gz"
    if not file.exists():
        return []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [Recorded(**json.loads(line)) for line in lines]


async def run(scaled: Callable[[Noting], Any], model: str, family: Family, problem: Problem, name: str) -> Recorded:
    """One search, live."""
    strategy = strategies(family)[name]
    found = Recorded(name, repr(strategy), family.name, problem.question)
    client = scaled(Noting(strategy, found))
    began = time.perf_counter()
    with ttc.tracking() as bill:
        await client.chat.completions.create(**family.request(problem), model=model)
    found.seconds = round(time.perf_counter() - began, 3)
    total = bill.bill.total
    found.bill = {
        "calls": total.calls, "in": total.input_tokens, "cached": total.cached_tokens, "out": total.output_tokens,
        "status": bill.bill.status,
    }  # fmt: skip
    return found


def missing(
    family: Family, found: Sequence[Recorded], problems: int, names: Sequence[str]
) -> Iterator[tuple[str, Problem]]:
    """What is not recorded yet of these searches, or was recorded of a strategy with other settings."""
    wanted = strategies(family)
    there = {(each.name, each.question) for each in found if each.strategy == repr(wanted.get(each.name))}
    for name in names:
        for problem in family.problems("test", problems):
            if (name, problem.question) not in there:
                yield name, problem


async def record(server: ttc_local.Server, families: Sequence[Family], problems: int, names: Sequence[str]) -> None:
    """Record what is missing of these searches, one search after the other."""
    from rich.progress import Progress  # noqa: PLC0415  # an extra

    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", timeout=600) as client:
        with Progress() as progress:
            for family in families:
                await primed(server, family, "test")
                found = read(family)
                left = list(missing(family, found, problems, names))
                dropped = {(name, problem.question) for name, problem in left}
                found = [each for each in found if (each.name, each.question) not in dropped]
                bar = progress.add_task(f"{family.name}, searches", total=len(left))
                for name in names:
                    limit = anyio.CapacityLimiter(NARROW if name in ONE_BY_ONE else WIDE)

                    async def one(
                        problem: Problem, *, name=name, family=family, found=found, bar=bar, limit=limit
                    ) -> None:
                        def scaled(strategy: Noting) -> Any:
                            judge = family.judge(problem)
                            return ttc_openai.wrap(client, strategy, verifier=judge, backend="llama.cpp")

                        async with limit:
                            found.append(await run(scaled, server.model, family, problem, name))
                        store(FOLDER / f"{family.name}-searches.jsonl.gz", [vars(each) for each in found])
                        progress.advance(bar)

                    async with anyio.create_task_group() as group:
                        for each, problem in left:
                            if each == name:
                                group.start_soon(one, problem)


def main(families: Sequence[str], problems: int, names: Sequence[str]) -> None:
    every = strategies(next(iter(FAMILIES.values())))
    if unknown := set(names) - set(every):
        raise SystemExit(f"--search must be one of {', '.join(every)}; got {', '.join(sorted(unknown))}")
    with ttc_local.serve(parallel=16, context=512) as server:
        anyio.run(record, server, [FAMILIES[name] for name in families], problems, names or list(every))
