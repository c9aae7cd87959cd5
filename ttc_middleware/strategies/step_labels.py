"""What roll-outs say of steps, as labels to train on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from ttc_middleware._types import Result, Sample

from .monte_carlo_value import told


def step_labels(result: Result[Any]) -> list[dict[str, Any]]:
    """What the roll-outs of a search say of its steps, to train a process reward model on.

    Every answer that goes on from a step is counted, whichever search drew it: with `MonteCarloValue(stop="all",
    certify=None)` each prefix has as many as it asked for; elsewhere a search that ends early leaves fewer.
    Prefixes are content: nothing keeps them unless you do.

    Returns:
        One row a prefix, in the order in which these were first gone on with: {"call": the call's name, "prefix": the
        text so far, "rollouts": answers drawn from it, "verified": those accepted, "value": the mean of their scores}.
    """
    rows: dict[str, list[Sample[Any]]] = {}
    for sample in result.samples:
        draw = sample.draw
        if draw.kind == "answer" and draw.parent is not None and draw.parent.draw.kind == "step" and told(sample):
            rows.setdefault(draw.extend or "", []).append(sample)
    return [
        {
            "call": result.name,
            "prefix": prefix,
            "rollouts": len(samples),
            "verified": sum(sample.accepted for sample in samples),
            "value": sum(sample.score or 0.0 for sample in samples) / len(samples),
        }
        for prefix, samples in rows.items()
    ]


def write_step_labels(results: Iterable[Result[Any]], path: str | PathLike[str]) -> int:
    """Write `step_labels()` of these as JSON Lines, over what the file had.

    Returns:
        How many rows there are.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [row for result in results for row in step_labels(result)]
    with Path(path).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return len(rows)
