"""What is said in a prompt: for its size, and for who captures content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast, overload

from pydantic_ai.messages import ModelMessage

_ROLES = {"system-prompt": "system", "tool-return": "tool", "text": "assistant", "thinking": "assistant"}


class Conversation(Sequence[Any]):
    """A conversation as roles and contents, put in those words only when somebody reads it."""

    def __init__(self, messages: Sequence[ModelMessage]) -> None:
        self._messages = messages

    def _told(self) -> list[dict[str, Any]]:
        instructions = getattr(self._messages[-1], "instructions", None) if self._messages else None
        first = [{"role": "system", "content": instructions}] if instructions else []
        return [*first, *(_as_message(part) for message in self._messages for part in message.parts)]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._told()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._told())

    def __len__(self) -> int:
        return len(self._told())


def _as_message(part: Any) -> dict[str, Any]:
    if part.part_kind == "tool-call":
        call = {"id": part.tool_call_id, "name": part.tool_name, "arguments": part.args_as_json_str()}
        return {"role": "assistant", "tool_calls": [call]}
    said = spoken(part)
    return {
        "role": _ROLES.get(part.part_kind, "user"),
        "content": said["content"],
        "tool_call_id": said["id"],
    }


def spoken(part: Any) -> dict[str, Any]:
    """What of a message's part may reach a prompt."""
    words = getattr(part, "model_response_str", None) or getattr(part, "model_response", None)
    content = words() if callable(words) else getattr(part, "content", None)
    if isinstance(content, (list, tuple)):  # text, and what is shown or heard
        shown: Sequence[Any] = cast("Sequence[Any]", content)
        content = [_seen(each) for each in shown]
    else:
        content = _seen(content)
    return {
        "role": getattr(part, "part_kind", ""),
        "content": content,
        "args": getattr(part, "args", None),
        "name": getattr(part, "tool_name", None),
        "id": getattr(part, "tool_call_id", None),
        "signature": getattr(part, "signature", None),
        "more": getattr(part, "provider_details", None),
    }


def _seen(content: Any) -> Any:
    kind = getattr(content, "kind", "")
    return {"type": "file"} if kind == "binary" or kind.endswith("-url") else content
