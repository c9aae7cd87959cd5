"""How often the next call stays within an effort's quantile: on recorded lengths of thinking, real heavy tails.

Each split takes the calls of one (model, dataset) at random: 200 to learn from, 200 others to look at. Then thinking
doubles, and the quantiles follow call by call.

- conformal: the k-th smallest of the 200, as it is. Over its level where many samples end at the same cap.
- adaptive: `ttc.EffortQuantiles`.
- spread: between splits, the 5th and 95th percentile: what a single call site may see with 200 calls.

    poe bench-efforts [folder]      the folder may also be named by TTC_RECORDED
    poe bench-efforts --quick       fewer splits; fails where a figure is missed: for CI
"""

from __future__ import annotations

import random
import sys
import time

from recorded import arguments, questions

from ttc_middleware.thinking._efforts import WINDOW, conformal

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
KNOWN = 200
AFTER = 100
NEAR, RECOVERED = 0.01, 0.02  # the figures to reach


def covered(most: float, tokens: list[int]) -> float:
    return sum(each <= most for each in tokens) / len(tokens)


def stationary(pools: list[list[int]], tau: float, step: dict[str, float], splits: int) -> tuple[float, float, float]:
    chance = random.Random(0)
    found = []
    for _ in range(splits):
        drawn = chance.sample(chance.choice(pools), 2 * KNOWN)
        found.append(covered(conformal(drawn[:KNOWN], tau, **step), drawn[KNOWN:]))
    found.sort()
    return sum(found) / splits, found[splits // 20], found[-1 - splits // 20]


def drifting(pools: list[list[int]], tau: float, splits: int) -> list[float]:
    """Coverage at 0, 25, 50, 75 and 100 calls after thinking has doubled."""
    chance = random.Random(0)
    sums = [0.0] * 5
    for _ in range(splits):
        drawn = chance.sample(chance.choice(pools), WINDOW + 2 * AFTER)
        seen, test = drawn[:WINDOW], [2 * each for each in drawn[WINDOW + AFTER :]]
        new = [2 * each for each in drawn[WINDOW : WINDOW + AFTER]]
        for k in range(5):
            at = k * AFTER // 4
            sums[k] += covered(conformal([*seen[at:], *new[:at]], tau), test)
    return [each / splits for each in sums]


def main() -> int:
    asked = arguments(__doc__).parse_args()
    pools: dict[tuple[str, str], list[int]] = {}
    for each in questions(asked.folder):
        pools.setdefault((each.dataset, each.model), []).extend(tokens for _, tokens in each.samples)
    lengths = list(pools.values())
    began, splits = time.perf_counter(), 250 if asked.quick else 1_000
    reached = True
    print(f"{splits:,} splits of {len(pools)} (model, dataset)s, {KNOWN} calls known")
    print(f"{'level':>6}  {'conformal':>9}  {'adaptive (spread)':24}  after a doubling, at 0, 25, 50, 75, 100 calls")
    for tau in LEVELS:
        plain, _, _ = stationary(lengths, tau, {"step": 0.0}, splits)
        ours, low, high = stationary(lengths, tau, {}, splits)
        drift = drifting(lengths, tau, splits)
        reached &= abs(ours - tau) <= NEAR and drift[-1] >= tau - RECOVERED
        said = f"{ours:.3f} ({low:.3f} to {high:.3f})"
        print(f"{tau:6}  {plain:9.3f}  {said:24}  {', '.join(f'{each:.3f}' for each in drift)}", flush=True)
    print(f"{'reached' if reached else 'MISSED'}: on average within {NEAR} of the level, and not more than {RECOVERED}")
    print(f"below it {AFTER} calls after thinking has doubled; {time.perf_counter() - began:.0f} s")
    return int(asked.quick and not reached)


if __name__ == "__main__":
    sys.exit(main())
