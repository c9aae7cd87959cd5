"""Taking the scratchpad, which a model without thinking of its own was asked for, off its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import NoneType
from typing import Any, cast, get_args

from ttc_middleware import Reading, Thoughts, extract_thinking
from ttc_middleware.seam import asks_for_scratchpad, get, share_of_thought


def has_scratchpad(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for one, in its system prompt."""
    prompts = [body.get("system"), *(get(block, "text") for block in _listed(body.get("system")))]
    prompts += [get(each, "content") for each in _listed(body.get("messages")) if get(each, "role") == "system"]
    return any(asks_for_scratchpad(prompt) for prompt in prompts)


def _listed(value: object) -> list[Any]:
    """What is a list; anything else is the server's to refuse."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def unscratched(response: Any) -> Any:
    """A response without the scratchpad; what is no completion and no message stays as it is."""
    choices, content = get(response, "choices"), get(response, "content")
    if isinstance(choices, list) and hasattr(response, "model_copy"):
        return _completion(response, cast("list[Any]", choices))
    if isinstance(content, list) and hasattr(response, "model_copy"):
        return _message(response, cast("list[Any]", content))
    return response


def _completion(response: Any, choices: Sequence[Any]) -> Any:
    taken = [extract_thinking(get(choice, "message")) for choice in choices]  # litellm may have split it already
    if not any(each.thinking for each in taken):
        return response
    new = [
        choice.model_copy(update={"message": choice.message.model_copy(update=_parts(thoughts))})
        if thoughts.thinking
        else choice
        for choice, thoughts in zip(choices, taken, strict=True)
    ]
    told = _counted(get(response, "usage"), taken, "completion_tokens", "completion_tokens_details", "reasoning_tokens")
    return response.model_copy(update={"choices": new, "usage": told})


def _parts(thoughts: Thoughts) -> dict[str, Any]:
    return {"content": thoughts.answer.lstrip(), "reasoning_content": thoughts.thinking.strip()}


def _message(response: Any, content: Sequence[Any]) -> Any:
    taken = [extract_thinking(get(block, "text") or "") for block in content]
    if not any(each.thinking for each in taken):
        return response
    new = [
        block.model_copy(update={"text": thoughts.answer.lstrip()}) if thoughts.thinking else block
        for block, thoughts in zip(content, taken, strict=True)
    ]
    told = _counted(get(response, "usage"), taken, "output_tokens", "output_tokens_details", "thinking_tokens")
    return response.model_copy(update={"content": new, "usage": told})


def _counted(usage: Any, taken: Sequence[Thoughts], output: str, details: str, name: str) -> Any:
    """A usage with the tokens of the scratchpad, by its share of the text, where the provider counts none."""
    made, known = get(usage, output), get(usage, details)
    if not isinstance(made, int) or get(known, name):
        return usage
    thinking, answer = ("".join(part) for part in zip(*(each[:2] for each in taken), strict=True))
    count = {name: share_of_thought(made, Thoughts(thinking, answer))}
    if known is not None:
        return usage.model_copy(update={details: known.model_copy(update=count)})
    own: Mapping[str, Any] = getattr(usage.__class__, "model_fields", {})
    field: Any = own.get(details)
    kinds = [] if field is None else [each for each in get_args(field.annotation) if each is not NoneType]
    return usage.model_copy(update={details: kinds[0].model_construct(**count) if kinds else count})


def unscratched_events(events: Iterable[Any], reading: Reading) -> tuple[list[Any], Reading]:
    """The events of a stream that was read to its end, and what they say, without the scratchpad."""
    given = list(events)
    thoughts = extract_thinking(reading.text or "")
    if not thoughts.thinking:
        return given, reading
    left = thoughts.answer.lstrip()
    new: list[Any] = []
    for event in given:
        changed, left = _without(event, left)
        new.append(changed)
    usage = reading.usage
    if usage is not None and not usage.reasoning_tokens:
        usage = replace(usage, reasoning_tokens=share_of_thought(usage.output_tokens, thoughts))
    return new, replace(reading, text=thoughts.answer.lstrip(), usage=usage)


def _without(event: Any, answer: str) -> tuple[Any, str]:
    """An event whose text is the whole answer, if it is the first with any, and else none; and what is left to say."""
    choices = get(event, "choices")
    if isinstance(choices, list):
        new: list[Any] = []
        for choice in cast("list[Any]", choices):
            if not get(choice, "delta", "content") or get(choice, "index"):
                new.append(choice)
                continue
            new.append(choice.model_copy(update={"delta": choice.delta.model_copy(update={"content": answer})}))
            answer = ""
        return event.model_copy(update={"choices": new}), answer
    if get(event, "type") == "content_block_delta" and get(event, "delta", "text"):
        return event.model_copy(update={"delta": event.delta.model_copy(update={"text": answer})}), ""
    return event, answer
