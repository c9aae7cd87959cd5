"""Streams of open length under a budget: waited for while they are read, never over, and little left stranded."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from decimal import Decimal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightly import examples

import ttc_middleware as ttc
from ttc_middleware import _calls, _leaf
from ttc_middleware._account import Ask, Hold, Ticket
from ttc_middleware._context import SCOPE
from ttc_middleware._leaf import FLOOR, LAG, LEASE
from ttc_middleware._ledger import Ledger
from ttc_middleware.seam import call_model, call_model_sync

PROMPT, LATE = 20, 8


@dataclass(frozen=True)
class Adapter:
    """What the engine must know of the model below."""

    can: frozenset[ttc.Capability] = frozenset({ttc.Capability.MAX_TOKENS})
    slots: int | None = None
    aloud: bool = True

    def apply(self, call, draw):
        return replace(call, arguments={**call.arguments, "max_tokens": draw.max_tokens})

    def describe(self, call):
        most = call.arguments.get("max_tokens")
        return ttc.Request(provider="deepseek", model="m", max_tokens=most, stream=True, aloud=self.aloud)

    def bound(self, call):  # all prompts are alike
        return PROMPT

    def read(self, output):
        return output


@dataclass
class Stream:
    """A model's answer on its way; a closed one has made a few tokens more than were seen."""

    leaf: object
    length: int
    cap: int
    size: int
    """Bytes of a token."""
    counted: bool = False
    made: int = 0
    cut: bool = False
    left: bool = False
    open: bool = True

    def next(self):
        """Take in another chunk; False once it has ended."""
        self.leaf.asked()
        self.made += min(8, self.length - self.made, self.cap - self.made)
        self.leaf.given()
        if not self.leaf.lasts(self.made * (1 if self.counted else self.size)):
            self.made += min(LATE, self.length - self.made, self.cap - self.made)
            self.cut = True
            self.end(ttc.Reading(status="truncated", fault="cut"))
        elif self.made >= min(self.length, self.cap):
            self.end(ttc.Reading(text="x", usage=ttc.Usage(1, PROMPT, self.made)))
        return self.open

    def end(self, reading):
        self.open = False
        self.leaf.finish(reading)

    def close(self):
        self.open, self.left = False, True
        self.leaf.cut()


async def opened(length=100, *, size=4, counted=False, aloud=True):
    async def send(call, leaf):
        leaf.defer()
        return Stream(leaf, length, call.arguments["max_tokens"], size, counted)

    return await call_model(Adapter(aloud=aloud), ttc.Call(name="m", arguments={}), send)


@pytest.fixture(autouse=True, scope="module")
def patient():
    """On a busy machine, a task may well stand still for a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_leaf, "IDLE", 3_600.0)
        yield


def ledger():
    return SCOPE.get().ledger


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=examples(25), deadline=None, database=None)
@given(
    limit=st.integers(400, 20_000),
    sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=20),
    flight=st.integers(1, 256),
    size=st.integers(1, 6),
    counted=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_what_is_stranded_is_a_lease_and_the_bytes_beyond_the_tokens_of_what_was_cut(  # noqa: PLR0917  # Hypothesis gives them by name
    backend, limit, sizes, flight, size, counted, seed
):
    chance, left, streams, refused = random.Random(seed), list(sizes) * 3, [], []

    async def works():
        while left:
            try:
                stream = await opened(left.pop(), size=size, counted=counted)
            except ttc.BudgetExceeded:
                refused.append(ledger().unspent("tokens"))
                continue
            streams.append(stream)
            while stream.next():
                for _ in range(chance.randrange(3)):
                    await anyio.lowlevel.checkpoint()
                if chance.random() < 0.003:
                    stream.close()
                    break

    async def run():
        with ttc.policy(budget=ttc.Budget(tokens=limit)):
            async with anyio.create_task_group() as group:
                for _ in range(flight):
                    group.start_soon(works)
            return ledger()

    account = anyio.run(run, backend=backend)
    made = sum(PROMPT + stream.made for stream in streams)
    assert made <= account.spent["tokens"] <= limit, "over"
    assert (account.reserved, account.parked, account.growing) == ({"tokens": 0}, {"tokens": 0}, set())
    unfinished = [stream for stream in streams if stream.cut or stream.left]
    bound = sum(LEASE + LAG + (0 if counted else (size - 1) * stream.made) for stream in unfinished)
    assert account.spent["tokens"] - made <= bound
    assert all(unspent < PROMPT + FLOOR for unspent in refused), "turned away though there was room"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_256_streams_at_once_use_all_but_a_few_hundredths_of_a_budget(backend):
    chance = random.Random(1)
    made, cut = [], []

    async def works():
        with pytest.raises(ttc.BudgetExceeded):
            while True:
                stream = await opened(min(4_096, int(chance.lognormvariate(5.7, 0.8))))
                while stream.next():
                    await anyio.lowlevel.checkpoint()
                made.append(PROMPT + stream.made)
                cut.append(stream.cut)

    async def run():
        with ttc.policy(budget=ttc.Budget(tokens=50_000)):
            async with anyio.create_task_group() as group:
                for _ in range(256):
                    group.start_soon(works)

    anyio.run(run, backend=backend)
    assert 45_000 <= sum(made) <= 50_000  # without room left for those that grow: 17,000
    assert sum(cut) <= 5


@pytest.mark.anyio
async def test_who_finds_no_room_waits_for_a_stream_that_is_read():
    with ttc.policy(budget=ttc.Budget(tokens=3_000)):
        first, seen = await opened(aloud=False), []

        async def second():
            seen.append(await opened(aloud=False))

        async with anyio.create_task_group() as group:
            group.start_soon(second)
            while first.next():
                await anyio.lowlevel.checkpoint()
                assert not seen
        assert seen[0].cap == 3_000 - 2 * PROMPT - 100
        seen[0].close()


@pytest.mark.anyio
async def test_who_reads_a_stream_does_not_wait_for_itself():
    with ttc.policy(budget=ttc.Budget(tokens=3_000)):
        first = await opened(aloud=False)
        first.next()
        with anyio.fail_after(30), pytest.raises(ttc.BudgetExceeded):
            await opened(aloud=False)
        first.close()


def test_nor_does_a_thread():
    def send(call, leaf):
        leaf.defer()
        return Stream(leaf, 100, call.arguments["max_tokens"], 4)

    with ttc.policy(budget=ttc.Budget(tokens=3_000)):
        first = call_model_sync(Adapter(aloud=False), ttc.Call(name="m", arguments={}), send)
        first.next()
        with pytest.raises(ttc.BudgetExceeded):
            call_model_sync(Adapter(aloud=False), ttc.Call(name="m", arguments={}), send)
        first.close()


@pytest.mark.anyio
async def test_nobody_waits_for_ever_for_a_stream_whose_reader_waits_for_them(monkeypatch):
    monkeypatch.setattr(_leaf, "IDLE", 0.01)
    monkeypatch.setattr(_calls, "IDLE", 0.01)
    with ttc.policy(budget=ttc.Budget(tokens=3_000)):
        first = await opened(aloud=False)
        first.next()

        async def helper():  # no task of the reader's own would be known by its number
            with pytest.raises(ttc.BudgetExceeded):
                await opened(aloud=False)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(helper)
        assert first.next(), "the stream itself goes on"
        first.close()


@pytest.mark.anyio
async def test_what_a_slow_reader_lets_come_is_charged_for_the_cap(monkeypatch):
    monkeypatch.setattr(_leaf, "IDLE", -1.0)  # whoever comes back has been away too long
    with ttc.policy(budget=ttc.Budget(tokens=3_000)):
        stream = await opened(2_000)
        stream.next()
        stream.close()
        assert ledger().spent["tokens"] == PROMPT + stream.cap


@pytest.mark.anyio
async def test_who_waits_for_a_stream_may_leave_at_every_turn():
    for turns in range(12):
        with ttc.policy(budget=ttc.Budget(tokens=3_000)):
            first = await opened(40, aloud=False)
            async with anyio.create_task_group() as group:
                group.start_soon(opened, 40)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                    if first.open:
                        first.next()
                group.cancel_scope.cancel()
            if first.open:
                first.close()
            assert len(ledger().waiting_for_money) == 0
            assert ledger().growing <= {leaf._hold for leaf in _leaf._open.values()}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": -5},
        {"output_tokens": -500},
        {"output_tokens": float("nan")},
        {"output_tokens": 2.5},
        {"usd": Decimal("NaN")},
        {"usd": Decimal("Infinity")},
        {"usd": Decimal(-1)},
    ],
    ids=str,
)
async def test_a_usage_that_counts_nothing_is_charged_as_the_hold(wrong):
    async def send(call, leaf):
        return ttc.Reading(text="x", usage=ttc.Usage(1, **{"input_tokens": 3, "output_tokens": 4, **wrong}))

    with ttc.policy(budget=ttc.Budget(tokens=3_000)), ttc.tracking() as bill:
        await call_model(Adapter(), ttc.Call(name="m", arguments={"max_tokens": 500}), send)
        assert (ledger().spent["tokens"], ledger().reserved["tokens"]) == (PROMPT + 500, 0)
    assert bill.status == "unknown"


def test_newcomers_leave_room_for_who_is_to_grow_while_anybody_could_give_some_back():
    account = Ledger({"tokens": 1_000})
    growing = account.reserve(Ask({}, 100, {"tokens": 1}, grows=700), print)
    late = account.reserve(Ask({}, 400, {"tokens": 1}, floor=100), print)
    assert isinstance(late, Ticket)
    assert growing.extend(700) == 700
    growing.settle({"tokens": 600})
    assert isinstance(late.outcome, Hold)
    assert isinstance(account.reserve(Ask({}, 50, {"tokens": 1}, grows=10_000, patient=False), print), Hold)


def test_nobody_leaves_room_for_a_stream_that_is_parked():
    account = Ledger({"tokens": 1_000})
    growing = account.reserve(Ask({}, 100, {"tokens": 1}, grows=900), print)
    late = account.reserve(Ask({}, 400, {"tokens": 1}), print)
    assert isinstance(late, Ticket)
    growing.park()
    assert isinstance(late.outcome, Hold)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_a_parent_holds_is_not_given_back_in_its_child():
    account = Ledger({"tokens": 100})
    held = account.reserve(Ask({"tokens": 60}, grows=10), print)
    child = os.fork()
    if not child:
        account.forget()
        held.park()
        held.settle({"tokens": 1})  # as the finalizer of a stream would
        right = (account.reserved, account.parked, account.spent) == ({"tokens": 0}, {"tokens": 0}, {"tokens": 0})
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert account.reserved == {"tokens": 60}
    held.settle({"tokens": 1})
