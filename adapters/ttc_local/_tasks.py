"""The demo's tasks: small Python functions to write, and how each is put to the model."""

from __future__ import annotations

import ast
import json
import keyword
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

TASKS = Path(__file__).with_name("tasks.jsonl")
"""The demo's own task file."""

PROMPT = "{prompt} Reply with the code only."
"""How each task is put to the model: one template for all, fitted to none."""

TEMPERATURE = 0.8
STOP = ("```\n",)
"""The end of a code block; its opening line goes on with the language."""

MAX_TOKENS = 60
"""Of one sample; the right answers to the demo's tasks mostly take 20 to 45."""

Case: TypeAlias = tuple[tuple[Any, ...], Any] | str
"""`(arguments, expected)`, or Python with assert statements: what `ttc.verifiers.UnitTests` takes."""

_REQUIRED = ("name", "entry", "prompt", "tests")
_OPTIONAL = ("public",)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A function to write, and how to tell that it is right."""

    name: str
    entry: str
    """The function that the tests call."""
    prompt: str
    tests: tuple[Case, ...]
    public: tuple[Case, ...] = ()
    """Examples that a prompt may show."""


def load_tasks(path: str | os.PathLike[str] = TASKS) -> list[Task]:
    """Read tasks from a file, by default the demo's twelve.

    A task file is JSON Lines in UTF-8: one object a line (here it takes three), blank lines are ignored.

        {"name": "clamp", "entry": "clamp",
         "prompt": "Write a Python function `clamp(value, low, high)` that limits a value to a range.",
         "tests": [[[5, 0, 10], 5], [[-3, 0, 10], 0], "assert clamp(2.5, low=1, high=2) == 2"]}

    - `name`: what reports call it; no two alike.
    - `entry`: the function that the tests call.
    - `prompt`: what the model is asked; `PROMPT` adds how to reply.
    - `tests`: what decides; [arguments, expected] pairs, or Python with assert statements that call the entry.
    - `public`: optional, in the same form; examples that whoever builds the prompt may show to the model.

    The demo's own tasks were chosen because the embedded model gets each right now and then: they demonstrate the
    method and measure nothing else. A file of yours is a held-out one.

    Raises:
        ValueError: A line that is no task, as "FILE:LINE: rule and value"; or a file without any.
        OSError: The file cannot be read.
    """
    tasks: list[Task] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            task = _task(json.loads(line))
            if any(task.name == other.name for other in tasks):
                raise ValueError(f"name must not be taken: {task.name!r} is")  # noqa: TRY301  # one place adds the line
        except ValueError as error:  # what json raises is one too
            raise ValueError(f"{os.fspath(path)}:{number}: {error}") from None
        tasks.append(task)
    if not tasks:
        raise ValueError(f"{os.fspath(path)}: a task file must hold at least one task")
    return tasks


def _task(line: Any) -> Task:
    if not isinstance(line, dict):
        raise ValueError(f"a task must be a JSON object, not {line!r}")  # noqa: TRY004  # a value of the file
    given = cast("Mapping[str, Any]", line)
    if missing := [key for key in _REQUIRED if key not in given]:
        raise ValueError(f"a task must have {', '.join(_REQUIRED)}: {', '.join(missing)} is missing")
    if unknown := [key for key in given if key not in _REQUIRED + _OPTIONAL]:
        raise ValueError(f"a task may have {', '.join(_REQUIRED + _OPTIONAL)}: not {', '.join(unknown)}")
    for key in ("name", "entry", "prompt"):
        if not isinstance(given[key], str) or not given[key].strip():
            raise ValueError(f"{key} must be a string that is not blank, not {given[key]!r}")
    entry: str = given["entry"]
    if not entry.isidentifier() or keyword.iskeyword(entry):
        raise ValueError(f"entry must be the name of a function, not {entry!r}")
    if not given["tests"]:
        raise ValueError("tests must hold at least one test")
    return Task(
        name=given["name"],
        entry=entry,
        prompt=given["prompt"],
        tests=_tests("tests", given["tests"], entry),
        public=_tests("public", given.get("public", []), entry),
    )


def _tests(key: str, tests: Any, entry: str) -> tuple[Case, ...]:
    if not isinstance(tests, list):
        raise ValueError(f"{key} must be a list, not {tests!r}")  # noqa: TRY004  # a value of the file
    return tuple(_test(key, test, entry) for test in cast("Sequence[Any]", tests))


def _test(key: str, test: Any, entry: str) -> Case:
    match test:
        case [list(), _]:
            return tuple(cast("Sequence[Any]", test[0])), test[1]
        case str() if _asserts_about(entry, test):
            return test
        case _:
            raise ValueError(
                f"each of {key} must be a pair [arguments, expected] whose first is a list, or Python with an assert"
                f" statement that calls {entry}; not {test!r}"
            )


def _asserts_about(entry: str, test: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(test)))
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.Assert) for node in nodes) and any(
        isinstance(node, ast.Name) and node.id == entry for node in nodes
    )
