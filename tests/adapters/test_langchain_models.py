"""What other providers' chat models call their settings, and what their messages say, without their packages."""

from __future__ import annotations

from decimal import Decimal

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

import ttc_middleware as ttc
from ttc_langchain import ScaleModelCalls
from ttc_langchain._calls import ModelCalls, call_of, request_of
from ttc_langchain._responses import read_response
from ttc_langchain._state import add_usage

ADAPTER = ModelCalls()
WISH = ttc.Draw(temperature=0.5, seed=7, max_tokens=300, stop=["END"])


class Anthropic(GenericFakeChatModel):
    model: str = "claude"
    max_tokens: int = 4_096
    thinking: dict | None = None
    reasoning_effort: str | None = None
    max_retries: int = 2
    anthropic_api_url: str = "https://api.anthropic.com"

    def _get_ls_params(self, stop=None, **kwargs):
        return {**super()._get_ls_params(stop, **kwargs), "ls_provider": "anthropic"}


class Google(GenericFakeChatModel):
    model: str = "gemini"
    max_output_tokens: int | None = None
    seed: int | None = None
    thinking_budget: int | None = None
    reasoning_effort: str | None = None
    max_retries: int = 6
    n: int = 2


class Google25(Google):
    model: str = "gemini-2.5-flash"


class Ollama(GenericFakeChatModel):
    model: str = "qwen"
    num_predict: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    reasoning: bool | str | None = None
    base_url: str = "http://localhost:11434"


class Mistral(GenericFakeChatModel):
    max_tokens: int | None = None
    random_seed: int | None = None


def asked(kind, draw=WISH, **fields):
    request = ModelRequest(model=kind(messages=iter(()), **fields), messages=[HumanMessage("hi")])
    return ADAPTER.apply(call_of("asking", request), draw)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Anthropic, {"temperature": 0.5, "max_tokens": 300, "stop": ["END"]}),
        (Google, {"temperature": 0.5, "max_output_tokens": 300, "stop": ["END"], "seed": 7}),
        (Mistral, {"temperature": 0.5, "max_tokens": 300, "stop": ["END"], "random_seed": 7}),
        (Ollama, {}),
    ],
)
def test_settings_have_their_provider_s_names(kind, settings):
    call = asked(kind)
    assert request_of(call).model_settings == settings
    assert ADAPTER.describe(call).max_tokens == 300


def test_a_model_that_reads_only_its_fields_gets_them_on_a_copy():
    model = request_of(asked(Ollama)).model
    assert (model.temperature, model.seed, model.num_predict, model.stop) == (0.5, 7, 300, ["END"])


@pytest.mark.parametrize(
    ("kind", "thinking", "settings"),
    [
        (Anthropic, 2_000, {"thinking": {"type": "enabled", "budget_tokens": 2_000}}),
        (Anthropic, 10, {"thinking": {"type": "enabled", "budget_tokens": 1_024}}),
        (Anthropic, "none", {"thinking": {"type": "disabled"}}),
        (Anthropic, "xhigh", {"thinking": {"type": "enabled", "budget_tokens": 4_096 - 256}}),
        (Google, "low", {"reasoning_effort": "low"}),
        (Google25, 500, {"thinking_budget": 500, "max_output_tokens": 500 + 4_096}),
        (Google25, "low", {"thinking_budget": 1_024, "max_output_tokens": 1_024 + 4_096}),
        (Google25, 0, {"thinking_budget": 0}),
    ],
)
@pytest.mark.filterwarnings("ignore:.* does not take thinking=")
def test_thinking_is_in_tokens_where_the_provider_counts_them(kind, thinking, settings):
    assert request_of(asked(kind, ttc.Draw(thinking=thinking))).model_settings == settings


@pytest.mark.parametrize(("thinking", "reasoning"), [(0, False), (900, True), ("none", False), ("high", "high")])
@pytest.mark.filterwarnings("ignore:.* does not take thinking=")
def test_thinking_of_ollama_is_on_off_or_an_effort(thinking, reasoning):
    assert request_of(asked(Ollama, ttc.Draw(thinking=thinking))).model.reasoning == reasoning


def test_another_model_is_asked_on_a_copy():
    call = asked(Anthropic, ttc.Draw(model="opus"))
    assert request_of(call).model.model == ADAPTER.describe(call).model == "opus"


def test_requests_are_described_in_words_that_all_providers_share():
    anthropic = ADAPTER.describe(asked(Anthropic, ttc.Draw()))
    assert (anthropic.provider, anthropic.server) == ("anthropic", "api.anthropic.com")
    assert (anthropic.model, anthropic.max_tokens, anthropic.choices) == ("claude", 4_096, 1)
    assert ADAPTER.describe(asked(Ollama)).provider == "local"
    assert ADAPTER.describe(asked(Google)).choices == 2


@pytest.mark.parametrize(("kind", "retries"), [(Anthropic, 0), (Google, 1)])
def test_inside_a_draw_the_model_s_own_retries_are_off(kind, retries):
    seen = []

    class Seeing(kind):
        def _generate(self, *args, **kwargs):
            seen.append(self.max_retries)
            return super()._generate(*args, **kwargs)

    model = Seeing(messages=iter(["hi"]))
    create_agent(model, middleware=[ScaleModelCalls(ttc.Single())]).invoke({"messages": [("user", "hi")]})
    assert seen == [retries]


def reading(message, **usage):
    if usage:
        message.usage_metadata = usage
    return read_response(ModelResponse(result=[message]))


def test_reasoning_beside_the_output_is_added_to_it():
    counts = {"input_tokens": 10, "output_tokens": 5, "output_token_details": {"reasoning": 3}}
    inside, beside = (reading(AIMessage("a"), **counts, total_tokens=total).usage for total in (15, 18))
    assert (inside.output_tokens, inside.reasoning_tokens) == (5, 3)
    assert (beside.output_tokens, beside.reasoning_tokens) == (8, 3)


def test_details_are_found_under_a_service_tier_s_name_and_unknown_where_there_are_none():
    details = {"output_token_details": {"flex_reasoning": 2}, "input_token_details": {"flex_cache_read": 4}}
    usage = reading(AIMessage("a"), input_tokens=9, output_tokens=5, total_tokens=14, **details).usage
    assert (usage.reasoning_tokens, usage.cached_tokens) == (2, 4)
    plain = reading(AIMessage("a"), input_tokens=9, output_tokens=5, total_tokens=14).usage
    assert (plain.reasoning_tokens, plain.cached_tokens, plain.usd) == (None, None, None)
    assert reading(AIMessage("a")).usage is None


def test_a_cost_that_the_provider_reports_is_the_cost():
    message = AIMessage(
        "a", response_metadata={"token_usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0012}}
    )
    assert reading(message, input_tokens=1, output_tokens=1, total_tokens=2).usage.usd == Decimal("0.0012")


@pytest.mark.parametrize(
    ("metadata", "status", "fault"),
    [
        ({"finish_reason": "stop"}, "answer", None),
        ({"finish_reason": "length"}, "truncated", None),
        ({"stop_reason": "max_tokens"}, "truncated", None),
        ({"finish_reason": "MAX_TOKENS"}, "truncated", None),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "truncated", None),
        ({"finish_reason": "content_filter"}, "abstained", "filtered"),
        ({"finish_reason": "SAFETY"}, "abstained", "filtered"),
        ({"stop_reason": "refusal"}, "abstained", "refused"),
    ],
)
def test_an_ending_is_read_in_each_provider_s_words(metadata, status, fault):
    read = reading(AIMessage("some", response_metadata=metadata))
    assert (read.status, read.fault) == (status, fault)


def test_an_empty_message_is_no_answer_but_a_picture_is():
    assert reading(AIMessage("")).fault == "empty"
    assert reading(AIMessage([{"type": "reasoning", "reasoning": "hm"}])).fault == "empty"
    assert reading(AIMessage([{"type": "image", "url": "https://example.com/a.png"}])).status == "answer"
    assert read_response("<html>").fault == "malformed"


def test_usages_in_the_state_add_up_and_what_one_does_not_know_the_sum_does_not():
    one = {"calls": 2, "input_tokens": 10, "usd": "0.0001", "reasoning_tokens": 3, "status": "exact"}
    other = {"calls": 1, "input_tokens": 5, "usd": "0.00025", "status": "exact"}
    assert add_usage({}, one) == add_usage(one, None) == one
    assert add_usage(one, other) == {"calls": 3, "input_tokens": 15, "usd": "0.00035", "status": "exact"}
    assert add_usage(one, {**other, "status": "unknown"})["status"] == "lower bound"
