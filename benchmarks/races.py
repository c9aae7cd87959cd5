"""What races save and lose, beside self-consistency over 40 parallel samples: a replay of recorded samples.

The strategies of the library run as they are, on a clock that counts tokens: a sample takes as long as it has tokens
(one decoding speed, no queue), what is cancelled is billed up to that moment, and a batch starts when it is asked for.
Each (model, problem) is replayed with its samples in random orders, all strategies on the same ones.

- tokens: of the reference ÷ of the strategy. The reference generates all 40 to their end.
- latency: of the strategy ÷ of the reference, which lasts as long as its longest sample.
- points: accuracy minus that of the reference, in percentage points.
- certified: how often the samples, by launch order, certify the winner as the most frequent answer (error 5 %).

Tokens and latency are ratios of sums. Intervals are 95 %, by a bootstrap of problems, with all models and orders of a
problem together. `Race`'s defaults are chosen on one half of the problems: of the settings that reach the savings, the
one that loses least on the dataset where it loses most (ties: the fewest tokens). What is printed is the other half's.

    poe bench-races [folder]      the folder may also be named by TTC_RECORDED
    poe bench-races --quick       one order, no choice; fails where the figure is missed: for CI
"""

from __future__ import annotations

import heapq
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from recorded import Question, arguments, halves, measured, questions

import ttc_middleware as ttc
from ttc_middleware.strategies._vote import Vote

N = 40
CALL = ttc.Call(name="bench:races")
DRAW = ttc.Draw()
LOSS, LATENCY, TOKENS = 0.1, 0.85, 2.7  # the figure to reach


def given(output):
    return output


SHOWN = {
    "SelfConsistency(40)": ttc.SelfConsistency(N, by=given),
    "Race()": ttc.Race(by=given),
    "Race(first=10, more=14, lead=5)": ttc.Race(first=10, more=14, lead=5, by=given),
    "Race(first=12, more=8, lead=5)": ttc.Race(first=12, more=8, lead=5, by=given),
    "Race(certify=0.05)": ttc.Race(certify=0.05, by=given),
    "FirstFinished(1, 9)": ttc.FirstFinished(1, 9, by=given),
    "FirstFinished(3, 9)": ttc.FirstFinished(3, 9, by=given),
    "FirstFinished(5, 12)": ttc.FirstFinished(5, 12, by=given),
    "FirstFinished(10, 40)": ttc.FirstFinished(10, 40, by=given),
}
GRID = [
    ttc.Race(N, first=first, more=more, lead=lead, by=given)
    for first, more, lead in product((8, 10, 12), (8, 14, 28), (4, 5, 6))
]


def samples_of(question: Question, order: int) -> list[tuple[ttc.Sample, int]]:
    """The samples of one replay, the same for every strategy."""
    drawn = random.Random(f"{question.cluster} {question.model} {order}").sample(question.samples, N)
    return [
        (
            ttc.Sample(index=k, draw=DRAW, call=CALL, output=each, status="abstained" if each is None else "answer"),
            took,
        )
        for k, (each, took) in enumerate(drawn)
    ]


def replay(strategy, samples) -> tuple[object, int, int, list]:
    """The winner, the tokens, the time and what finished, in one search on a clock of tokens."""
    steps = strategy.search(CALL)
    now = launched = tokens = 0
    under_way: list[tuple[int, int, int]] = []  # when it ends, its index, when it began
    finished: list = []
    step = next(steps)
    try:
        while True:
            for item in step:
                assert isinstance(item, ttc.Draw)  # the races cancel by ending
                if launched < len(samples):
                    heapq.heappush(under_way, (now + samples[launched][1], launched, now))
                    launched += 1
            if not under_way:
                step = steps.send(None)
                continue
            now, index, _ = heapq.heappop(under_way)
            tokens += samples[index][1]
            finished.append(samples[index][0])
            step = steps.send(samples[index][0])
    except StopIteration as end:
        tokens += sum(now - began for _, _, began in under_way)
        return end.value.output, tokens, now, finished


def row(strategy, question: Question, order: int) -> list[float]:
    """What the strategy and the reference make of one replay."""
    samples = samples_of(question, order)
    vote = Vote(N)
    for sample, _ in samples:
        vote.add(sample, sample.output)
    plain = vote.winner is not None and vote.winner.output == question.gold
    output, tokens, latency, finished = replay(strategy, samples)
    certified = isinstance(strategy, ttc.Race) and strategy.certified(finished) == output and output is not None
    return [
        output == question.gold,
        plain,
        tokens,
        sum(took for _, took in samples),
        latency,
        max(took for _, took in samples),
        certified,
        1,
    ]


def rows(job) -> np.ndarray:
    """One strategy over all questions: the mean of so many orders each."""
    strategy, found, orders = job
    return np.array([np.mean([row(strategy, each, order) for order in range(orders)], axis=0) for each in found])


def figures(sums: np.ndarray) -> np.ndarray:
    """Tokens, latency, points and the share certified, from sums of rows."""
    right, plain, tokens, all_tokens, latency, all_latency, certified, count = np.moveaxis(sums, -1, 0)
    return np.stack(
        [all_tokens / tokens, latency / all_latency, 100 * (right - plain) / count, 100 * certified / count], -1
    )


def choose(found: list[Question], tables: list[np.ndarray]) -> ttc.Race:
    """Of the settings that save as much as asked for, the one that loses least on the dataset where it loses most."""
    fit = []
    for strategy, table in zip(GRID, tables, strict=True):
        tokens, latency, points, _ = figures(table.sum(axis=0))
        datasets = np.array([each.dataset for each in found])
        losses = [-figures(table[datasets == each].sum(axis=0))[2] for each in sorted(set(datasets))]
        if tokens >= TOKENS and latency <= LATENCY:
            fit.append((round(max(losses), 6), -tokens, latency, points, strategy))
    fit.sort(key=lambda each: each[:2])
    print(f"chosen on {len({each.cluster for each in found})} problems, of {len(GRID)} settings; the best five:")
    for loss, tokens, latency, points, strategy in fit[:5]:
        print(
            f"    {strategy!r}: {-tokens:.2f} x fewer tokens, {latency:.2f} of the latency, {points:+.2f} points"
            f" ({-loss:+.2f} on the worse dataset)"
        )
    return fit[0][-1]


def shown(name: str, found: list[Question], table: np.ndarray, *, judged: bool) -> np.ndarray:
    """Print a row; returns its figures."""
    figure, low, high = measured(found, table, figures)
    cells = [f"{figure[k]:6.2f} ({low[k]:6.2f} to {high[k]:6.2f})" for k in range(2)]
    cells.append(f"{figure[2]:+6.2f} ({low[2]:+6.2f} to {high[2]:+6.2f})")
    print(f"  {name:38} {'  '.join(cells)}  {f'{figure[3]:3.0f} %' if judged else '':>5}", flush=True)
    return figure


def main() -> int:
    asked = arguments(__doc__).parse_args()
    found = questions(asked.folder)
    began = time.perf_counter()
    chosen_on, reported = halves(found)
    orders = 1 if asked.quick else 4
    names = [name for name in SHOWN if not asked.quick or name in ("SelfConsistency(40)", "Race()")]
    with ProcessPoolExecutor(2) as workers:
        if not asked.quick:
            tables = list(workers.map(rows, [(each, chosen_on, 4) for each in GRID]))
            best = choose(chosen_on, tables)
            same = best == SHOWN["Race()"]
            print(f"the default {'is' if same else f'is {ttc.Race()!r}, not'} the chosen one\n")
        told = dict(zip(names, workers.map(rows, [(SHOWN[name], reported, orders) for name in names]), strict=True))
    print(f"{len({each.cluster for each in reported})} other problems; beside 40 parallel samples and their majority:")
    print(f"  {'':38} {'fewer tokens, times':26}  {'latency, share of':26}  {'accuracy, points':26}  certified")
    reached = True
    for name, table in told.items():
        figure = shown(name, reported, table, judged=name.startswith("Race"))
        if name == "Race()":
            reached = bool(figure[0] >= TOKENS and figure[1] <= LATENCY and figure[2] >= -LOSS)
        if asked.quick:
            continue
        for dataset in sorted({each.dataset for each in reported}):
            rest = [k for k, each in enumerate(reported) if each.dataset == dataset]
            shown(f"    {dataset}", [reported[k] for k in rest], table[rest], judged=name.startswith("Race"))
            if name not in ("Race()", "FirstFinished(3, 9)"):
                continue
            for model in sorted({reported[k].model for k in rest}):
                own = [k for k in rest if reported[k].model == model]
                shown(f"      {model}", [reported[k] for k in own], table[own], judged=name == "Race()")
    said = "reached" if reached else "MISSED"
    print(f"{said}: >= {TOKENS} x fewer tokens at <= {LATENCY} of the latency, losing <= {LOSS} point, with Race()")
    print(f"{time.perf_counter() - began:.0f} s")
    return int(asked.quick and not reached)


if __name__ == "__main__":
    sys.exit(main())
