"""What a model's name says of a prefill: the API has no other way to know before asking."""

from __future__ import annotations

import re

# claude-sonnet-4-5-20250929, anthropic.claude-opus-4-6-v1:0, claude-haiku-4-5@20251001, claude-3-5-haiku-latest
_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_REFUSES = (4, 6)
"""From this version on a model refuses to go on with a prefill."""


def takes_prefill(model: str) -> bool:
    """Whether a model goes on with a partial answer; others than Claude do."""
    found = _CLAUDE.search(model)
    if found is None:
        return "claude-" not in model  # names without a number came later
    return (int(found[1]), int(found[2] or 0)) < _REFUSES
