"""What a cascade of models saves and loses beside self-consistency over 40 samples: a replay of recorded samples.

Models are tiers: a first one draws until its answers agree, a second one where they do not. Which models, which leads
and which caps is chosen on a random half of the problems, and what is shown is the other half's, over many such splits.
The rule, fixed beforehand: of the policies that are right at least as often on the first half as 40 samples of the
model that is best there, the one with the fewest tokens (`margin 0`; also shown with half a point more asked for).

The policies of the first half are reckoned by `fast_cascade`, which a test holds to the strategy; what is measured on
the other half is `ttc.Cascade.search()` itself, on a clock that counts tokens. Every policy gets the same samples.

- tokens: generated ones a problem; "fewer": those of the reference ÷ those of the policy, as a ratio of sums
  over all splits.
- points: accuracy minus that of the reference, in percentage points.
- latency: of the policy ÷ of the reference, whose 40 samples run side by side at one decoding speed for all models.
- of splits: the 5th to 95th percentile over the splits, which overlap: how much the choice and the half matter.
- of problems: a 95 % bootstrap interval; each problem with its mean over the splits that it was not chosen on.

References: 40 samples of the model that the first half picks, of the model that is best in hindsight on the very half
that is reported (so it flatters itself), and of the model with the shortest answers.

    poe bench-cascade [folder]      the folder may also be named by TTC_RECORDED
    poe bench-cascade --quick       fewer splits and policies; fails where the figure is missed: for CI
"""

from __future__ import annotations

import heapq
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from fast_cascade import cascade, leader, tier
from recorded import Question, arguments, questions
from report import show

import ttc_middleware as ttc

N = 40
ORDERS = 3
CALL = ttc.Call(name="bench:cascade")
RESAMPLES = 2_000
FEWER, POINTS = 10, 0.0  # the figure to reach, on MATH-500
MARGINS = {"margin 0": 0.0, "margin +0.5": 0.005}
SINGLE = list(product((2, 3, 4, 5, 6), (5, 10, 20, 40)))
FIRST = [(lead, cap) for lead, cap in product((2, 3), (2, 3, 5, 8)) if cap >= lead]
SECOND = list(product((2, 3, 4, 6), (5, 10, 20, 40)))


@dataclass(frozen=True)
class Policy:
    """Models by their place, each with its lead and its cap."""

    models: tuple[int, ...]
    tiers: tuple[tuple[int, int], ...]

    @property
    def strategy(self) -> ttc.Cascade:
        return ttc.Cascade(
            [
                ttc.strategies.Tier(str(model), lead=lead, cap=cap)
                for model, (lead, cap) in zip(self.models, self.tiers, strict=True)
            ],
            by=given,
        )


def given(output):
    return output


class Data:
    """Recorded samples of one dataset, in random orders: `streams[order][model][problem]`."""

    def __init__(self, found: list[Question]) -> None:
        self.models = sorted({each.model for each in found})
        asked = [{each.problem for each in found if each.model == model} for model in self.models]
        self.problems = sorted(set.intersection(*asked))
        by_place = {(each.model, each.problem): each for each in found}
        self.gold = [by_place[self.models[0], problem].gold for problem in self.problems]
        self.streams = [
            [[_stream(by_place[model, problem], order) for problem in self.problems] for model in self.models]
            for order in range(ORDERS)
        ]


def _stream(question: Question, order: int):
    return random.Random(f"{question.cluster} {question.model} {order}").sample(question.samples, N)


def replay(policy: Policy, streams) -> tuple[object, int, int]:
    """The answer, the tokens and the time of one search on a clock of tokens."""
    left = {str(model): iter(stream) for model, stream in zip(policy.models, streams, strict=True)}
    steps = policy.strategy.search(CALL)
    now = launched = tokens = 0
    under_way: list[tuple[int, int, ttc.Sample]] = []
    step = next(steps)
    try:
        while True:
            for draw in step:
                answer, took = next(left[draw.model])
                status = "abstained" if answer is None else "answer"
                sample = ttc.Sample(index=launched, draw=draw, call=CALL, output=answer, status=status)
                heapq.heappush(under_way, (now + took, launched, sample))
                launched += 1
                tokens += took
            now, _, sample = heapq.heappop(under_way)
            step = steps.send(sample)
    except StopIteration as end:
        assert not under_way  # nothing that it started was in vain
        return end.value.output, tokens, now


def measured(job) -> np.ndarray:
    """Rows of the strategy itself: [problem, (right, tokens, latency)], the mean over orders."""
    data, policy = job
    table = np.zeros((ORDERS, len(data.problems), 3))
    for order, per_model in enumerate(data.streams):
        for place, gold in enumerate(data.gold):
            output, tokens, latency = replay(policy, [per_model[model][place] for model in policy.models])
            table[order, place] = output == gold, tokens, latency
    return table.mean(axis=0)


def voted(data: Data, model: int, n: int = N) -> np.ndarray:
    """Rows of the majority of n samples side by side."""
    table = np.zeros((ORDERS, len(data.problems), 3))
    for order, per_model in enumerate(data.streams):
        for place, gold in enumerate(data.gold):
            drawn = per_model[model][place][:n]
            votes = Counter(answer for answer, _ in drawn if answer is not None)
            took = [tokens for _, tokens in drawn]
            table[order, place] = leader(votes) == gold, sum(took), max(took)
    return table.mean(axis=0)


def covered(data: Data) -> float:
    """How many problems any of the 40 samples of any model is right on, in percent."""
    return 100 * np.mean(
        [
            [
                any(gold == answer for model in per_model for answer, _ in model[place])
                for place, gold in enumerate(data.gold)
            ]
            for per_model in data.streams
        ]
    )


def grid(job) -> tuple[list[Policy], np.ndarray]:
    """All policies that begin with one model: [policy, problem, (right, tokens)], the mean over orders."""
    data, model, quick = job
    # What a first tier decides, it decides for every second one; only the rest is reckoned for each.
    singles = [Policy((model,), (each,)) for each in SINGLE]
    others = [other for other in range(len(data.models)) if other != model]
    second = [each for each in SECOND if not quick or each[1] == 20]
    pairs = [Policy((model, other), (one, two)) for one in FIRST for other in others for two in second]
    table = np.zeros((len(singles) + len(pairs), len(data.problems), 2))
    for per_model in data.streams:
        for place, gold in enumerate(data.gold):
            stream = per_model[model][place]
            for row, policy in enumerate(singles):
                answer, tokens = cascade(policy.tiers, [stream])
                table[row, place] += answer == gold, tokens
            row = len(singles)
            for lead, cap in FIRST:
                votes: dict[str, int] = {}
                tokens, decided = tier(votes, stream, lead, cap)
                several = len(others) * len(second)
                if decided:
                    table[row : row + several, place] += leader(votes) == gold, tokens
                    row += several
                    continue
                for other in others:
                    for more in second:
                        after = dict(votes)
                        took, _ = tier(after, per_model[other][place], *more)
                        table[row, place] += leader(after) == gold, tokens + took
                        row += 1
    return singles + pairs, table / ORDERS


def choose(policies: list[Policy], table: np.ndarray, half: np.ndarray, least: float) -> Policy:
    """The fewest tokens among those that are right that often on this half."""
    right, tokens = table[:, half].mean(axis=1).T
    fit = np.flatnonzero(right >= least - 1e-9)
    if not len(fit):  # none is: the one that is right most often
        fit = np.flatnonzero(right == right.max())
    return policies[fit[np.argmin(tokens[fit])]]


def mixed(cost: float, one: np.ndarray, two: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Rows of a coin between two policies, which costs as much on this half."""
    low, high = one[half, 1].mean(), two[half, 1].mean()
    share = 0.0 if high == low else float(np.clip((cost - low) / (high - low), 0, 1))
    return (1 - share) * one + share * two


def known(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Rows of a router that knows which of two policies is right more often on a problem; ties: the cheaper."""
    better = (two[:, 0] > one[:, 0]) | ((two[:, 0] == one[:, 0]) & (two[:, 1] < one[:, 1]))
    return np.where(better[:, None], two, one)


def interval(values, low: float, high: float, form: str) -> str:
    a, b = np.percentile(values, [low, high])
    return f"{a:{form}} … {b:{form}}"


class Told:
    """What one policy and its reference came to, split by split and problem by problem."""

    def __init__(self, problems: int) -> None:
        self.sums = np.zeros((problems, 7))  # right, tokens, latency, the reference's, times
        self.splits: list[np.ndarray] = []

    def add(self, half: np.ndarray, rows: np.ndarray, beside: np.ndarray) -> None:
        both = np.concatenate([rows[half], beside[half], np.ones((len(half), 1))], axis=1)
        self.sums[half] += both
        self.splits.append(both.sum(axis=0))

    @staticmethod
    def figures(sums: np.ndarray) -> np.ndarray:
        right, tokens, latency, plain, plain_tokens, plain_latency, times = np.moveaxis(sums, -1, 0)
        return np.stack(
            [tokens / times, 100 * right / times, plain_tokens / tokens, 100 * (right - plain) / times,
             latency / plain_latency], -1
        )  # fmt: skip

    @property
    def means(self) -> np.ndarray:
        return self.figures(np.array(self.splits).sum(axis=0))

    def row(self, name: str) -> list[str]:
        tokens, right, fewer, points, latency = self.means
        of_splits = self.figures(np.array(self.splits))
        seen = self.sums[self.sums[:, -1] > 0]
        each = seen / seen[:, -1:]
        weights = np.random.default_rng(0).multinomial(len(each), np.full(len(each), 1 / len(each)), RESAMPLES)
        drawn = self.figures(weights @ each)
        return [
            name,
            f"{tokens:,.0f}",
            f"{right:.2f}",
            f"{fewer:.1f} x",
            interval(of_splits[:, 2], 5, 95, ".1f"),
            interval(drawn[:, 2], 2.5, 97.5, ".1f"),
            f"{points:+.2f}",
            interval(of_splits[:, 3], 5, 95, "+.2f"),
            interval(drawn[:, 3], 2.5, 97.5, "+.2f"),
            f"{latency:.2f}",
        ]


COLUMNS = [
    "",
    "tokens",
    "right %",
    "fewer",
    "of splits",
    "of problems",
    "points",
    "of splits",
    "of problems",
    "latency",
]


def report(dataset: str, found: list[Question], workers: ProcessPoolExecutor, *, quick: bool) -> bool:
    """Choose, measure and show; whether the figure is reached."""
    data = Data(found)
    splits = 20 if quick else 100
    parts = list(workers.map(grid, [(data, model, quick) for model in range(len(data.models))]))
    policies = [policy for each, _ in parts for policy in each]
    table = np.concatenate([each for _, each in parts])
    votes = np.stack([voted(data, model) for model in range(len(data.models))])
    once = np.stack([voted(data, model, 1) for model in range(len(data.models))])
    chance = random.Random(0)
    everything = np.arange(len(data.problems))
    halves = [np.array(sorted(chance.sample(range(len(everything)), len(everything) // 2))) for _ in range(splits)]
    alone = np.array([len(each.models) == 1 for each in policies])
    chosen: list[tuple[int, dict[str, Policy]]] = []
    for half in halves:
        best = int(
            max(range(len(votes)), key=lambda model: (votes[model][half, 0].mean(), -votes[model][half, 1].sum()))
        )
        least = votes[best][half, 0].mean()
        picked = {f"Cascade, {name}": choose(policies, table, half, least + more) for name, more in MARGINS.items()}
        ones = [each for each, single in zip(policies, alone, strict=True) if single]
        picked["lead >= m, one model"] = choose(ones, table[alone], half, least)
        chosen.append((best, picked))
    main = f"Cascade, {next(iter(MARGINS))}"
    wanted = {each for _, picked in chosen for each in picked.values()}
    wanted |= {Policy((model,), (each,)) for p in wanted for model, each in zip(p.models, p.tiers, strict=True)}
    order = sorted(wanted, key=repr)
    rows = dict(zip(order, workers.map(measured, [(data, each) for each in order], chunksize=8), strict=True))

    against: dict[str, dict[str, Told]] = {}

    def tell(reference: str, name: str, half, ours, beside) -> None:
        against.setdefault(reference, {}).setdefault(name, Told(len(everything))).add(half, ours, beside)

    for half, (best, picked) in zip(halves, chosen, strict=True):
        rest = np.setdiff1d(everything, half)
        hindsight = int(np.argmax(votes[:, rest, 0].mean(axis=1)))
        shortest = int(np.argmin(votes[:, half, 1].mean(axis=1)))
        references = {"picked": votes[best], "hindsight": votes[hindsight], "shortest": votes[shortest]}
        cascaded = rows[picked[main]]
        ends = [rows[Policy((m,), (t,))] for m, t in zip(picked[main].models, picked[main].tiers, strict=True)]
        ours = {
            **{name: rows[policy] for name, policy in picked.items()},
            "a coin between the tiers, at its cost": mixed(cascaded[rest, 1].mean(), ends[0], ends[-1], rest),
            "an oracle between the tiers": known(ends[0], ends[-1]),
            "one draw of the model picked": once[best],
            "SC-40 of the model picked": votes[best],
            "SC-40 of the best in hindsight": votes[hindsight],
            "SC-40 of the shortest": votes[shortest],
        }
        for reference, beside in references.items():
            for name, each in ours.items():
                tell(reference, name, rest, each, beside)

    counts = f"{len(data.models)} models, {len(everything)} problems, {splits} splits, {len(policies)} policies"
    show(
        f"{dataset}: {counts}\nbeside 40 samples of the model that the first half picks",
        COLUMNS,
        [told.row(name) for name, told in against["picked"].items()],
    )
    for reference, said in [
        ("hindsight", "the model that is best in hindsight"),
        ("shortest", "the model with the shortest answers"),
    ]:
        show(
            f"beside 40 samples of {said}",
            COLUMNS,
            [told.row(name) for name, told in against[reference].items() if "Cascade" in name or "lead" in name],
        )
    print(f"some sample of some model is right on {covered(data):.1f} % of the problems")
    print(f"policies chosen most often ({main}):")
    for policy, times in Counter(picked[main] for _, picked in chosen).most_common(3):
        said = " -> ".join(
            f"{data.models[m]} (lead {lead}, cap {cap})"
            for m, (lead, cap) in zip(policy.models, policy.tiers, strict=True)
        )
        print(f"  {times:3} x {said}")
    _, _, fewer, points, _ = against["picked"][main].means
    return bool(fewer >= FEWER and points >= POINTS)


def main() -> int:
    asked = arguments(__doc__).parse_args()
    found = questions(asked.folder)
    began = time.perf_counter()
    reached: dict[str, bool] = {}
    with ProcessPoolExecutor(2) as workers:
        for dataset in sorted({each.dataset for each in found}, reverse=True):
            if asked.quick and dataset != "math500":
                continue
            own = [each for each in found if each.dataset == dataset]
            reached[dataset] = report(dataset, own, workers, quick=asked.quick)
    good = reached.get("math500", True)
    said = "reached" if good else "MISSED"
    print(
        f"{said}: >= {FEWER} x fewer tokens than 40 samples of the model picked, at >= {POINTS:g} points, on MATH-500"
    )
    print(f"{time.perf_counter() - began:.0f} s")
    return int(asked.quick and not good)


if __name__ == "__main__":
    sys.exit(main())
