"""What every strategy promises, and that the contract which checks it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from every_strategy import ALL, steered
from nightly import examples

import ttc_middleware as ttc
from ttc_middleware import _strategy
from ttc_middleware.testing import ContractBroken, Outcome, check_strategy, play


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_it_keeps_the_contract(strategy):
    check_strategy(strategy, examples=examples(40))


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_it_is_a_frozen_value_whose_repr_says_how_it_searches(strategy):
    assert strategy == replace(strategy)
    assert hash(strategy) == hash(replace(strategy))
    if strategy == ttc.Single() or strategy.__dict__.get("by") or strategy.__dict__.get("value"):
        return
    assert eval(repr(strategy), {**vars(ttc), **vars(ttc.strategies)}) == strategy  # our own text


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_its_first_draw_is_the_unchanged_call(strategy):
    first = next(strategy.search(ttc.Call(name="f")))[0]
    assert (first == ttc.Draw()) == (not steered(strategy))


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_it_returns_the_failed_sample_that_was_launched_first_where_all_failed(strategy):
    failed = Outcome(status="failed")
    played = play(strategy, [failed] * 8, arrival=[3, 1, 2, 0])
    assert (played.index, played.winner.status) == (0, "failed")


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_it_has_nothing_to_return_where_the_budget_allows_no_draw(strategy):
    assert play(strategy, []).winner is None
    assert play(strategy, [1.0] * 8, ends_after=0).winner is None


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_it_says_what_it_needs_in_the_words_of_the_engine(strategy):
    assert isinstance(_strategy.needs_verifier(strategy), bool)
    assert _strategy.needs(strategy) <= frozenset(ttc.Capability)
    assert isinstance(_strategy.needs_all(strategy), bool)


@pytest.mark.parametrize("strategy", [ttc.BestOfN(6, stop="all"), ttc.BestOfN(6, stop="all", at_once=2)], ids=repr)
def test_best_of_all_does_not_depend_on_the_order_of_arrival(strategy):
    check_strategy(strategy, same_for_any_order=lambda sample: sample.index, examples=examples(60))


@pytest.mark.parametrize("strategy", [ttc.SelfConsistency(7), ttc.SelfConsistency(8, at_once=3)], ids=repr)
def test_the_class_that_wins_a_vote_does_not_depend_on_the_order_of_arrival(strategy):
    check_strategy(strategy, same_for_any_order=lambda sample: sample.text, examples=examples(60))


# The contract itself: each of these breaks one promise.


@dataclass(frozen=True)
class _Wrong:
    steps: Callable[[], Any] = field(repr=False)
    needs: frozenset[ttc.Capability] = frozenset()

    def search(self, call):
        return self.steps()


def _asks_on():
    while True:
        yield []


def _invents():
    sample = yield [ttc.Draw()]
    return sample and replace(sample)


def _returns_nothing():
    yield [ttc.Draw()]


def _asks_for_what_it_does_not_state():
    return ttc.best((yield from ttc.gather([ttc.Draw(instruction="be brief")])))


def _draws_from_a_stranger():
    stranger = play(ttc.Single(), [1.0]).winner
    return ttc.best((yield from ttc.gather([ttc.Draw(parent=stranger)])))


def _cancels_what_it_never_started():
    yield [ttc.Draw(), ttc.Cancel(7)]


def _yields_a_draw_instead_of_draws():
    yield ttc.Draw()


def _yields_words():
    yield ["draw"]


def _gives_up_with_samples_in_hand():
    yield [ttc.Draw()]
    return ttc.best([])


@pytest.mark.parametrize(
    ("steps", "broken"),
    [
        (_asks_on, "goes on asking"),
        (_invents, "none of the samples it was sent"),
        (_returns_nothing, "returns None, which is none of the samples"),
        (_asks_for_what_it_does_not_state, "asks for instruction"),
        (_draws_from_a_stranger, "draws from a sample that it was not sent"),
        (_cancels_what_it_never_started, "cancels draw 7"),
        (_yields_a_draw_instead_of_draws, "must yield a sequence"),
        (_yields_words, "must yield draws"),
        (_gives_up_with_samples_in_hand, "finds no sample among"),
        (list, "must be a generator"),
    ],
)
def test_a_play_ends_as_soon_as_the_strategy(steps, broken):
    with pytest.raises(ContractBroken, match=broken):
        play(_Wrong(steps), [0.1, 0.2])


def _endless():
    while True:
        yield [ttc.Draw()]


def test_a_play_that_nothing_limits_ends_all_the_same(monkeypatch):
    monkeypatch.setattr("ttc_middleware.testing._ENDLESS", 2_000)
    with pytest.raises(ContractBroken, match="does not end"):
        play(_Wrong(_endless), lambda index, draw: 0.1)
    with pytest.raises(ContractBroken, match="goes on asking"):
        play(_Wrong(_endless), [0.1])


def _forgets_that_the_budget_ends():
    sample = yield [ttc.Draw()]
    sample.accepted  # noqa: B018  # None, where the budget has ended, has no such thing
    return sample


def _takes_the_last():
    last = sample = yield [ttc.Draw(), ttc.Draw()]
    while sample is not None:
        last = sample
        sample = yield []
    return ttc.best([] if last is None else [last])


@pytest.mark.parametrize(
    ("steps", "broken"),
    [(_forgets_that_the_budget_ends, "raises AttributeError"), (_takes_the_last, "lets a failed sample win")],
)
def test_the_contract_finds_and_shows_the_search_in_which_a_strategy(steps, broken):
    with pytest.raises(ContractBroken, match=broken) as caught:
        check_strategy(_Wrong(steps))
    assert "play(_Wrong" in str(caught.value)


def test_the_contract_catches_a_strategy_that_remembers():
    @dataclass
    class Remembers:
        seen: list[int] = field(default_factory=list, repr=False)

        def search(self, call):
            samples = yield from ttc.gather([ttc.Draw()] * 2)
            self.seen.append(1)
            return ttc.best(samples[len(self.seen) % 2 :] or samples)

    with pytest.raises(ContractBroken, match="from the same samples in the same order"):
        check_strategy(Remembers())


def test_the_contract_catches_a_strategy_that_changes_its_settings():
    @dataclass
    class Changes:
        n: int = 1

        def search(self, call):
            self.n += 1
            return ttc.best((yield from ttc.gather([ttc.Draw()])))

    with pytest.raises(ContractBroken, match="changes while it searches"):
        check_strategy(Changes())


def test_the_contract_wants_a_repr_that_says_something():
    class Bare:
        def search(self, call):
            return ttc.best((yield from ttc.gather([ttc.Draw()])))

    with pytest.raises(ContractBroken, match=r"repr\(\) must say"):
        check_strategy(Bare())


def test_the_contract_catches_a_false_claim_about_order_and_says_how_to_see_it():
    with pytest.raises(ContractBroken, match=r"depends on the order(.|\n)*play\(BestOfN\("):
        check_strategy(ttc.BestOfN(4), same_for_any_order=lambda sample: sample.index)


def test_the_contract_can_be_checked_without_hypothesis(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_strategy(ttc.BestOfN(4), examples=50)
    with pytest.raises(ContractBroken, match="depends on the order"):
        check_strategy(ttc.BestOfN(4), same_for_any_order=lambda sample: sample.index, examples=200)


def test_what_a_function_was_given_beforehand_does_not_show():
    strategy = ttc.SelfConsistency(by=partial(max, "sk-secret"))
    assert repr(strategy) == "SelfConsistency(8, by=partial(…))"
