"""From the runs of a calibration to its figures: paired bootstraps, the test for a decline, longer against wider."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttc_middleware.verifiers._figures import Estimate, best_of, mean_of, voted

from ._result import Decline, Row, Versus, Wider

_ORDERS = 100  # random orders of a problem's samples that its vote is averaged over
_FLIPS = 2_000


@dataclass(frozen=True)
class Run:
    """One sample of one problem at one budget."""

    problem: str
    budget: str
    sample: int
    right: bool
    score: float
    answer: str | None
    """Which answer it is, for votes; None abstains."""
    tokens: int | None
    reasoning: int | None
    usd: float | None
    seconds: float
    cut: bool = False
    """The limit of the whole calibration may have cut it short: it says nothing of its budget."""


Cells = Mapping[tuple[str, str], Sequence[Run]]
"""For each problem and budget its samples."""


@dataclass(frozen=True)
class Figures:
    """Everything that follows from the complete problems."""

    rows: tuple[Row, ...]
    sweet_spot: str | None
    decline: Decline | None
    wider: tuple[Wider, ...]
    versus: tuple[Versus, ...]


def figures_of(
    cells: Cells, problems: Sequence[str], budgets: Sequence[str], *, samples: int, chosen_by: str, confidence: float
) -> Figures:
    """The figures of problems that are complete."""
    if not problems:
        return Figures((), None, None, (), ())
    rng = random.Random(0)  # noqa: S311  # repeatable, and no secret

    def by_problem(budget: str, of: Callable[[Run], Any]) -> list[float]:
        return [_mean([float(of(run)) for run in cells[problem, budget]]) for problem in problems]

    def known(budget: str, of: Callable[[Run], Any]) -> list[float] | None:
        told = all(of(run) is not None for problem in problems for run in cells[problem, budget])
        return by_problem(budget, of) if told else None

    rights = {budget: by_problem(budget, lambda run: run.right) for budget in budgets}
    best = max(budgets, key=lambda budget: math.fsum(rights[budget]))  # of equals the least thinking
    tokens = {budget: known(budget, lambda run: run.tokens) for budget in budgets}
    rows: list[Row] = []
    for budget in budgets:
        took = tokens[budget]
        thought, paid = known(budget, lambda run: run.reasoning), known(budget, lambda run: run.usd)
        rows.append(
            Row(
                budget=budget,
                accuracy=_estimate(rights[budget], confidence, rng),
                below_best=_lead(rights[best], rights[budget], confidence, rng),
                tokens=None if took is None else _estimate(took, confidence, rng),
                reasoning=None if thought is None else _mean(thought),
                usd=None if paid is None else _mean(paid),
                seconds=_estimate(by_problem(budget, lambda run: run.seconds), confidence, rng),
            )
        )
    curves = {
        budget: _curves([cells[problem, budget] for problem in problems], samples, chosen_by) for budget in budgets
    }
    means = {budget: None if took is None else _mean(took) for budget, took in tokens.items()}
    return Figures(
        tuple(rows),
        _sweet(rows),
        decline_of([(budget, rights[budget]) for budget in budgets], confidence) if len(budgets) > 1 else None,
        tuple(_wider(curves, means, confidence, rng)) if samples > 1 else (),
        tuple(_versus(curves, means, budgets, confidence, rng)),
    )


def _estimate(values: Sequence[float], confidence: float, rng: random.Random) -> Estimate:
    if min(values) == max(values):  # whatever is resampled
        return Estimate(values[0], values[0], values[0])
    return mean_of(values, confidence, rng)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _lead(ours: Sequence[float], theirs: Sequence[float], confidence: float, rng: random.Random) -> Estimate:
    return _estimate([a - b for a, b in zip(ours, theirs, strict=True)], confidence, rng)


def _sweet(rows: Sequence[Row]) -> str:
    """The cheapest that is not significantly below the best: in dollars, else in tokens, else as they were given."""
    dollars = [row.usd for row in rows]
    counts = [None if row.tokens is None else row.tokens.value for row in rows]
    costs = next((each for each in (dollars, counts) if None not in each), list(range(len(rows))))
    good = [(cost, place) for place, cost in enumerate(costs) if rows[place].below_best.low <= 0 and cost is not None]
    return rows[min(good)[1]].budget


def decline_of(by_budget: Sequence[tuple[str, Sequence[float]]], confidence: float) -> Decline:
    """The largest drop from some budget to a larger one, with its interval and against chance.

    Args:
        by_budget: at least two budgets, the least thinking first, each with its accuracy on every problem.
        confidence: of the interval of the drop.
    """
    values = [each for _, each in by_budget]
    i, j, p = largest_drop(values)
    rng = random.Random(2)  # noqa: S311  # repeatable, and no secret
    return Decline(by_budget[i][0], by_budget[j][0], _lead(values[i], values[j], confidence, rng), p)


def largest_drop(values: Sequence[Sequence[float]], *, flips: int = _FLIPS, seed: int = 0) -> tuple[int, int, float]:
    """Whether accuracy drops from some budget to a larger one: one-sided, paired, for all pairs at once.

    The statistic is the largest studentised mean drop over all pairs of a budget and a larger one, so that choosing the
    peak by looking costs no error. Its distribution comes from flipping the signs of all of a problem's drops together
    (a randomisation test with the maximum, Westfall and Young 1993; Romano and Wolf 2005): the chance of a p-value of
    at most x is x where no budget is worse than a smaller one, exactly if each problem gains and loses alike, nearly if
    they only do so on average, and less where accuracy rises.

    Args:
        values: for each budget, the least thinking first, the accuracy on every problem.
        flips: random ones.
        seed: of these.

    Returns:
        The places of the two budgets, and the p-value.
    """
    count = len(values[0])
    pairs = [(i, j) for j in range(len(values)) for i in range(j)]
    squares = [math.fsum((a - b) ** 2 for a, b in zip(values[i], values[j], strict=True)) for i, j in pairs]

    def statistics(sums: Sequence[float]) -> list[float]:
        return [_studentised(sums[i] - sums[j], square, count) for (i, j), square in zip(pairs, squares, strict=True)]

    ours = statistics([math.fsum(each) for each in values])
    largest = max(ours)
    # Problems on which budgets differ, equal ones together: of m of them a flip leaves a binomial number as it is.
    rows = Counter(row for row in zip(*values, strict=True) if len(set(row)) > 1)
    rng = random.Random(seed)  # noqa: S311  # repeatable, and no secret
    reached = 0
    for _ in range(flips):
        sums = [0.0] * len(values)
        for row, m in rows.items():
            weight = 2 * rng.getrandbits(m).bit_count() - m
            for at, value in enumerate(row):
                sums[at] += weight * value
        reached += max(statistics(sums)) >= largest - 1e-9
    i, j = pairs[ours.index(largest)]
    return i, j, (1 + reached) / (1 + flips)


def _studentised(total: float, square: float, count: int) -> float:
    spread = square - total * total / count  # n times the variance
    if abs(total) < 1e-12:  # noqa: PLR2004  # rounding
        return 0.0
    return total / math.sqrt(max(spread, 1e-12))


def _curves(cells: Sequence[Sequence[Run]], samples: int, chosen_by: str) -> dict[int, list[float]]:
    """For n = 1, 2, 4, … and all samples: how often the chosen one of n is right, on each problem."""
    sizes = sorted({*(2**k for k in range(samples.bit_length()) if 2**k <= samples), *range(1, min(samples, 64) + 1)})
    rng = random.Random(1)  # noqa: S311  # repeatable, and no secret
    each: list[list[float]] = []
    for runs in cells:
        if chosen_by == "verifier":
            curve = best_of([(2.0 * run.right + run.score, run.right) for run in runs], samples)
            each.append([curve[n - 1] for n in sizes])
        else:
            single = _mean([float(run.right) for run in runs])  # exact, where an average over orders is not
            each.append([single, *voted([(run.answer, run.right) for run in runs], sizes[1:], rng, _ORDERS)])
    return {n: [curve[at] for curve in each] for at, n in enumerate(sizes)}


def _wider(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    means: Mapping[str, float | None],
    confidence: float,
    rng: random.Random,
) -> list[Wider]:
    found: list[Wider] = []
    for budget, curve in curves.items():
        for n, values in curve.items():
            if n & (n - 1) == 0 or n == max(curve):
                mean = means[budget]
                found.append(Wider(budget, n, _estimate(values, confidence, rng), None if mean is None else n * mean))
    return found


def _versus(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    means: Mapping[str, float | None],
    budgets: Sequence[str],
    confidence: float,
    rng: random.Random,
) -> list[Versus]:
    """For each budget, as many samples of each smaller one as its tokens pay for, where that is two or more."""
    found: list[Versus] = []
    for at, longer in enumerate(budgets):
        for wider in budgets[:at]:
            long, short = means[longer], means[wider]
            if not long or not short:
                continue
            n = min(int(long / short + 1e-9), max(curves[wider]))
            # Fewer than were paid for would not be the same tokens.
            if n < 2 or n not in curves[wider] or n < int(long / short + 1e-9):  # noqa: PLR2004  # one is not wider
                continue
            lead = _lead(curves[wider][n], curves[longer][1], confidence, rng)
            found.append(Versus(longer, wider, n, (long, n * short), lead))
    return found
