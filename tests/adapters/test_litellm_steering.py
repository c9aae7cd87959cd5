"""What draws ask of litellm's calls: in each provider's words, and left out where a model does not take it."""

from __future__ import annotations

import traceback
import warnings
from dataclasses import dataclass

import pytest
from litellm_calls import MESSAGES, asked, its_tests, litellm, text_of
from provider import Provider, Reply

import ttc_litellm
import ttc_middleware as ttc
from ttc_litellm._inplace import InPlace
from ttc_middleware.prices import _tables

pytestmark = its_tests

CLAUDE = "anthropic/claude-sonnet-4-5"


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=f"answer {number}")) as provider:
        yield provider


@dataclass(frozen=True)
class Asks:
    """Draws the call as it is, then with a wish."""

    wish: ttc.Draw

    def search(self, call):
        first = yield [ttc.Draw()]
        second = yield [self.wish]
        return second or first


async def sent(provider, draw, model="openai/mock", **more):
    """What the provider got for a plain call, and for one with the draw's wishes."""

    async def answer() -> str:
        return text_of(await litellm.acompletion(**asked(provider, model, **more)))

    provider.reset()
    await ttc.scale(Asks(draw))(answer)()
    plain, steered = provider.bodies
    return plain, steered


def news(plain, steered):
    return {name: value for name, value in steered.items() if plain.get(name) != value}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("draw", "arrives"),
    [
        (ttc.Draw(temperature=0.7), {"temperature": 0.7}),
        (ttc.Draw(seed=5), {"seed": 5}),
        (ttc.Draw(max_tokens=9), {"max_tokens": 9}),
        (ttc.Draw(stop=["."]), {"stop": ["."]}),
        (ttc.Draw(model="openai/other"), {"model": "other"}),
        (ttc.Draw(thinking="high"), {"reasoning_effort": "high"}),
        (ttc.Draw(thinking="medium"), {"reasoning_effort": "medium"}),
        (ttc.Draw(instruction="Again."), {"messages": [*MESSAGES, {"role": "user", "content": "Again."}]}),
    ],
    ids=str,
)
async def test_wishes_arrive_in_openais_words(provider, draw, arrives):
    plain, steered = await sent(provider, draw)
    assert news(plain, steered) == arrives


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("draw", "arrives"),
    [
        (ttc.Draw(temperature=0.7), {"temperature": 0.7}),
        (ttc.Draw(max_tokens=9), {"max_tokens": 9}),
        (ttc.Draw(stop=["."]), {"stop_sequences": ["."]}),
        (ttc.Draw(thinking=2_000), {"thinking": {"type": "enabled", "budget_tokens": 2_000}}),
        (ttc.Draw(thinking="low"), {"thinking": {"type": "enabled", "budget_tokens": 1_024}}),
        (ttc.Draw(thinking="none"), {}),
    ],
    ids=str,
)
async def test_wishes_arrive_in_anthropics_words(provider, draw, arrives):
    plain, steered = await sent(provider, draw, CLAUDE, max_tokens=20_000)
    assert news(plain, steered) == arrives


# What a model does not take.


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("model", "draw", "lacks"),
    [
        (CLAUDE, ttc.Draw(seed=5), "seed"),
        ("openai/gpt-5-mini", ttc.Draw(temperature=0.7), "temperature"),
        ("openai/gpt-4o", ttc.Draw(thinking="high"), "thinking='high'"),
        ("openai/gpt-4o", ttc.Draw(thinking=2_000), "thinking=2000"),
    ],
)
async def test_what_a_model_does_not_take_is_left_out_with_one_warning(provider, model, draw, lacks):
    with pytest.warns(UserWarning, match="does not take") as caught:
        plain, steered = await sent(provider, draw, model)
    assert news(plain, steered) == {}
    said = [str(each.message) for each in caught]
    assert sum(f"{model.split('/')[1]} does not take {lacks}" in each for each in said) == 1
    assert news(*await sent(provider, draw, model)) == {}


@pytest.mark.asyncio
async def test_what_litellm_would_drop_without_a_word_is_said_too(provider, monkeypatch):
    monkeypatch.setattr(litellm, "drop_params", True)
    with pytest.warns(UserWarning, match="claude-sonnet-4-5 does not take seed: its parallel draws may be alike"):
        await sent(provider, ttc.Draw(seed=5), CLAUDE)


@pytest.mark.asyncio
async def test_what_the_caller_asks_and_a_model_refuses_is_still_the_callers_error(provider):
    async def answer() -> None:
        await litellm.acompletion(**asked(provider, CLAUDE, seed=5))

    with pytest.raises(litellm.UnsupportedParamsError):
        await ttc.scale(ttc.Single())(answer)()


@pytest.mark.asyncio
async def test_a_server_that_refuses_a_temperature_gets_none():
    def script(body, number):
        refused = "temperature" in body and body["temperature"] > 0
        return Reply(status=400, error="temperature is not supported") if refused else Reply(text=f"answer {number}")

    with Provider(script) as provider:

        async def answer() -> str:
            return text_of(await litellm.acompletion(**asked(provider, temperature=0)))

        with pytest.warns(UserWarning, match="mock does not take temperature"):
            result = await ttc.scale(ttc.SelfConsistency(3))(answer).run()
        assert [sample.status for sample in result.samples] == ["answer"] * 3


@pytest.mark.asyncio
async def test_thinking_makes_room_for_an_answer_under_a_budget(provider):
    async def answer() -> str:
        return text_of(await litellm.acompletion(**asked(provider, CLAUDE)))

    for tokens, thinks in ((6_000, 2_900), (1_000, None)):
        provider.reset()
        await ttc.scale(ttc.Single(), thinking=8_000, budget=ttc.Budget(tokens=tokens))(answer)()
        (body,) = provider.bodies
        assert body["max_tokens"] <= tokens
        if thinks is None:
            assert "thinking" not in body
        else:
            assert thinks < body["thinking"]["budget_tokens"] < body["max_tokens"]


# Names.


@pytest.mark.parametrize(
    ("asked_for", "provider", "model", "server"),
    [
        ({"model": "gpt-4o"}, "openai", "gpt-4o", None),
        ({"model": "openai/gpt-4o", "api_base": "http://127.0.0.1:1/v1"}, "local", "gpt-4o", "127.0.0.1"),
        ({"model": "openai/x", "base_url": "https://models.example/v1"}, "openai", "x", "models.example"),
        ({"model": CLAUDE}, "anthropic", "claude-sonnet-4-5", None),
        ({"model": "azure/mine"}, "azure.ai.openai", "mine", None),
        ({"model": "bedrock/anthropic.claude-3"}, "aws.bedrock", "anthropic.claude-3", None),
        ({"model": "vertex_ai/gemini-2.5-pro"}, "gcp.vertex_ai", "gemini-2.5-pro", None),
        ({"model": "gemini/gemini-2.5-pro"}, "gcp.gemini", "gemini-2.5-pro", None),
        ({"model": "xai/grok-4"}, "x_ai", "grok-4", "api.x.ai"),
        ({"model": "mistral/mistral-large-latest"}, "mistral_ai", "mistral-large-latest", "api.mistral.ai"),
        ({"model": "openrouter/deepseek/deepseek-r1"}, "openrouter", "deepseek/deepseek-r1", None),
        ({"model": "x", "custom_llm_provider": "groq"}, "groq", "x", "api.groq.com"),
        ({"model": "nobody-knows-it"}, "unknown", "nobody-knows-it", None),
    ],
)
def test_spans_get_the_names_that_opentelemetry_has_for_providers(asked_for, provider, model, server):
    request = ttc_litellm.Completion().describe(ttc.Call(name="litellm:completion", arguments=asked_for))
    assert (request.provider, request.model, request.server) == (provider, model, server)


@pytest.mark.parametrize(
    ("provider", "model", "key"),
    [("mistral_ai", "mistral-large-latest", "mistral/mistral-large-latest"), ("openai", "gpt-4o", "gpt-4o")],
)
def test_litellms_prices_are_found_under_its_own_names(provider, model, key):
    prices = _tables.from_litellm(provider, model)
    assert prices is not None
    assert float(prices.cost(ttc.Usage(1, 1_000_000, 0)).total) == pytest.approx(
        litellm.model_cost[key]["input_cost_per_token"] * 1_000_000
    )


# In place.


def test_a_function_changed_in_place_has_its_locals_in_tracebacks():
    kept = [1]

    def closing(a, *, b=2):
        return a, b, kept

    def refuse(original):
        def enter(*args, **kwargs):
            raise ValueError(original(*args, **kwargs))

        return enter

    bound = closing
    changed = InPlace(closing, refuse)
    with pytest.raises(ValueError, match=r"\(1, 2, \[1\]\)") as caught:
        bound(1)
    assert traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert [entry.frame.f_locals for entry in caught.traceback]
    changed.undo()
    assert bound(1, b=3) == (1, 3, [1])


def test_only_python_functions_can_be_changed_in_place():
    with pytest.raises(TypeError, match="only a Python function can be changed in place, got <built-in function len>"):
        InPlace(len, lambda original: original)


def test_nothing_warns_where_nothing_is_asked():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call = ttc.Call(name="litellm:completion", arguments={"model": CLAUDE, "messages": MESSAGES})
        assert ttc_litellm.Completion().apply(call, ttc.Draw()) == call
