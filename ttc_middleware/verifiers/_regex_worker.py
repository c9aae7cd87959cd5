"""Matching regular expressions in a process of its own (`_aside.py`), which is killed when one backtracks for ever."""

from __future__ import annotations

import re
from typing import Any


def answer(question: dict[str, Any]) -> bool:
    """Whether the pattern matches one of the texts."""
    pattern = re.compile(question["pattern"], question["flags"])
    match: Any = pattern.search if question["search"] else pattern.fullmatch
    return any(match(text) for text in question["texts"])
