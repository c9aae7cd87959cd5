"""Models of Pydantic AI: what each calls its settings, and whom it asks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic_ai.models import Model, infer_model
from pydantic_ai.settings import ModelSettings

from ttc_middleware import Thinking
from ttc_middleware.seam import Api, Dial, dial, effort_within, warn_once, written

# Pydantic AI's providers by the names of OpenTelemetry's conventions, where they differ.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock-mantle": "aws.bedrock",
    "google": "gcp.gemini",
    "google-cloud": "gcp.vertex_ai",
    "google-gla": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "grok": "x_ai",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "xai": "x_ai",
}
_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104  # compared with, never bound to
_KNOWN = frozenset(ModelSettings.__annotations__)


def address_of(model: Model) -> tuple[str | None, int | None]:
    """The host and port that the model's provider is asked at, where the model names them."""
    address = getattr(model, "base_url", None)
    if not isinstance(address, str) or "//" not in address:
        return None, None
    parts = urlsplit(address)
    return parts.hostname, parts.port


def provider_of(model: Model, host: str | None) -> str:
    """As in `gen_ai.provider.name`."""
    return "local" if host in _LOCAL else _PROVIDERS.get(model.system, model.system)


def renamed(model: Model, name: str) -> Model:
    """The model under another name: "provider:name" as Pydantic AI takes it, or a name that the same provider knows.

    Raises:
        TypeError: the model has no name to change, as a `FallbackModel`.
    """
    if ":" in name:
        return infer_model(name)
    if not isinstance(getattr(model, "_model_name", None), str):
        raise TypeError(f'model={name!r}: {type(model).__name__} has no name to change; write "provider:name"')
    other: Any = copy.copy(model)
    other._model_name = name  # noqa: SLF001  # where every provider's model keeps it
    other.__dict__.pop("profile", None)  # kept from the first model
    return other  # type: ignore[no-any-return]


def thinking_settings(model: Model, asked: Thinking, given: Mapping[str, Any]) -> dict[str, Any]:
    """How this model is told how much to think.

    Args:
        model: the model.
        asked: how much to think.
        given: the settings of the request, the model's own included.

    Raises:
        TypeError: this version of Pydantic AI has no setting for it.
    """
    if asked.prompted:
        raise TypeError(f"thinking={asked!r}: a model of Pydantic AI is not asked for a scratchpad")
    system = model.system.split(":")[0]
    name, provider = model.model_name, provider_of(model, address_of(model)[0])
    api: Api = "messages" if system == "anthropic" else "native" if "Responses" in type(model).__name__ else "chat"
    told = dial(asked, name, provider, api=api, max_tokens=given.get("max_tokens"), fits=effort_within(name))
    if told.said is not None:
        warn_once("thinking", name, told.said)
    limit = {} if told.max_tokens is None else {"max_tokens": told.max_tokens}
    return {**_words(model, told, asked, system), **limit}


def _words(model: Model, told: Dial, asked: Thinking, system: str) -> dict[str, Any]:
    if told.on is None:
        return {}
    if system == "anthropic":
        words = written({}, told, api="messages")
        effort = words.pop("output_config", {}).get("effort")
        return {"anthropic_thinking": words["thinking"], **({} if effort is None else {"anthropic_effort": effort})}
    if system.startswith("google"):
        if told.tokens is not None or not told.on:
            return {"google_thinking_config": {"thinking_budget": told.tokens or 0}}
        return {"google_thinking_config": {"thinking_level": str(told.effort).upper()}}
    if system in ("openai", "azure"):
        return {"openai_reasoning_effort": told.effort if told.on else "none"}
    if "thinking" in _KNOWN:
        return {"thinking": (told.effort or True) if told.on else False}
    raise TypeError(f"thinking={asked.said}: this pydantic-ai has no setting for how much {model.model_name} thinks")


def retries(model: Model, settings: Mapping[str, Any] | None) -> int | None:
    """How often the provider's SDK would try again; None where nobody says."""
    asked = (settings or {}).get("max_retries")
    allowed = getattr(getattr(model, "client", None), "max_retries", None) if asked is None else asked
    return allowed if isinstance(allowed, int) else None


def sent_once(model: Model, settings: Mapping[str, Any] | None) -> tuple[Model, Mapping[str, Any] | None]:
    """The model and its settings with the retries of the provider's SDK off, where they can be: the engine retries."""
    if "max_retries" in _KNOWN:
        return model, {**(settings or {}), "max_retries": 0}
    client: Any = getattr(model, "client", None)
    if not getattr(client, "max_retries", 0) or not hasattr(client, "with_options"):
        return model, settings
    once = client.with_options(http_client=getattr(client, "_client", None), max_retries=0)
    other: Any = copy.copy(model)
    if "client" in vars(model):
        other.client = once
    else:
        other._provider = copy.copy(other._provider)  # noqa: SLF001  # its client is this provider's
        other._provider._client = once  # noqa: SLF001  # as above
    return (other if other.client is once else model), settings
