"""One number for an answer from the scores of its steps: the least, the product, the mean or the last?

Answers of the embedded model, as recorded for the other benchmarks of searches. The scores are of two kinds:

- *values*: Monte-Carlo values of each prefix (Math-Shepherd): of the answers in one half of a problem's recording that
  go on from it, the share that is right; a prefix that none of these goes on from has the value of the one before.
  That is what `MonteCarloValue` draws, from recorded roll-outs.
- *steps*: whether the step itself is right, as a process reward model that errs would say it: simulated, the logit is
  2 for a right prefix and -2 for another, plus noise of a standard deviation of 2.

Neither sees the last line, which would be the verdict itself. The other half are the candidates: the best of 8 by each
aggregate, ties shared among those that have the same score, over 200 draws of 8 from the half; intervals are bootstraps
of problems, and differences are paired. Where the folder of recorded samples is given (TTC_RECORDED), the 40 problems
of MATH-500 with scores of a process reward model are added; these were recorded as means over the steps alone.

    uv run --all-extras --group dev python benchmarks/aggregates.py
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from estimates import paired, share
from families import FAMILIES, Family
from record import Pool, read

CANDIDATES, DRAWS = 8, 200
RIGHT, NOISE = 2.0, 2.0  # of the simulated scores, as logits

AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "product": math.prod,
    "mean": lambda scores: math.fsum(scores) / len(scores),
}


@dataclass(frozen=True)
class Candidate:
    """An answer with the scores of its steps."""

    right: bool
    scores: tuple[float, ...]


def prefixes(text: str) -> list[str]:
    """What there is after each line but the last."""
    lines = text.strip().split("\n")
    return ["\n".join(lines[: n + 1]) for n in range(len(lines) - 1)]


def by_value(family: Family, pool: Pool) -> list[Candidate]:
    """The second half of a problem's answers, scored by what became of the first half."""
    texts = [each[0].strip() for each in pool.samples]
    half = len(texts) // 2
    ends = [(text, family.verify(text, pool.problem)) for text in texts[:half]]
    start = sum(right for _, right in ends) / len(ends)

    def scored(text: str) -> Candidate:
        scores, value = list[float](), start
        for prefix in prefixes(text):
            from_here = [right for each, right in ends if each.startswith(prefix + "\n")]
            value = sum(from_here) / len(from_here) if from_here else value
            scores.append(value)
        return Candidate(family.verify(text, pool.problem), tuple(scores) or (start,))

    return [scored(text) for text in texts[half:]]


def by_step(family: Family, pool: Pool) -> list[Candidate]:
    """The same answers, scored by a process reward model that errs."""
    chance = random.Random(f"{family.name} {pool.problem.question}")
    found: list[Candidate] = []
    for text in [each[0].strip() for each in pool.samples[len(pool.samples) // 2 :]]:
        before, scores = 0.0, list[float]()
        for prefix in prefixes(text) or [""]:
            worth = family.prefix(prefix, pool.problem)
            logit = (RIGHT if worth > before else -RIGHT) + chance.gauss(0, NOISE)
            scores.append(1 / (1 + math.exp(-logit)))
            before = worth
        found.append(Candidate(family.verify(text, pool.problem), tuple(scores)))
    return found


def chosen(candidates: Sequence[Candidate], aggregate: Callable[[Sequence[float]], float]) -> float:
    """How often the best of 8 is right."""
    chance = random.Random(0)  # the same draws for every aggregate
    scores = [aggregate(each.scores) for each in candidates]
    total = 0.0
    for _ in range(DRAWS):
        drawn = chance.sample(range(len(candidates)), min(CANDIDATES, len(candidates)))
        top = max(scores[place] for place in drawn)
        ahead = [candidates[place].right for place in drawn if scores[place] == top]
        total += sum(ahead) / len(ahead)
    return total / DRAWS


def table(name: str, problems: Sequence[Sequence[Candidate]]) -> None:
    """Print the rows of one family."""
    steps = [len(each.scores) for candidates in problems for each in candidates]
    print(f"\n{name}: {len(problems)} problems, {math.fsum(steps) / len(steps):.1f} scored steps an answer")
    found = {how: [chosen(each, aggregate) for each in problems] for how, aggregate in AGGREGATES.items()}
    for how, values in found.items():
        beside = "" if how == "last" else f"   against last {paired(values, found['last']).points} points"
        print(f"  {how:8} {share(values)}{beside}")
    print(f"  {'chance':8} {share([sum(each.right for each in one) / len(one) for one in problems])}")
    print(f"  {'oracle':8} {share([chosen(one, lambda right: right[0]) for one in _told(problems)])}")


def _told(problems: Sequence[Sequence[Candidate]]) -> list[list[Candidate]]:
    return [[Candidate(each.right, (float(each.right),)) for each in one] for one in problems]


def recorded_rewards(file: Path) -> None:
    """Best of 8 by the mean of a process reward model's scores, which is all that was recorded of them."""
    with gzip.open(file, "rt", encoding="utf-8") as text:
        told = json.load(text)
    problems = [
        [Candidate(bool(each["correct"]), (float(each["prm_score"]),)) for each in record["traces"]]
        for record in told["records"]
    ]
    by_mean = [chosen(each, lambda scores: scores[0]) for each in problems]
    by_chance = [sum(each.right for each in one) / len(one) for one in problems]
    oracle = [float(any(each.right for each in one)) for one in problems]
    print(f"\nMATH-500, {told['meta']['model']} scored by {told['meta']['prm']}: {len(problems)} problems, 8 answers")
    print(f"  {'mean':8} {share(by_mean)}   against chance {paired(by_mean, by_chance).points} points")
    print(f"  {'chance':8} {share(by_chance)}")
    print(f"  {'oracle':8} {share(oracle)}")


def main() -> None:
    """All tables."""
    for family in FAMILIES.values():
        pools = [each for each in read(family) if len(each.samples) >= 4 * CANDIDATES] if family.steps else []
        if not pools:
            continue
        table(f"{family.name}, values", [by_value(family, each) for each in pools])
        table(f"{family.name}, steps (simulated)", [by_step(family, each) for each in pools])
    file = Path(os.environ.get("TTC_RECORDED", "")) / "math500_prm.json.gz"
    if os.environ.get("TTC_RECORDED") and file.exists():
        recorded_rewards(file)


if __name__ == "__main__":
    main()
