"""The bill: every token that was sent is on it, in the right place, and what nobody reported is never written as 0."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal, FloatOperation, Inexact, localcontext
from fractions import Fraction

import anyio
import anyio.lowlevel
import pytest
from fake_model import APIConnectionError, Completion, Model, Refused, forever, fresh, place, steps  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware._bill import answered, apportion, bill_of, minus
from ttc_middleware._context import SCOPE, Entry, Tab
from ttc_middleware._leaf import amounts, entry_bill
from ttc_middleware.seam import read_usage

pytestmark = [pytest.mark.usefixtures("fresh")]

PARTS = ("visible", "reasoning", "discarded", "verifying", "routing")
PROMPT = "what is the answer"  # 4 tokens


def scaled(strategy, model, verifier=lambda output: output == "right", **options):
    @ttc.scale(strategy, verifier=verifier, **options)
    async def ask() -> str:
        return await model(PROMPT)

    return ask


def tokens(bill):
    return {part: getattr(bill, part).tokens for part in PARTS if getattr(bill, part).tokens}


# Where each call ends up.


@pytest.mark.anyio
async def test_the_winner_is_visible_and_every_loser_discarded():
    model = Model(lambda body, number: "right" if place() == 1 else "wrong answer")
    bill = (await scaled(ttc.BestOfN(3, stop="all"), model).run()).bill
    assert tokens(bill) == {"visible": 4 + 1, "discarded": 2 * (4 + 2)}
    assert (bill.total.tokens, bill.status, bill.gaps) == (model.billed, "exact", {})
    assert bill.multiplier == 17 / 6  # over the first draw, which would have been the plain call


@pytest.mark.anyio
async def test_the_winners_own_thinking_is_told_apart_from_what_the_caller_reads():
    model = Model(lambda body, number: Completion(("right",), reasoning_tokens=30))
    bill = (await scaled(ttc.BestOfN(2, stop="all"), model).run()).bill
    assert tokens(bill) == {"visible": 4 + 1, "reasoning": 30, "discarded": 35}
    assert (bill.visible.calls, bill.reasoning.calls, bill.discarded.calls, bill.total.calls) == (1, 0, 1, 2)
    assert (bill.total.reasoning_tokens, bill.visible.reasoning_tokens) == (60, 0)
    assert bill.hidden.tokens == bill.total.tokens - bill.visible.tokens


@pytest.mark.anyio
async def test_a_verifiers_model_calls_and_its_own_report_are_verifying():
    model = Model(lambda body, number: "right")

    async def judge(output):
        await model("is this right")
        ttc.record_usage(ttc.Usage(1, 7, 3))
        return ttc.Verdict(1.0, usage=ttc.Usage(2, 100, 20))

    bill = (await scaled(ttc.BestOfN(2, stop="all"), model, judge).run()).bill
    assert tokens(bill) == {"visible": 5, "discarded": 5, "verifying": 2 * (4 + 10 + 120)}
    assert bill.verifying.calls == 2 * 4


@pytest.mark.anyio
async def test_what_a_verdict_says_it_cost_counts_against_the_budget():
    def judge(output):
        return ttc.Verdict(0.0, usage=ttc.Usage(1, 400, 100))

    model = Model(lambda body, number: "wrong")
    with ttc.policy(budget=ttc.Budget(tokens=1_200)):
        result = await scaled(ttc.BestOfN(9, at_once=1), model, judge).run()
        assert SCOPE.get().ledger.spent["tokens"] == result.bill.total.tokens == 2 * 505
    assert result.stop_reason == "budget"


@pytest.mark.anyio
async def test_a_verifier_that_breaks_has_still_spent_what_it_spent():
    model = Model(lambda body, number: "right")

    async def judge(output):
        await model("is this right")
        raise RuntimeError

    bill = (await scaled(ttc.Single(), model, judge).run()).bill
    assert tokens(bill) == {"visible": 5, "verifying": 8}


@pytest.mark.anyio
@pytest.mark.parametrize("status", [429, 503])
async def test_a_retried_attempt_is_discarded_and_counted(status):
    model = Model(lambda body, number: [Refused(status), "right"][number])
    result = await scaled(ttc.Single(), model).run()
    assert (result.output, result.bill.total.calls, tokens(result.bill)) == ("right", 2, {"visible": 5})
    assert result.bill.discarded.calls == 1
    # Nobody knows whether the provider charges for its own error; a call that it turned away is free.
    known = {429: ("exact", {}), 503: ("lower bound", {"server error": 1})}
    assert (result.bill.status, result.bill.gaps) == known[status]


@pytest.mark.anyio
async def test_a_failed_draw_is_discarded():
    async def ask() -> str:
        answer = await model(PROMPT)
        if place() == 0:
            raise ValueError(answer)
        return answer

    model = Model(lambda body, number: "right")
    bill = (await ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)(ask).run()).bill
    assert tokens(bill) == {"visible": 5, "discarded": 5}


@pytest.mark.anyio
async def test_where_all_failed_everything_is_discarded():
    async def ask() -> str:
        raise ValueError(await model(PROMPT))

    model = Model(lambda body, number: "right")
    with pytest.raises(ValueError, match="right") as caught:
        await ttc.scale(ttc.SelfConsistency(2))(ask)()
    bill = ttc.result_of(caught.value).bill
    assert (tokens(bill), bill.visible.tokens) == ({"discarded": 10}, 0)


@pytest.mark.anyio
async def test_a_cancelled_draw_is_a_gap_and_what_it_had_spent_before_is_billed():
    async def script(body, number):
        if body["prompt"] == "second step" and place():
            await forever()
        return "right"

    async def ask() -> str:
        await model(PROMPT)
        if not place():
            while model.in_flight < 2:
                await anyio.lowlevel.checkpoint()
        return await model("second step")

    model = Model(script)
    bill = (await ttc.scale(ttc.BestOfN(3), verifier=lambda output: True)(ask).run()).bill
    assert tokens(bill) == {"visible": 5 + 3, "discarded": 2 * 5}
    assert (bill.status, bill.gaps, bill.total.calls) == ("lower bound", {"cancelled": 2}, 6)


@pytest.mark.anyio
async def test_several_model_calls_of_one_draw_add_up():
    async def ask() -> str:
        await model("plan it first")
        return await model(PROMPT)

    model = Model(lambda body, number: "right")
    bill = (await ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)(ask).run()).bill
    assert tokens(bill) == {"visible": 9, "discarded": 9}
    assert bill.multiplier == 2


# What nobody knows.


@pytest.mark.anyio
async def test_a_call_without_reported_usage_makes_the_bill_a_lower_bound():
    model = Model(lambda body, number: Completion(("right",), silent=place() == 1))
    bill = (await scaled(ttc.BestOfN(2, stop="all"), model).run()).bill
    assert (bill.status, bill.gaps, bill.total.calls, bill.total.tokens) == (
        "lower bound", {"no usage reported": 1}, 2, 5,
    )  # fmt: skip
    assert "lower bound: 1 no usage reported" in str(bill)


@pytest.mark.anyio
async def test_a_bill_of_nothing_but_gaps_is_unknown():
    model = Model(lambda body, number: Completion(("right",), silent=True))
    bill = (await scaled(ttc.BestOfN(2, stop="all"), model).run()).bill
    assert (bill.status, bill.gaps, bill.multiplier) == ("unknown", {"no usage reported": 2}, None)


@pytest.mark.anyio
async def test_a_function_whose_model_calls_nobody_saw_has_an_unknown_bill_and_one_warning():
    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: True)
    async def ask() -> str:
        return "from somewhere"

    with pytest.warns(UserWarning, match="no model call was seen inside .*ask, so its bill is unknown") as warned:
        bill = (await ask.run()).bill
        await ask()
    assert len(warned) == 1
    assert (bill.status, bill.gaps, bill.total.usd) == ("unknown", {"nothing observed": 1}, None)
    assert bill.to_dict()["total"] is None
    assert str(bill) == "unknown (1 nothing observed)"


@pytest.mark.anyio
async def test_a_warning_that_is_an_error_reaches_the_caller_and_drops_no_sample():
    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: True)
    async def ask() -> str:
        return "from somewhere"

    with pytest.raises(UserWarning, match="no model call was seen") as caught:
        await ask()
    assert [sample.status for sample in ttc.result_of(caught.value).samples] == ["answer"] * 3


@pytest.mark.anyio
async def test_an_unknown_price_is_none_and_stays_none_in_a_sum():
    ttc.configure(prices={"small": ttc.Price(1, 2)})
    model = Model(lambda body, number: "right")

    async def ask() -> str:
        return await model(PROMPT, model="small" if place() else "unheard of")

    bill = (await ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)(ask).run()).bill
    assert (bill.total.usd, bill.visible.usd, bill.discarded.usd) == (None, None, Decimal("0.000006"))


@pytest.mark.anyio
async def test_all_samples_equal_is_warned_of_once():
    text = "a long and detailed answer that no model would give twice in the same words"
    ask = scaled(ttc.BestOfN(4, stop="all"), Model(lambda body, number: text))
    with pytest.warns(UserWarning, match="all 4 samples of .* are the same text") as warned:
        await ask()
        await ask()
    assert len(warned) == 1


@pytest.mark.anyio
async def test_a_function_that_runs_tools_in_its_draws_is_warned_of_once():
    model = Model(lambda body, number: "right")

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)
    async def agent() -> str:
        return await model(PROMPT, tool_results=True)

    with pytest.warns(UserWarning, match='agent runs tools inside its draws.*scope="model_calls"') as warned:
        await agent()
        await agent()
    assert len(warned) == 1


# Dollars.


@pytest.mark.anyio
async def test_dollars_are_exact():
    ttc.configure(prices={"fake/small": ttc.Price("0.1", "0.7", reasoning="3")})
    model = Model(lambda body, number: Completion(("right",), reasoning_tokens=30))
    bill = (await scaled(ttc.BestOfN(3, stop="all"), model).run()).bill
    each = (4 * Decimal("0.1") + 1 * Decimal("0.7") + 30 * Decimal(3)) / 10**6
    assert bill.total.usd == 3 * each
    assert bill.visible.usd == (4 * Decimal("0.1") + Decimal("0.7")) / 10**6
    assert bill.reasoning.usd == Decimal("0.00009")


@pytest.mark.anyio
@pytest.mark.parametrize("digits", [3, 28])
async def test_dollars_are_exact_whatever_a_program_does_to_its_decimals(digits):
    price = ttc.Price("1.2345678", "9.87654321", reasoning="20.202020202")
    ttc.configure(prices={"fake/small": price})
    used, ticks = ttc.Usage(1, 123_457, 98_765, 5_000), {"prompt_tokens": 3, "cost_in_usd_ticks": 123_456_789}

    async def figures():
        bills = [price.cost(used), price.rates(), ttc.Budget(usd="1.23456789").limits, read_usage({"usage": ticks})]
        for usd in (None, Decimal("0.0123456789"), Decimal(1)):
            model = Model(lambda body, number, usd=usd: Completion(("right",) * 3, reasoning_tokens=32, usd=usd))
            bill = (await scaled(ttc.BestOfN(3, stop="all"), model, budget=ttc.Budget(usd=5)).run()).bill
            assert sum(map(Fraction, (getattr(bill, part).usd for part in PARTS))) == Fraction(bill.total.usd)
            bills.append([getattr(bill, part).usd for part in PARTS])
        return bills

    usual = await figures()
    with localcontext() as own:
        own.prec, own.traps[Inexact], own.traps[FloatOperation] = digits, True, True
        assert await figures() == usual


@pytest.mark.anyio
async def test_the_providers_own_price_goes_before_the_table():
    ttc.configure(prices={"small": ttc.Price(1, 1)})
    model = Model(lambda body, number: Completion(("right",), usd=Decimal("0.0123"), reasoning_tokens=1))
    bill = (await scaled(ttc.BestOfN(2, stop="all"), model).run()).bill
    assert bill.total.usd == Decimal("0.0246")
    assert sum(getattr(bill, part).usd for part in PARTS) == Decimal("0.0246")


@pytest.mark.anyio
async def test_the_providers_own_price_goes_before_a_table_that_says_it_is_free():
    ttc.configure(prices={"small": ttc.Price(0, 0)})
    model = Model(lambda body, number: Completion(("right",), usd=Decimal("0.0123"), reasoning_tokens=1))
    assert (await scaled(ttc.Single(), model).run()).bill.total.usd == Decimal("0.0123")


@pytest.mark.anyio
async def test_a_dollar_budget_holds_to_the_nano_dollar():
    ttc.configure(prices={"small": ttc.Price("1.5", "6")})
    model = Model(lambda body, number: f"{number} " * 500)
    with ttc.policy(budget=ttc.Budget(usd="0.012")):
        result = await scaled(ttc.BestOfN(9, stop="all"), model, lambda output: False).run()
        account = SCOPE.get().ledger
        assert account.spent["usd"] == result.bill.total.usd * 10**9 <= 12_000_000
        assert (account.reserved["usd"], account.overrun["usd"]) == (0, 0)


@pytest.mark.anyio
async def test_a_dollar_budget_without_a_price_is_refused_before_anything_is_sent():
    model = Model(lambda body, number: "right")
    with pytest.raises(ttc.PriceUnknown, match=r"the price of fake/small: give it in ttc.configure"):
        await scaled(ttc.BestOfN(2), model, budget=ttc.Budget(usd=1))()
    assert model.bodies == []


@pytest.mark.anyio
async def test_a_budget_that_nobody_can_enforce_is_refused():
    @ttc.scale(ttc.Single(), budget=ttc.Budget(tokens=100))
    async def ask() -> str:
        return "from somewhere"

    with pytest.warns(UserWarning, match="no model call"), pytest.raises(ttc.BudgetUnenforceable, match="record_usage"):
        await ask()


@pytest.mark.anyio
async def test_a_budget_needs_an_adapter_that_can_cap_tokens():
    from fake_model import Fake  # noqa: PLC0415

    model = Model(adapter=Fake(can=frozenset()))
    with pytest.raises(ttc.BudgetUnenforceable, match="needs to cap max_tokens, which Fake cannot"):
        await scaled(ttc.Single(), model, budget=ttc.Budget(tokens=100))()


# Budgets of tokens, at the seam.


@pytest.mark.anyio
async def test_max_tokens_are_clamped_to_what_is_left_and_never_below_the_floor():
    model = Model(lambda body, number: f"{number} " * 900)

    async def ask() -> str:
        return await model(PROMPT, max_tokens=900)

    budget = ttc.Budget(tokens=2_200)
    result = await ttc.scale(ttc.BestOfN(5, at_once=1), verifier=lambda output: False, budget=budget)(ask).run()
    assert [body["max_tokens"] for body in model.bodies] == [900, 900, 2_200 - 2 * 904 - 4]
    assert model.billed == result.bill.total.tokens <= 2_200
    assert result.stop_reason == "budget"


@pytest.mark.anyio
async def test_what_a_caller_does_not_limit_is_shared_equally_so_that_draws_run_in_parallel():
    async def script(body, number):
        await steps(3)
        return f"{number} right"

    model = Model(script)
    await scaled(ttc.BestOfN(4, stop="all"), model, budget=ttc.Budget(tokens=4_000))()
    assert [body["max_tokens"] for body in model.bodies] == [996] * 4


@pytest.mark.anyio
async def test_a_draw_waits_for_room_that_an_open_call_may_free():
    async def script(body, number):
        if number == 0:
            await steps(5)
        return f"{number}"

    model = Model(script)

    async def ask() -> str:
        return await model(PROMPT, max_tokens=600)

    budget = ttc.Budget(tokens=1_000)
    result = await ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: False, budget=budget)(ask).run()
    assert (model.peak, len(result.samples), [body["max_tokens"] for body in model.bodies]) == (1, 3, [600, 600, 600])


@pytest.mark.anyio
async def test_a_budget_too_small_for_one_call_raises_before_anything_is_sent():
    model = Model(lambda body, number: "right")
    with pytest.raises(ttc.BudgetExceeded, match="needs at least 260") as caught:
        await scaled(ttc.BestOfN(3), model, budget=ttc.Budget(tokens=250))()
    assert model.bodies == []
    assert ttc.result_of(caught.value).stop_reason == "budget"


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(12))
async def test_random_schedules_with_cancellation_end_with_nothing_reserved_and_nothing_overshot(seed):  # noqa: C901
    import random  # noqa: PLC0415

    chance = random.Random(seed)
    ttc.configure(prices={"small": ttc.Price(1, 2)})

    async def script(body, number):
        await steps(chance.randrange(6))
        kind = chance.random()
        if kind < 0.1:
            return APIConnectionError("cut")
        if kind < 0.2:
            return Refused(400)
        if kind < 0.25:
            await forever()
        return "word " * chance.randrange(1, 400)

    model = Model(script)
    limits = {"tokens": chance.randrange(3_000, 20_000), "concurrency": chance.randrange(2, 9)}
    if seed % 2:
        limits["usd"] = Decimal(chance.randrange(4, 30)) / 1_000
    accounts = []

    async def one(budget):
        @ttc.scale(
            chance.choice(
                [ttc.BestOfN(4, stop="all"), ttc.SelfConsistency(3), ttc.Refine(2), ttc.BestOfN(5, at_once=2)]
            ),
            verifier=lambda output: len(output) % 3 / 2,
            budget=budget,
        )
        async def ask() -> str:
            accounts.append(SCOPE.get().ledger)
            return await model(PROMPT, **({"max_tokens": chance.randrange(1, 600)} if chance.random() < 0.7 else {}))

        with anyio.move_on_after(0.3 if chance.random() < 0.5 else 0):
            await steps(chance.randrange(8))
            with contextlib.suppress(ttc.BudgetExceeded, ttc.NotAccepted, APIConnectionError, Refused):
                await ask()

    with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(**limits)):
        accounts.append(SCOPE.get().ledger)
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(
                    one, ttc.Budget(tokens=chance.randrange(800, 4_000)) if chance.random() < 0.5 else None
                )
            if seed % 3 == 0:
                await steps(20)
                group.cancel_scope.cancel()
    for account in {id(each): each for each in accounts}.values():
        for node in account.path:
            assert not any(node.reserved.values())
            assert not any(node.overrun.values())
            assert all(node.spent[name] <= limit for name, limit in node.limits.items())
            assert not node.waiting_for_money
            assert not node.waiting_for_seats
    assert model.in_flight == 0
    assert bill.total.tokens == model.billed <= accounts[0].spent["tokens"]  # what is unknown is charged as held
    assert bill.total.calls == len(model.bodies)


# Bills as such.

COUNTS = st.integers(0, 10**6)
DOLLARS = st.one_of(st.none(), st.decimals(0, 100, places=9), st.decimals(0, 1, places=25))
USAGES = st.builds(
    ttc.Usage,
    calls=st.integers(0, 3),
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    reasoning_tokens=st.one_of(st.none(), COUNTS),
    cached_tokens=st.one_of(st.none(), COUNTS),
    usd=DOLLARS,
    seconds=st.floats(0, 1e3),
    cache_write_tokens=st.one_of(st.none(), COUNTS),
    cache_write_1h_tokens=st.one_of(st.none(), COUNTS),
)
FIELDS = (
    "calls", "input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "usd", "cache_write_tokens",
    "cache_write_1h_tokens",
)  # fmt: skip


def exact(usage):
    return {name: getattr(usage, name) for name in FIELDS}


@thorough(80)
@given(st.lists(st.tuples(st.sampled_from(PARTS), USAGES), max_size=6))
def test_the_total_is_the_sum_of_the_parts_in_every_field(items):
    bill = ttc.Bill()
    for part, usage in items:
        bill += ttc.Bill(**{part: usage})
    for name in FIELDS:
        values = [getattr(usage, name) for _, usage in items]
        expected = None if None in values else sum(values)
        assert getattr(bill.total, name) == expected
    assert bill.total.seconds == pytest.approx(sum(usage.seconds for _, usage in items))
    assert bill.hidden.tokens + bill.visible.tokens == bill.total.tokens


@thorough(80)
@given(USAGES, st.lists(st.integers(0, 1_000), min_size=1, max_size=9))
def test_a_usage_that_is_split_adds_up_again_exactly(usage, weights):
    parts = apportion(usage, weights)
    total = ttc.Usage.zero()
    for part in parts:
        total += part
        assert all(value is None or value >= 0 for value in exact(part).values())
    assert exact(total) == exact(usage)
    assert total.seconds == pytest.approx(usage.seconds)


@thorough(80)
@given(USAGES, st.integers(0, 1_000), st.integers(1, 1_000))
def test_a_share_and_what_is_left_of_it_add_up_exactly(usage, mine, others):
    share = apportion(usage, [mine, others])[0]
    assert exact(share + minus(usage, share)) == exact(usage)


@thorough(80)
@given(
    COUNTS, COUNTS, st.decimals(0, 10, places=9), st.one_of(st.none(), st.fractions(0, 1)),
)  # fmt: skip
def test_what_is_read_and_what_was_thought_add_up_to_the_call_exactly(visible, thinking, usd, share):
    usage = ttc.Usage(1, 10, visible + thinking, thinking, 0, usd)
    dollars = None if share is None else usd * Decimal(share.numerator) / Decimal(share.denominator)
    bill = entry_bill(Entry(usage, answered=True, reasoning_usd=dollars))
    assert exact(bill.total) == exact(usage)


@st.composite
def calls(draw):
    """One model call that has ended, as an adapter or a user may report it."""
    usage = draw(USAGES)
    thinking = None if usage.reasoning_tokens is None else min(usage.reasoning_tokens, usage.output_tokens)
    usage = replace(usage, reasoning_tokens=thinking)
    split = draw(st.one_of(st.none(), st.integers(0, 997)))
    dollars = None if split is None or usage.usd is None else usage.usd * split / 997
    gap = draw(st.sampled_from([None, None, "cut", "no usage reported"]))
    return Entry(usage, answered=draw(st.booleans()), reasoning_usd=dollars, gap=gap)


@thorough(30)
@given(st.data())
def test_the_bill_of_any_search_adds_up_to_all_its_calls_and_counts_every_gap(data):
    counts = st.integers(0, 3)
    entries, draws, samples = [], [], []

    def tab(index, role="sample", answers=3):
        made = Tab(ttc.Draw(), index=index, role=role)
        for entry in data.draw(st.lists(calls(), max_size=3)):
            answers -= entry.answered
            made.record(entry if answers >= 0 else replace(entry, answered=False))
        entries.extend(made.entries)
        return made

    for index in range(data.draw(counts)):
        shared = data.draw(st.integers(1, 3))
        own = tab(index, answers=3 if shared == 1 else 1)  # samples share one request
        shares = apportion(answered(own), [1] * shared) if shared > 1 else [own.spent]
        brought = [
            ttc.Sample(index=len(samples) + place, draw=ttc.Draw(), call=CALL, output="x", usage=share,
                       apportioned=shared > 1)
            for place, share in enumerate(shares)
        ]  # fmt: skip
        samples += brought
        draws.append((own, brought, [tab(index, "verifier") for _ in range(data.draw(counts))]))
    winner = data.draw(st.sampled_from([None, *samples]))
    bill = bill_of(draws, winner=winner, unseen=False, routing=tab(0, "routing"))
    total = ttc.Usage.zero()
    for entry in entries:
        total += entry.usage
    assert exact(bill.total) == exact(total)
    assert bill.total.seconds == pytest.approx(total.seconds)
    assert sum(bill.gaps.values()) == sum(entry.gap is not None for entry in entries)
    assert bill.status == ("exact" if not bill.gaps else "lower bound" if total.tokens else "unknown")
    twice = bill + bill
    assert exact(twice.total) == exact(total + total)
    for part in PARTS:
        assert all(value is None or value >= 0 for value in exact(getattr(bill, part)).values())


CALL = ttc.Call(name="ask")


def test_dollars_of_thinking_that_nobody_tells_apart_are_split_by_tokens():
    usage = ttc.Usage(1, 10, 90, 60, 0, Decimal("0.5"))
    bill = entry_bill(Entry(usage, answered=True))
    assert (bill.visible.usd, bill.reasoning.usd) == (Decimal("0.2"), Decimal("0.3"))


@pytest.mark.parametrize(
    ("usage", "rule"),
    [
        (ttc.Usage(output_tokens=5, reasoning_tokens=6), "reasoning_tokens are a part of output_tokens, got 6 of 5"),
        (ttc.Usage(input_tokens=5, cached_tokens=3, cache_write_tokens=3), "parts of input_tokens, got 3 and 3 of 5"),
        (ttc.Usage(input_tokens=-1), "counts from 0"),
        (ttc.Usage(usd=Decimal(-1)), "counts from 0"),
    ],
)
def test_a_reported_usage_that_cannot_be_is_refused(usage, rule):
    with pytest.raises(ValueError, match=rule):
        ttc.record_usage(usage)


def test_dollars_are_rounded_up_to_whole_nano_dollars_in_a_budget():
    assert amounts(ttc.Usage(usd=Decimal("0.0000000011")))["usd"] == 2
    assert amounts(ttc.Usage(usd=Decimal("0.000000001")))["usd"] == 1
    assert amounts(ttc.Usage())["usd"] == 0


def test_nothing_is_known_to_be_nothing_but_an_empty_usage_is_not():
    assert ttc.Usage.zero() + ttc.Usage(usd=Decimal(1)) == ttc.Usage(usd=Decimal(1))
    assert (ttc.Usage() + ttc.Usage(usd=Decimal(1))).usd is None


def test_adding_something_else_is_a_mistake():
    with pytest.raises(TypeError):
        ttc.Usage() + 1
    with pytest.raises(TypeError):
        ttc.Bill() + ttc.Usage()


def test_a_bill_reads_like_a_sentence():
    bill = ttc.Bill(
        visible=ttc.Usage(1, 1_000, 200, 0, 0, Decimal("0.01")),
        discarded=ttc.Usage(3, 3_000, 600, 0, 0, Decimal("0.03")),
        plain=ttc.Usage(1, 1_000, 200),
    )
    assert str(bill) == "4,800 tokens = $0.04 in 4 calls: 1,200 visible + 3,600 discarded, 4.0 x one plain call"
    assert str(ttc.Bill()) == "0 tokens = $0 in 0 calls: none"


@pytest.mark.anyio
async def test_a_result_reads_like_a_report_and_keeps_all_content_out_of_its_dict():
    secret = "the secret answer"
    model = Model(lambda body, number: secret if place() else ValueError(secret))

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: ttc.Verdict(0.5, feedback=secret))
    async def ask(question: str) -> str:
        return await model(question)

    result = await ask.run(secret)
    shown = str(result)
    assert "not accepted after 2 samples" in shown
    assert "*  1 answer score 0.50" in shown
    assert "   0 failed (error)" in shown
    told = json.dumps(result.to_dict())
    assert secret not in told
    assert json.loads(told)["bill"]["gaps"] == {"error": 1}
    assert Counter(sample["status"] for sample in json.loads(told)["samples"]) == {"answer": 1, "failed": 1}
