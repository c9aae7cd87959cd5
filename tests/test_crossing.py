"""Where worlds cross: blocking code on an event loop, forked children, exceptions that are no `Exception`.

What is wrong here mostly shows as a test that never ends.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  # a running loop, as users have one
import functools
import os
import subprocess
import sys
import textwrap
import threading

import anyio
import provider
import pytest
from fake_model import Model, fresh  # noqa: F401  # a fixture
from openai_clients import CHAT, async_client, blocking_client
from provider import Provider, Reply

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware._context import SCOPE

pytestmark = pytest.mark.usefixtures("fresh")
blocks_the_loop = pytest.mark.filterwarnings("ignore:.*was called inside a running event loop")


@pytest.fixture
def instrumented(fresh):  # noqa: F811  # the fixture
    provider.fresh()
    ttc.instrument()


def text_of(completion):
    return completion.choices[0].message.content


class Skip(BaseException):
    """Like pytest's own, or SystemExit."""


@pytest.mark.usefixtures("instrumented")
@pytest.mark.asyncio
async def test_a_judge_that_blocks_the_loop_does_not_wait_for_what_only_the_loop_gives_back():
    with Provider(lambda body, number: Reply(text="yes", delay=0 if number == 0 else 0.1)) as server:
        judge = blocking_client(server)
        async with async_client(server) as client:

            @ttc.scale(
                ttc.BestOfN(4, stop="all"),
                verifier=lambda text: text_of(judge.chat.completions.create(**CHAT)) == "yes",
                budget=ttc.Budget(tokens=50_000),
            )
            async def ask() -> str:
                return text_of(await client.chat.completions.create(**CHAT))

            result = await ask.run()
        judge.close()
        assert result.accepted
        assert result.bill.total.tokens == server.settled().tokens <= 50_000


@blocks_the_loop
@pytest.mark.asyncio
async def test_a_blocking_function_on_the_loop_does_not_wait_for_the_loops_seats():
    began = anyio.Event()

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=bool_of)
    async def slow() -> int:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        began.set()
        await asyncio.sleep(0.05)
        return 1

    @ttc.scale(ttc.BestOfN(2), verifier=bool_of)
    def blocking() -> int:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return 2

    async def other() -> int:
        await began.wait()
        return blocking()

    with ttc.policy(budget=ttc.Budget(concurrency=2)):
        assert await asyncio.gather(slow(), other()) == [1, 2]


def bool_of(output):
    return bool(output)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_who_reads_a_stream_may_make_another_call_under_the_same_budget(asynchronous):
    async def both(server):
        async with async_client(server) as client:
            first = await client.chat.completions.create(**CHAT, stream=True)
            second = await client.chat.completions.create(**CHAT, stream=True)
            return [len([chunk async for chunk in second]), len([chunk async for chunk in first])]

    with Provider(lambda body, number: Reply(text="word " * 5)) as server, ttc.tracking() as bill:
        with ttc.policy(budget=ttc.Budget(tokens=50_000)):
            ledger = SCOPE.get().ledger
            if asynchronous:
                lengths = asyncio.run(both(server))
            else:
                with blocking_client(server) as client:
                    first, second = (client.chat.completions.create(**CHAT, stream=True) for _ in range(2))
                    lengths = [len(list(second)), len(list(first))]
        assert lengths[0] == lengths[1] > 5
        assert (ledger.reserved["tokens"], ledger.spent["tokens"]) == (0, server.settled().tokens)
        assert bill.status == "exact"


# What is no Exception.


@pytest.mark.anyio
async def test_it_reaches_the_caller_bare_and_with_its_story():
    model = Model(lambda body, number: "right")

    @ttc.scale(ttc.BestOfN(3), verifier=bool_of)
    async def ask() -> str:
        await model()
        raise Skip

    with pytest.raises(Skip) as caught:
        await ask()
    assert ttc.result_of(caught.value).bill.total.calls >= 1


@pytest.mark.anyio
async def test_from_a_verifier_too():
    def judge(output):
        raise Skip

    with pytest.raises(Skip):
        await ttc.scale(ttc.BestOfN(3), verifier=judge)(Model().__call__)()


@pytest.mark.parametrize("error", [Skip, SystemExit, KeyboardInterrupt])
def test_in_one_blocking_function_it_leaves_the_others_alone(error):
    released, began = threading.Event(), threading.Event()
    answers = []

    @ttc.scale(ttc.Single())
    def innocent() -> str:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        began.set()
        assert released.wait(60)
        return "fine"

    @ttc.scale(ttc.BestOfN(2), verifier=bool_of)
    def guilty() -> str:
        raise error

    thread = threading.Thread(target=lambda: answers.append(innocent()))
    thread.start()
    began.wait(60)
    with pytest.raises(error):
        guilty()
    released.set()
    thread.join(60)
    assert [*answers, innocent()] == ["fine", "fine"]


# Forked children.

CHILD = """
import os, sys, threading
import ttc_middleware as ttc
ttc.configure(concurrency=2, instrument=False)
release, began = threading.Event(), threading.Barrier(3)

@ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True)
def busy():
    ttc.record_usage(ttc.Usage(1, 1, 1))
    began.wait(60)
    release.wait(60)
    return 1

@ttc.scale(ttc.BestOfN(2), verifier=lambda output: True)
def quick():
    ttc.record_usage(ttc.Usage(1, 1, 1))
    return 2

thread = threading.Thread(target=busy)
thread.start()
began.wait(60)
child = os.fork()
if child == 0:
    os._exit(0 if quick() == 2 else 1)
status = os.waitpid(child, 0)[1]
release.set()
thread.join(60)
print(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_does_not_wait_for_seats_that_its_parents_threads_hold():
    program = textwrap.dedent(CHILD)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.returncode) == ("0\n", 0), ran.stderr


# Limits of a block, for whatever runs inside.


@pytest.mark.anyio
@pytest.mark.parametrize("limit", ["seconds", "samples", "concurrency"])
async def test_a_blocks_limits_hold_for_functions_that_are_only_verifiable(limit):
    under_way = peak = 0

    @ttc.verifiable(bool_of)
    async def ask() -> str:
        nonlocal under_way, peak
        ttc.record_usage(ttc.Usage(1, 1, 1))
        under_way += 1
        peak = max(peak, under_way)
        try:
            await anyio.sleep(60 if limit == "seconds" else 0.01)
        finally:
            under_way -= 1
        return "done"

    outcomes = []

    async def one():
        try:
            outcomes.append(await ask())
        except ttc.BudgetExceeded as error:
            outcomes.append(error.resource)

    budget = ttc.Budget(**{limit: 0.05 if limit == "seconds" else 1})
    with ttc.policy(budget=budget):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
    said = {"seconds": ["seconds"] * 3, "samples": ["done", "samples", "samples"], "concurrency": ["done"] * 3}
    assert sorted(outcomes) == said[limit]
    assert peak == {"seconds": 3, "samples": 1, "concurrency": 1}[limit]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.asyncio
async def test_a_plain_call_after_a_blocks_time_is_over_is_not_sent():
    with Provider() as server:
        async with async_client(server) as client:
            with ttc.policy(budget=ttc.Budget(seconds=0.01)):
                await asyncio.sleep(0.02)
                with pytest.raises(ttc.BudgetExceeded, match=r"the budget of 0\.01 seconds is over"):
                    await client.chat.completions.create(**CHAT)
        assert server.settled().requests == 0


def test_an_error_page_costs_its_prompt_and_not_the_budget():
    with Provider(lambda body, number: Reply(status=500) if number == 0 else Reply(text="good")) as server:
        client = ttc_openai.wrap(
            blocking_client(server),
            ttc.BestOfN(4, stop="all"),
            verifier=bool_of,
            budget=ttc.Budget(tokens=50_000),
        )
        with ttc.tracking() as bill, client:
            assert text_of(client.chat.completions.create(**CHAT)) == "good"
    assert (bill.status, bill.gaps) == ("lower bound", {"server error": 1})


# The strategy's own calls.


@pytest.mark.usefixtures("instrumented")
@pytest.mark.asyncio
async def test_what_a_strategy_asks_a_model_is_routing_and_is_not_scaled():
    with Provider(lambda body, number: Reply(text="seven")) as server:
        judge = blocking_client(server)

        @ttc.scale(ttc.BestOfN(5), verifier=bool_of)
        def in_short(text: str) -> str:
            return text_of(judge.chat.completions.create(**CHAT))

        async with async_client(server) as client:

            @ttc.scale(ttc.SelfConsistency(2, by=in_short))
            async def ask() -> str:
                return text_of(await client.chat.completions.create(**CHAT))

            with ttc.tracking() as tracked:
                bill = (await ask.run()).bill
        judge.close()
        billed = server.settled()
        assert bill.routing.calls == billed.requests - 2 > 0
        assert (bill.status, bill.total.calls, bill.total.tokens) == ("exact", billed.requests, billed.tokens)
        assert tracked.total == bill.total


# Functions that other decorators have changed.


def test_a_function_that_a_decorator_made_async_is_async():
    def in_thread(fn):
        @functools.wraps(fn)
        async def wrapper(*args):
            return await asyncio.to_thread(fn, *args)

        return wrapper

    @ttc.scale(ttc.BestOfN(2), verifier=bool_of)
    @in_thread
    def ask(word: str) -> str:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return word

    assert asyncio.iscoroutinefunction(ask)
    assert asyncio.run(ask("x")) == "x"


@pytest.mark.anyio
async def test_one_that_a_decorator_made_synchronous_says_so():
    async def plain() -> str:
        return "x"

    @functools.wraps(plain)
    def wrapper():
        return "x"

    with pytest.raises(TypeError, match="is asynchronous, but what decorates it returned 'x'"):
        await ttc.scale(ttc.Single())(wrapper)()


def test_a_generator_behind_a_decorator_that_collects_it_is_a_function():
    def items():
        yield 1

    @functools.wraps(items)
    def collected():
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return list(items())

    assert ttc.scale(ttc.Single())(collected)() == [1]


def test_a_bound_method_equals_itself():
    class Service:
        @ttc.scale(ttc.Single())
        def ask(self) -> str:
            return ""

    one, other = Service(), Service()
    assert one.ask == one.ask
    assert hash(one.ask) == hash(one.ask)
    assert one.ask != other.ask
    assert Service.ask == Service.ask != one.ask


def test_an_argument_may_be_called_self():
    @ttc.scale(ttc.Single())
    def ask(**words: str) -> dict[str, str]:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return words

    assert ask(self="me") == ask.run(self="me").output == {"self": "me"}


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (ttc.Verdict(1.0, accepted="no"), "a Verdict's accepted must be a bool or None, got 'no'"),
        (ttc.Verdict(1.0, usage=12), "a Verdict's usage must be a Usage or None, got 12"),
        (ttc.Verdict(1.0, feedback=["a"]), r"a Verdict's feedback must be a str or None, got \['a'\]"),
        (ttc.Verdict("high"), "a verifier's score must be from 0 to 1, got 'high'"),
    ],
)
@pytest.mark.anyio
async def test_a_verdict_that_is_none_is_the_verifiers_failure(verdict, says):
    result = await ttc.scale(ttc.BestOfN(1), verifier=lambda output: verdict)(Model().__call__).run()
    judged = result.samples[0].verdict
    assert (result.accepted, judged.failed) == (False, True)
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(judged.feedback)


@pytest.mark.anyio
async def test_a_verifier_that_takes_everything_gets_what_it_has_not_already():
    class Judge:
        def right(self, text, **arguments):
            seen.append(arguments)
            return True

    class Service:
        @ttc.scale(ttc.BestOfN(1), verifier=Judge().right)
        async def ask(self, text: str, mood: str) -> str:
            ttc.record_usage(ttc.Usage(1, 1, 1))
            return text

    seen = []
    assert (await Service().ask.run("hello", "calm")).accepted
    assert seen == [{"mood": "calm"}]


def test_a_wrapped_client_keeps_what_its_class_has_added():
    import openai  # noqa: PLC0415  # only here

    class Mine(openai.OpenAI):
        def __init__(self, tenant, **options):
            super().__init__(**options)
            self.tenant = tenant

    def acme(**options):
        return Mine("acme", **options)

    with (
        Provider(lambda body, number: Reply(text="good" if number else "bad")) as server,
        blocking_client(server, acme) as mine,
    ):
        assert text_of(mine.chat.completions.create(**CHAT)) == "bad"
        scaled = ttc_openai.wrap(mine, ttc.BestOfN(2, stop="all"), verifier=lambda reply: text_of(reply) == "good")
        assert (scaled.tenant, type(scaled)) == ("acme", Mine)
        assert text_of(scaled.chat.completions.create(**CHAT)) == "good"
        assert scaled.chat is not mine.chat
