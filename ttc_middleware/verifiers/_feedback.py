"""Feedback: words that go back to a model, of a length that does not bury the task."""

from __future__ import annotations

LONGEST = 400


def bounded(text: str, longest: int = LONGEST) -> str:
    """One line of printable characters, cut where it gets long."""
    line = "".join(each if each.isprintable() else " " for each in text[: 2 * longest])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
