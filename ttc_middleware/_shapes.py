"""Reading what a response says that it used: one function for the shapes of all providers.

Providers differ in what their numbers hold. Input is the whole prompt here, and output everything that was made:

| api         | who                                             | cached and written | thinking           |
|-------------|-------------------------------------------------|--------------------|--------------------|
| `openai`    | OpenAI's chat and responses, and all who speak  | in the prompt      | in the output;     |
|             | so: xAI, DeepSeek, Mistral, Qwen, OpenRouter, … |                    | with xAI beside it |
| `anthropic` | Anthropic's messages                            | beside it: added   | in the output      |
| `gemini`    | Gemini and Vertex                               | in the prompt      | beside the output  |
| `bedrock`   | Bedrock's converse                              | beside it: added   | in the output      |

Whether thinking is in the output or beside it is told by arithmetic, where the response has a total. What nobody
reported is None, never 0. Sources: the types of openai 2.54 and 3.54, anthropic 2.12, google-genai 3.4, mistralai 3.7,
xai-sdk 1.21, openrouter 1.3 and botocore 1.44.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, cast

from ._usage import EXACT, Usage

Api = Literal["openai", "anthropic", "gemini", "bedrock"]


class Told(NamedTuple):
    """What a response says of its cost."""

    usage: Usage | None = None
    """None: nothing, or nothing that makes sense. It counts as one call, and has no seconds."""
    partial: bool = False
    """It leaves something out: the usage is the least that was used."""
    service_tier: str | None = None
    """What the call was served as, where that is not the standard: "batch", "flex", "priority" or "fast"."""
    fees: bool = False
    """Something is charged that is no token, each web search say: dollars reckoned from tokens leave it out."""


def read_usage(response: Any, *, api: Api = "openai") -> Told:
    """Read the usage of a response. Pure; whatever is not what it should be is unknown, and nothing raises.

    Args:
        response: the SDK's object or the JSON, whole; of a stream, see `StreamUsage`.
        api: whose shape it is.
    """
    return _READERS[api](response)


def get(thing: Any, *path: str) -> Any:
    """Follow names through objects and mappings; None where the way ends."""
    for name in path:
        if isinstance(thing, dict):
            value = cast("dict[str, Any]", thing).get(name)
        else:
            value = getattr(thing, name, None)
            if value is None and isinstance(thing, Mapping):
                value = cast("Mapping[str, Any]", thing).get(name)
        if value is None:
            return None
        thing = value
    return thing


_LARGEST = 10**12
"""Of tokens and of dollars in one call: more is a mistake, which no ledger, exporter or chart is to choke on."""


def whole(value: object, most: int = _LARGEST) -> int | None:
    """A count; None for anything else. Some gateways write theirs as 12.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def mean_logprob(tokens: Any) -> float | None:
    """The mean of `logprob` over tokens, as OpenAI's chat completions have them; None where one has none."""
    if not isinstance(tokens, (list, tuple)) or not tokens:
        return None
    values: list[Any] = [get(token, "logprob") for token in cast("Sequence[Any]", tokens)]
    if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in values):
        return None
    return math.fsum(values) / len(values)


def fields(thing: Any) -> Mapping[str, Any]:
    """The fields of a mapping or an object, those that its class does not know included.

    To ask a pydantic model for one that it lacks costs as much as reading all.
    """
    if isinstance(thing, Mapping):
        return cast("Mapping[str, Any]", thing)
    descriptor = getattr(thing, "DESCRIPTOR", None)
    if descriptor is not None:  # protobuf (xAI's own SDK), where what was not sent reads as 0
        sent = (each for each in descriptor.fields if not each.has_presence or thing.HasField(each.name))
        return {each.name: getattr(thing, each.name) for each in sent}
    known: dict[str, Any] = getattr(thing, "__dict__", {})
    extra: dict[str, Any] | None = getattr(thing, "__pydantic_extra__", None)
    return {**known, **extra} if extra else known


def items(value: Any) -> Sequence[Any]:
    """The parts of a list; none of anything else."""
    return cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else ()


def make_usage(
    prompt: int | None,
    output: int | None,
    *,
    total: int | None = None,
    thinking: int | None = None,
    cached: int | None = None,
    written: int | None = None,
    written_1h: int | None = None,
    usd: Decimal | None = None,
    beside: bool = False,
    aside: int = 0,
) -> Told:
    """A usage of counts as a provider reports them; None: not reported.

    Args:
        prompt: tokens of the whole prompt, those read from and written to a cache included.
        output: tokens of the answer.
        total: of both, and of thinking beside them; settles whether `output` includes `thinking`.
        thinking: tokens of hidden thinking.
        cached: the part of the prompt that was read from a cache.
        written: the part of the prompt that was written to a cache.
        written_1h: the part of `written` that is kept for an hour.
        usd: what the provider itself says that the call cost.
        beside: where no total tells, `thinking` is not part of `output`.
        aside: tokens in `total` that are neither prompt nor output.
    """
    known_prompt = prompt or 0  # a prompt has at least one token: 0 is a way to say nothing
    made = output or 0
    if not known_prompt and not made and not thinking:
        return Told()
    if total is not None:
        total -= aside
    if thinking and total != known_prompt + made and (
        total == known_prompt + made + thinking or beside or thinking > made
    ):  # fmt: skip
        made += thinking
    if known_prompt and total is not None and total > known_prompt + made:
        made = total - known_prompt  # thinking that only the total tells of, as Gemini's OpenAI endpoint does it
    cached = None if cached is None else min(cached, known_prompt)
    written = None if written is None else min(written, known_prompt - (cached or 0))
    usage = Usage(
        input_tokens=known_prompt,
        output_tokens=made,
        reasoning_tokens=None if thinking is None else min(thinking, made),
        cached_tokens=cached,
        usd=usd,
        cache_write_tokens=written,
        cache_write_1h_tokens=None if written_1h is None else min(written_1h, written or 0),
    )
    unknown_output = output is None and not made and (total is None or total < known_prompt)
    return Told(usage, partial=not known_prompt or unknown_output)


def reported_usd(usage: Any) -> Decimal | None:
    """What the provider itself says that the call cost, in a usage of OpenAI's shape; None where it says nothing."""
    usage = fields(usage)
    ticks = whole(usage.get("cost_in_usd_ticks"), _LARGEST * 10**10)  # xAI: ten thousand millionths of a dollar
    if ticks is not None:
        return EXACT.scaleb(Decimal(ticks), -10)
    cost = usage.get("cost")  # OpenRouter
    total = _amount(get(cost, "total_cost") if cost is not None and not isinstance(cost, (int, float)) else cost)
    if total is None or usage.get("is_byok") is not True:
        return total
    # With the caller's own key OpenRouter's cost is its fee, and the provider charges the rest itself.
    upstream = _amount(get(usage.get("cost_details"), "upstream_inference_cost"))
    return None if upstream is None else EXACT.add(total, upstream)


def _openai(response: Any) -> Told:
    usage = fields(get(response, "usage"))
    names = ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details")
    if whole(usage.get(names[0])) is None and whole(usage.get(names[1])) is None:  # the responses API
        names = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")
    prompt, output, of_prompt, of_output = (usage.get(name) for name in names)
    parts = fields(of_prompt)
    told = make_usage(
        whole(prompt),
        whole(output),
        total=whole(usage.get("total_tokens")),
        thinking=_first(fields(of_output).get("reasoning_tokens"), usage.get("reasoning_tokens")),
        cached=_first(
            parts.get("cached_tokens"),
            usage.get("prompt_cache_hit_tokens"),  # DeepSeek
            usage.get("num_cached_tokens"),  # Mistral
            usage.get("cached_prompt_text_tokens"),  # xAI's own SDK
            usage.get("cached_tokens"),  # Moonshot
        ),
        written=_first(
            parts.get("cache_write_tokens"),
            parts.get("cache_creation_tokens"),  # litellm
            parts.get("cache_creation_input_tokens"),  # Qwen
        ),
        written_1h=_first(
            get(parts.get("cache_creation_token_details"), "ephemeral_1h_input_tokens"),  # litellm
            get(parts.get("cache_creation"), "ephemeral_1h_input_tokens"),
        ),
        usd=reported_usd(usage),
        # litellm leaves what a search of Gemini's own has read out of the prompt, because nobody is charged for it.
        aside=_aside(usage, whole(prompt), whole(output), whole(parts.get("tool_use_tokens"))),
    )
    tier = get(response, "service_tier") or usage.get("service_tier")
    fees = _searched(usage) or bool(whole(parts.get("web_search_requests")))  # the latter is litellm's
    if names[0] == "input_tokens":
        fees = fees or any(get(item, "type") in _PAID for item in items(get(response, "output")))
    return told._replace(service_tier=_tier(usage.get("speed")) or _tier(tier), fees=fees)


_PAID = ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
"""Items of a response that OpenAI charges by the piece."""


def _searched(usage: Mapping[str, Any]) -> bool:
    """Anthropic charges each search; what was read for it are tokens."""
    return bool(whole(get(usage.get("server_tool_use"), "web_search_requests")))


def _aside(usage: Mapping[str, Any], prompt: int | None, output: int | None, tools: int | None) -> int:
    total = whole(usage.get("total_tokens"))
    return tools if tools and total == (prompt or 0) + (output or 0) + tools else 0


def _anthropic(response: Any) -> Told:
    usage = fields(get(response, "usage"))
    counts = [usage]
    partial = False
    for each in items(usage.get("iterations")):
        kind = get(each, "type")
        if kind == "compaction":  # the only ones that the counts above do not include
            counts.append(fields(each))
        elif kind not in ("message", "fallback_message"):  # another model's, at another price
            partial = True

    def sum_of(name: str) -> int | None:
        known = [count for each in counts if (count := whole(each.get(name))) is not None]
        return sum(known) if known else None

    bare, read_, wrote = (sum_of(f"{name}input_tokens") for name in ("", "cache_read_", "cache_creation_"))
    hours = [get(each.get("cache_creation"), "ephemeral_1h_input_tokens") for each in counts]
    known_hours = [hour for each in hours if (hour := whole(each)) is not None]
    told = make_usage(
        None if bare is None else bare + (read_ or 0) + (wrote or 0),
        sum_of("output_tokens"),
        thinking=whole(get(usage.get("output_tokens_details"), "thinking_tokens")),
        cached=read_,
        written=wrote,
        written_1h=sum(known_hours) if known_hours else None,
    )
    tier = _tier(usage.get("speed")) or _tier(usage.get("service_tier"))
    return told._replace(partial=told.partial or partial, service_tier=tier, fees=_searched(usage))


def _gemini(response: Any) -> Told:
    usage = fields(get(response, "usage_metadata") or get(response, "usageMetadata"))

    def count(name: str) -> int | None:
        return _first(usage.get(name), usage.get(_camel(name)))

    prompt, tools = count("prompt_token_count"), count("tool_use_prompt_token_count")
    told = make_usage(
        None if prompt is None else prompt + (tools or 0),
        count("candidates_token_count"),
        total=count("total_token_count"),
        thinking=count("thoughts_token_count"),
        cached=count("cached_content_token_count"),
        beside=True,
    )
    traffic = _word(usage.get("service_tier") or usage.get("serviceTier"))
    traffic = traffic or _word(usage.get("traffic_type") or usage.get("trafficType"))
    candidates = items(get(response, "candidates"))
    found = [fields(get(each, "grounding_metadata") or get(each, "groundingMetadata")) for each in candidates]
    asked = any(each.get("web_search_queries") or each.get("webSearchQueries") for each in found)
    return told._replace(service_tier=_tier(traffic.rsplit("_", 1)[-1]), fees=asked)  # ON_DEMAND_FLEX, say


def _bedrock(response: Any) -> Told:
    usage = fields(get(response, "usage"))
    bare, read_, wrote = (
        whole(usage.get(name)) for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    )
    details = items(usage.get("cacheDetails"))
    hours = [whole(get(each, "inputTokens")) or 0 for each in details if get(each, "ttl") == "1h"]
    # Only if asked for: additionalModelResponseFieldPaths=["/usage/output_tokens_details"].
    more = get(response, "additionalModelResponseFields", "usage", "output_tokens_details", "thinking_tokens")
    told = make_usage(
        None if bare is None else bare + (read_ or 0) + (wrote or 0),
        whole(usage.get("outputTokens")),
        thinking=whole(more),
        cached=read_,
        written=wrote,
        written_1h=sum(hours) if details else None,
    )
    return told._replace(service_tier=_tier(get(response, "serviceTier", "type")))


_READERS: Mapping[str, Callable[[Any], Told]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
}


def _first(*values: object) -> int | None:
    """The first that is a count."""
    return next((count for value in values if (count := whole(value)) is not None), None)


def _camel(name: str) -> str:
    return re.sub("_(.)", lambda found: found[1].upper(), name)


def _word(value: object) -> str:
    return str(getattr(value, "value", value) or "").lower()


def _tier(value: object) -> str | None:
    """The name of a tier with a price of its own; None for the standard one, and for what no price depends on."""
    word = _word(value)
    return word if word in ("batch", "flex", "priority", "fast") else None


def _amount(value: object) -> Decimal | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LARGEST  # nor NaN
    return Decimal(str(value)) if known else None
