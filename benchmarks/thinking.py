"""What a cap on thinking costs, and whether to go longer or wider: `calibrate_thinking()` over recorded samples.

The recorded samples were drawn without a cap. A run at a budget is one of them, cut off there: right if it had answered
by then and the answer was right, and it costs what it came to, at most the budget (nobody demanded an answer at the
cap, which would help small budgets). So accuracy cannot fall with more
thinking here, and `declines` has to stay False; what a cap saves, and what several short samples do against a long one,
is real. Prompts are not on record and cost nothing.

    poe bench-thinking [folder]      the folder may also be named by TTC_RECORDED
    poe bench-thinking --quick       one model of each dataset; fails where a decline is found: for CI
    poe bench-thinking --plot DIR    a picture of each model, too
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import anyio
from recorded import Question, arguments, questions

import ttc_middleware as ttc

BUDGETS = {"math500": [1_000, 2_000, 4_000, 8_000, 16_000], "aime2024": [4_000, 8_000, 16_000, 32_000, 64_000]}
SAMPLES = 8


def solver(found: dict[str, Question]):
    """A function that thinks as much as it may: each call at a budget is the problem's next sample."""
    left: dict[tuple[str, int], list] = {}

    async def solve(problem: str) -> str | None:
        draw = ttc.current_draw()
        assert draw is not None
        most = draw.thinking
        assert isinstance(most, int)
        # The same samples in the same order at every budget: runs are paired.
        drawn = random.Random(problem).sample(found[problem].samples, SAMPLES)
        answer, tokens = left.setdefault((problem, most), drawn).pop(0)
        took = min(tokens, most)
        ttc.record_usage(ttc.Usage(output_tokens=took, reasoning_tokens=took))
        return answer if tokens <= most else None

    return solve


def read(output):
    return output


async def calibrated(found: list[Question], budgets: list[int]):
    named = {f"{each.dataset} {each.problem}": each for each in found}
    problems = [{"problem": name, "gold": each.gold} for name, each in named.items()]
    return await ttc.calibrate_thinking(
        solver(named), problems, budgets, lambda output, gold: output == gold, samples=SAMPLES, by=read
    )


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--plot", type=Path, metavar="DIR")
    asked = parser.parse_args()
    by_model: dict[tuple[str, str], list[Question]] = {}
    for each in questions(asked.folder):
        by_model.setdefault((each.dataset, each.model), []).append(each)
    chosen = sorted(by_model)
    if asked.quick:
        chosen = [
            next(each for each in chosen if each[0] == dataset) for dataset in sorted({each[0] for each in chosen})
        ]
    declines = 0
    ahead: list[float] = []
    for dataset, model in chosen:
        found = anyio.run(calibrated, by_model[dataset, model], BUDGETS.get(dataset, BUDGETS["math500"]))
        declines += found.declines
        ahead += [each.lead.value for each in found.versus]
        print(f"{dataset}, {model}\n{found}\n", flush=True)
        if asked.plot is not None:
            asked.plot.mkdir(parents=True, exist_ok=True)
            found.plot(asked.plot / f"{dataset}-{model}.png")
    wins = sum(each > 0 for each in ahead)
    print(f"wider is ahead of longer in {wins} of {len(ahead)} comparisons at equal tokens; {declines} declines found")
    return int(asked.quick and declines > 0)


if __name__ == "__main__":
    sys.exit(main())
