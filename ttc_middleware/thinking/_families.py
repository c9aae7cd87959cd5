"""What each family of models can be told about thinking, by the model's name: one table for all adapters.

Efforts and ranges as the providers document them in November 2026: OpenAI's reasoning guide and what its API answers to
other values (`reasoning_support` in pydantic-ai 2.31, the model map of litellm 1.106), Anthropic's pages on adaptive
and extended thinking, effort and model migrations, Gemini's thinking guide, DeepSeek's thinking mode, xAI's and
Mistral's reasoning pages, Alibaba's deep thinking. The newest names come first: the first row that matches counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ._amount import EFFORTS, Effort

Backend = Literal["vllm", "sglang", "llama.cpp"]
"""What serves a model of one's own: each has a parameter of its own for how much to think."""


@dataclass(frozen=True)
class Family:
    """What models of one kind can be told.

    Args:
        efforts: that it takes, besides "none", from the least to the most.
        tokens: the least and the most tokens of a budget; None: it takes none.
        off: it can be told not to think.
        most: output tokens of an answer, thinking included; None: nobody says.
        samples: it takes a temperature and the like while it thinks.
        samples_unthinking: it takes them while it does not.
        forced: it can be made to call a tool while it thinks.
        adaptive: Claude's way: an effort, and thinking that is as much as it likes.
        high_off: with thinking off, an effort of "high" is the most that it takes.
        whole_off: it thinks only in streams.
        chat_tools: on chat completions it takes an effort beside tools.
        chat_max: on chat completions it takes the effort "max".
        thinks: False: never, whatever one asks.
        dial: it can be told how much at all; False: it thinks as it does.
    """

    efforts: tuple[Effort, ...] = ()
    tokens: tuple[int, int] | None = None
    off: bool = True
    most: int | None = None
    samples: bool = True
    samples_unthinking: bool = True
    forced: bool = True
    adaptive: bool = False
    high_off: bool = False
    whole_off: bool = False
    chat_tools: bool = True
    chat_max: bool = True
    thinks: bool = True
    dial: bool = True


UNKNOWN = Family(EFFORTS[1:])
"""A model that nobody has heard of is asked with the words of whoever asks."""
NEVER = Family(thinks=False)
_FIXED = Family(off=False, dial=False)
_SWITCH = Family()
_SERVED = Family(tokens=(1, 1_000_000))
_ROUTED = Family(EFFORTS[1:6], (1_024, 128_000))  # OpenRouter fits it to the model by itself
_GUEST = Family(tokens=(1_024, 1_000_000), samples=False, samples_unthinking=True, forced=False)
_BUDGETED = Family(tokens=(1_024, 60_000), most=64_000, samples=False, forced=False)

_LOW, _MEDIUM, _HIGH = EFFORTS[2:5]
_THREE: tuple[Effort, ...] = (_LOW, _MEDIUM, _HIGH)
_FOUR: tuple[Effort, ...] = (*_THREE, "xhigh")
_FIVE: tuple[Effort, ...] = (*_FOUR, "max")
_LEVELS: tuple[Effort, ...] = ("minimal", *_THREE)


def _openai(*efforts: Effort, off: bool = False, most: int = 128_000, newest: bool = False) -> Family:
    return Family(
        efforts, off=off, most=most, samples=False, samples_unthinking=off, chat_tools=not newest, chat_max=False
    )


def _claude(*efforts: Effort, off: bool = True, samples_unthinking: bool = False, high_off: bool = False) -> Family:
    return Family(
        efforts,
        off=off,
        most=128_000,
        samples=False,
        samples_unthinking=samples_unthinking,
        adaptive=True,
        high_off=high_off,
    )


def _gemini(*levels: Effort, samples: bool = True) -> Family:
    return Family(levels, off=False, most=65_535, samples=samples, samples_unthinking=samples)


_ROWS: tuple[tuple[str, Family], ...] = (
    # OpenAI. The chat models of 5.1 and later think at one effort, those before them never.
    (r"gpt-5-(chat|search)|gpt-(3\.5|4)|chatgpt-4o|gpt-audio|gpt-realtime", NEVER),
    (r"gpt-5\.\d+-chat|^chat-latest", _openai(_MEDIUM)),
    (r"gpt-5-pro", _openai(_HIGH, most=272_000)),
    (r"gpt-5\.[2-9]\d*-pro", _openai(_MEDIUM, _HIGH, "xhigh")),
    (r"gpt-5\.1-codex-max", _openai(*_FOUR)),
    (r"gpt-5(\.1)?-codex", _openai(*_THREE)),
    (r"gpt-5\.1", _openai(*_THREE, off=True)),
    (r"gpt-5\.[2-5](?!\d)", _openai(*_FOUR, off=True)),
    (r"gpt-5\.\d", _openai(*_FIVE, off=True, newest=True)),  # from 5.6 on; "max" on responses only
    (r"gpt-5", _openai(*_LEVELS)),
    (r"gpt-[6-9]", _openai(*_FIVE, newest=True)),
    (r"gpt-oss", Family(_THREE, off=False)),
    (r"^o1-(mini|preview)", _FIXED),
    (r"^o[134](-|$)", _openai(*_THREE, most=100_000)),
    # Anthropic. From 4.6 on thinking is adaptive; the newest cannot be told not to think.
    (r"claude-(fable|mythos)|claude-(opus|sonnet)-5[-.][5-9]", _claude(*_FIVE, off=False)),
    (r"claude-opus-5", _claude(*_FIVE, high_off=True)),
    (r"claude-[a-z]+-4[-.]6", _claude(*_THREE, "max", samples_unthinking=True)),
    (r"claude-opus-4([-.][01](?!\d)|[-@]20\d\d|$)", Family(
        tokens=(1_024, 28_000), most=32_000, samples=False, forced=False)),
    (r"claude-([a-z]+-4(?![-.][7-9])|3[-.]7)", _BUDGETED),
    (r"claude-(\d|instant)", NEVER),
    (r"claude-", _claude(*_FIVE)),
    # Google. A budget up to 2.5, a level from 3 on, which is never none.
    (r"gemini-2\.5-pro", Family(tokens=(128, 32_768), off=False, most=65_535)),
    (r"gemini-2\.5-flash-lite", Family(tokens=(512, 24_576), most=65_535)),
    (r"gemini-2\.5-flash", Family(tokens=(1, 24_576), most=65_535)),
    (r"gemini-[12]\.", NEVER),
    (r"gemini-3-pro", _gemini(_LOW, _HIGH)),
    (r"gemini-3\.6-flash|gemini-3\.5-flash-lite", _gemini(*_LEVELS, samples=False)),
    (r"gemini-3(\.[0-6])?-flash", _gemini(*_LEVELS)),
    (r"gemini-3\.[7-9]-flash", _gemini(*_THREE, samples=False)),
    (r"gemini-", _gemini(*_THREE)),
    # Alibaba. The open models of 2025 think in streams only.
    (r"qwen.*-instruct|qwen.*coder|qwen-?(1|2)", NEVER),
    (r"qwq|qwen.*-thinking", Family(tokens=(1, 38_912), off=False, forced=False)),
    (r"qwen3-\d+(\.\d+)?b", Family(tokens=(1, 38_912), forced=False, whole_off=True)),
    (r"qwen", Family(tokens=(1, 38_912), forced=False)),
    # The rest.
    (r"deepseek-(reasoner|r1)", _FIXED),
    (r"deepseek", Family((_LOW, _HIGH, "max"))),
    (r"grok.*non-reasoning", NEVER),
    (r"grok-3-mini", Family((_LOW, _HIGH), off=False)),
    (r"grok-(4\.3|latest)", Family(_THREE)),
    (r"grok-(4\.[5-9]|build-latest)", Family(_THREE, off=False)),
    (r"grok-", _FIXED),
    (r"magistral", _FIXED),
    (r"mistral-small-(2603|latest)|mistral-medium(-2604|-latest|-3[-.]?5?|$)|mistral-large-4", Family((_HIGH,))),
    (r"(mistral|ministral|codestral|devstral|pixtral|mixtral)", NEVER),
    (r"kimi-k3", Family((_LOW, _HIGH, "max"), off=False)),
)  # fmt: skip


@lru_cache(maxsize=1)
def _table() -> tuple[tuple[re.Pattern[str], Family], ...]:
    """The rows, ready to search: compiled when first asked, since imports are to be quick."""
    return tuple((re.compile(pattern), family) for pattern, family in _ROWS)


_OPEN = {"alibaba_cloud": "qw", "deepseek": "deepseek", "mistral_ai": "", "moonshot_ai": "kimi"}
"""Whose own API takes its models' words: elsewhere an open model is served by somebody else, in words of their own."""
_OPEN_NAMES = ("qw", "deepseek", "mistral", "magistral", "ministral", "codestral", "devstral", "mixtral", "kimi")


@lru_cache(maxsize=1024)
def family_of(model: str, provider: str = "", backend: Backend | None = None, *, messages: bool = False) -> Family:
    """What a model can be told.

    Args:
        model: its name, with or without a platform's prefixes.
        provider: as in `gen_ai.provider.name`.
        backend: what serves it, where that is one's own server.
        messages: it is asked by Anthropic's API, which others than Claude speak too.
    """
    if backend is not None:
        return _SERVED
    name = model.lower().removeprefix("ft:").rsplit("/", 1)[-1]
    if provider == "groq" and "qwen" in name:
        return _SWITCH
    known = next((family for pattern, family in _table() if pattern.search(name)), UNKNOWN)
    if messages:
        return known if "claude" in name and known is not UNKNOWN else _GUEST
    if provider == "openrouter":
        return _ROUTED if known.thinks else known
    elsewhere = name.startswith(_OPEN_NAMES) and not name.startswith(_OPEN.get(provider, "elsewhere"))
    return UNKNOWN if elsewhere else known
