"""Telling thoughts from answers: the ways in which models write them down, and how to ask one to do so."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, cast

from ttc_middleware._shapes import get

from ._amount import Thinking

# Tags that open thoughts, and those that close them. <think> is most models' (DeepSeek, Qwen, GLM, …), ◁think▷ Kimi's,
# [THINK] Mistral's, <seed:think> Seed's, <|channel>thought … <channel|> Gemma's. What closes one closes any: models mix
# them up.
_OPENS = r"<(?:seed:)?think(?:ing)?>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|channel>thought\n?"
_CLOSES = r"</(?:seed:)?think(?:ing)?>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<channel\|>"
_TAGS = re.compile(rf"(?P<open>{_OPENS})|(?P<close>{_CLOSES})", re.IGNORECASE)
# gpt-oss' harmony: <|start|>assistant<|channel|>analysis<|message|>…<|end|>, and the channel "final" for the answer.
_HARMONY = re.compile(r"(?:<\|start\|>[^<]{0,64})?(?:<\|channel\|>\s{0,4}(?P<channel>[a-z]{1,32})[^<]{0,200})?"
                      r"(?:<\|constrain\|>[^<]{0,64})?<\|message\|>|<\|(?:end|return|call|start)\|>")  # fmt: skip
_LOUD = ("final",)


class Thoughts(NamedTuple):
    """A text taken apart."""

    thinking: str
    """The thoughts, the tags taken off; "" where there are none."""
    answer: str
    """All the rest."""
    closed: bool = True
    """Thinking came to its end; False: it was cut, so there is no answer behind it."""


def extract_thinking(said: Any) -> Thoughts:
    """Tell what a model thought from what it answers.

    Knows `<think>`, `<thinking>`, `<seed:think>`, `[THINK]`, `◁think▷`, and the channels of Cohere, Gemma and gpt-oss:
    nested, repeated, unclosed (all behind the tag is thought), and closed without having been opened, since many
    templates open the thoughts in the prompt (all before the tag is thought). Takes time in proportion to the text.

    Args:
        said: a text; or a message or a whole response of a chat completion, a response or a message of Anthropic's, as
            the SDK's object or its JSON: thinking in fields of its own (`reasoning_content`, `reasoning`, thinking
            blocks, summaries) comes before that in the text. Of several choices, the first.

    Returns:
        Both parts, of which nothing is lost but the tags; an answer of several parts is put together.
    """
    if isinstance(said, str):
        return _of_text(said)
    parts = _fields(said)
    inside = _of_text(parts.answer)
    between = "\n" if parts.thinking and inside.thinking else ""
    return Thoughts(parts.thinking + between + inside.thinking, inside.answer, inside.closed)


def _of_text(text: str) -> Thoughts:
    return _of_harmony(text) if "<|message|>" in text else _of_tags(text)


def _of_tags(text: str) -> Thoughts:
    thought: list[str] = []
    answer: list[str] = []
    depth, done = 0, 0
    for tag in _TAGS.finditer(text):
        piece, done = text[done : tag.start()], tag.end()
        (thought if depth else answer).append(piece)
        if tag["open"] is not None:
            depth += 1
        elif depth:
            depth -= 1
        else:  # opened in the prompt: all that has been said so far is thought
            thought += answer
            answer.clear()
    (thought if depth else answer).append(text[done:])
    return Thoughts("".join(thought), "".join(answer), closed=not depth)


def _of_harmony(text: str) -> Thoughts:
    thought: list[str] = []
    answer: list[str] = []
    into, done, quiet = answer, 0, False
    for mark in _HARMONY.finditer(text):
        into.append(text[done : mark.start()])
        done = mark.end()
        if mark.group().endswith("<|message|>"):
            quiet = mark["channel"] is not None and mark["channel"] not in _LOUD
        else:
            quiet = False
        into = thought if quiet else answer
    into.append(text[done:])
    return Thoughts("".join(thought), "".join(answer), closed=not quiet)


def _fields(said: Any) -> Thoughts:
    """The parts that a response or a message keeps apart by itself."""
    choices = _list(get(said, "choices"))
    message: Any = get(choices[0], "message") if choices else said
    thought = [get(message, "reasoning_content") or get(message, "reasoning")]
    answer: list[Any] = []
    content = get(message, "content")
    if isinstance(content, str):
        answer.append(content)
    for part in [*_list(content), *_list(get(message, "output"))]:
        kind = get(part, "type")
        if kind == "reasoning":
            thought += [get(each, "text") for each in [*_list(get(part, "summary")), *_list(get(part, "content"))]]
        elif kind == "thinking":  # Anthropic's holds a text, Mistral's a list of them
            inner = get(part, "thinking")
            thought += [inner] if isinstance(inner, str) else [get(each, "text") for each in _list(inner)]
        elif kind == "message":
            answer += [get(each, "text") for each in _list(get(part, "content"))]
        elif kind in ("text", "output_text"):
            answer.append(get(part, "text"))
    return Thoughts(_text(thought), _text(answer))


def _text(pieces: list[Any]) -> str:
    return "".join(each for each in pieces if isinstance(each, str))


def _list(value: Any) -> list[Any]:
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else []


# Asking for thoughts.

_ASKS = "Before you answer, think step by step inside <think> and </think>: a private scratchpad that nobody reads."
_LENGTHS = {"minimal": "a sentence", "low": "a few sentences", "medium": "a few paragraphs", "high": "about a page"}


def scratchpad(asked: Thinking) -> str:
    """What a model is told that has no thinking of its own."""
    if asked.tokens is not None:
        length = f"about {max(1, asked.tokens * 3 // 4):,} words"  # English has about 0.75 words a token
    else:
        length = _LENGTHS.get(asked.effort or "medium", "as much as it takes, several pages if need be")
    return f"{_ASKS} Think {length} at most. After </think>, write the answer alone, in full."


def asks_for_scratchpad(prompt: object) -> bool:
    """Whether a system prompt holds what `scratchpad()` says."""
    return isinstance(prompt, str) and _ASKS in prompt


def share_of_thought(output_tokens: int, thoughts: Thoughts) -> int:
    """The part of the output that was thought, by the length of the texts: where nobody counts it."""
    whole = len(thoughts.thinking) + len(thoughts.answer)
    return output_tokens * len(thoughts.thinking) // whole if whole else 0
