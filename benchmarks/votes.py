"""What rules that end a vote early save, and what selections by answer are worth: a replay of recorded samples.

The strategies of the library run as they are. Each (model, problem) is replayed with its samples in random orders, all
strategies on the same ones; intervals are 95 %, by a bootstrap of problems, with all models and orders together.

Stopping, beside all 40 samples and their majority. Samples and tokens are ratios of sums, of what was begun; rounds are
how often samples were asked for, one after the other; points are accuracy minus that of the reference; apart is how
often the answer is another one.

Selecting, on questions that a model answers sometimes right, sometimes wrong. Scores are made up, since recordings of
verifiers are rare: a normal variable that is d higher for right samples, d such that a right one outscores a wrong one
with a chance of AUC; then the probability of being right, at even odds. A share of its variance belongs to the answer
and not to the sample ("same mistake"): a verifier that likes a wrong answer likes it each time it comes.

    poe bench-votes [folder]      the folder may also be named by TTC_RECORDED
    poe bench-votes --quick       one order, one size; fails where the figure is missed: for CI
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from statistics import NormalDist

import numpy as np
from races import N, given, samples_of
from recorded import Question, arguments, measured, questions

import ttc_middleware as ttc
from ttc_middleware.strategies import ESC, AdaptiveConsistency
from ttc_middleware.strategies._vote import Vote

CALL = ttc.Call(name="bench:votes")
SAMPLES, ROUNDS, LOSS = 4.5, 2.2, 0.3  # the figure to reach, with AdaptiveConsistency(0.95)

STOPPING = {
    "n=40, one at a time": ttc.SelfConsistency(N, by=given, at_once=1),
    "AdaptiveConsistency(0.95)": ttc.SelfConsistency(N, by=given, stop=AdaptiveConsistency(0.95)),
    "AdaptiveConsistency(0.99)": ttc.SelfConsistency(N, by=given, stop=AdaptiveConsistency(0.99)),
    "ESC(5)": ttc.SelfConsistency(N, by=given, stop=ESC(5)),
    "ESC(8)": ttc.SelfConsistency(N, by=given, stop=ESC(8)),
    "Race(first=4, more=1, lead=4)": ttc.Race(N, by=given, first=4, more=1, lead=4),
}
AUCS = (0.5, 0.64, 0.76, 0.86)
SAME = (0.0, 0.5)
SIZES = (4, 16, 64)
SELECTED = ("majority", "highest score", "weighted", "votes and likelihood", "oracle")


def replay(strategy, samples) -> tuple[object, int, int]:
    """The winner's output, the samples that were begun, and the rounds; samples end in the order of their launch."""
    steps = strategy.search(CALL)
    waiting: deque = deque()
    begun = rounds = 0
    step = next(steps)
    try:
        while True:
            asked = min(len(step), len(samples) - begun)
            rounds += bool(asked)
            waiting.extend(range(begun, begun + asked))
            begun += asked
            step = steps.send(samples[waiting.popleft()] if waiting else None)
    except StopIteration as end:
        return end.value.output, begun, rounds


def stopped(job) -> np.ndarray:
    """A row for each question: right, reference right, samples, tokens, all tokens, rounds, apart, 1."""
    strategy, found, orders = job
    return np.array([np.mean([_stopped(strategy, each, order) for order in range(orders)], axis=0) for each in found])


def _stopped(strategy, question: Question, order: int) -> list[float]:
    drawn = samples_of(question, order)
    samples, took = [each for each, _ in drawn], [tokens for _, tokens in drawn]
    vote = Vote(N)
    for sample in samples:
        vote.add(sample, sample.output)
    plain = None if vote.winner is None else vote.winner.output
    output, begun, rounds = replay(strategy, samples)
    right, reference = output == question.gold, plain == question.gold
    return [right, reference, begun, sum(took[:begun]), sum(took), rounds, output != plain, 1]


def stopping_figures(sums: np.ndarray) -> np.ndarray:
    right, reference, samples, tokens, all_tokens, rounds, apart, count = np.moveaxis(sums, -1, 0)
    ratios = [N * count / samples, all_tokens / tokens, rounds / count]
    return np.stack([*ratios, 100 * (right - reference) / count, 100 * apart / count], -1)


def selected(job) -> np.ndarray:
    """A row for each question: whether each way to select is right, and 1."""
    found, auc, same, size, orders = job
    return np.array([np.mean([_selected(each, auc, same, size, k) for k in range(orders)], axis=0) for each in found])


def _selected(question: Question, auc: float, same: float, size: int, order: int) -> list[float]:
    chance = random.Random(f"{question.cluster} {question.model} {order}")  # the same for every AUC
    drawn = chance.sample(question.samples, size)
    apart = math.sqrt(2) * NormalDist().inv_cdf(auc)
    liked = {answer: chance.gauss(0, 1) for answer in dict.fromkeys(answer for answer, _ in drawn)}
    samples = []
    for place, (answer, _) in enumerate(drawn):
        height = math.sqrt(same) * liked[answer] + math.sqrt(1 - same) * chance.gauss(0, 1)
        height += apart * (answer == question.gold)
        score = 1 / (1 + math.exp(-apart * (height - apart / 2)))
        samples.append(
            ttc.Sample(
                index=place,
                draw=ttc.Draw(),
                call=CALL,
                output=answer,
                status="abstained" if answer is None else "answer",
                verdict=None if answer is None else ttc.Verdict(score, accepted=False),
            )
        )
    plain = [replace(sample, verdict=None) for sample in samples]
    winners = [replay(ttc.SelfConsistency(size, by=given), plain)[0]]
    winners += [
        replay(ttc.BestOfN(size, stop="all", select=select, by=None if select == "highest score" else given), samples)[
            0
        ]
        for select in SELECTED[1:4]
    ]
    oracle = question.gold if any(answer == question.gold for answer, _ in drawn) else None
    return [each == question.gold for each in [*winners, oracle]] + [1]


def selecting_figures(sums: np.ndarray) -> np.ndarray:
    return 100 * sums[..., :-1] / sums[..., -1:]


def unsure(found: list[Question]) -> list[Question]:
    """Those that are answered sometimes right and sometimes wrong."""
    shares = ((each, sum(answer == each.gold for answer, _ in each.samples) / len(each.samples)) for each in found)
    return [each for each, share in shares if 0 < share < 1]


def show_stopping(found: list[Question], tables: dict[str, np.ndarray]) -> np.ndarray:
    """Print the first table; returns the figures of the rule that is to reach one."""
    reached = np.zeros(5)
    for name in ["all", *sorted({each.dataset for each in found})]:
        rest = [k for k, each in enumerate(found) if name in ("all", each.dataset)]
        own = [found[k] for k in rest]
        print(f"{name}: {len({each.cluster for each in own})} problems, {len(own)} (model, problem) pairs")
        print(f"  {'':30} {'samples, times fewer':24} {'tokens, times fewer':24} rounds  {'points':25} apart")
        for rule, table in tables.items():
            figure, low, high = measured(own, table[rest], stopping_figures)
            cells = [f"{figure[k]:5.2f} ({low[k]:5.2f} to {high[k]:5.2f})  " for k in range(2)]
            cells.append(
                f"{figure[2]:6.2f}  {figure[3]:+5.2f} ({low[3]:+5.2f} to {high[3]:+5.2f})   {figure[4]:5.2f} %"
            )
            print(f"  {rule:30} {' '.join(cells)}", flush=True)
            if name == "all" and rule == "AdaptiveConsistency(0.95)":
                reached = figure
    return reached


def show_selecting(found: list[Question], tables: dict[tuple[int, float, float], np.ndarray]) -> bool:
    """Print the second table; returns whether it has the shape that it is to have."""
    print(f"{len({each.cluster for each in found})} problems, {len(found)} pairs that are not all right or all wrong")
    print(f"  {'same mistake':14} {'N':>3} {'AUC':>5}  " + " ".join(f"{each:>22}" for each in SELECTED))
    shaped = True
    for (size, same, auc), table in tables.items():
        figure, low, high = measured(found, table, selecting_figures)
        cells = [f"{figure[k]:5.1f} ({low[k]:4.1f} to {high[k]:4.1f})" for k in range(len(SELECTED))]
        print(f"  {same:<14} {size:3} {auc:5.2f}  " + " ".join(f"{each:>22}" for each in cells), flush=True)
        majority, highest, _, likeliest, _ = figure
        if not same and size == 16:  # a verifier that cannot tell hurts the best of N, and not the two together
            shaped &= likeliest >= max(majority, highest) - 0.7 and (auc > 0.5 or highest < majority - 3)
            shaped &= auc < 0.8 or highest > majority + 3
    return bool(shaped)


def main() -> int:
    asked = arguments(__doc__).parse_args()
    found = questions(asked.folder)
    began = time.perf_counter()
    orders, sizes = (1, SIZES[1:2]) if asked.quick else (4, SIZES)
    hard = unsure(found)
    settings = list(product(sizes, SAME, AUCS))
    with ProcessPoolExecutor(2) as workers:
        rules = dict(
            zip(STOPPING, workers.map(stopped, [(each, found, orders) for each in STOPPING.values()]), strict=True)
        )
        jobs = [(hard, auc, same, size, orders) for size, same, auc in settings]
        tables = dict(zip(settings, workers.map(selected, jobs), strict=True))
    samples, _, rounds, points, _ = show_stopping(found, rules)
    print()
    shaped = show_selecting(hard, tables)
    reached = bool(samples >= SAMPLES and rounds <= ROUNDS and points >= -LOSS)
    said = "reached" if reached else "MISSED"
    print(f"{said}: >= {SAMPLES} x fewer samples in <= {ROUNDS} rounds, losing <= {LOSS} points, at 0.95")
    print(f"{'reached' if shaped else 'MISSED'}: votes and likelihood is no worse than either alone, at every AUC")
    print(f"{time.perf_counter() - began:.0f} s")
    return int(asked.quick and not (reached and shaped))


if __name__ == "__main__":
    sys.exit(main())
