"""Synchronous functions: one loop in a thread of its own for all of them, threads for what blocks."""

from __future__ import annotations

import asyncio  # noqa: TID251  # a running loop, as users have one
import contextvars
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import anyio
import anyio.lowlevel
import pytest
import trio
from fake_model import Completion, Fake, Model, Refused, fresh, place  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware import _calls
from ttc_middleware._context import SCOPE, TAB
from ttc_middleware.seam import Site, call_model_sync, scale_call_sync

pytestmark = [pytest.mark.usefixtures("fresh")]

PROMPT = "what is the answer"  # 4 tokens


def right(output):
    return output == "right"


def scaled(strategy, model, verifier=right, **options):
    @ttc.scale(strategy, verifier=verifier, **options)
    def ask(**body) -> str:
        return model.sync(PROMPT, **body)

    return ask


def test_a_sync_function_gets_a_sync_wrapper():
    model = Model(lambda body, number: "right" if place() == 2 else "wrong answer")
    ask = scaled(ttc.BestOfN(3, stop="all"), model)
    assert ask() == "right"
    result = ask.run()
    assert (result.output, result.accepted, len(model.bodies)) == ("right", True, 6)
    assert result.bill.total.tokens == model.billed / 2
    assert result.bill.status == "exact"


@pytest.mark.parametrize("n", [5, 80])
def test_all_draws_are_under_way_at_once_however_many(n):
    barrier = threading.Barrier(n, timeout=60)

    def script(body, number):
        barrier.wait()
        return "wrong"

    model = Model(script)
    scaled(ttc.BestOfN(n, stop="all"), model)()
    assert model.peak == n


def test_verifiers_run_in_threads_too_and_side_by_side():
    barrier = threading.Barrier(4, timeout=60)

    def check(output):
        assert threading.current_thread() is not threading.main_thread()
        barrier.wait()
        return False

    scaled(ttc.BestOfN(4, stop="all"), Model(), check)()
    assert not barrier.broken


def test_an_async_verifier_is_awaited():
    async def check(output):
        await anyio.lowlevel.checkpoint()
        return True

    assert scaled(ttc.BestOfN(2), Model(), check).run().accepted


def test_a_verifier_that_hangs_has_failed_after_its_timeout():
    go_on = threading.Event()
    verdict = scaled(ttc.Single(), Model(), lambda output: go_on.wait(60), verifier_timeout=0.05).run().winner.verdict
    go_on.set()
    assert verdict.failed
    assert "no verdict within 0.05 s" in verdict.feedback


def test_context_variables_go_along_and_stay_apart():
    mine = contextvars.ContextVar("mine", default="nothing")

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: mine.get() == "set")
    def ask() -> str:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        seen.append(mine.get())
        mine.set("changed")
        return seen[-1]

    seen = []
    mine.set("set")
    assert ask.run().accepted
    assert (seen, mine.get(), TAB.get(), SCOPE.get().ledger) == (["set", "set"], "set", None, None)


def test_blocks_hold_for_sync_calls_inside():
    model = Model(lambda body, number: "wrong")
    with ttc.tracking() as bill, ttc.policy(ttc.BestOfN(3, stop="all"), budget=ttc.Budget(samples=4)):
        ask = ttc.verifiable(right)(lambda: model.sync(PROMPT))
        ask()
        ask()
    assert (len(model.bodies), bill.total.tokens) == (4, model.billed)


def test_failures_come_out_as_themselves_and_ungrouped():
    errors = [ValueError("zero"), KeyError("one")]
    with pytest.raises(ValueError, match="zero") as caught:
        scaled(ttc.BestOfN(2), Model(lambda body, number: errors[place()]))()
    assert caught.value is errors[0]
    assert ttc.result_of(caught.value).bill.total.calls == 2


@pytest.mark.parametrize("error", [StopIteration("x"), StopAsyncIteration("x"), TimeoutError("x"), AssertionError("x")])
def test_even_exceptions_that_mean_something_to_python_come_out(error):
    @ttc.scale(ttc.SelfConsistency(2))
    def ask() -> str:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        raise error

    with pytest.raises((type(error), RuntimeError)):
        ask()


def test_an_effect_is_done_by_the_winner_in_a_thread_where_it_may_block_and_be_scaled():
    done = []
    model = Model(lambda body, number: "right" if place() == 1 else "wrong")
    inner = scaled(ttc.BestOfN(2, stop="all"), Model(lambda body, number: "right"))

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=right)
    def ask() -> str:
        answer, mine = model.sync(PROMPT), place()
        ttc.on_win(lambda: done.append((mine, inner())))
        return answer

    assert ask() == "right"
    assert done == [(1, "right")]


def test_without_scaling_an_effect_is_done_when_the_function_has_returned():
    order = []

    @ttc.verifiable(right)
    def ask() -> str:
        ttc.on_win(lambda: order.append("effect"))
        order.append("body")
        return "x"

    ask()
    assert order == ["body", "effect"]

    @ttc.verifiable(right)
    def asks() -> None:
        async def later():
            raise AssertionError

        coroutine = later()
        ttc.on_win(lambda: coroutine)
        coroutine.close()

    with pytest.raises(TypeError, match="takes a synchronous callback"):
        asks()


def test_nested_calls_are_not_scaled_and_do_not_wait_for_each_others_threads():
    model = Model(lambda body, number: "right")
    inner = scaled(ttc.BestOfN(4, stop="all"), model)
    barrier = threading.Barrier(60, timeout=60)

    @ttc.scale(ttc.BestOfN(60, stop="all"), verifier=lambda output: True)
    def outer() -> str:
        barrier.wait()  # all are under way, and then each wants a search of its own
        return inner() + inner.run().output

    result = outer.run()
    assert (len(model.bodies), result.bill.total.tokens) == (120, model.billed)


def test_many_threads_share_the_one_loop():
    model = Model(lambda body, number: "right")
    ask, answers = scaled(ttc.BestOfN(3, stop="all"), model), []
    threads = [threading.Thread(target=lambda: answers.append(ask())) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, len(model.bodies)) == (["right"] * 100, 300)
    assert sum(thread.name == "ttc-portal" for thread in threading.enumerate()) == 1


# Inside a loop that runs already.


def test_inside_a_running_loop_it_works_and_warns_once():
    ask = scaled(ttc.BestOfN(2), Model(lambda body, number: "right"))

    async def main():
        return ask(), ask()

    with pytest.warns(UserWarning, match="is synchronous and was called inside a running event loop") as warned:
        assert asyncio.run(main()) == ("right", "right")
    assert len(warned) == 1
    with pytest.warns(UserWarning, match="inside a running event loop"):
        trio.run(_under_trio, scaled(ttc.BestOfN(2), Model(lambda body, number: "right"), name="other"))


async def _under_trio(ask):
    assert ask() == "right"


@pytest.mark.anyio
async def test_in_a_thread_of_a_loop_it_does_not_warn():
    ask = scaled(ttc.BestOfN(2), Model(lambda body, number: "right"))
    assert await anyio.to_thread.run_sync(ask) == "right"


def test_in_a_thread_of_asyncios_own_it_does_not_warn_either():
    ask = scaled(ttc.BestOfN(2), Model(lambda body, number: "right"))

    async def main():
        return await asyncio.to_thread(ask)

    assert asyncio.run(main()) == "right"


@pytest.mark.anyio
async def test_async_functions_may_call_blocking_ones_that_are_scaled_in_their_draws():
    model = Model(lambda body, number: "right")
    inner = scaled(ttc.BestOfN(4, stop="all"), model)

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=right)
    async def ask() -> str:
        return await anyio.to_thread.run_sync(inner)

    result = await ask.run()
    assert (result.output, len(model.bodies), result.bill.total.tokens) == ("right", 3, model.billed)


# Who leaves, and what goes on in threads that nobody can stop.


def test_a_thread_that_goes_on_after_its_search_may_not_send_any_more():
    first, gone_on, outcome = threading.Event(), threading.Event(), []

    @ttc.scale(ttc.BestOfN(2), verifier=right)
    def ask() -> str:
        if place() == 0:
            first.wait(60)
            return model.sync(PROMPT)
        model.sync(PROMPT)
        first.set()
        released.wait(60)
        try:
            model.sync(PROMPT)
        except BaseException as error:
            outcome.append(type(error))
            raise
        finally:
            gone_on.set()
        return "never"

    released = threading.Event()
    model = Model(lambda body, number: "right")
    result = ask.run()
    sent = len(model.bodies)
    released.set()
    assert gone_on.wait(60)
    assert (result.output, sent, len(model.bodies), outcome) == ("right", 2, 2, [_calls.Closed])
    assert result.bill.total.tokens == model.billed


def test_a_thread_that_waits_for_room_past_the_end_of_its_search_sends_nothing():
    got_room = threading.Event()

    def script(body, number):
        assert number == 0, "sent after the search had ended"
        waiting.wait(60)
        return "right"

    model, waiting = Model(script), threading.Event()
    real = _calls._ThreadBell.wait

    def wait(self, seconds):
        waiting.set()
        real(self, seconds)
        ended.wait(60)
        got_room.set()

    ended = threading.Event()
    _calls._ThreadBell.wait = wait
    try:
        with ttc.policy(budget=ttc.Budget(tokens=1_000)):
            result = scaled(ttc.BestOfN(2), model).run(max_tokens=900)
            ended.set()
            assert got_room.wait(60)
            account = SCOPE.get().ledger
            _until(lambda: account.reserved["tokens"] == 0)
    finally:
        _calls._ThreadBell.wait = real
    assert (result.output, len(model.bodies), account.spent["tokens"]) == ("right", 1, model.billed)


def _until(condition):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_a_call_that_is_still_running_when_the_search_ends_is_a_gap_on_the_bill():
    go_on = threading.Event()

    def script(body, number):
        if place() == 0:
            return "right"
        go_on.wait(60)
        return "too late"

    model = Model(script)

    @ttc.scale(ttc.BestOfN(3), verifier=right)
    def ask() -> str:
        if place() == 0:
            _until(lambda: model.in_flight == 2)
        return model.sync(PROMPT)

    bill = ask.run().bill
    go_on.set()
    assert (bill.status, bill.gaps, bill.total.calls) == ("lower bound", {"still running": 2}, 3)
    _until(lambda: model.in_flight == 0)


def test_the_deadline_returns_the_best_so_far_although_threads_go_on():
    go_on = threading.Event()

    def script(body, number):
        return "nearly" if place() == 0 else (go_on.wait(60) and "late")

    model = Model(script)
    result = scaled(ttc.BestOfN(2, stop="all"), model, lambda output: 0.5, budget=ttc.Budget(seconds=0.5)).run()
    go_on.set()
    assert (result.output, result.stop_reason) == ("nearly", "deadline")
    _until(lambda: model.in_flight == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_in_the_caller_cancels_the_search_and_frees_everything():
    released = threading.Event()

    def script(body, number):
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(60)
        return "right"

    model = Model(script)
    with ttc.policy(budget=ttc.Budget(concurrency=1)):
        account = SCOPE.get().ledger
        with pytest.raises(KeyboardInterrupt):
            scaled(ttc.BestOfN(4), model)()
        assert not account.waiting_for_seats
        assert account.reserved["seats"] == 0
    released.set()
    _until(lambda: model.in_flight == 0)
    assert scaled(ttc.BestOfN(2), Model(lambda body, number: "right"))() == "right"


def test_a_process_that_used_it_ends_and_a_forked_child_has_a_loop_of_its_own():
    program = textwrap.dedent("""
        import os, threading
        import ttc_middleware as ttc
        ttc.configure(instrument=False)

        @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: True)
        def ask():
            ttc.record_usage(ttc.Usage(1, 1, 1))
            return os.getpid()

        assert ask() == os.getpid()
        child = os.fork()
        if child == 0:
            os._exit(0 if ask() == os.getpid() else 1)
        assert os.waitpid(child, 0)[1] == 0
        print("done")
    """)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("done\n", "", 0)


# At the seam, for clients that block.


class Client:
    """A wrapped client that blocks."""

    def __init__(self, model, strategy, verifier=lambda output: output.text == "right", **options):
        self.model = model
        self.site = Site("client", strategy, verifier, adapter=model.adapter, **options)

    def __call__(self, **body):
        call = ttc.Call(name="client", arguments={"prompt": PROMPT, **body})
        return scale_call_sync(self.site, call, lambda given, leaf: self.model.send_sync(given.arguments))


def test_a_wrapped_client_that_blocks_is_scaled_and_merged():
    model = Model(lambda body, number: Completion(("wrong", "right", "wrong")))
    assert Client(model, ttc.BestOfN(3, stop="all"))().text == "right"
    assert [body["n"] for body in model.bodies] == [3]
    model = Model(lambda body, number: "right")
    assert Client(model, ttc.BestOfN(3))().text == "right"
    assert Client(model, None)().text == "right"


def test_each_model_call_of_a_blocking_function_can_be_scaled_by_itself():
    runs = []
    model = Model(lambda body, number: Completion(("wrong", "right")))

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: output.text == "right", scope="model_calls")
    def agent() -> list[str]:
        runs.append(1)
        return [model.sync("first"), model.sync("second")]

    result = agent.run()
    assert (result.output, agent(), len(runs)) == (["right", "right"], ["right", "right"], 2)
    assert result.bill.total.tokens == model.billed / 2


def test_a_blocking_function_that_is_a_model_call_is_steered():
    model = Model()

    @ttc.scale(ttc.Refine(1), verifier=lambda output: ttc.Verdict(0.1, feedback="be brief"), adapter=Fake())
    def complete(prompt: str) -> Completion:
        return model.send_sync({"prompt": prompt})

    complete("why?")
    assert "be brief" in model.bodies[1]["prompt"]


def test_attempts_of_a_blocking_client_are_retried_and_reserved_like_any_other():
    model = Model(lambda body, number: Refused(429, headers={"retry-after": "0"}) if number == 0 else "right")
    with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=1_000)):
        assert scaled(ttc.Single(), model)() == "right"
        account = SCOPE.get().ledger
    assert (bill.total.calls, account.reserved["tokens"], account.spent["tokens"]) == (2, 0, 5)


def test_outside_draws_a_blocking_call_is_billed_and_waits_for_room():
    model = Model(lambda body, number: "right")
    call = ttc.Call(name="x", arguments={"prompt": PROMPT, "max_tokens": 50})

    def send(given, leaf):
        return model.send_sync(given.arguments)

    with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=60)):
        account = SCOPE.get().ledger
        held = account.reserve(_ask(40), lambda: None)
        threading.Timer(0.05, held.settle, [{}]).start()
        call_model_sync(model.adapter, call, send)
    assert (bill.total.tokens, account.reserved["tokens"]) == (5, 0)
    with ttc.policy(budget=ttc.Budget(tokens=60, seconds=0.05)):
        SCOPE.get().ledger.reserve(_ask(40), lambda: None)
        with pytest.raises(ttc.BudgetExceeded, match="seconds"):
            call_model_sync(model.adapter, call, send)
        assert not SCOPE.get().ledger.waiting_for_money


def _ask(tokens):
    from ttc_middleware._account import Ask  # noqa: PLC0415

    return Ask({"tokens": tokens})
