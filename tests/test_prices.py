"""What tokens cost, and who says so."""

from __future__ import annotations

import importlib.util
import sys
import types
from decimal import Decimal, Inexact, localcontext

import pytest

import ttc_middleware as ttc
from ttc_middleware.prices._find import find
from ttc_middleware.prices._tables import _genai_price, from_genai_prices


def test_dollars_are_exact_and_thinking_is_told_apart():
    price = ttc.Price(input="0.25", output="2.00", cached="0.025")
    cost = price.cost(ttc.Usage(input_tokens=1_000, cached_tokens=400, output_tokens=500, reasoning_tokens=300))
    assert cost.input == Decimal("0.00016")
    assert cost.output == Decimal("0.001")
    assert cost.reasoning == Decimal("0.0006")
    assert cost.total == cost.input + cost.output


def test_thinking_can_have_a_price_of_its_own():
    price = ttc.Price(1, 2, reasoning=8)
    assert price.cost(ttc.Usage(output_tokens=1_000_000, reasoning_tokens=500_000)).total == Decimal(5)
    assert price.rates() == (1_000, 8_000)  # what a budget holds for a token: the dearest kind


def test_what_is_reserved_for_a_token_is_rounded_up():
    assert ttc.Price("0.0001", "0.0009").rates() == (1, 1)


@pytest.mark.parametrize("field", ["input", "output", "cached", "reasoning"])
@pytest.mark.parametrize("value", [-1, "free", float("nan"), float("inf"), "-0.01"])
def test_a_price_that_is_none_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"Price\({field}=\) must be dollars per million tokens from 0, got"):
        ttc.Price(**{"input": 1, "output": 1, field: value})


def test_the_users_table_comes_first_and_its_longer_name_before_the_shorter():
    general, special = ttc.Price(1, 1), ttc.Price(2, 2)
    table = {"gpt-5-mini": general, "azure.ai.openai/gpt-5-mini": special}
    assert find("openai", "gpt-5-mini", table) is general
    assert find("azure.ai.openai", "gpt-5-mini", table) is special


@pytest.fixture
def only_litellm(monkeypatch):
    """A program that has imported litellm, and has no other table."""

    def imported(model_cost):
        monkeypatch.setitem(sys.modules, "litellm", types.SimpleNamespace(model_cost=model_cost))

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    return imported


def test_litellms_table_is_read_where_the_program_has_imported_it(only_litellm):
    only_litellm({
        "gemini/test-flash": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
        "test-flash": {"input_cost_per_token": 5e-6, "output_cost_per_token": 5e-6},
    })  # fmt: skip
    usage = ttc.Usage(input_tokens=10, output_tokens=10)
    assert find("gcp.gemini", "test-flash", {}).cost(usage).total == Decimal("0.00003")
    assert find("somebody", "test-flash", {}).cost(usage).total == Decimal("0.0001")


@pytest.mark.parametrize("entry", [{}, {"input_cost_per_token": 1e-6}, {"output_cost_per_token": 1e-6}])
def test_half_a_price_is_no_price(only_litellm, entry):
    only_litellm({"half": entry})
    assert find("openai", "half", {}) is None


def test_a_model_that_nobody_knows_has_no_price():
    assert find("local", "a-model-of-my-own", {}) is None


def test_genai_prices_knows_public_models_where_it_is_installed():
    pytest.importorskip("genai_prices")
    prices = find("openai", "gpt-4o-mini", {})
    usage = ttc.Usage(input_tokens=1_000_000, output_tokens=1_000_000, reasoning_tokens=250_000)
    cost = prices.cost(usage)
    assert cost.total == cost.input + cost.output > 0
    assert cost.reasoning == cost.output / 4
    held = [rate * 1_000_000 for rate in prices.rates()]
    assert held[0] >= cost.input * 10**9
    assert held[1] >= cost.output * 10**9


@pytest.fixture
def few_digits():
    """A program whose own decimals have three digits, and must not be rounded."""
    with localcontext() as own:
        own.prec, own.traps[Inexact] = 3, True
        yield


USED = ttc.Usage(input_tokens=123_457, output_tokens=98_765)


@pytest.mark.usefixtures("few_digits")
def test_litellms_table_is_read_whatever_a_program_does_to_its_decimals(only_litellm):
    only_litellm({"own": {"input_cost_per_token": 1.23456e-06, "output_cost_per_token": 2.34567e-06}})
    assert str(find("nobody", "own", {}).cost(USED).total) == "0.38408517147"


@pytest.mark.usefixtures("few_digits")
def test_genai_prices_are_read_whatever_a_program_does_to_its_decimals():
    pytest.importorskip("genai_prices")
    _genai_price.cache_clear()
    from_genai_prices.cache_clear()
    assert find("openai", "gpt-4o-mini", {}).cost(USED).total == Decimal("0.07777755")
