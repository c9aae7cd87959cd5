"""What the tests of the Pydantic AI adapter share."""

from __future__ import annotations

import inspect

import pydantic_ai
import pytest
from openai_clients import async_client
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from ttc_pydantic_ai import ScaledModel

VERSION = tuple(int(part) for part in pydantic_ai.__version__.split(".")[:2])
HAS_CAPABILITIES = VERSION >= (1, 107)
WAYS = ["capability", "model"] if HAS_CAPABILITIES else ["model"]
both_ways = pytest.mark.parametrize("way", WAYS)
knows_its_agent = pytest.mark.skipif(VERSION < (1, 80), reason="a run does not say which agent it is of")


def chat(provider, **options):
    """A chat model at the provider; its connections end with each response, since each test has a loop of its own."""
    client = async_client(provider, default_headers={"connection": "close"}, **options)
    return OpenAIChatModel("mock", provider=OpenAIProvider(openai_client=client))


def scaled_agent(way, model, strategy, options=None, **scaling):
    """An agent whose model requests are scaled."""
    if way == "model":
        return Agent(ScaledModel(model, strategy, **scaling), **(options or {}))
    from ttc_pydantic_ai import Scale  # noqa: PLC0415  # absent with old versions

    return Agent(model, capabilities=[Scale(strategy, **scaling)], **(options or {}))


def usage_of(run):
    """A run's usage: a method in old versions, a property in new ones."""
    usage = inspect.getattr_static(run, "usage")
    return run.usage() if inspect.isfunction(usage) else run.usage


def told(run):
    """Requests and tokens of a run."""
    usage = usage_of(run)
    return usage.requests, usage.input_tokens, usage.output_tokens


def billed(provider):
    """The provider's own figures, in the same order."""
    done = provider.settled()
    return done.requests, done.prompt, done.completion


def said(run):
    """Who said what in a run."""
    return [
        (part.part_kind, getattr(part, "content", None) or getattr(part, "args", None))
        for message in run.all_messages()
        for part in message.parts
    ]
