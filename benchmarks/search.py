"""What searches make of the embedded model: accuracy beside tokens, on recorded samples of small task families.

Whole answers are replayed from pools (record.py): each strategy runs as it is, on the same samples in the same random
orders. Searches over steps were recorded live and are replayed through today's strategies (searches.py), which have to
ask for the same draws. All verifiers are programs: they cost no tokens, and tell whole answers without a mistake, so
best-of-N finds what the oracle does; a prefix is worth what families.py says. Intervals are 95 %, by a bootstrap of
problems; differences are paired.

- tokens: prompt and answer of every draw, those from the prefix cache included; "new" leaves the cached ones out.
- single, greedy: one draw. best-of-N: one after the other until one is accepted, N at most.
- oracle (pass@N): all N are drawn, and it counts whether any is right.
- majority, weighted: `SelfConsistency(N)`; and the answers' classes weighted by what `prefix` says of them.
- beside best-of-N: for searches, minus best-of-N on the same problems for the same tokens, or the same new tokens
  (equal.py), and that N with its accuracy. Of a search that ended with calls under way, these count too, as many tokens
  as the mean of the others.
- seconds: on two cores that others were using too, so for a rough idea only.
- the mix: what `Adaptive` saves on easy, medium and hard problems (mix.py).

    poe bench-search              every family, and docs/images/search.png
    poe bench-search --quick      fewer orders, no picture; fails where the mix misses its target or a recording is of
                                  another version: for CI
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import mix
import searches
from equal import Beside, Pooled, beside, note
from estimates import Share, pass_at, share, tokens_until
from families import FAMILIES, Family
from record import Pool, read
from report import markdown

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

WIDTHS = (1, 2, 4, 8, 16, 32)
SHOWN = (4, 16)
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "search.png"
COLUMNS = ("", "right", "tokens", "new", "answer", "seconds", "beside best-of-N, same tokens", "same new tokens")
FIELD = "walk"
"""The hard family of the field's table: a single draw is right in less than one case of five."""


@dataclass(frozen=True)
class Row:
    """A line of a table: means over problems."""

    name: str
    right: Share
    tokens: float
    new: float
    """Tokens that no cache had."""
    answer: float
    seconds: float | None = None
    part: str = ""
    """Of how many problems, where these are not all."""
    beside: tuple[Beside, ...] = ()

    @property
    def cells(self) -> list[str]:
        seconds = "" if self.seconds is None else f"{self.seconds:.1f}"
        said = [each.said for each in self.beside] or ["", ""]
        counts = (f"{each:,.0f}" for each in (self.tokens, self.new, self.answer))
        return [f"{self.name}{self.part}", str(self.right), *counts, seconds, *said]


@dataclass(frozen=True)
class Found:
    """The pool of a problem, judged."""

    pool: Pool
    right: list[bool]
    score: list[float]

    @property
    def rate(self) -> tuple[int, int]:
        return sum(self.right), len(self.right)

    def pooled(self, of: Callable[[Sequence], float]) -> Pooled:
        return Pooled(*self.rate, self.mean(of))

    def mean(self, of: Callable[[Sequence], float]) -> float:
        """Of a sample."""
        return fmean(of(each) for each in self.pool.samples)


def judged(family: Family) -> list[Found]:
    """The pools of a family, each with as many samples as the others: a recording may be under way."""
    pools = [pool for pool in read(family) if pool.samples]
    least = min((len(pool.samples) for pool in pools), default=0)
    even = [replace(pool, samples=pool.samples[:least]) for pool in pools]
    return [
        Found(
            pool,
            [family.verify(each[0], pool.problem) for each in pool.samples],
            [family.prefix(each[0], pool.problem) for each in pool.samples],
        )
        for pool in even
    ]


def tokens(each: Sequence) -> float:
    return each[1] + each[3]


def new(each: Sequence) -> float:
    return each[1] - each[2] + each[3]


def voted(family: Family, found: Found, n: int, orders: int) -> tuple[float, float]:
    """How often the majority of n is right, and the classes weighted by their scores."""
    plain = weighted = 0
    for order in range(orders):
        places = random.Random(f"{found.pool.problem.question} {order}").sample(range(len(found.right)), n)
        texts = [found.pool.samples[k][0] for k in places]
        outcomes = [Outcome(output=text, status="answer" if family.answer(text) else "abstained") for text in texts]
        winner = play(ttc.SelfConsistency(n, by=family.answer), outcomes).winner
        plain += winner is not None and found.right[places[winner.index]]
        classes: dict[str | None, float] = defaultdict(float)
        for place, text in zip(places, texts, strict=True):
            classes[family.answer(text)] += found.score[place]
        best = max(classes, key=lambda each: classes[each])
        weighted += best is not None and family.verify(best, found.pool.problem)
    return plain / orders, weighted / orders


def whole(family: Family, found: list[Found], orders: int) -> tuple[list[Row], dict[str, list[tuple[int, float]]]]:
    """The rows of whole answers, and the curves over N."""
    rows: list[Row] = []
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    greedy = [each.pool.greedy for each in found if each.pool.greedy is not None]
    if len(greedy) == len(found):
        right = [family.verify(told[0], each.pool.problem) for told, each in zip(greedy, found, strict=True)]
        rows.append(Row("greedy", share(right), *(fmean(map(of, greedy)) for of in COSTS)))
    most = len(found[0].right)
    for n in (each for each in WIDTHS if each <= most):
        votes = [voted(family, each, n, orders) for each in found]
        oracle = share([pass_at(n, *each.rate) for each in found])
        curves["best-of-N (= oracle: the verifier is exact)"].append((n, oracle.mean))
        curves["majority"].append((n, fmean(each[0] for each in votes)))
        if n != 1 and n not in SHOWN and n != most:
            continue
        until = [fmean(tokens_until(n, *each.rate, each.mean(of)) for each in found) for of in COSTS]
        every = [n * fmean(each.mean(of) for each in found) for of in COSTS]
        if n == 1:
            rows.append(Row("single", oracle, *every))
            continue
        rows += [
            Row(f"best-of-{n}", oracle, *until),
            Row(f"majority of {n}", share([each[0] for each in votes]), *every[:3]),
            Row(f"weighted by score, {n}", share([each[1] for each in votes]), *every[:3]),
            Row(f"oracle (pass@{n})", oracle, *every[:3]),
        ]
    return rows, curves


COSTS: tuple[Callable[[Sequence], float], ...] = (tokens, new, lambda each: each[3], lambda each: each[5])


def stepwise(family: Family, found: list[Found]) -> tuple[list[Row], list[str]]:
    """The rows of the searches over steps, and what is wrong with recordings."""
    by_question = {each.pool.problem.question: each for each in found}
    problems = {each.question: each for each in family.problems("test", 40)}
    by_name: dict[str, list[searches.Recorded]] = defaultdict(list)
    for each in searches.read(family):
        by_name[each.name].append(each)
    rows, wrong = [], []
    for name, strategy in searches.strategies(family).items():
        recorded = by_name.get(name, [])
        if not recorded:
            continue
        try:
            winners = [searches.replay(strategy, each, family.judge(problems[each.question])) for each in recorded]
        except searches.OtherVersion as error:
            wrong.append(f"{family.name}, {name}: {error}")
            continue
        right = [
            family.verify(winner.text or "", problems[each.question])
            for winner, each in zip(winners, recorded, strict=True)
        ]
        spent = [_spent(each) for each in recorded]
        total, fresh, out = (fmean(each[k] for each in spent) for k in range(3))
        pools = [by_question[each.question] for each in recorded if each.question in by_question]
        compared = tuple(
            beside(right, [each.pooled(cost) for each in pools], amount)
            for cost, amount in ((tokens, total), (new, fresh))
            if len(pools) == len(recorded)
        )
        part = "" if len(recorded) == len(found) else f" ({len(recorded)} problems)"
        rows.append(Row(name, share(right), total, fresh, out,
                        fmean(each.seconds for each in recorded), part, compared))  # fmt: skip
    return rows, wrong


def _spent(search: searches.Recorded) -> tuple[float, float, float]:
    """Tokens of a search: all, new, and of answers; a call that was cancelled counts as much as the others' mean."""
    came = [each for each in search.samples if each["in"]]
    more = search.bill["calls"] / len(came)
    given = sum(each["in"] for each in came)
    out = sum(each["out"] for each in came)
    return more * (given + out), more * (given - sum(each["cached"] or 0 for each in came) + out), more * out


def field(rows: list[Row]) -> None:
    """Print the field's table: the searches, and what they have to be better than."""
    names = {"greedy", "single", "best-of-16", "majority of 16", "oracle (pass@16)"}
    shown = [row for row in rows if row.name in names or row.beside]
    columns = [each for each in COLUMNS if each != "answer"]
    place = COLUMNS.index("answer")
    cells = [row.cells[:place] + row.cells[place + 1 :] for row in shown]
    markdown(f"The field on {FIELD}, where a single draw is rarely right", columns, cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="for CI")
    quick = parser.parse_args().quick
    began = time.perf_counter()
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    points: dict[str, list[Row]] = {}
    baseline: dict[str, list[float]] = {}
    compared: dict[str, dict[str, tuple[Beside, ...]]] = defaultdict(dict)
    tables: dict[str, list[Row]] = {}
    wrong: list[str] = []
    for family in FAMILIES.values():
        found = judged(family)
        if not found:
            wrong.append(f"{family.name}: nothing is recorded")
            continue
        rows, curves[family.name] = whole(family, found, 5 if quick else 20)
        points[family.name], failed = stepwise(family, found)
        wrong += failed
        numbers = range(1, len(found[0].right) + 1)
        baseline[family.name] = [fmean(pass_at(n, *each.rate) for each in found) for n in numbers]
        for row in points[family.name]:
            if row.beside:
                compared[row.name][family.name] = row.beside
        title = f"{family.name}: {family.about}; {len(found)} problems, {len(found[0].right)} samples of each"
        tables[family.name] = rows + points[family.name]
        markdown(title, COLUMNS, [row.cells for row in tables[family.name]])
    field(tables[FIELD])
    for place, what in enumerate(("total tokens", "new tokens")):
        each = {name: {family: found[place] for family, found in rows.items()} for name, rows in compared.items()}
        print("", *note(each, what), sep="\n")
    wrong += mix.table(4 if quick else 20, chosen=not quick)
    print("", *wrong, sep="\n")
    if not quick:
        from search_plot import plot  # noqa: PLC0415  # matplotlib is slow to import

        plot(PICTURE, curves, points, baseline)
        print(f"drawn: {PICTURE}")
    print(f"{time.perf_counter() - began:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
