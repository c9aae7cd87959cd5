"""What a call that was cut, cancelled or timed out is charged, and what its bill says."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from fake_model import Completion, Fake, Model, fresh, place  # noqa: F401

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE
from ttc_middleware._faults import Failure
from ttc_middleware._leaf import Leaf
from ttc_middleware._ledger import Ledger

pytestmark = [pytest.mark.usefixtures("fresh")]

CALL = ttc.Call(name="ask", arguments={"prompt": "one two three four", "max_tokens": 900})


def opened(provider, *, stream=True, model="m"):
    """A call that has been sent under a budget, and the ledger that it is charged to."""
    ledger = Ledger({"tokens": 5_000})
    request = ttc.Request(provider=provider, model=model, max_tokens=900, stream=stream)
    scope = type(SCOPE.get())(ledger=ledger)
    leaf = Leaf(request, None, scope)
    leaf.open(leaf.reserve(ledger, Fake(), CALL, lambda: None, patient=False), 0)
    return leaf, ledger


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gcp.gemini", "aws.bedrock", "x_ai", "openrouter", "?"])
@pytest.mark.parametrize("fault", ["cut", "cancelled", "timeout"])
def test_a_budget_is_charged_the_whole_hold_of_what_a_provider_may_have_billed(provider, fault):
    leaf, ledger = opened(provider)
    held = ledger.reserved["tokens"]
    leaf.seen, leaf.shown = 10, 60
    leaf.fail(Failure(fault, billed=True, retry=False), seen=leaf.seen)
    assert (ledger.spent["tokens"], ledger.reserved["tokens"]) == (held, 0)


@pytest.mark.parametrize("provider", ["local", "hosted_vllm", "ollama"])
def test_a_stream_of_ones_own_server_is_charged_what_was_shown(provider):
    leaf, ledger = opened(provider)
    prompt = Fake().bound(CALL)
    leaf.seen, leaf.shown = 10, 60
    leaf.cut()
    assert ledger.spent["tokens"] == prompt + 60


def test_and_its_whole_hold_where_nothing_was_shown_or_nothing_streams_and_never_more():
    for stream, shown in ((True, 0), (False, 60), (True, 10**6)):
        leaf, ledger = opened("local", stream=stream)
        held = ledger.reserved["tokens"]
        leaf.shown = shown
        leaf.cut()
        assert ledger.spent["tokens"] == held


def test_the_dollars_of_what_was_seen_are_the_least_that_a_cut_stream_cost():
    ttc.configure(prices={"m": ttc.Price(1, 2)})
    with ttc.tracking() as tracker:
        leaf = Leaf(ttc.Request(provider="openai", model="m", stream=True), None, SCOPE.get())
        leaf.open(None, 0)
        leaf.seen = 10
        leaf.cut()
    bill = tracker.bill
    assert (bill.total.output_tokens, bill.total.usd, bill.status) == (10, Decimal("0.00002"), "lower bound")
    assert bill.gaps == {"cut": 1}


def test_what_the_provider_said_before_the_cut_is_on_the_bill():
    said = ttc.Reading(usage=ttc.Usage(input_tokens=500, output_tokens=1, cached_tokens=200), partial=True, fault="cut")
    with ttc.tracking() as tracker:
        leaf = Leaf(ttc.Request(provider="anthropic", model="m", stream=True), None, SCOPE.get())
        leaf.open(None, 0)
        leaf.seen = 10
        leaf.cut(said)
    total = tracker.bill.total
    assert (total.input_tokens, total.output_tokens, total.cached_tokens, total.calls) == (500, 10, 200, 1)
    assert (tracker.bill.status, tracker.bill.discarded.calls) == ("lower bound", 1)


@pytest.mark.anyio
async def test_a_search_with_cancelled_draws_keeps_the_dollars_that_it_knows():
    ttc.configure(prices={"small": ttc.Price(1, 1)})

    async def script(body, number):
        if place():
            await anyio.sleep_forever()
        return "right"

    model = Model(script)

    @ttc.scale(ttc.BestOfN(3), verifier=lambda output: output == "right")
    async def ask() -> str:
        while place() == 0 and model.in_flight < 2:
            await anyio.lowlevel.checkpoint()
        return await model("what is the answer")

    bill = (await ask.run()).bill
    assert (bill.status, bill.gaps, bill.total.usd) == ("lower bound", {"cancelled": 2}, Decimal("0.000005"))


@pytest.mark.anyio
async def test_each_sample_says_whether_its_usage_is_exact_and_why_not():
    def script(body, number):
        return Completion((f"answer {place()}",), silent=place() == 1)

    model = Model(script)

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)
    async def ask() -> str:
        return await model("what is the answer")

    result = await ask.run()
    known, silent = result.samples
    assert (known.billed, known.gaps, silent.billed, silent.gaps) == ("exact", {}, "unknown", {"no usage reported": 1})
    told = result.to_dict()["samples"]
    assert (told[0]["billed"], told[0]["usage"]["input_tokens"]) == ("exact", 4)
    assert (told[1]["billed"], told[1]["usage"]) == ("unknown", None)


@pytest.mark.anyio
async def test_a_sample_whose_model_calls_nobody_saw_is_unknown():
    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)
    async def ask() -> str:
        return "from somewhere"

    with pytest.warns(UserWarning, match="no model call was seen"):
        result = await ask.run()
    assert [sample.billed for sample in result.samples] == ["unknown", "unknown"]
