"""Reading usage in Anthropic's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ttc_middleware import Usage
from ttc_openai.stainless import get, whole

_INPUTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
FIELDS = (*_INPUTS, "output_tokens", "output_tokens_details", "iterations")
"""What is read of a usage. A stream tells it in two parts, of which the later one holds."""


def read_usage(usage: Any) -> Usage | None:
    """The usage of a message; None where there is none.

    `input_tokens` leave out what the cache took and gave; `output_tokens` include the thinking. A compaction on the
    server is a request of its own that the sums at the top leave out.
    """
    if whole(get(usage, "input_tokens")) is None and whole(get(usage, "output_tokens")) is None:
        return None
    iterations: Sequence[Any] = get(usage, "iterations") or ()
    parts = [usage, *(each for each in iterations if get(each, "type") == "compaction")]
    prompt = sum(whole(get(part, name)) or 0 for part in parts for name in _INPUTS)
    output = sum(whole(get(part, "output_tokens")) or 0 for part in parts)
    cached = [whole(get(part, "cache_read_input_tokens")) for part in parts]
    thinking = whole(get(usage, "output_tokens_details", "thinking_tokens"))
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        reasoning_tokens=None if thinking is None else min(thinking, output),
        cached_tokens=None if cached[0] is None else sum(each or 0 for each in cached),
    )
