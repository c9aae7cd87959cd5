"""What litellm knows of models and providers, asked without a request and without the network."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from ttc_middleware import Usage

# litellm's names on the left, those of OpenTelemetry's `gen_ai.provider.name` on the right; others are alike.
_NAMES = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "dashscope": "alibaba_cloud",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "text-completion-openai": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
_BAD_REQUEST = 400
_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104  # compared with, never bound to


class Target(NamedTuple):
    """Where a request goes."""

    model: str
    """Without litellm's prefix."""
    provider: str
    """As litellm calls it; "" where it knows none."""
    server: str | None
    """The host, where it is known beforehand."""
    port: int | None = None

    @property
    def name(self) -> str:
        """As in `gen_ai.provider.name`."""
        if self.provider == "openai" and self.server in _LOCAL:
            return "local"  # somebody's own server that speaks OpenAI's protocol: OpenAI's prices are not its
        return _NAMES.get(self.provider, self.provider or "unknown")


def litellm() -> Any:
    """The package. Imported late: whoever calls has done so, and this package alone must not."""
    return importlib.import_module("litellm")


def target(body: Mapping[str, Any]) -> Target:
    """Where a request with these keywords goes."""
    base = body.get("api_base") or body.get("base_url")
    provider = body.get("custom_llm_provider")
    return _target(str(body.get("model") or "unknown"), provider and str(provider), base and str(base))


@lru_cache(maxsize=1024)
def _target(model: str, provider: str | None, base: str | None) -> Target:
    try:
        found = litellm().get_llm_provider(model=model, custom_llm_provider=provider, api_base=base)
    except Exception:  # noqa: BLE001  # litellm will say so itself when the call is made
        return Target(model, provider or "", None)
    return Target(found[0], found[1], *(_place(str(found[3])) if found[3] else (None, None)))


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    try:
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # no such port
        return parts.hostname, None


def without_estimate(usage: Usage, thought: str) -> Usage:
    """A usage without a count of thinking that litellm has made up.

    Where Anthropic does not say how much was thought, litellm counts the words of its summary.

    Args:
        usage: as litellm gives it.
        thought: the summary.
    """
    if not thought or not usage.reasoning_tokens:
        return usage
    made_up = litellm().token_counter(text=thought, count_response_tokens=True)
    return replace(usage, reasoning_tokens=None) if usage.reasoning_tokens == made_up else usage


# What else in a request decides on whether a model takes a parameter.
_CONTEXT = (
    "additional_drop_params",
    "allowed_openai_params",
    "base_model",
    "drop_params",
    "reasoning_effort",
    "thinking",
)


Fate = Literal["taken", "dropped", "refused"]


def fate(body: Mapping[str, Any], name: str, value: object) -> Fate:
    """What litellm would do with a parameter: send it in the provider's words, drop it, or raise.

    Asked before sending, because litellm reports what it refuses to its callbacks like a failed request, and where
    `drop_params` is set drops it without a word.
    """
    context = {key: body[key] for key in _CONTEXT if body.get(key) is not None and key != name}
    asked = json.dumps({name: value}), json.dumps(context, default=str, sort_keys=True)
    where = target(body)
    return _fate(where.model, where.provider, *asked, bool(litellm().drop_params))


@lru_cache(maxsize=1024)
def _fate(model: str, provider: str, asked: str, context: str, _drop: bool) -> Fate:
    get_optional_params = litellm().utils.get_optional_params
    known: dict[str, Any] = {"model": model, "custom_llm_provider": provider, **json.loads(context)}
    try:
        without = get_optional_params(**known)
    except Exception:  # noqa: BLE001  # something else is wrong with the request, and litellm will say what
        return "taken"
    try:
        sent = get_optional_params(**known, **json.loads(asked))
    except Exception as error:  # noqa: BLE001  # UnsupportedParamsError, and what providers raise in its place
        return "refused" if getattr(error, "status_code", None) == _BAD_REQUEST else "taken"
    return "dropped" if sent == without else "taken"
