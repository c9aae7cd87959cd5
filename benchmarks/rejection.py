"""What rejecting bad beginnings saves and loses beside plain best-of-N, as a curve over how well beginnings tell.

The strategies of the library run as they are, on answers that were recorded whole: a draw gets as much of its answer as
it asks for, so what is cut off, gone on with and dropped costs exactly what it would have. Output tokens only.

1. Simulated scores on the recorded samples of reasoning models (TTC_RECORDED): real lengths and real correctness. A
   whole answer's score is that of a reward model which tells right from wrong with an AUC of 0.9; a beginning's score
   has a correlation of rho with it, by an error that is drawn anew at each length (which flatters whoever looks often)
   or that lasts from the first look on (which makes the further looks worthless): the truth lies between. Best-of-16 is
   the reference.

   - tokens: of best-of-16 ÷ of the strategy; points: accuracy minus that of best-of-16, in percentage points.
   - reward: the winner's score above a random answer's, as a share of what best-of-16 gains.
   - even: accuracy minus that of plain best-of-m with as many tokens (m in between by linear interpolation).
   - on: share of the searches in which `record=` rejected anything.

2. The step families of families.py with the embedded model's recorded answers, where they are there: scores are what a
   program says a beginning is worth, so here the correlation is what it is.

Intervals are 95 %, by a bootstrap of problems.

    poe bench-rejection [folder]      the folder may also be named by TTC_RECORDED
    poe bench-rejection --quick       fewer problems; fails where the gentle setting misses its figure: for CI
"""

from __future__ import annotations

import importlib.util
import math
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from recorded import arguments, halves, questions

import ttc_middleware as ttc

N = 16
RARE = 0.01
CALL = ttc.Call(name="bench:rejection")
RHOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
APART = 1.81  # standard deviations between right and wrong answers: an AUC of 0.9
RESAMPLES = 1_000
SMALLER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
SAVED, KEPT, FROM = 2.2, 0.97, 0.7  # the figure to reach: so many times fewer tokens at so much of the reward, from rho
GENTLE = {"fractions": (1 / 16, 1 / 8, 1 / 4, 1 / 2), "keep": 2 / 3}
SHOWN = (
    f"SpeculativeRejection({N})",
    f"SpeculativeRejection({N}, fractions=(1/16, 1/8, 1/4, 1/2), keep=2/3)",
    f"SpeculativeRejection({N}, record=PrefixRecord())",
)


@dataclass(frozen=True)
class Written:
    """An answer that was recorded whole."""

    tokens: int
    final: float
    right: bool
    part: Callable[[int], float]
    """The score of its first so many tokens."""
    lines: tuple[int, ...] = ()
    """After how many tokens each of its steps ends, but for the last."""


def replay(strategy, answers: list[Written]) -> tuple[Written, int, int]:
    """The winner, the output tokens, and the answers that were begun."""
    search = strategy.search(CALL)
    waiting: deque[ttc.Sample] = deque()
    begun: list[Written] = []
    of: dict[int, tuple[Written, int]] = {}
    tokens = launched = 0
    step = next(search)
    try:
        while True:
            for draw in step:
                if isinstance(draw, ttc.Cancel):
                    continue  # what was launched beside is paid for
                if draw.parent is None and len(begun) == len(answers):
                    continue
                if draw.parent is None:
                    begun.append(answers[len(begun)])
                answer, before = (begun[-1], 0) if draw.parent is None else of[draw.parent.index]
                upto = answer.tokens if draw.max_tokens is None else min(answer.tokens, before + draw.max_tokens)
                if draw.stop:
                    upto = next((end for end in answer.lines if end > before), answer.tokens)
                ended = upto == answer.tokens
                tokens += upto - before
                of[launched] = answer, upto
                score = answer.final if ended else answer.part(upto)
                waiting.append(
                    ttc.Sample(
                        index=launched, draw=draw, call=CALL, output=None, text=f"{id(answer)}:{upto}", ended=ended,
                        usage=ttc.Usage(1, 0, upto - before),
                        verdict=ttc.Verdict(score, accepted=ended and score == 1),
                    )
                )  # fmt: skip
                launched += 1
            step = search.send(waiting.popleft() if waiting else None)
    except StopIteration as end:
        return of[end.value.index][0], tokens, len(begun)


def normal_share(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def simulated(question, rho: float, *, lasting: bool) -> list[Written]:
    """One replay's answers, with scores that beginnings foretell so well; the same answers for every rho."""
    chance = random.Random(f"{question.cluster} {question.model}")
    drawn = chance.sample(question.samples, N)
    share = sum(answer == question.gold for answer, _ in question.samples) / len(question.samples)
    spread = math.sqrt(1 + share * (1 - share) * APART**2)
    found = []
    for answer, tokens in drawn:
        right = answer == question.gold
        reward = chance.gauss(0, 1) + APART * (right - share)
        noise = chance.random()
        # A score in (0, 1) that keeps the order; never 1, which would be accepted.
        found.append(
            Written(tokens, normal_share(reward / 4), right, Foretold(rho, reward / spread, f"{noise}", lasting))
        )
    return found


@dataclass(frozen=True)
class Foretold:
    """A beginning's score, the same whenever it is asked for."""

    rho: float
    reward: float
    seed: str
    lasting: bool

    def __call__(self, upto: int) -> float:
        noise = random.Random(self.seed if self.lasting else f"{self.seed} {upto}").gauss(0, 1)
        return normal_share((self.rho * self.reward + math.sqrt(1 - self.rho**2) * noise) / 4)


def curve(job) -> list[list[float]]:
    """One rho: a row of figures for each question."""
    rho, lasting, found = job
    always = ttc.SpeculativeRejection(N)
    gentle = ttc.SpeculativeRejection(N, **GENTLE)
    learning = ttc.SpeculativeRejection(N, record=ttc.PrefixRecord())
    rows = []
    for question in found:
        answers = simulated(question, rho, lasting=lasting)
        mean = sum(each.final for each in answers) / N
        row: list[float] = [mean]
        whole = sum(each.tokens for each in answers)
        for strategy in (ttc.BestOfN(N, stop="all"), always, gentle, learning):
            winner, tokens, _ = replay(strategy, answers)
            row += [winner.right, winner.final, tokens]
        row.append(row[-1] < whole)
        for m in SMALLER:
            winner, tokens, _ = replay(ttc.BestOfN(m, stop="all"), answers)
            row += [winner.right, tokens]
        rows.append(row)
    return rows


_ON = 1 + 3 * (1 + len(SHOWN))  # the column that says whether the last one rejected anything


def figures(sums: np.ndarray, count: np.ndarray, place: int) -> np.ndarray:
    """Tokens, points, reward and even, of the strategy at this place, from sums of rows."""
    mean, right, final, tokens = (sums[..., k] for k in range(4))
    own_right, own_final, own_tokens = (sums[..., 4 + 3 * place + k] for k in range(3))
    first = _ON + 1
    rights = np.stack([sums[..., first + 2 * k] for k in range(len(SMALLER))], -1)
    costs = np.stack([sums[..., first + 2 * k + 1] for k in range(len(SMALLER))], -1)
    flat = zip(np.atleast_1d(own_tokens), np.atleast_2d(costs), np.atleast_2d(rights), strict=True)
    even = np.array([np.interp(own, cost, known) for own, cost, known in flat]).reshape(own_tokens.shape)
    return np.stack(
        [
            tokens / own_tokens,
            100 * (own_right - right) / count,
            (own_final - mean) / (final - mean),
            100 * (own_right - even) / count,
        ],
        -1,
    )


def measured(found, rows, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The figures, and the bounds of their intervals."""
    clusters = sorted({each.cluster for each in found})
    index = {cluster: k for k, cluster in enumerate(clusters)}
    sums, counts = np.zeros((len(clusters), len(rows[0]))), np.zeros(len(clusters))
    np.add.at(sums, [index[each.cluster] for each in found], np.array(rows, float))
    np.add.at(counts, [index[each.cluster] for each in found], 1)
    chance = np.random.default_rng(0)
    weights = chance.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), RESAMPLES)
    low, high = np.percentile(figures(weights @ sums, weights @ counts, place), [2.5, 97.5], axis=0)
    return figures(sums.sum(0), counts.sum(), place), low, high


def shown(label: str, figure, low, high, on: float) -> None:
    tokens = f"{figure[0]:5.2f} ({low[0]:4.2f} to {high[0]:4.2f})"
    points = f"{figure[1]:+6.2f} ({low[1]:+6.2f} to {high[1]:+6.2f})"
    reward = f"{100 * figure[2]:5.1f} %"
    even = f"{figure[3]:+6.2f} ({low[3]:+6.2f} to {high[3]:+6.2f})"
    print(f"  {label:14} {tokens}  {points}  {reward}  {even}  {100 * on:4.0f} %", flush=True)


def simulate(found, workers, *, lasting: bool) -> dict[str, bool]:
    """Print the curves; returns which of them reach the figure."""
    told = dict(zip(RHOS, workers.map(curve, [(rho, lasting, found) for rho in RHOS]), strict=True))
    head = f"  {'rho':14} {'fewer tokens, times':20}  {'accuracy, points':25}  reward   {'even':25}  on"
    error = "lasts from the first look on" if lasting else "is new at each look"
    reached = {}
    for place, name in enumerate(SHOWN):
        print(f"{name}, {len(found)} (model, problem), simulated scores whose error {error}\n{head}")
        reached[name] = True
        for rho, rows in told.items():
            on = 1.0 if place < 2 else sum(row[_ON] for row in rows) / len(rows)
            figure, low, high = measured(found, rows, place)
            shown(f"{rho:.1f}", figure, low, high, on)
            if rho >= FROM and not (figure[0] >= SAVED and figure[2] >= KEPT):
                reached[name] = False
            if place == 2 and rho == 0 and on > 0.05:
                print("  MISSED: it is on where beginnings say nothing")
                reached[name] = False
        said = "reached" if reached[name] else "missed"
        print(f"  {said}: >= {SAVED} x fewer tokens at >= {KEPT:.0%} of the reward from rho {FROM} on", flush=True)
    return reached


def family_answers(family, pool) -> list[Written]:
    """A problem's recorded answers; a token is taken to be as long as its answer's others."""
    problem = pool.problem
    found = []
    for text, _, _, tokens, *_ in pool.samples:
        length = len(text) / max(1, tokens)
        ends = [k + 1 for k, letter in enumerate(text) if letter == "\n"]
        verdict = family.judge(problem).check(text)
        found.append(
            Written(
                max(1, tokens), verdict.score, bool(verdict.accepted),
                lambda upto, text=text, length=length: family.prefix(text[: round(upto * length)], problem),
                tuple(max(1, round(end / length)) for end in ends),
            )
        )  # fmt: skip
    return found


def families(*, quick: bool) -> None:
    """The embedded model's recorded answers, where they are there."""
    if importlib.util.find_spec("families") is None:
        print("skipped: no families.py with recorded answers of the embedded model")
        return
    from families import FAMILIES  # noqa: PLC0415  # may be absent
    from record import read  # noqa: PLC0415  # as above

    contenders = {
        f"BestOfN({N}, stop='all')": lambda _: ttc.BestOfN(N, stop="all"),
        f"BestOfN({N}, at_once=1)": lambda _: ttc.BestOfN(N, at_once=1),
        f"SpeculativeRejection({N})": lambda _: ttc.SpeculativeRejection(N),
        "… with record=": lambda record: ttc.SpeculativeRejection(N, record=record),
        "EarlyReject(8, starts=16)": lambda _: ttc.EarlyReject(
            8, below=0.3, after_step=1, starts=N, steps=ttc.Steps("\n")
        ),
    }
    for family in FAMILIES.values():
        pools = [pool for pool in read(family) if len(pool.samples) >= N]
        if not pools or not family.steps:
            print(f"skipped: {family.name}: {'nothing recorded' if family.steps else 'answers of one step'}")
            continue
        right = [family.verify(each[0], pool.problem) for pool in pools for each in pool.samples]
        if sum(right) < RARE * len(right):
            print(f"skipped: {family.name}: a single draw is right in less than {RARE:.0%} of cases")
            continue
        print(f"{family.name}, {len(pools)} problems of the embedded model: right, output tokens a question")
        for name, made in contenders.items():
            record = ttc.PrefixRecord()
            won = []
            for turn in range(1 if quick else 4):
                for pool in pools:
                    answers = random.Random(f"{pool.problem.question} {turn}").sample(family_answers(family, pool), N)
                    winner, tokens, _ = replay(made(record), answers)
                    won.append((winner.right, tokens))
            right, tokens = np.array(won, float).mean(0)
            tells = [record.concordance(each) for each in (1 / 8, 1 / 4, 1 / 2)] if "record" in name else []
            said = ", ".join("-" if each is None else f"{each:.2f}" for each in tells)
            print(f"  {name:28} {100 * right:5.1f} %  {tokens:7.1f}  {said and f'concordance {said}'}", flush=True)


def main() -> int:
    asked = arguments(__doc__).parse_args()
    began = time.perf_counter()
    _, found = halves(questions(asked.folder))
    random.Random(0).shuffle(found)
    found = found[: 250 if asked.quick else 500]
    with ProcessPoolExecutor(2) as workers:
        reached = simulate(found, workers, lasting=False)
        if not asked.quick:
            simulate(found, workers, lasting=True)
    families(quick=asked.quick)
    print(f"{time.perf_counter() - began:.0f} s")
    return int(asked.quick and not reached[SHOWN[1]])


if __name__ == "__main__":
    sys.exit(main())
