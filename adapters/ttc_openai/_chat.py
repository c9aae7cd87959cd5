"""Chat completions: how to change a request, and what a response says. Pure; needs no SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, cast

from ttc_middleware import Call, Capability, Draw, Reading, Request, ToolCall
from ttc_middleware.seam import Backend, asks_to_think, effort_asked, fitted

from ._extend import OPEN, Way, asking
from ._think import Spoken, think
from ._usage import get, mean_logprob, read_usage, whole

_CAN = frozenset(Capability) - {Capability.EXTEND}
_IMAGE = 4_096  # tokens that an image, a file or a sound is taken for, whatever its bytes
_UNTHINKING = ("gpt-3.5-", "gpt-4-", "gpt-4o", "gpt-4.1", "chatgpt-4o-")  # OpenAI's models that never think
_FINISH: Mapping[str, Any] = {
    "length": {"status": "truncated"},
    "content_filter": {"status": "abstained", "fault": "filtered"},
}


@dataclass(frozen=True)
class Chat:
    """The adapter of `/chat/completions`.

    Args:
        provider: as in `gen_ai.provider.name`.
        server: the host that is asked.
        slots: requests that the server works on at once; None: any number.
        choices: several draws may share a request (`n`).
        port: where the server listens.
        backend: what the server is, where it is one's own: "vllm", "sglang" or "llama.cpp".
        continues: how it goes on with a partial answer.
    """

    provider: str = "openai"
    server: str | None = None
    slots: int | None = None
    choices: bool = True
    port: int | None = None
    backend: Backend | None = None
    continues: Way = "no"

    @property
    def can(self) -> frozenset[Capability]:
        """Everything; continuing a partial answer where the server does."""
        can = _CAN if self.choices else _CAN - {Capability.CHOICES}
        return can if self.continues == "no" else can | {Capability.EXTEND}

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The request with the draw's changes.

        Raises:
            TypeError: a part of an answer would be bound to the form of the whole.
        """
        body = dict(call.arguments)
        part = draw.kind == "step" or (draw.extend is not None and not draw.extend.startswith(OPEN))
        if part and get(body.get("response_format"), "type") not in (None, "text"):
            raise TypeError(
                "an answer that is written in parts cannot have a response_format: servers bind each part to it anew."
                " Ask for the form in the prompt and verify it, or draw whole answers, as ttc.BestOfN does"
            )
        named = {
            "model": draw.model,
            "temperature": draw.temperature,
            "seed": draw.seed,
            "stop": None if draw.stop is None else [*draw.stop, *(_stop_words(body) if draw.kind == "step" else ())],
            self._limit_name(body): draw.max_tokens,
        }
        body.update({name: value for name, value in named.items() if value is not None})
        if draw.thinks is not None:
            body = think(body, draw.thinks, Spoken("chat", self._limit_name(body), self.provider, self.backend))
        elif draw.max_tokens is not None:
            body = fitted(body, draw.max_tokens)
        if draw.instruction is not None:
            body["messages"] = [*(body.get("messages") or []), {"role": "user", "content": draw.instruction}]
        if draw.extend is not None:
            body = asking(body, draw.extend, self.continues)
        if draw.kind == "step" and self.continues != "no":
            body["verbose"] = True  # llama.cpp then says whether the model or a stop word has ended it
        return replace(call, arguments=body)

    def merge(self, call: Call, n: int, /) -> Call:
        """The request with `n`."""
        return replace(call, arguments={**call.arguments, "n": n})

    def split(self, output: Any, /) -> Sequence[Any]:
        """One completion for each choice, as a request of its own would have brought it."""
        choices = list(get(output, "choices") or [])
        weights = [1 + len(str(get(choice, "message", "content") or "")) for choice in choices]
        usages = _shares(get(output, "usage"), weights)
        return [
            output.model_copy(
                update={
                    "choices": [choice.model_copy(update={"index": 0}) if choice.index else choice],
                    "usage": usage,
                }
            )
            for choice, usage in zip(choices, usages, strict=True)
        ]

    def cut(self, output: Any, /) -> Any:
        """A completion that is a part of an answer, saying so: to its server it ended at a stop word, as was asked."""
        if not isinstance(getattr(output, "choices", None), list):
            return output
        choices = [choice.model_copy(update={"finish_reason": "length"}) for choice in output.choices]
        return output.model_copy(update={"choices": choices})

    def describe(self, call: Call, /) -> Request:
        """What the request asks for."""
        body = call.arguments
        temperature = body.get("temperature")
        return Request(
            provider=self.provider,
            model=str(body.get("model") or "unknown"),
            max_tokens=whole(body.get(self._limit_name(body))),
            choices=whole(body.get("n")) or 1,
            # OpenAI's default is 1; a caller who says nothing gets what the server does.
            temperature=temperature if isinstance(temperature, (int, float)) else None,
            seed=body.get("seed"),
            stream=bool(body.get("stream")),
            tool_results=any(get(message, "role") in ("tool", "function") for message in body.get("messages") or ()),
            server=self.server,
            port=self.port,
            messages=body.get("messages") or (),
            aloud=self._aloud(body),
            thinks=asks_to_think(body),
            effort=effort_asked(body),
        )

    def _aloud(self, body: Mapping[str, Any]) -> bool:
        """Whether it is known that a stream of this shows all of its tokens, as text."""
        if "audio" in (body.get("modalities") or ()):
            return False
        named = self.provider == "openai" and str(body.get("model")).startswith(_UNTHINKING)
        return named or body.get("reasoning_effort") == "none"

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt: no tokenizer over bytes makes more tokens of them."""
        body = call.arguments
        messages = body.get("messages") or ()
        return prompt_bound([messages, body.get("tools"), body.get("functions"), body.get("response_format")]) + 16 * (
            len(messages) + 1
        )

    def read(self, output: Any, /) -> Reading:
        """What a completion says: a parsed one, a raw one, or what a server sent in its place."""
        if not hasattr(output, "choices"):
            streamed = getattr(output, "ttc_reading", None)
            if isinstance(streamed, Reading):
                return streamed
            output = decoded(output)
            if not isinstance(output, Mapping):
                return Reading(status="failed", fault="malformed")
        told = read_usage(output)
        known: dict[str, Any] = {"model": get(output, "model"), "id": get(output, "id"), **told._asdict()}
        choices: Sequence[Any] = get(output, "choices") or ()
        # llama.cpp, known by its timings, reports one choice's tokens as those of all.
        known["partial"] = told.partial or (len(choices) > 1 and get(output, "timings") is not None)
        if not choices:
            return Reading(status="failed", fault="empty", **known)
        message = get(choices[0], "message")
        known["finish_reasons"] = tuple(str(get(choice, "finish_reason")) for choice in choices)
        known["ended"], known["stop_word"] = _ended(output, choices[0])
        calls = tuple(
            ToolCall(str(get(call, "function", "name")), str(get(call, "function", "arguments") or ""))
            for call in get(message, "tool_calls") or ()
            if get(call, "function") is not None
        )
        known["logprob"] = mean_logprob(get(choices[0], "logprobs", "content"))
        text = get(message, "content")
        ending: Mapping[str, Any] | None = _FINISH.get(known["finish_reasons"][0])
        if ending is None and get(message, "refusal"):
            ending = {"status": "abstained", "fault": "refused"}
        if ending is None and not text and not calls:
            ending = {"status": "failed", "fault": "empty"}
        return Reading(text=text if isinstance(text, str) else "", tool_calls=calls, **known, **(ending or {}))

    def _limit_name(self, body: Mapping[str, Any]) -> str:
        if "max_completion_tokens" in body:
            return "max_completion_tokens"
        if "max_tokens" in body:
            return "max_tokens"
        # OpenAI's newer models refuse the old name; other servers may ignore the new one, which would void a budget.
        new = self.provider == "azure.ai.openai" or (self.server or "api.openai.com").endswith("openai.com")
        return "max_completion_tokens" if new else "max_tokens"


def _stop_words(body: Mapping[str, Any]) -> Sequence[str]:
    """The caller's own."""
    stop = body.get("stop") or ()
    return [stop] if isinstance(stop, str) else stop


def _ended(output: Any, choice: Any) -> tuple[bool | None, str | None]:
    """Whether the model ended by itself, or at which stop word, where the server says: llama.cpp and vLLM do."""
    if get(choice, "finish_reason") == "length":
        return False, None
    if get(choice, "message", "tool_calls"):  # what the caller has to answer is no part of a text
        return True, None
    told = get(output, "__verbose")
    if isinstance(told, dict):
        word = get(told, "stopping_word")
        return get(told, "stop_type") == "eos", word if isinstance(word, str) and word else None
    extra = cast("Mapping[str, Any]", choice if isinstance(choice, Mapping) else get(choice, "model_extra") or {})
    if "stop_reason" not in extra:
        return None, None
    word = extra["stop_reason"]
    return word is None, word if isinstance(word, str) else None


def _shares(usage: Any, weights: Sequence[int]) -> list[Any]:
    """Each choice's part of a usage: the whole prompt, and the output by length."""
    if usage is None:
        return [None] * len(weights)
    prompt, output = get(usage, "prompt_tokens") or 0, get(usage, "completion_tokens") or 0
    beside = max(0, (get(usage, "total_tokens") or 0) - prompt - output)  # reasoning that the output does not include
    details = get(usage, "completion_tokens_details")
    reasoning = get(details, "reasoning_tokens")
    shares: list[Any] = []
    for own, more, thought in zip(*(_parts(amount, weights) for amount in (output, beside, reasoning)), strict=True):
        if reasoning is not None:
            details = details.model_copy(update={"reasoning_tokens": thought})
        told = {"completion_tokens": own, "total_tokens": prompt + own + more, "completion_tokens_details": details}
        shares.append(usage.model_copy(update=told))
    return shares


def _parts(amount: Any, weights: Sequence[int]) -> list[int]:
    """A count split by weight; the parts add up to it."""
    amount, total = int(amount or 0), sum(weights)
    ends = [amount * upto // total for upto in accumulate(weights)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def prompt_bound(parts: Sequence[Any]) -> int:
    """Bytes of what is said in a prompt; what is shown or heard counts as a fixed number of tokens."""
    total, left = 0, list(parts)
    while left:
        part = left.pop()
        if isinstance(part, Mapping):
            attached = cast("Mapping[str, Any]", part)
            if attached.get("type") in ("image_url", "input_image", "image", "input_audio", "file", "input_file"):
                total += _IMAGE
                continue
            left += attached.values()
            total += sum(len(str(key)) + 4 for key in attached)
        elif isinstance(part, str):
            total += len(part.encode("utf-8", "surrogatepass")) + 2
        elif isinstance(part, (list, tuple)):
            left += cast("Sequence[Any]", part)
        elif part is not None:
            total += len(str(part)) + 2
    return total


def decoded(output: Any) -> Any:
    """The JSON of a raw response; anything else as it is."""
    raw = getattr(output, "http_response", output)
    if not hasattr(raw, "status_code"):
        return output
    try:
        return json.loads(raw.content)
    except (ValueError, RecursionError, AttributeError, RuntimeError):  # no JSON, or not read yet
        return ""
