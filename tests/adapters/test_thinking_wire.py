"""The parameter table: what each family of models is sent, as a server sees it that refuses what the provider would."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from functools import cache

import anthropic
import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm_calls import litellm
from provider import fresh
from thinking_rules import ANTHROPIC, GEMINI, MISTRAL, NEVER_FORCED, OPENAI, RESPONSES, XAI, Elsewhere, RuleServer

import ttc_anthropic
import ttc_litellm
import ttc_middleware as ttc
import ttc_openai
from ttc_middleware import _pace

MESSAGES = [{"role": "user", "content": "how many?"}]
FUNCTION = {"name": "count", "description": "Count.", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": FUNCTION}]
EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
TOKENS = [0, 1, 500, 1_024, 4_000, 20_000, 63_900, 200_000]
THINKING = [
    *EFFORTS, *TOKENS, ttc.Thinking(prompted=True), ttc.Thinking(prompted=True, tokens=3_000),
]  # fmt: skip
LIMITS = [None, 100, 1_100, 1_281, 4_096, 8_000]

HOSTED = [
    *(("https://api.x.ai/v1", model) for model in XAI),
    *(("https://api.mistral.ai/v1", model) for model in MISTRAL),
    *(("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", m) for m in ("qwen-plus", "qwen3-32b", "qwen3-max")),
    *(("https://api.deepseek.com", model) for model in ("deepseek-v4-pro", "deepseek-v4-flash")),
    *(("https://openrouter.ai/api/v1", m) for m in ("anthropic/claude-opus-4.6", "openai/gpt-5", "openai/gpt-4o")),
]
OWN = [("http://vllm.test/v1", "vllm"), ("http://sglang.test/v1", "sglang"), ("http://llama.test/v1", "llama.cpp")]
NATIVE = [
    *(("chat", "https://api.openai.com/v1", model, None) for model in OPENAI),
    *(("responses", "https://api.openai.com/v1", model, None) for model in RESPONSES),
    *(("messages", None, model, None) for model in ANTHROPIC),
    *(("chat", base, model, None) for base, model in HOSTED),
    *(("chat", base, "Qwen/Qwen3-8B", backend) for base, backend in OWN),
]
# litellm, each in its provider's own protocol.
THROUGH = [
    *((f"openai/{model}", "openai") for model in OPENAI),
    *((f"anthropic/{model}", "anthropic") for model in ANTHROPIC),
    *((f"gemini/{model}", "gemini") for model in GEMINI),
    *((f"xai/{model}", "xai") for model in XAI),
    *((f"mistral/{model}", "mistral") for model in MISTRAL),
    *((f"dashscope/{model}", "dashscope") for model in ("qwen-plus", "qwen3-32b")),
    ("deepseek/deepseek-v4-pro", "deepseek"),
    ("openrouter/anthropic/claude-opus-4.6", "openrouter"),
    ("hosted_vllm/Qwen/Qwen3-8B", "vllm"),
]


@pytest.fixture(autouse=True)
def nothing_learnt():
    fresh()


@pytest.fixture(scope="module")
def server():
    with RuleServer() as server:
        yield server


def sampled(thinking, temperature):
    """A temperature of the caller's own, but where nothing is said of thinking, and so nothing mended either."""
    said = temperature is not None and not getattr(thinking, "prompted", False)
    return {"temperature": temperature} if said else {}


CLIENTS = ExitStack()


@pytest.fixture(autouse=True, scope="module")
def _closed():
    yield
    CLIENTS.close()
    openai_client.cache_clear()
    anthropic_client.cache_clear()


@cache
def openai_client(base, port):
    http = httpx.Client(transport=Elsewhere(port), verify=False)  # nothing here speaks TLS
    return CLIENTS.enter_context(openai.OpenAI(base_url=base, api_key="k", max_retries=0, http_client=http))


@cache
def anthropic_client(url):
    return CLIENTS.enter_context(anthropic.Anthropic(base_url=url, api_key="k", max_retries=0))


def ask_natively(server, case, asked):
    api, base, model, backend = case
    thinking, limit, temperature, choice = asked
    body = {"model": model, "extra_body": sampled(thinking, temperature)}
    if api == "messages":
        forced = {"type": "any"} if choice == "required" and model not in NEVER_FORCED else {"type": "auto"}
        if choice is not None:
            body |= {"tools": [{"name": "count", "input_schema": {"type": "object"}}], "tool_choice": forced}
        client = ttc_anthropic.wrap(anthropic_client(server.url), thinking=thinking)
        return client.messages.create(messages=MESSAGES, max_tokens=limit or 8_192, **body)
    if choice is not None:
        tools = [{"type": "function", **FUNCTION}] if api == "responses" else TOOLS
        body |= {"tools": tools, "tool_choice": choice}
    client = ttc_openai.wrap(openai_client(base, server.port), thinking=thinking, backend=backend)
    if api == "responses":
        limits = {} if limit is None else {"max_output_tokens": limit}
        return client.responses.create(input="how many?", **body, **limits)
    name = "max_completion_tokens" if "openai.com" in base else "max_tokens"
    limits = {} if limit is None else {name: limit}
    return client.chat.completions.create(messages=MESSAGES, **body, **limits)


def ask_litellm(server, case, asked):
    model, place = case
    thinking, limit, temperature, choice = asked
    body = {"model": model, "messages": MESSAGES, "api_base": f"{server.url}/{place}/v1", "api_key": "k"}
    if place == "anthropic":
        body["api_base"] = server.url
    if place == "gemini":
        body["api_base"] = f"{server.url}/v1beta/models/{model.split('/')[1]}"
    if choice is not None:
        body |= {"tools": TOOLS, "tool_choice": "auto"}
    given = {**body, **sampled(thinking, temperature), **({} if limit is None else {"max_tokens": limit})}
    return ttc_litellm.wrap(litellm.completion, thinking=thinking)(**given, num_retries=0)


def accepted(server, ask, case, asked):
    before, count = len(server.refused), len(server.seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a model cannot do is said; SDKs have words for old models
        ask(server, case, asked)
    assert server.refused[before:] == []
    assert len(server.seen) == count + 1
    return server.seen[-1]


ASKED = st.tuples(
    st.one_of(st.sampled_from(THINKING), st.integers(0, 300_000)),
    st.one_of(st.sampled_from(LIMITS), st.integers(16, 8_000)),
    st.sampled_from([None, 0.7, 1]),
    st.sampled_from([None, "auto", "required"]),
)
EVERY_WAY = [(None, None, None), (1_100, 0.7, None), (8_000, None, "auto"), (None, 0.7, "required")]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(case=st.sampled_from(NATIVE), asked=ASKED)
def test_no_request_of_a_native_sdk_is_one_that_its_provider_refuses(server, case, asked):
    accepted(server, ask_natively, case, asked)


@pytest.mark.slow
@pytest.mark.parametrize("case", NATIVE, ids=lambda case: f"{case[0]}-{case[2]}-{case[3] or case[1]}")
def test_no_row_of_the_table_is_refused(server, case):
    for thinking in THINKING:
        for more in EVERY_WAY:
            accepted(server, ask_natively, case, (thinking, *more))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", THROUGH, ids=lambda case: case[0])
def test_no_row_of_the_table_is_refused_through_litellm(server, case):
    for thinking in THINKING:
        for more in EVERY_WAY[:3]:
            accepted(server, ask_litellm, case, (thinking, *more))


@pytest.mark.parametrize(
    ("case", "thinking", "limit", "expected"),
    [
        (("chat", "https://api.openai.com/v1", "gpt-5.1", None), 4_000, None,
         {"reasoning_effort": "medium", "max_completion_tokens": 8_096}),
        (("responses", "https://api.openai.com/v1", "gpt-5.5", None), 4_000, None,
         {"reasoning": {"effort": "medium"}, "max_output_tokens": 8_096}),
        (("messages", None, "claude-haiku-4-5-20251001", None), 20_000, 4_096,
         {"thinking": {"type": "enabled", "budget_tokens": 3_840}, "max_tokens": 4_096}),
        (("messages", None, "claude-opus-4-8", None), "max", 9_000,
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}, "max_tokens": 9_000}),
        (("chat", HOSTED[-3][0], "anthropic/claude-opus-4.6", None), 4_000, None,
         {"reasoning": {"max_tokens": 4_000}, "max_tokens": 8_096}),
        (("chat", "https://api.deepseek.com", "deepseek-v4-pro", None), "medium", None,
         {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}),
        (("chat", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "qwen-plus", None), 4_000, 3_000,
         {"enable_thinking": True, "thinking_budget": 2_744, "max_tokens": 3_000}),
        (("chat", *OWN[0][:1], "Qwen/Qwen3-8B", "vllm"), 500, None,
         {"thinking_token_budget": 500, "chat_template_kwargs": {"enable_thinking": True}, "max_tokens": 4_596}),
        (("chat", *OWN[2][:1], "Qwen/Qwen3-8B", "llama.cpp"), 0, None,
         {"reasoning_budget_tokens": 0, "chat_template_kwargs": {"enable_thinking": False}}),
    ],
)  # fmt: skip
def test_thinking_sits_inside_a_limit_that_leaves_room_for_the_answer(server, case, thinking, limit, expected):
    body = accepted(server, ask_natively, case, (thinking, limit, None, None))
    bare = {"model", "messages", "input"}
    sent = {name: value for name, value in body.items() if name not in bare}
    assert sent == expected


def test_what_a_model_takes_is_told_once(server):
    with pytest.warns(UserWarning, match=r"gpt-5\.1 take|thinking=4000: it takes efforts, so medium") as said:
        for _ in range(2):
            ask_natively(server, ("chat", "https://api.openai.com/v1", "gpt-5.1", None), (4_000, None, 0.7, None))
    assert [str(each.message)[:40] for each in said] == [
        "gpt-5.1 does not take thinking=4000: it ",
        "gpt-5.1 takes no temperature while it th",
    ]


@pytest.mark.parametrize("given", [None, 20.0])
def test_time_outs_are_as_long_as_thinking_takes_at_the_pace_that_was_seen(server, given):
    seen = []
    hooks = {"request": [lambda request: seen.append(request.extensions["timeout"]["read"])]}
    http = httpx.Client(transport=Elsewhere(server.port), event_hooks=hooks)
    options = {} if given is None else {"timeout": given}
    with openai.OpenAI(base_url="http://vllm.test/v1", api_key="k", http_client=http, **options) as client:
        wrapped = ttc_openai.wrap(client, thinking=96_000 - 4_096, backend="vllm")
        wrapped.chat.completions.create(model="m", messages=MESSAGES)
        _pace.saw(ttc.Request(provider="openai", model="m", server="vllm.test"), tokens=1_000, seconds=100.0)
        wrapped.chat.completions.create(model="m", messages=MESSAGES)
        ttc_openai.wrap(client).chat.completions.create(model="m", messages=MESSAGES)
    first, second, plain = seen
    assert plain == (given or 600)
    assert first == (given or pytest.approx(2 * 96_000 / (128_000 / 3_600)))
    assert second == (given or pytest.approx(2 * 96_000 / 10))
