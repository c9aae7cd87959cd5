"""Chat models of LangChain: what each calls its settings, and how to run one for a sample. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel

from ttc_middleware import Thinking
from ttc_middleware.seam import Api, Dial, Leaf, dial, effort_within, warn_once, written

# LangChain's providers by the names of OpenTelemetry's conventions, where they differ.
_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google_anthropic_vertex": "gcp.vertex_ai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104  # compared with, never bound to
_SAMPLING = ("temperature", "top_p", "top_k")
_ADDRESSES = ("openai_api_base", "azure_endpoint", "anthropic_api_url", "base_url", "endpoint")


def _first(model: Any, *names: str) -> str | None:
    """The first of these names that the model has a field for."""
    fields: Any = getattr(model.__class__, "model_fields", ())
    return next((name for name in names if name in fields), None)


def limit_name(model: Any) -> str:
    """The setting that limits a completion."""
    return _first(model, "max_tokens", "max_output_tokens", "num_predict") or "max_tokens"


def seed_name(model: Any) -> str | None:
    """The setting for a seed; None where there is none, as with Anthropic and OpenAI's responses."""
    if getattr(model, "use_responses_api", None) is True:
        return None
    return _first(model, "seed", "random_seed")


def model_name_field(model: Any) -> str | None:
    """The field that says which model is asked."""
    return _first(model, "model_name", "model", "model_id")


def takes_settings(model: Any) -> bool:
    """Whether settings of one call reach the provider; Ollama reads only its fields."""
    return _first(model, "num_predict") is None


def thinking_settings(model: Any, asked: Thinking, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How this model is told how much to think, in its integration's words; None for a setting that must not be sent.

    Args:
        model: the chat model.
        asked: how much to think.
        settings: of this call, that go before the model's own fields.

    Raises:
        TypeError: the model has no such setting.
    """
    if asked.prompted:
        raise TypeError(f"thinking={asked!r}: a chat model of LangChain is not asked for a scratchpad")
    params = standard_params(model, {})
    name = str(params.get("ls_model_name") or "unknown")
    provider = provider_of(params, host_of(model))
    limit = limit_name(model)
    most = settings.get(limit, getattr(model, limit, None))
    choice = settings.get("tool_choice")
    told = dial(
        asked,
        name,
        provider,
        api=_api(model, params),
        max_tokens=most if isinstance(most, int) and most > 0 else None,
        tools=bool(settings.get("tools")),
        forced=choice not in (None, "auto", "none", False),
        fits=effort_within(name),
    )
    if told.said is not None:
        warn_once("thinking", name, told.said)
    words = _words(model, told, asked)
    if told.on is not None and not told.samples:
        sampling = [each for each in _SAMPLING if settings.get(each, getattr(model, each, None)) is not None]
        words.update(dict.fromkeys(sampling))
    return words if told.max_tokens is None else {**words, limit: told.max_tokens}


def _api(model: Any, params: Mapping[str, Any]) -> Api:
    if params.get("ls_provider") == "anthropic" or _first(model, "anthropic_api_url"):
        return "messages"
    return "native" if getattr(model, "use_responses_api", None) is True else "chat"


def _words(model: Any, told: Dial, asked: Thinking) -> dict[str, Any]:
    if told.on is None:
        return {}
    if _first(model, "anthropic_api_url"):
        return {name: value for name, value in written({}, told, api="messages").items() if name != "messages"}
    if told.tokens is not None and _first(model, "thinking_budget"):
        return {"thinking_budget": told.tokens}
    if not takes_settings(model):  # Ollama: on, off, or an effort
        return {"reasoning": bool(told.on) if asked.effort is None or not told.on else asked.effort}
    if _first(model, "thinking_level") and told.effort is not None:
        return {"thinking_level": told.effort}
    if _first(model, "thinking_budget") and not told.on:
        return {"thinking_budget": 0}
    if _first(model, "reasoning_effort") is None:
        raise TypeError(f"thinking={asked.said}: {type(model).__name__} has no setting for how much to think")
    return {"reasoning_effort": told.effort if told.on else "none"}


def standard_params(model: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What LangChain itself tells tracers about a call of this model: provider, model, temperature, limit."""
    described: Any = getattr(model, "_get_ls_params", None)  # every integration overrides it; absent on other runnables
    return {} if described is None else dict(described(**settings))


def host_of(model: Any) -> str | None:
    """The host that the model's provider is asked at, where the model names one."""
    for name in _ADDRESSES:
        address = getattr(model, name, None)
        if isinstance(address, str) and "//" in address:
            return urlsplit(address).hostname
    return None


def provider_of(params: dict[str, Any], host: str | None) -> str:
    """As in `gen_ai.provider.name`."""
    given = str(params.get("ls_provider") or "unknown")
    return "local" if host in _LOCAL else _PROVIDERS.get(given, given)


def unseen(model: Any) -> Any:
    """A copy of the model that brings whole messages, is not read from a cache, and leaves retries to the engine."""
    return model.model_copy(update=_unseen_fields(model)) if isinstance(model, BaseChatModel) else model


def _unseen_fields(model: BaseChatModel) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "disable_streaming": True,  # also brings usage with every response
        "cache": False,  # from a cache all samples would be the same one
    }
    if _first(model, "streaming"):
        fields["streaming"] = False
    return {**fields, **_unretried_fields(model)}


def _unretried_fields(model: Any) -> dict[str, Any]:
    """What turns off a model's own retries; Google's integration takes 0 for its default."""
    return {"max_retries": 1 if _first(model, "max_output_tokens") else 0} if _first(model, "max_retries") else {}


def retries(model: Any) -> int | None:
    """How often the user lets a model try again; None where nothing is said."""
    said = getattr(model, "max_retries", None)
    return said if isinstance(said, int) and not _first(model, "max_output_tokens") else None


def reporting_usage(model: Any, *, retried: bool) -> Any:
    """The model, asked to report usage with its streams where it can, its own retries off where the engine retries."""
    if not isinstance(model, BaseChatModel):
        return model
    fields: dict[str, Any] = {"stream_usage": True} if _first(model, "stream_usage") else {}
    fields |= _unretried_fields(model) if retried else {}
    return model.model_copy(update=fields) if fields else model


def prepared(model: Any, leaf: Leaf) -> Any:
    """The model for one attempt, its own retries left to the engine where that retries."""
    getattr(model, "_serialized", None)  # what tracers get, worked out once and not for each copy
    allowed = retries(model)
    leaf.retries = leaf.retries if allowed is None else min(leaf.retries, allowed)
    return unseen(model) if leaf.whole else reporting_usage(model, retried=leaf.retried)
