"""`Adaptive` on a mix of easy, medium and hard problems, beside uniform best-of-16; a part of `poe bench-search`.

70 % moods, 25 % sums and 5 % walks, replayed from the recorded pools: all strategies draw the same samples in the same
random orders, through the library as it is. Tokens are those of every draw that was begun, cancelled ones in full.
Turns are draws that wait for another, one after the other: what latency goes with. Intervals are 95 %, by a bootstrap
of problems within each family.

Settings were chosen on the "tune" split, which has other problems: of each difficulty's candidates below, the one with
the fewest tokens whose difference to uniform best-of-16 is above -2 points there, with its interval; where there is
none, the one whose interval begins highest. A full run chooses again; the figures are of "test".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
from estimates import Share, interval, mixed
from families import FAMILIES, Family, Split
from record import Pool, Told, read
from report import markdown

import ttc_middleware as ttc
from ttc_middleware.strategies import AdaptiveConsistency, Agreement, FirstScore
from ttc_middleware.testing import Outcome, play

WEIGHTS = {"mood": 0.70, "add3": 0.25, "walk": 0.05}
ONE_BY_ONE = "best-of-16, one by one"
FEWER, LOSS = 4.0, -0.02  # the target: times fewer tokens, and the least that the interval of the difference may hold
COLUMNS = ("", "right", "draws", "tokens", "new", "turns", "fewer tokens, times", "points")


def kind(question: str) -> str:
    """How hard a call is, by its arguments: sums and walks say what they are."""
    return {"Add": "medium", "From": "hard"}.get(question.split(maxsplit=1)[0], "easy")


def answer(text: str) -> str | None:
    """What votes."""
    return next(iter(FAMILIES.values())).answer(text)


def tiers(easy: ttc.Strategy, n: int, at_once: int | None) -> dict[str, ttc.Strategy]:
    medium = ttc.BestOfN(4, at_once=at_once and min(at_once, 4))
    return {"easy": easy, "medium": medium, "hard": ttc.BestOfN(n, at_once=at_once)}


def votes(medium: int, hard: int) -> dict[str, ttc.Strategy]:
    sizes = {"medium": medium, "hard": hard}
    return {"easy": ttc.Single(), **{name: ttc.SelfConsistency(n, by=answer) for name, n in sizes.items()}}


UNIFORM = ttc.BestOfN(16, stop="all")
MAJORITY = ttc.SelfConsistency(16, by=answer)
PARALLEL = {"easy": ttc.Single(temperature=0), "medium": ttc.BestOfN(4), "hard": ttc.BestOfN(16)}
EASY = (ttc.Single(), ttc.Single(temperature=0))
HARD = tuple(product((16, 12, 8), (None, 4, 2, 1)))

CANDIDATES: dict[str, list[ttc.Strategy]] = {
    "FirstScore": [ttc.Adaptive(FirstScore([0.8, 0.4]), tiers(EASY[0], *each)) for each in HARD],
    "Agreement": [ttc.Adaptive(Agreement(2), tiers(EASY[0], *each)) for each in HARD],
    "arguments": [ttc.Adaptive(kind, tiers(easy, *each)) for easy in EASY for each in HARD],
    "Agreement, no verifier": [
        ttc.Adaptive(Agreement(draws, by=answer), votes(medium, hard), by=answer)
        for draws in (2, 3)
        for medium in (4, 8)
        for hard in (8, 16)
    ],
}
CHOSEN: dict[str, ttc.Strategy] = {
    "FirstScore": ttc.Adaptive(FirstScore([0.8, 0.4]), tiers(EASY[0], 12, 1)),
    "Agreement": ttc.Adaptive(Agreement(2), tiers(EASY[0], 8, 1)),
    "arguments": ttc.Adaptive(kind, tiers(EASY[1], 8, 1)),
    "Agreement, no verifier": ttc.Adaptive(Agreement(3, by=answer), votes(8, 16), by=answer),
}
"""By this rule."""


@dataclass(frozen=True)
class Cost:
    """What a search took, and whether its answer is right."""

    right: float
    draws: float
    tokens: float
    new: float
    answers: float
    """Tokens that were written."""
    turns: float


class Turns:
    """A strategy that counts draws that wait for another; each takes one turn, and they end in order of launch."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self.ends: list[int] = []
        self.count = 0

    def __getattr__(self, name: str) -> Any:  # needs, needs_verifier, wants_all, judges
        return getattr(self._strategy, name)

    def search(self, call: ttc.Call) -> ttc.Search[Any]:
        steps = self._strategy.search(call)
        step = next(steps)
        try:
            while True:
                self.ends += [self.count + 1 for each in step if isinstance(each, ttc.Draw)]
                sample = yield step
                if sample is not None:
                    self.count = max(self.count, self.ends[sample.index])
                step = steps.send(sample)
        except StopIteration as end:
            return end.value


def replayed(strategy: ttc.Strategy, family: Family, pool: Pool, order: int, *, verified: bool = True) -> Cost:
    """One search; a draw at temperature 0 brings the greedy answer, each other one the next sample."""
    samples = pool.samples.copy()
    random.Random(f"{pool.problem.question} {order}").shuffle(samples)
    coming: Iterator[Told] = iter(samples)
    came: list[Told] = []

    def outcome(_index: int, draw: ttc.Draw) -> Outcome:
        told = pool.greedy if draw.temperature == 0 else next(coming)
        assert told is not None
        came.append(told)
        if not verified:
            return Outcome(output=told[0], status="answer" if answer(told[0]) else "abstained")
        verdict = family.judge(pool.problem).check(told[0])
        return Outcome(output=told[0], score=verdict.score, accepted=verdict.accepted)

    timed = Turns(strategy)
    call = ttc.Call(name=f"bench:{family.name}", arguments={"question": pool.problem.question})
    winner = play(timed, outcome, call=call).winner
    right = winner is not None and family.verify(winner.text or "", pool.problem)
    new = sum(each[1] - each[2] + each[3] for each in came)
    read, written = sum(each[1] for each in came), sum(each[3] for each in came)
    return Cost(right, len(came), read + written, new, written, timed.count)


@cache
def pools(split: Split) -> dict[str, list[Pool]]:
    """Those of the mix."""
    return {name: [each for each in read(FAMILIES[name], split=split) if each.samples] for name in WEIGHTS}


def mean(costs: Sequence[Cost]) -> Cost:
    """Of the same problem in several orders."""
    return Cost(*(fmean(getattr(each, name) for each in costs) for name in Cost.__dataclass_fields__))


def measured(strategy: ttc.Strategy, split: Split, orders: int, *, verified: bool = True) -> dict[str, list[Cost]]:
    """What it takes, of each problem."""
    return {
        name: [
            mean([replayed(strategy, FAMILIES[name], pool, order, verified=verified) for order in range(orders)])
            for pool in found
        ]
        for name, found in pools(split).items()
    }


Measured = dict[str, list[Cost]]


def of(costs: Measured, figure: Callable[[Cost], float]) -> tuple[float, np.ndarray]:
    """A figure of the mix, and its resamples."""
    return mixed([(WEIGHTS[name], [figure(each) for each in found]) for name, found in costs.items()])


def gained(ours: Measured, theirs: Measured) -> Share:
    """Accuracy against the other's, on the same problems."""
    (a, many), (b, others) = of(ours, lambda each: each.right), of(theirs, lambda each: each.right)
    return interval(a - b, many - others)


def fewer(ours: Measured, theirs: Measured, figure: Callable[[Cost], float]) -> Share:
    """How many times fewer tokens."""
    (a, many), (b, others) = of(ours, figure), of(theirs, figure)
    return interval(b / a, others / many)


def choose(orders: int = 4) -> dict[str, ttc.Strategy]:
    """What the rule above chooses, on "tune"."""
    found: dict[str, ttc.Strategy] = {}
    for name, candidates in CANDIDATES.items():
        verified = name != "Agreement, no verifier"
        beside = measured(UNIFORM if verified else MAJORITY, "tune", orders, verified=verified)
        costs = [measured(each, "tune", orders, verified=verified) for each in candidates]
        low = [gained(each, beside).low for each in costs]
        total = [of(each, lambda each: each.tokens)[0] for each in costs]
        kept = [place for place in range(len(costs)) if low[place] > LOSS]
        found[name] = candidates[min(kept, key=total.__getitem__) if kept else low.index(max(low))]
    return found


def row(name: str, ours: Measured, theirs: Measured) -> list[str]:
    right = interval(*of(ours, lambda each: each.right))
    times = fewer(ours, theirs, lambda each: each.tokens)
    means = [of(ours, figure)[0] for figure in (lambda each: each.draws, lambda each: each.tokens,
                                                lambda each: each.new, lambda each: each.turns)]  # fmt: skip
    draws, tokens, new, turns = means
    cells = [f"{draws:.2f}", f"{tokens:,.0f}", f"{new:,.0f}", f"{turns:.1f}"]
    beside = ["", ""] if ours is theirs else [f"{times.mean:.2f} ({times.low:.2f} to {times.high:.2f})",
                                              gained(ours, theirs).fine]  # fmt: skip
    return [name, str(right), *cells, *beside]


def rows() -> list[tuple[str, bool, ttc.Strategy]]:
    """What stands in the table: its name, whether there is a verifier, and the strategy; first what it is beside."""
    blind = "Agreement, no verifier"
    return [
        ("uniform best-of-16", True, UNIFORM),
        ("best-of-16, four at once", True, ttc.BestOfN(16, at_once=4)),
        (ONE_BY_ONE, True, ttc.BestOfN(16, at_once=1)),
        ("best-of-12, one by one", True, ttc.BestOfN(12, at_once=1)),
        ("Adaptive, arguments, tiers in parallel", True, ttc.Adaptive(kind, PARALLEL)),
        *((f"Adaptive, {name}", True, each) for name, each in CHOSEN.items() if name != blind),
        ("majority of 16, no verifier", False, MAJORITY),
        ("AdaptiveConsistency(0.95)", False, ttc.SelfConsistency(16, by=answer, stop=AdaptiveConsistency(0.95))),
        (f"Adaptive, {blind}", False, CHOSEN[blind]),
    ]


def table(orders: int, *, chosen: bool) -> list[str]:
    """Print the table.

    Args:
        orders: random orders of each problem's samples.
        chosen: choose the settings again, which takes a minute, and look whether they are those of the table.

    Returns:
        What is wrong: a target that no difficulty reaches, or settings that the rule does not choose any more.
    """
    wrong = [
        f"{name}: chosen on tune is {strategy}, not {CHOSEN[name]}"
        for name, strategy in (choose() if chosen else {}).items()
        if repr(strategy) != repr(CHOSEN[name])
    ]
    found = [(name, verified, measured(each, "test", orders, verified=verified)) for name, verified, each in rows()]
    uniform = {True: found[0][2], False: next(costs for _, verified, costs in found if not verified)}
    sizes = ", ".join(f"{100 * WEIGHTS[name]:.0f} % {name} ({len(each)})" for name, each in pools("test").items())
    title = f"A mix of easy, medium and hard problems: {sizes}; {orders} orders of each"
    markdown(title, COLUMNS, [row(name, costs, uniform[verified]) for name, verified, costs in found])
    print()
    for name, strategy in CHOSEN.items():
        print(f"- {name}: {strategy}")
    met = [name for name, verified, costs in found
           if verified and name.startswith("Adaptive") and reached(costs, uniform[True])]  # fmt: skip
    target = f">= {FEWER:g} x fewer tokens than uniform best-of-16, the difference above {100 * LOSS:g} points"
    print(f"\n{'reached' if met else 'missed'}: {target}{', with ' if met else ''}{'; '.join(met)}")
    shared = of(uniform[True], lambda each: each.tokens - (each.tokens - each.answers) * 15 / 16)[0]
    plain = next(costs for name, _, costs in found if name == ONE_BY_ONE)
    print(f"Where the prompt is read once for all 16 (n=16), uniform best-of-16 takes {shared:,.0f} tokens.")
    for name, verified, costs in found:
        if name.startswith("Adaptive") and verified:
            one = fewer(costs, plain, lambda each: each.tokens)
            print(f"- {name}: {shared / of(costs, lambda each: each.tokens)[0]:.2f} x fewer than that;"
                  f" {one.mean:.2f} ({one.low:.2f} to {one.high:.2f}) x fewer than best-of-16 one by one")  # fmt: skip
    return wrong if met else [*wrong, f"missed: Adaptive with {target}"]


def reached(ours: Measured, theirs: Measured) -> bool:
    return fewer(ours, theirs, lambda each: each.tokens).mean >= FEWER and gained(ours, theirs).low > LOSS
