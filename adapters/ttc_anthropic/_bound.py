"""How many tokens a prompt has at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

_IMAGE = 5_120
"""Tokens that an image is taken for: the newest models take up to 4,784 for one."""
_BINARY = ("base64", "url", "file")
_TOOL = 1_024
"""Tokens that the API adds for one of its own tools, and once for having tools at all; it says up to 735."""
_FRAME = 16


def prompt_bound(body: Mapping[str, Any]) -> int:
    """Bytes of what a prompt says, since no tokenizer over bytes makes more tokens of them.

    An image counts as a fixed number, a document with the bytes that it is sent as. What the server adds by itself
    (pages that it fetches, results of its own tools, a document of which only the address is sent) nobody can know.
    """
    messages: Sequence[Any] = body.get("messages") or ()
    tools: Sequence[Any] = body.get("tools") or ()
    said = _bytes([messages, body.get("system"), tools, body.get("output_config"), body.get("tool_choice")])
    own = sum(1 for tool in tools if not (isinstance(tool, Mapping) and "input_schema" in tool))
    return said + _FRAME * (len(messages) + 2) + _TOOL * (own + bool(tools) + bool(body.get("output_config")))


def _bytes(parts: Sequence[Any]) -> int:
    total, left = 0, list(parts)
    while left:
        part = left.pop()
        if hasattr(part, "model_dump"):  # a block of an earlier answer, given back as it came
            part = part.model_dump()
        if isinstance(part, Mapping):
            fields = cast("Mapping[str, Any]", part)
            if fields.get("type") in _BINARY and ("media_type" in fields or "url" in fields or "file_id" in fields):
                picture = str(fields.get("media_type", "image/")).startswith("image/")
                total += _IMAGE if picture else max(_IMAGE, len(str(fields.get("data", ""))))
                continue
            left += fields.values()
            total += sum(len(str(key)) + 4 for key in fields)
        elif isinstance(part, str):
            total += len(part.encode("utf-8", "surrogatepass")) + 2
        elif isinstance(part, (list, tuple)):
            left += cast("Sequence[Any]", part)
        elif part is not None:
            total += len(str(part)) + 2
    return total
