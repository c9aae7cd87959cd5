"""What a server can do wrong, by every way to it: a typed outcome, a bounded number of requests, nothing held."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace

import anyio
import pytest
from litellm_calls import its_warnings
from provider import Provider, Reply, fresh
from ways import WAYS, Kept, Way

import ttc_middleware as ttc
from ttc_middleware import _calls, _cuts
from ttc_middleware._context import SCOPE

pytestmark = [pytest.mark.asyncio, *its_warnings]
QUICK = ("openai async stream", "litellm async")
each_way = pytest.mark.parametrize(
    "way", [pytest.param(way, id=str(way), marks=[] if str(way) in QUICK else pytest.mark.slow) for way in WAYS]
)

GOOD = Reply(text="good")
SOON = {"retry-after-ms": "1"}


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    fresh()
    ttc.instrument()
    monkeypatch.setattr(_calls, "pause", lambda attempt, failure: failure.after or 0.0)
    monkeypatch.setattr(_cuts, "_OWN", frozenset())  # as a provider of whose bills nobody knows


@pytest.fixture
def provider():
    with Provider(lambda body, number: GOOD) as provider:
        yield provider


@dataclass(frozen=True)
class Outcome:
    """What a sample comes to whose every attempt gets this reply."""

    reply: Reply
    status: str
    fault: str | None
    requests: int = 1
    charged: str = "nothing"
    """Of what was held: "nothing", "prompt" or "all"; "usage" where it is known."""


WHOLE = {
    "429": Outcome(Reply(status=429, headers=SOON), "failed", "rate limited", 2),
    "429 bare": Outcome(Reply(status=429), "failed", "rate limited", 2),
    "500": Outcome(Reply(status=500), "failed", "server error", 2, "prompt"),
    "503": Outcome(Reply(status=503), "failed", "server error", 2, "prompt"),
    "529": Outcome(Reply(status=529), "failed", "server error", 2, "prompt"),
    "wrong key": Outcome(Reply(status=401), "failed", "rejected"),
    "forbidden": Outcome(Reply(status=403), "failed", "rejected"),
    "cut json": Outcome(Reply(fault="cut json"), "failed", "malformed", 2, "prompt"),
    "empty body": Outcome(Reply(fault="empty body"), "failed", "malformed", 2, "prompt"),
    "a page": Outcome(Reply(fault="html"), "failed", "malformed", 2, "prompt"),
    "short body": Outcome(Reply(fault="short body"), "failed", "connection", 2, "all"),
    "reset": Outcome(Reply(fault="reset"), "failed", "connection", 2, "all"),
    "no choices": Outcome(Reply(fault="empty choices"), "failed", "empty", charged="usage"),
    "null content": Outcome(Reply(text=None), "failed", "empty", charged="usage"),
    "refusal": Outcome(Reply(text=None, refusal="I cannot"), "abstained", "refused", charged="usage"),
    "filter": Outcome(Reply(text="g", finish="content_filter"), "abstained", "filtered", charged="usage"),
    "length": Outcome(Reply(text="goo", finish="length"), "truncated", None, charged="usage"),
    "no usage": Outcome(Reply(text="bad", fault="no usage"), "answer", None, charged="all"),
}
STREAMED = {
    **{name: outcome for name, outcome in WHOLE.items() if name not in ("short body", "no choices")},
    "error event": Outcome(Reply(text="good good", fault="error event"), "failed", "server error", charged="prompt"),
    "no finish": Outcome(Reply(text="good good", fault="no finish"), "truncated", "cut", charged="usage"),
    "cut": Outcome(Reply(text="good good", fault="cut stream"), "truncated", "cut", charged="all"),
}
# Where litellm leaves nothing of what was wrong.
LITELLM = {"a page": replace(WHOLE["a page"], fault="server error")}
LITELLM_STREAMED = {
    "refusal": Outcome(WHOLE["refusal"].reply, "failed", "empty", charged="usage"),
    "error event": replace(STREAMED["error event"], requests=2),  # nothing of it has reached anybody
    "no finish": replace(STREAMED["no finish"], charged="all"),
}


def outcomes(way: Way):
    known = STREAMED if way.streamed else WHOLE
    return {**known, **((LITELLM_STREAMED if way.streamed else LITELLM) if way.sdk == "litellm" else {})}


@each_way
async def test_each_fault_has_its_outcome_and_its_charge(way, provider):
    shown = []

    def accepts(sample: ttc.Sample) -> bool:
        shown.append(sample)
        return sample.text == "good"

    strategy = Kept(ttc.BestOfN(2, at_once=1))
    async with way.open(provider, strategy, verifier=accepts) as ask:
        for name, outcome in outcomes(way).items():
            fresh()
            provider.reset()
            strategy.seen.clear()
            shown.clear()
            provider.script = lambda body, number, o=outcome: o.reply if number < o.requests else GOOD
            with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=1_000_000)):
                assert await ask() == "good", name
                ledger = SCOPE.get().ledger
            first, second = strategy.seen
            assert (first.status, first.fault) == (outcome.status, outcome.fault), name
            # What is no whole text is never shown to a verifier, least of all as "".
            seen = [second] if outcome.status in ("failed", "abstained") or outcome.fault == "cut" else [first, second]
            assert [sample.index for sample in shown] == [sample.index for sample in seen], name
            billed = provider.settled()
            assert billed.requests == outcome.requests + 1 == bill.total.calls, name
            assert (set(ledger.reserved.values()), len(ledger.waiting_for_money)) == ({0}, 0), name
            charged = ledger.spent["tokens"] - second.usage.tokens
            least, most = {"nothing": (0, 0), "prompt": (1, 400), "all": (8_000, 10**6)}.get(
                outcome.charged, (first.usage.tokens, first.usage.tokens)
            )
            assert least <= charged <= most, (name, charged)


@each_way
async def test_a_fault_that_passes_is_made_good_by_one_retry(way, provider):
    async with way.open(provider, ttc.BestOfN(1), verifier=lambda sample: True) as ask:
        for name, outcome in outcomes(way).items():
            if outcome.requests == 1:
                continue
            fresh()
            provider.reset()
            provider.script = lambda body, number, o=outcome: GOOD if number else o.reply
            assert await ask() == "good", name
            assert provider.settled().requests == 2, name


@each_way
async def test_a_stream_that_is_cut_is_never_an_answer_wherever_it_is_cut(way, provider):
    if not way.streamed:
        way = replace(way, streamed=True)
    text, shown = "one two three", []
    strategy = Kept(ttc.BestOfN(2, at_once=1))

    def accepts(sample: ttc.Sample) -> bool:
        shown.append(sample)
        return True

    async with way.open(provider, strategy, verifier=accepts) as ask:
        for k in range(5):  # the role, three words; the fifth is the last one before its finish reason
            fresh()
            strategy.seen.clear()
            shown.clear()
            provider.reset()
            cut = Reply(text=text, fault="cut stream", cut_after=k)
            lost = 2 if k == 0 or (k == 1 and way.sdk == "litellm") else 1  # nothing came: as good as no stream
            provider.script = lambda body, number, cut=cut, lost=lost: cut if number < lost else GOOD
            assert await ask() == "good", k
            first = strategy.seen[0]
            assert (first.status, first.fault) in {("truncated", "cut"), ("failed", "malformed")}, k
            assert (first.text or "").split() == text.split()[: max(0, k - 1)]
            assert [sample.index for sample in shown] == [1]
            assert provider.settled().requests == lost + 1


# What never ends.


def never_ending():
    """Every way, fault and number of draws; all but a few of them take their time."""
    for way in WAYS:
        for fault in ("hang", "slow headers", "slow body", "endless"):
            for scaled in (False, True):
                quick = (fault == "slow body" and not scaled) or (fault == "endless" and str(way) == "openai async")
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(way, fault, scaled, id=f"{way} {fault} {scaled}", marks=marks)


@pytest.mark.parametrize(("way", "fault", "scaled"), list(never_ending()))
async def test_what_never_ends_does_not_outlive_the_deadline(way, fault, scaled, provider):
    # Paced: at full speed it may be too large before it is too late.
    never = Reply(delay=600) if fault == "hang" else Reply(fault=fault, pause=0.005 if fault == "endless" else 0)
    provider.script = lambda body, number: never
    async with way.open(provider, ttc.SelfConsistency(2) if scaled else None) as ask:
        started = time.monotonic()
        with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(seconds=0.4, tokens=100_000)):
            with pytest.raises(ttc.BudgetExceeded, match="seconds"):
                await ask()
            ledger = SCOPE.get().ledger
        assert time.monotonic() - started < 30  # of the machine; the bare client stays for ever
        # A thread that nobody waits for any more ends by itself.
        await until(lambda: not ledger.reserved["tokens"] and not provider.sockets)
        # On a busy machine the deadline may come before the request has left.
        assert provider.settled().requests == provider.billed.aborted <= bill.total.calls


async def until(condition):
    """Wait for what other threads do."""
    with anyio.fail_after(60):
        while not condition():
            gc.collect(0)
            await anyio.sleep(0.01)
