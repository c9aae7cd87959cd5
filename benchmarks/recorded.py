"""Recorded samples of reasoning models, as the benchmarks read them: a folder of .jsonl.gz files.

A line holds one (model, problem): {"dataset", "model", "problem", "gold", "samples": [[answer or null, tokens], …]},
as in jkomiyama/BoInf-code-publish (Best-of-∞, ICLR 2026). They are not part of this package: name the folder by an
argument or by TTC_RECORDED; without one there is nothing to measure on, and a benchmark says so and ends.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_RESAMPLES = 1_000


@dataclass(frozen=True)
class Question:
    """What one model answered to one problem."""

    dataset: str
    model: str
    problem: int
    gold: str
    samples: list[tuple[str | None, int]]
    """Answers, and the tokens that each took."""

    @property
    def cluster(self) -> tuple[str, int]:
        """The problem, whichever model answers: what is independent of one another."""
        return self.dataset, self.problem


def arguments(about: str | None) -> argparse.ArgumentParser:
    """A parser that knows the folder and --quick."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=os.environ.get("TTC_RECORDED") or None)
    parser.add_argument("--quick", action="store_true", help="less of everything, and fail where a figure is missed")
    return parser


def questions(folder: str | Path | None) -> list[Question]:
    """All that the folder holds; ends the program where there is none."""
    found = list(_read(Path(folder))) if folder else []
    if not found:
        print(f"skipped: no recorded samples in {folder or 'TTC_RECORDED, which is not set'}")
        sys.exit(0)
    return found


def _read(folder: Path) -> Iterator[Question]:
    for file in sorted(folder.rglob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                told = json.loads(line)
                told["samples"] = [(answer, tokens) for answer, tokens in told["samples"]]
                yield Question(**told)


def halves(found: list[Question]) -> tuple[list[Question], list[Question]]:
    """One half of the problems of each dataset to choose by, the other to report on."""
    chance = random.Random(0)
    chosen: set[tuple[str, int]] = set()
    for dataset in sorted({each.dataset for each in found}):
        problems = sorted({each.cluster for each in found if each.dataset == dataset})
        chosen.update(chance.sample(problems, len(problems) // 2))
    return [each for each in found if each.cluster in chosen], [each for each in found if each.cluster not in chosen]


def measured(
    found: list[Question], table: np.ndarray, figures: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The figures of all rows, and the bounds of their 95 % intervals, by a bootstrap of problems."""
    clusters = sorted({each.cluster for each in found})
    place = {cluster: k for k, cluster in enumerate(clusters)}
    sums = np.zeros((len(clusters), table.shape[1]))
    np.add.at(sums, [place[each.cluster] for each in found], table)
    weights = np.random.default_rng(0).multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), _RESAMPLES)
    low, high = np.percentile(figures(weights @ sums), [2.5, 97.5], axis=0)
    return figures(sums.sum(axis=0)), low, high
