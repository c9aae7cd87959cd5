"""What an effort comes to: quantiles that hold for the next call."""

from __future__ import annotations

import math
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.thinking import _efforts

LEVELS = [0.5, 0.8, 0.9, 0.95, 0.99]


def lengths(chance, count, times=1.0):
    """Heavy-tailed, as thinking is."""
    return [int(times * chance.lognormvariate(8, 0.9)) for _ in range(count)]


def fed(tokens, **where):
    quantiles = ttc.EffortQuantiles()
    for each in tokens:
        quantiles.observe("high", each, **where)
    return quantiles


@pytest.mark.parametrize("tau", LEVELS)
def test_the_next_calls_stay_within_the_quantile_as_often_as_asked(tau):
    chance, covered, runs = random.Random(5), 0.0, 200
    for _ in range(runs):
        most = fed(lengths(chance, 200)).quantile("high", tau)
        covered += sum(each <= most for each in lengths(chance, 100)) / 100
    assert abs(covered / runs - tau) < 0.015


@pytest.mark.parametrize("tau", [0.9, *(pytest.param(tau, marks=pytest.mark.slow) for tau in (0.8, 0.95))])
def test_it_holds_again_within_100_calls_after_thinking_has_doubled(tau):
    chance, covered, stale, runs = random.Random(6), 0.0, 0.0, 60
    for _ in range(runs):
        quantiles = fed(lengths(chance, 256))
        after = lengths(chance, 100, times=2)
        before = quantiles.quantile("high", tau)
        for each in lengths(chance, 100, times=2):
            quantiles.observe("high", each)
        most = quantiles.quantile("high", tau)
        covered += sum(each <= most for each in after) / 100
        stale += sum(each <= before for each in after) / 100
    assert stale / runs < tau - 0.05  # it had something to recover from
    assert abs(covered / runs - tau) < 0.04


@thorough(60)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=120), st.sampled_from(LEVELS))
def test_a_quantile_is_one_of_the_numbers_seen_and_none_where_too_few_were(seen, tau):
    found = fed(seen).quantile("high", tau)
    if len(seen) < math.floor(tau / (1 - tau) + 1e-9):
        assert found is None
    if found is not None:
        assert found in seen


def test_without_a_drift_to_follow_it_is_the_split_conformal_quantile():
    assert fed(range(1, 20)).quantile("high", 0.95) == 19
    assert fed(range(1, 19)).quantile("high", 0.95) is None
    assert fed(range(1, 20)).quantile("high", 0.5) == 10


def test_a_call_that_was_cut_off_counts_as_longer_than_every_other():
    quantiles = fed(range(1, 20))
    assert quantiles.quantile("high", 0.9) == 18
    quantiles.observe("high", 5, cut=True)
    quantiles.observe("high", 5, cut=True)
    assert quantiles.quantile("high", 0.8) == 18
    assert quantiles.quantile("high", 0.95) is None


def test_the_most_thinking_that_fits_the_budget_is_chosen():
    quantiles = ttc.EffortQuantiles()
    for effort, size in [("low", 100), ("medium", 1_000), ("high", 10_000)]:
        for each in range(40):
            quantiles.observe(effort, size + each, site="f", model="m")
    assert quantiles.choose(20_000, site="f", model="m") == "high"
    assert quantiles.choose(5_000, site="f", model="m") == "medium"
    assert quantiles.choose(5_000, site="f", model="m", among=["low", "high"]) == "low"
    assert quantiles.choose(50, site="f", model="m") is None
    assert quantiles.choose(20_000, site="another", model="m") is None
    assert quantiles.choose(20_000, site="f", model="another") is None


def test_it_forgets_what_is_old_and_unused(monkeypatch):
    monkeypatch.setattr(_efforts, "SITES", 3)
    quantiles = fed([1] * 300 + [9] * _efforts.WINDOW, site="a")
    assert quantiles.quantile("high", 0.01, site="a") == 9
    for site in "bca":
        quantiles.observe("high", 1, site=site)
    quantiles.observe("high", 1, site="d")
    assert quantiles.quantile("high", 0.5, site="b") is None
    assert quantiles.quantile("high", 0.5, site="a") == 9


def test_calls_that_all_end_at_the_same_number_say_nothing_of_a_drift():
    quantiles = fed([9] * 250 + [1])
    assert [quantiles.quantile("high", tau) for tau in LEVELS] == [9] * 5


def test_threads_may_share_it():
    quantiles = ttc.EffortQuantiles()

    def work(site):
        for each in range(500):
            quantiles.observe("low", each, site=site)
            quantiles.quantile("low", 0.5, site="abcd"[each % 4])

    threads = [threading.Thread(target=work, args=(site,)) for site in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({quantiles.quantile("low", 0.5, site=site) for site in "abcd"}) == 1


@pytest.mark.parametrize("tokens", [-1, 1.5, True])
def test_tokens_are_whole_numbers(tokens):
    with pytest.raises(ValueError, match=r"observe\(tokens\) must be a whole number from 0"):
        ttc.EffortQuantiles().observe("low", tokens)


@pytest.mark.parametrize("tau", [0, 1, 1.5, float("nan")])
def test_a_probability_lies_between_0_and_1(tau):
    with pytest.raises(ValueError, match="tau lies between 0 and 1"):
        ttc.EffortQuantiles().choose(100, tau)
