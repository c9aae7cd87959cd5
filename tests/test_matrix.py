"""The README's table of adapters: made from what the tests name, and every named test exists.

`python tests/test_matrix.py` prints it.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COLUMNS = ("async", "sync", "streaming", "tools", "structured", "usage", "trio")
ADAPTERS = ("openai", "anthropic", "litellm", "langchain", "pydantic_ai")


def row(adapter):
    return runpy.run_path(str(HERE / "adapters" / f"matrix_{adapter}.py"))["ROW"]


def table():
    lines = [f"| | against | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for adapter in ADAPTERS:
        cells = row(adapter)
        said = (cells[column] if isinstance(cells[column], str) else "yes" for column in COLUMNS)
        lines.append(f"| `ttc_{adapter}` | {cells['framework']} | {' | '.join(said)} |")
    return "\n".join(lines)


def test_the_readme_has_the_table():
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    [found] = re.findall(r"<!-- matrix -->\n(.*?)\n<!-- /matrix -->", readme, re.DOTALL)
    assert found == table(), "python tests/test_matrix.py prints what belongs there"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_cell_names_tests_that_there_are_or_says_why_not(adapter):
    cells = row(adapter)
    assert set(cells) == {"framework", *COLUMNS}
    files = (HERE / "adapters").glob(f"test_{adapter}*.py")
    there = set(re.findall(r"def (test_\w+)\(", "".join(file.read_text(encoding="utf-8") for file in files)))
    for column in COLUMNS:
        cell = cells[column]
        assert cell, column
        if not isinstance(cell, str):
            assert {name.rpartition("::")[2] for name in cell} <= there, column


if __name__ == "__main__":
    print(table())  # noqa: T201  # what it is for
