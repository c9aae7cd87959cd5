"""The benchmark chooses among thousands of cascades by a fast equivalent: it decides as the strategy does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies import Tier
from ttc_middleware.testing import Outcome, play

BENCHMARKS = str(Path(__file__).parent.parent.parent / "benchmarks")
STREAM = st.lists(st.tuples(st.sampled_from(["a", "a", "b", "c", None]), st.integers(1, 9)), min_size=8, max_size=8)


@pytest.fixture(scope="module")
def fast():
    sys.path.insert(0, BENCHMARKS)
    try:
        return importlib.import_module("fast_cascade")
    finally:
        sys.path.remove(BENCHMARKS)


@thorough(100)
@given(st.lists(st.tuples(st.tuples(st.integers(1, 4), st.integers(1, 8)), STREAM), min_size=1, max_size=3))
def test_it_gives_the_strategys_answer_for_the_strategys_tokens(fast, given):
    tiers, streams = [each for each, _ in given], [stream for _, stream in given]
    left = {str(place): iter(stream) for place, stream in enumerate(streams)}
    spent = []

    def outcome(index, draw):
        answer, tokens = next(left[draw.model])
        spent.append(tokens)
        return Outcome(output="none", status="abstained") if answer is None else answer

    strategy = ttc.Cascade([Tier(str(place), lead=lead, cap=cap) for place, (lead, cap) in enumerate(tiers)])
    won = play(strategy, outcome).winner
    answer, tokens = fast.cascade(tiers, streams)
    assert (answer, tokens) == (won.text if won.status == "answer" else None, sum(spent))
