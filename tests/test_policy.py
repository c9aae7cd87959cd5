"""What a deployment decides: precedence, blocks and their budgets, bills of a block, what is deferred to the winner."""

from __future__ import annotations

import contextlib

import anyio
import pytest
from fake_model import Fake, Model, forever, fresh, place, steps  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE, TAB

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

TOKENS = ttc.Usage(1, 2, 1)


def always(output):
    return True


def tagged(model, **options):
    @ttc.verifiable(lambda output: output == "right", name="ask", **options)
    async def ask() -> str:
        return await model()

    return ask


# Which strategy holds.


async def test_verifiable_alone_changes_nothing():
    model = Model(lambda body, number: "wrong")
    assert await tagged(model)() == "wrong"
    assert len(model.bodies) == 1
    assert SCOPE.get() is SCOPE.get().outer or SCOPE.get().outer is None


async def test_a_block_says_what_an_answer_is_worth():
    model = Model(lambda body, number: "right" if place() == 2 else "wrong")
    with ttc.policy(ttc.BestOfN(3, stop="all")):
        result = await tagged(model).run()
    assert (result.output, result.accepted, len(model.bodies)) == ("right", True, 3)


@pytest.mark.parametrize(
    ("block", "named", "scale", "default", "draws"),
    [
        (2, 3, 4, 5, 2),
        (None, 3, 4, 5, 3),
        (None, None, 4, 5, 4),
        (None, None, None, 5, 5),
        (None, None, None, None, 1),
        (2, None, 4, None, 2),
    ],
)
async def test_a_block_goes_before_the_name_before_the_decorator_before_the_default(
    block, named, scale, default, draws
):
    def policy(n):
        return None if n is None else ttc.policy(ttc.BestOfN(n, stop="all"))

    model = Model()

    async def ask() -> str:
        return await model()

    decorator = ttc.verifiable(always, name="ask")
    if scale is not None:
        decorator = ttc.scale(ttc.BestOfN(scale, stop="all"), verifier=always, name="ask")
    ttc.configure(policies={"ask": policy(named)} if named else {}, default=policy(default))
    with policy(block) or ttc.policy():
        await decorator(ask)()
    assert len(model.bodies) == draws


async def test_what_a_block_leaves_open_is_filled_in_from_outside():
    model = Model(lambda body, number: "wrong")
    ask = tagged(model)
    with ttc.policy(ttc.BestOfN(2, stop="all"), on_reject="raise"):
        with ttc.policy(thinking="high"):
            with pytest.raises(ttc.NotAccepted):
                await ask()
            assert [body["thinking"] for body in model.bodies] == ["high", "high"]
        with ttc.policy(on_reject="best"):
            assert await ask() == "wrong"
    assert len(model.bodies) == 4


async def test_the_innermost_block_wins_and_the_outer_one_comes_back():
    model = Model(lambda body, number: "wrong")
    ask = tagged(model)
    with ttc.policy(ttc.BestOfN(2, stop="all")):
        with ttc.policy(ttc.BestOfN(3, stop="all")):
            await ask()
        await ask()
    await ask()
    assert len(model.bodies) == 3 + 2 + 1


async def test_a_block_ends_for_good_when_its_body_raises():
    before = SCOPE.get()
    with pytest.raises(LookupError), ttc.policy(ttc.BestOfN(2)), ttc.tags(user="me"), ttc.tracking():
        raise LookupError
    assert SCOPE.get() is before


async def test_one_policy_can_be_used_for_many_blocks_at_once():
    async def script(body, number):
        await steps(2)
        return "wrong"

    model, shared = Model(script), ttc.policy(ttc.BestOfN(2, stop="all"))

    async def one():
        with shared:
            await tagged(model)()

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(one)
    assert (len(model.bodies), SCOPE.get().policy) == (10, None)


async def test_single_switches_scaling_off_for_a_block():
    model = Model(lambda body, number: "wrong")

    @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=always)
    async def ask() -> str:
        return await model()

    with ttc.policy(ttc.Single()):
        await ask()
    assert len(model.bodies) == 1


async def test_a_block_whose_strategy_a_call_site_cannot_serve_says_so():
    model = Model()

    @ttc.scale(ttc.SelfConsistency(3))
    async def ask() -> str:
        return await model()

    with ttc.policy(ttc.BestOfN(2)), pytest.raises(TypeError, match="needs a verifier"):
        await ask()


# Budgets add up.


async def test_the_tightest_budget_holds():
    model = Model(lambda body, number: "wrong")

    @ttc.scale(
        ttc.BestOfN(9, stop="all"),
        verifier=lambda output: False,
        name="ask",
        budget=ttc.Budget(samples=7, concurrency=2),
    )
    async def ask() -> str:
        return await model()

    ttc.configure(
        policies={"ask": ttc.policy(budget=ttc.Budget(samples=4))},
        default=ttc.policy(budget=ttc.Budget(samples=5, tokens=1_000_000)),
    )
    with ttc.policy(budget=ttc.Budget(samples=6)):
        await ask()
        assert len(model.bodies) == 4
        await ask()
    assert len(model.bodies) == 6


async def test_a_block_inside_a_block_spends_from_both():
    model = Model(lambda body, number: "wrong")
    ask = tagged(model)
    with ttc.policy(ttc.BestOfN(3, stop="all"), budget=ttc.Budget(samples=5)):
        with ttc.policy(budget=ttc.Budget(samples=100)):
            await ask()
        await ask()
    assert len(model.bodies) == 5


async def test_tokens_of_a_block_are_shared_and_never_overshot():
    model = Model(lambda body, number: f"{number} word " * 100)
    ask = tagged(model)
    with ttc.policy(ttc.BestOfN(4, stop="all"), budget=ttc.Budget(tokens=1_000)):
        account = SCOPE.get().ledger
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(quietly, ask)
    assert 0 < model.billed <= 1_000
    assert (account.spent["tokens"], account.reserved["tokens"], account.overrun["tokens"]) == (model.billed, 0, 0)


async def quietly(ask):
    with contextlib.suppress(ttc.BudgetExceeded):
        await ask()


async def test_a_budget_covers_calls_that_are_not_scaled_at_all():
    model = Model(lambda body, number: "word " * 50)
    with ttc.policy(budget=ttc.Budget(tokens=60)), pytest.raises(ttc.BudgetExceeded, match="60 tokens"):
        for _ in range(10):
            await model(max_tokens=50)
    assert len(model.bodies) == 1


async def test_a_block_inside_a_draw_limits_what_the_draw_does_there():
    model = Model(lambda body, number: "word " * 50)

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=always, budget=ttc.Budget(tokens=100_000))
    async def ask() -> int:
        done = 0
        with ttc.policy(budget=ttc.Budget(tokens=120)):
            try:
                while True:
                    await model(max_tokens=50)
                    done += 1
            except ttc.BudgetExceeded:
                return done

    result = await ask.run()
    assert (result.output, len(model.bodies)) == (2, 4)


async def test_a_policy_inside_a_draw_scales_nothing():
    model = Model()
    inner = tagged(model)

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=always)
    async def outer() -> str:
        with ttc.policy(ttc.BestOfN(8, stop="all")):
            await inner()
            return (await inner.run()).output

    await outer()
    assert len(model.bodies) == 6


async def test_scaling_is_off_inside_a_verifier_too():
    model = Model()

    @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=always)
    async def judge() -> str:
        return await model("is it good")

    async def check(output):
        return await judge() == "ok" and (await judge.run()).output == "ok"

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=check)
    async def ask() -> str:
        return await model("what is it")

    result = await ask.run()
    assert len(model.bodies) == 2 + 4
    assert result.bill.verifying.calls == 4


# What bills and tags see.


async def test_tracking_bills_everything_below_scaled_or_not():
    model = Model(lambda body, number: "wrong")

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: False)
    async def ask() -> str:
        return await model()

    with ttc.tracking() as bill:
        await model("not scaled at all")
        await ask()
        ttc.record_usage(ttc.Usage(1, 10, 5))
    assert bill.total.tokens == model.billed + 15
    assert (bill.total.calls, bill.visible.calls, bill.hidden.calls, bill.usd) == (5, 3, 2, None)
    assert bill.status == "exact"
    assert str(bill) == str(bill.bill)
    assert str(bill.total.tokens) in repr(bill)


async def test_tracking_blocks_nest_and_each_gets_what_happens_inside():
    model = Model()
    with ttc.tracking() as outer:
        await model()
        with ttc.tracking() as inner:
            await tagged(model)()
        await model()
    assert (outer.total.calls, inner.total.calls) == (3, 1)


async def test_tracking_inside_a_draw_sees_that_draw():
    bills = []
    model = Model()

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=always)
    async def ask() -> str:
        await model()
        with ttc.tracking() as bill:
            await model()
            ttc.record_usage(TOKENS)
            bills.append(bill)
        return await tagged(model)()

    with ttc.tracking() as outer:
        result = await ask.run()
    assert [bill.total.calls for bill in bills] == [2, 2, 2]
    assert result.bill.total.calls == outer.total.calls == 12


async def test_tracking_inside_a_draw_sees_a_search_inside_that_draw():
    model, bills = Model(), []
    inner = tagged(model)

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=always)
    async def ask() -> str:
        with ttc.tracking() as bill:
            bills.append(bill)
            return (await inner.run()).output

    with ttc.tracking() as outer:
        await ask()
    assert [bill.total.calls for bill in bills] == [1, 1]
    assert outer.total.calls == 2


async def test_a_search_that_fails_is_tracked_all_the_same():
    model = Model(lambda body, number: ValueError("no") if number else "wrong")

    @ttc.scale(ttc.Refine(2), verifier=lambda output: False, on_reject="raise")
    async def ask() -> str:
        return await model()

    with ttc.tracking() as bill, pytest.raises(ttc.NotAccepted):
        await ask()
    assert bill.total.calls == 3


async def test_tags_add_up_inside_each_other():
    seen = []
    model = Model(lambda body, number: seen.append(dict(SCOPE.get().tags)) or "ok")
    ask = ttc.scale(ttc.Single())(model.__call__)
    with ttc.tags(session="s", user="u"):
        await ask("hello there")
        with ttc.tags(user="v", team=7):
            await ask("hello there")
    with ttc.tracking():
        await model()
    assert seen == [{"session": "s", "user": "u"}, {"session": "s", "user": "v", "team": "7"}, {}]


async def test_nothing_leaks_from_one_call_into_the_next():
    model = Model()

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=always, budget=ttc.Budget(tokens=10_000, seconds=60))
    async def ask() -> str:
        assert TAB.get() is not None
        assert SCOPE.get().ledger is not None
        return await model()

    await ask()
    assert (TAB.get(), SCOPE.get().ledger, SCOPE.get().deadline, ttc.current_draw()) == (None, None, None, None)


# What waits for the winner.


async def test_an_effect_is_deferred_to_the_winner_and_done_once():
    done = []
    model = Model(lambda body, number: "right" if place() == 1 else "wrong")

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: output == "right")
    async def ask() -> str:
        answer, mine = await model(), place()
        ttc.on_win(lambda: done.append(mine))

        async def later():
            await steps(1)
            assert TAB.get() is None  # it runs outside the draw, so what it does may be scaled
            done.append(f"async {mine}")

        ttc.on_win(later)
        return answer

    assert await ask() == "right"
    assert done == [1, "async 1"]


async def test_where_nothing_is_returned_nothing_was_won():
    done = []
    model = Model(lambda body, number: "wrong")

    @ttc.scale(ttc.BestOfN(2), verifier=lambda output: False, on_reject="raise")
    async def ask() -> str:
        ttc.on_win(lambda: done.append(1))
        return await model()

    with pytest.raises(ttc.NotAccepted):
        await ask()
    assert done == []


async def test_an_effect_that_fails_reaches_the_caller():
    model = Model()

    @ttc.scale(ttc.BestOfN(2), verifier=always)
    async def ask() -> str:
        ttc.on_win(lambda: 1 / 0)
        return await model()

    with pytest.raises(ZeroDivisionError) as caught:
        await ask()
    assert ttc.result_of(caught.value).output == "ok"


async def test_without_scaling_an_effect_is_done_when_the_function_has_returned():
    order = []
    model = Model()

    @ttc.verifiable(always)
    async def ask(fails: bool) -> str:
        ttc.on_win(lambda: order.append("effect"))

        async def later():
            order.append("async effect")

        ttc.on_win(later)
        order.append("body")
        if fails:
            raise LookupError
        return await model()

    await ask(False)
    assert order == ["body", "effect", "async effect"]
    with pytest.raises(LookupError):
        await ask(True)
    assert order[3:] == ["body"]


async def test_scaling_each_model_call_an_effect_is_done_when_the_function_has_returned():
    order = []
    model = Model()

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=always, scope="model_calls")
    async def ask() -> str:
        async def effect():
            order.append("effect")

        ttc.on_win(effect)
        answer = await model()
        order.append("body")
        return answer

    await ask()
    assert order == ["body", "effect"]


async def test_outside_any_decorated_function_an_effect_is_done_at_once():
    done = []
    ttc.on_win(lambda: done.append(1))
    assert done == [1]

    async def effect():
        raise AssertionError

    with pytest.raises(TypeError, match="takes a synchronous callback"):
        ttc.on_win(effect)


# What a function can ask and tell.


async def test_a_draw_can_be_looked_at_from_inside():
    @ttc.scale(ttc.Refine(1), verifier=lambda output: ttc.Verdict(0.1, feedback="try harder"), thinking=100)
    async def ask() -> str:
        ttc.record_usage(TOKENS)
        draws.append(ttc.current_draw())
        return "x"

    draws = []
    assert ttc.current_draw() is None
    await ask()
    first, second = draws
    assert (first.instruction, first.thinking) == (None, ttc.Thinking(tokens=100))
    assert "try harder" in second.instruction


async def test_a_verifier_is_no_draw():
    seen = []
    model = Model()

    @ttc.scale(ttc.BestOfN(1), verifier=lambda output: seen.append(ttc.current_draw()) or True)
    async def ask() -> str:
        return await model()

    await ask()
    assert seen == [None]


async def test_reported_usage_is_charged_and_ends_the_search_when_the_budget_is_spent():
    drawn = []

    @ttc.scale(ttc.BestOfN(50, at_once=1), verifier=lambda output: False, budget=ttc.Budget(tokens=100))
    async def ask() -> str:
        drawn.append(1)
        ttc.record_usage(ttc.Usage(1, 30, 10))
        return "x"

    result = await ask.run()
    assert (len(drawn), result.stop_reason, result.bill.total.tokens) == (3, "budget", 120)


async def test_reported_usage_outside_a_draw_is_charged_to_its_block():
    with ttc.policy(budget=ttc.Budget(tokens=100)):
        ttc.record_usage(ttc.Usage(1, 30, 10))
        assert SCOPE.get().ledger.spent["tokens"] == 40


# Switched off.


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
async def test_disabled_every_wrapper_passes_through(monkeypatch, value):
    monkeypatch.setenv("TTC_DISABLED", value)
    model = Model(lambda body, number: "wrong")

    @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=lambda output: False, on_reject="raise")
    async def ask() -> str:
        return await model()

    assert await ask() == "wrong"
    result = await ask.run()
    assert (result.output, result.stop_reason, result.accepted) == ("wrong", "passed through", False)
    assert (result.bill.status, result.bill.gaps) == ("unknown", {"disabled": 1})
    assert len(model.bodies) == 2


@pytest.mark.parametrize("value", ["", "0", "false", "no", "off"])
async def test_anything_else_does_not_disable(monkeypatch, value):
    monkeypatch.setenv("TTC_DISABLED", value)
    model = Model(lambda body, number: "wrong")
    with ttc.policy(ttc.BestOfN(2, stop="all")):
        await tagged(model)()
    assert len(model.bodies) == 2


# Each model call by itself.


async def test_scaling_each_model_call_runs_the_function_once():
    runs = []
    model = Model(lambda body, number: "right" if place() == 2 else "wrong", adapter=no_choices())

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: output.text == "right", scope="model_calls")
    async def agent() -> list[str]:
        runs.append(1)
        return [await model("first step"), await model("second step")]

    result = await agent.run()
    assert (result.output, len(runs), len(model.bodies)) == (["right", "right"], 1, 6)
    assert await agent() == ["right", "right"]
    assert (result.stop_reason, result.bill.total.tokens) == ("passed through", model.billed // 2)


async def test_the_verifier_of_a_model_call_gets_the_functions_arguments():
    model = Model(lambda body, number: f"{place()}", adapter=no_choices())

    def is_wanted(output, wanted, prompt):
        return output.text == wanted and prompt.startswith("say")

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=is_wanted, scope="model_calls")
    async def agent(wanted: str) -> str | None:
        return await model("say it")

    assert [await agent("1"), await agent(wanted="2")] == ["1", "2"]


async def test_a_block_decides_that_functions_run_once_and_their_model_calls_are_scaled():
    runs = []
    model = Model(lambda body, number: "right" if number else "wrong", adapter=no_choices())

    @ttc.verifiable(lambda output, task: output.text == task)
    async def agent(task: str) -> str | None:
        runs.append(1)
        return await model(task)

    with ttc.policy(ttc.BestOfN(2, stop="all"), scope="model_calls"):
        assert await agent("right") == "right"
    assert (len(runs), len(model.bodies)) == (1, 2)
    with ttc.policy(scope="model_calls"):
        await agent("right")  # nothing says how to scale
    assert (len(runs), len(model.bodies)) == (2, 3)


async def test_a_policy_by_name_decides_what_is_drawn():
    runs = []
    model = Model(lambda body, number: "right", adapter=no_choices())

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True, scope="model_calls", name="agent")
    async def agent() -> None:
        runs.append(1)
        await model()

    ttc.configure(policies={"agent": ttc.policy(scope="function")})
    await agent()
    assert (len(runs), len(model.bodies)) == (2, 2)


async def test_a_block_scales_model_calls_that_no_decorator_knows_of():
    model = Model(lambda body, number: f"{place() // 2}", adapter=no_choices())
    with ttc.policy(ttc.SelfConsistency(3), scope="model_calls"):
        assert await model() == "0"
    assert len(model.bodies) == 3
    with ttc.policy(ttc.BestOfN(3), scope="model_calls"), pytest.raises(TypeError, match="needs a verifier"):
        await model()


def kept(**more):
    return Fake(can=frozenset({ttc.Capability.MAX_TOKENS}), remembered=True, **more)


async def test_a_conversation_that_the_server_keeps_gets_one_turn():
    model = Model(lambda body, number: "right", adapter=kept())

    @ttc.scale(ttc.SelfConsistency(3), scope="model_calls")
    async def agent() -> None:
        await model()

    with pytest.warns(UserWarning, match="the server adds every sample to the conversation"):
        await agent()
    assert len(model.bodies) == 1


async def test_draws_of_a_function_that_share_a_conversation_get_a_warning():
    model = Model(lambda body, number: "right", adapter=kept())

    @ttc.scale(ttc.SelfConsistency(3))
    async def agent() -> str | None:
        return await model()

    with pytest.warns(UserWarning, match="each leaves a turn in there"):
        await agent()


async def test_the_budget_of_a_function_holds_for_all_its_model_calls_together():
    model = Model(lambda body, number: "wrong", adapter=no_choices())

    @ttc.scale(
        ttc.BestOfN(3, stop="all"), verifier=lambda output: False, scope="model_calls", budget=ttc.Budget(samples=5)
    )
    async def agent() -> None:
        for _ in range(3):
            await model()

    with pytest.raises(ttc.BudgetExceeded, match="5 samples"):
        await agent()
    assert len(model.bodies) == 5


def no_choices():
    return Fake(can=frozenset({ttc.Capability.MAX_TOKENS, ttc.Capability.TEMPERATURE}))


async def test_the_time_of_a_function_holds_for_all_its_model_calls_together():
    async def script(body, number):
        await forever()

    model = Model(script, adapter=no_choices())

    @ttc.scale(ttc.BestOfN(2), verifier=lambda output: False, scope="model_calls", budget=ttc.Budget(seconds=0.02))
    async def agent() -> None:
        await model()

    with pytest.raises(ttc.BudgetExceeded, match="seconds"):
        await agent()


# Wrong from the start.


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"strategy": ttc.BestOfN}, TypeError, "not a class: write BestOfN"),
        ({"strategy": 8}, TypeError, r"has a search\(call\) method"),
        ({"budget": 5}, TypeError, "budget= must be a ttc.Budget, got 5"),
        ({"on_reject": "ignore"}, ValueError, 'must be "best" or "raise", got \'ignore\''),
        ({"thinking": "hard"}, ValueError, "one of none, minimal.* got 'hard'"),
        ({"thinking": -1}, ValueError, "tokens from 0"),
        ({"thinking": True}, ValueError, "got True"),
        ({"thinking": 1.5}, ValueError, "got 1.5"),
        ({"scope": "calls"}, ValueError, '"function" or "model_calls", got \'calls\''),
    ],
)
async def test_a_policy_that_cannot_work_is_refused_at_once(options, error, says):
    with pytest.raises(error, match=says):
        ttc.policy(**options)
    with pytest.raises(error, match=says):
        ttc.scale(**{"strategy": ttc.Single(), **options})


async def test_configure_takes_policies_only():
    with pytest.raises(TypeError, match=r"default must be a ttc.policy\(…\), got BestOfN"):
        ttc.configure(default=ttc.BestOfN(2))
    with pytest.raises(TypeError, match=r"ask must be a ttc.policy"):
        ttc.configure(policies={"ask": ttc.BestOfN(2)})
    with pytest.raises(ValueError, match=r"concurrency=\) must be a whole number from 1"):
        ttc.configure(concurrency=0)
    with pytest.raises(TypeError, match=r"configure\(prices=\): small must be a ttc.Price\(input=…, output=…\), got 3"):
        ttc.configure(prices={"small": 3})


async def test_configure_leaves_alone_what_it_is_not_given():
    ttc.configure(default=ttc.policy(ttc.BestOfN(2, stop="all")), concurrency=3)
    ttc.configure(prices={})
    model = Model()
    await tagged(model)()
    assert len(model.bodies) == 2
