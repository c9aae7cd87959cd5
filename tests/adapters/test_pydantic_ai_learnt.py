"""What a model's thinking has come to decides which effort a number of tokens is asked for as."""

from __future__ import annotations

import pytest
from provider import Provider, Reply
from pydantic_ai_agents import chat, scaled_agent

import ttc_middleware as ttc
from ttc_middleware import _learnt

pytestmark = pytest.mark.filterwarnings("ignore:mock does not take thinking=2000")


@pytest.mark.parametrize(("thought", "effort"), [(900, "high"), (2_100, "medium")])
@pytest.mark.asyncio
async def test_an_effort_that_has_kept_to_the_tokens_is_what_they_are_asked_for_as(thought, effort, monkeypatch):
    monkeypatch.setattr(_learnt, "SEEN", ttc.EffortQuantiles())
    with Provider(lambda body, number: Reply(text="four", reasoning=thought)) as provider:
        model = chat(provider)
        for thinking in ["high"] * 20 + [2_000]:
            await scaled_agent("model", model, ttc.Single(), thinking=thinking).run("how many?")
        assert provider.bodies[-1]["reasoning_effort"] == effort
