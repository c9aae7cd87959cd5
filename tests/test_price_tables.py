"""Public tables of prices, read as their owners read them, and never asked for over the network."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.prices import _tables
from ttc_middleware.prices._find import find

TIERS = {None: "", "batch": "_batches", "flex": "_flex", "priority": "_priority"}
LONG = ttc.Usage(
    input_tokens=600_000, output_tokens=1_000, reasoning_tokens=400, cached_tokens=200_000, cache_write_tokens=100_000,
    cache_write_1h_tokens=60_000,
)  # fmt: skip
SHORT = ttc.Usage(
    input_tokens=6_000, output_tokens=1_000, reasoning_tokens=400, cached_tokens=2_000, cache_write_tokens=1_000,
    cache_write_1h_tokens=600,
)  # fmt: skip


# genai-prices.

CONTEXTS = {None: {}, "batch": {"processing": "batch"}, "flex": {"service_tier": "flex"},
            "priority": {"service_tier": "priority"}, "fast": {"service_tier": "fast", "speed": "fast"}}  # fmt: skip
NAMES = ["anthropic", "openai", "google", "x-ai", "deepseek", "mistral", "groq", "perplexity", "aws", "azure"]


@pytest.mark.parametrize("provider", NAMES)
def test_genai_prices_are_what_it_says_itself_for_every_model_length_and_tier(provider):
    genai_prices = pytest.importorskip("genai_prices")
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    models = next(each.models for each in get_snapshot().providers if each.id == provider)
    checked = 0
    for model in models[:40]:
        prices = _tables.from_genai_prices(provider, model.id)
        for usage in (SHORT, LONG):
            counts = {
                "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens,
                "output_reasoning_tokens": usage.reasoning_tokens, "cache_read_tokens": usage.cached_tokens,
                "cache_write_tokens": usage.cache_write_tokens, "cache_write_1h_tokens": usage.cache_write_1h_tokens,
            }  # fmt: skip
            for tier, context in CONTEXTS.items():
                try:
                    asked = genai_prices.Usage(**counts)
                    own = genai_prices.calc_price(asked, model.id, provider_id=provider, price_context=context)
                except (LookupError, ValueError):
                    continue
                if prices is None:  # it is priced by the minute, the page or the request, too
                    by_token = own.model_price.input_mtok is not None or own.model_price.output_mtok is not None
                    assert not by_token or own.model_price.requests_kcount
                    continue
                cost = prices.cost(usage, tier)
                assert (cost.total, cost.input, cost.output) == (own.total_price, own.input_price, own.output_price)
                checked += 1
    assert checked


def test_thinking_with_a_price_of_its_own_is_told_apart_in_dollars():
    pytest.importorskip("genai_prices")
    cost = find("perplexity", "sonar-deep-research", {}).cost(SHORT)
    assert cost.reasoning == Decimal(400) * 3 / 10**6 != cost.output * 400 / 1_000


# litellm's table.


@pytest.fixture(scope="module")
def model_cost():
    """litellm's own table, without importing litellm."""
    spec = importlib.util.find_spec("litellm")
    if spec is None:
        pytest.skip("litellm is not installed")
    path = Path(spec.submodule_search_locations[0]) / "model_prices_and_context_window_backup.json"
    return json.loads(path.read_text())


@pytest.fixture
def only_litellm(monkeypatch, model_cost):
    monkeypatch.setitem(sys.modules, "litellm", types.SimpleNamespace(model_cost=model_cost))


@pytest.mark.usefixtures("only_litellm")
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("model", "above"),
    [("gpt-5", ""), ("claude-sonnet-4-5", ""), ("gemini/gemini-2.5-pro", "_above_200k_tokens"), ("o4-mini", "")],
)
def test_litellms_tiers_long_prompts_and_cache_writes_are_priced(model, above, tier, model_cost):
    entry = model_cost[model]
    usage = LONG if above else SHORT

    def each(name):
        keys = [f"{name}{above}{TIERS[tier]}", f"{name}{above}", f"{name}{TIERS[tier]}", name]
        return next((Decimal(str(entry[key])) for key in keys if key in entry), None)

    price, out = each("input_cost_per_token"), each("output_cost_per_token")
    read = each("cache_read_input_token_cost")
    written = each("cache_creation_input_token_cost") or price
    hour = each("cache_creation_input_token_cost_above_1hr") or written
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    cost = _tables.from_litellm("", model).cost(usage, tier)
    kept = usage.cache_write_1h_tokens
    assert cost.input == (
        fresh * price + usage.cached_tokens * read + (usage.cache_write_tokens - kept) * written + kept * hour
    )
    assert cost.output == usage.output_tokens * out


@pytest.mark.usefixtures("only_litellm")
@pytest.mark.parametrize(("usage", "step"), [(SHORT, 0), (LONG, 1)])
def test_qwens_steps_and_its_own_price_for_thinking_are_read(usage, step, model_cost):
    model = "dashscope/qwen-plus-2025-07-28"
    own = {name: Decimal(str(value)) for name, value in model_cost[model]["tiered_pricing"][step].items()
           if name.endswith("token")}  # fmt: skip
    cost = _tables.from_litellm("alibaba_cloud", "qwen-plus-2025-07-28").cost(usage)
    assert cost.reasoning == 400 * own["output_cost_per_reasoning_token"]
    assert cost.output - cost.reasoning == 600 * own["output_cost_per_token"]


@pytest.mark.usefixtures("only_litellm")
def test_every_entry_of_litellms_table_is_read_or_unknown_and_held_at_its_dearest(model_cost):
    read = 0
    for model in model_cost:
        price = _tables.from_litellm("", model)
        if price is None:
            continue
        read += 1
        for tier in ("batch", "priority", None):
            bounded(price, LONG, tier)
    assert read > 1_000


def test_a_table_with_nonsense_in_it_is_unknown(monkeypatch):
    base = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    spoiled = [{**base, "output_cost_per_token": "free"}, {**base, "input_cost_per_token": -1},
               {**base, "tiered_pricing": [{}, {}]}]  # fmt: skip
    for entry in spoiled:
        monkeypatch.setitem(sys.modules, "litellm", types.SimpleNamespace(model_cost={"odd": entry}))
        assert _tables.from_litellm("somebody", "odd") is None


# What a budget holds.


def bounded(price, usage, tier):
    """What was held for a call was enough."""
    per_input, per_output = price.rates(usage.input_tokens)
    cost = price.cost(usage, tier)
    assert cost.total * 10**9 <= usage.input_tokens * per_input + usage.output_tokens * per_output


AMOUNT = st.decimals(0, 1_000, places=4)
SOME = st.one_of(st.none(), AMOUNT)
FLAT = st.builds(ttc.Price, AMOUNT, AMOUNT, SOME, SOME, SOME, SOME)
STEPPED = st.builds(ttc.Price, AMOUNT, AMOUNT, SOME, SOME, SOME, SOME,
                    above=st.dictionaries(st.integers(1, 1_000), FLAT, max_size=2))  # fmt: skip
PRICES = st.builds(
    ttc.Price, AMOUNT, AMOUNT, SOME, SOME, SOME, SOME,
    above=st.dictionaries(st.integers(1, 1_000), STEPPED, max_size=2),
    tiers=st.dictionaries(st.sampled_from(["batch", "flex", "priority", "fast"]), STEPPED, max_size=2),
)  # fmt: skip


@thorough(100)
@given(PRICES, st.data())
def test_what_is_held_for_a_call_covers_every_tier_cache_and_length(price, data):
    prompt, output = data.draw(st.integers(0, 2_000)), data.draw(st.integers(0, 2_000))
    cached = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, prompt - cached))
    usage = ttc.Usage(
        input_tokens=prompt, output_tokens=output, reasoning_tokens=data.draw(st.integers(0, output)),
        cached_tokens=cached, cache_write_tokens=written, cache_write_1h_tokens=data.draw(st.integers(0, written)),
    )  # fmt: skip
    for tier in (None, "batch", "flex", "priority", "fast"):
        bounded(price, usage, tier)
        cost = price.cost(usage, tier)
        assert cost.total == cost.input + cost.output
        assert cost.reasoning <= cost.output


# The network.

SILENT = """
import sys

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise SystemExit(f"the network was asked: {event} {args}")

sys.addaudithook(refuse)
import ttc_middleware as ttc
from ttc_middleware.prices._find import find

assert find("openai", "gpt-4o-mini", {}).cost(ttc.Usage(input_tokens=10, output_tokens=10)).total > 0
assert find("nobody", "heard-of-it", {}) is None
print("silent")
"""


def test_no_price_ever_asks_the_network():
    pytest.importorskip("genai_prices")
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=380, check=False)
    assert done.stdout.strip() == "silent", done.stderr
