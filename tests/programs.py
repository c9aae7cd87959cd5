"""Programs that tests run in a sandbox, several in a text file, each under a line `### its name`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "sandbox" / "corpus"


def programs(name: str) -> dict[str, str]:
    """The programs of a file by their names; what stands before the first is put before each."""
    before, *parts = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").split("\n### ")
    found = {}
    for part in parts:
        title, _, source = part.partition("\n")
        found[title] = f"{before}\n{source}"
    return found
