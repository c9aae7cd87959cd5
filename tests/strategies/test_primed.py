"""A first draw that is sent alone, and what the others then find in a cache."""

import anyio.lowlevel
import pytest
from every_strategy import ALL
from nightly import examples

import ttc_middleware as ttc
from ttc_middleware.strategies import Primed, Thinks
from ttc_middleware.testing import Outcome, check_strategy, play

PROMPT = 1_000


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_it_keeps_the_contract_around_every_strategy(strategy):
    check_strategy(Primed(strategy), examples=examples(10))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("strategy", "found"), [(ttc.BestOfN(8, stop="all"), 0), (Primed(ttc.BestOfN(8, stop="all")), 7)]
)
async def test_the_others_find_the_prompt_in_the_cache_and_the_bill_shows_it(strategy, found):
    cache = set()

    @ttc.scale(strategy, verifier=len)
    async def ask(prompt):
        cached = PROMPT if prompt in cache else 0
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        cache.add(prompt)
        ttc.record_usage(ttc.Usage(1, PROMPT, 10, cached_tokens=cached))
        return ""

    result = await ask.run("examples")
    assert len(result.samples) == 8
    assert result.bill.total.cached_tokens == found * PROMPT


def test_nothing_more_is_drawn_where_the_first_is_accepted():
    played = play(Primed(ttc.BestOfN(8)), [1.0, 0.5, 0.5])
    assert (played.index, len(played.draws)) == (0, 1)


def test_the_others_are_asked_for_together_once_the_first_has_ended_however_it_did():
    steps = Primed(ttc.BestOfN(4)).search(ttc.Call(name="f"))
    assert len(next(steps)) == 1
    failed = ttc.Sample(index=0, draw=ttc.Draw(), call=ttc.Call(name="f"), output=None, status="failed")
    assert len(steps.send(failed)) == 3


class Drops:
    """Drops a draw that is held, asks for two more, and wants the last."""

    def search(self, call):
        first = yield [ttc.Draw(), ttc.Draw(), ttc.Draw(temperature=1.0)]
        assert first.index == 0
        sample = yield [ttc.Cancel(1), ttc.Draw(temperature=2.0)]
        while sample.index != 3:
            sample = yield []
        return sample


def test_launch_orders_stay_those_that_the_strategy_counts():
    played = play(Primed(Drops()), ["a", "b", "c", "d"], arrival=[0, 2, 1, 3])
    assert played.index == 3
    assert played.winner.draw.temperature == 2.0
    assert played.cancelled == (1,)
    check_strategy(Primed(ttc.Refine(3)), examples=examples(20))


def test_it_needs_what_its_strategy_needs_and_prints_as_it_was_written():
    judged = ttc.BeamSearch(4, 2, 3, value=ttc.verifiers.Regex("a"))
    for strategy in (ttc.BestOfN(8, stop="all"), ttc.Refine(2), judged):
        primed = Primed(strategy)
        for name in ("needs_verifier", "needs", "wants_all", "judges"):
            assert getattr(primed, name) == getattr(strategy, name, type(getattr(primed, name))())
    assert repr(Primed(ttc.BestOfN(8))) == "Primed(BestOfN(8))"
    with pytest.raises(TypeError, match="not a class"):
        Primed(ttc.BestOfN)


def test_it_returns_the_first_where_all_failed():
    failed = Outcome(status="failed")
    assert play(Primed(ttc.BestOfN(3)), [failed] * 3).index == 0


class Cannot:
    """Needs what few call sites can do, and goes without."""

    needs = frozenset({ttc.Capability.EXTEND})
    parameters = frozenset({"task"})
    judges = (len,)
    in_turn = 3

    def search(self, call):
        return (yield [ttc.Draw()])

    def suited(self, can):
        return self if self.needs <= can else ttc.Single()


@pytest.mark.parametrize("around", [Primed, lambda inner: Thinks(inner, "low")])
def test_what_a_strategy_says_of_itself_holds_with_another_around_it(around):
    wrapped = around(Cannot())
    assert (wrapped.parameters, wrapped.judges) == ({"task"}, (len,))
    assert wrapped.in_turn == 3 + isinstance(wrapped, Primed)
    assert wrapped.suited(frozenset({ttc.Capability.EXTEND})) is wrapped
    assert wrapped.suited(frozenset()) == around(ttc.Single())
