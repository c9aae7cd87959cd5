"""The engine's promises: parallel, stopped in time, nothing left behind. On asyncio and on trio."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest
from fake_model import Completion, Fake, Model, Refused, forever, fresh, place, steps  # noqa: F401  # a fixture
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]


def right(output):
    return output == "right"


def scaled(strategy, model, **options):
    """A function with one model call inside."""

    @ttc.scale(strategy, **{"verifier": right, **options})
    async def ask(prompt: str = "what is it") -> str:
        return await model(prompt)

    return ask


class Barrier:
    """Lets nobody through until so many have come."""

    def __init__(self, parties):
        self.left = parties
        self.open = anyio.Event()

    async def wait(self):
        self.left -= 1
        if not self.left:
            self.open.set()
        await self.open.wait()


# Parallel, never serial by accident.


@pytest.mark.parametrize("strategy", [ttc.BestOfN(16, stop="all"), ttc.SelfConsistency(16), ttc.BestOfN(16)], ids=repr)
async def test_all_draws_are_under_way_at_once(strategy):
    barrier = Barrier(16)

    async def script(body, number):
        await barrier.wait()
        return "wrong"

    model = Model(script)
    await scaled(strategy, model)()
    assert model.peak == 16


async def test_with_at_once_the_next_draw_starts_as_soon_as_any_one_ends():
    async def script(body, number):
        if number == 8:
            last_started.set()
        if number < 2:  # two of the three are held up all the while
            await last_started.wait()
        return "wrong"

    last_started = anyio.Event()
    model = Model(script)
    await scaled(ttc.BestOfN(9, at_once=3), model)()
    assert (model.peak, len(model.bodies)) == (3, 9)


async def test_verification_starts_as_samples_arrive_and_runs_in_parallel():
    barrier = Barrier(5)
    slow = anyio.Event()

    async def script(body, number):
        if number == 5:
            await slow.wait()
        return "x"

    async def check(output):
        await barrier.wait()  # all five that have arrived are being verified
        slow.set()
        return False

    await scaled(ttc.BestOfN(6, stop="all"), Model(script), verifier=check, budget=None).run()
    assert barrier.left == -1


@pytest.mark.slow
async def test_ten_thousand_draws_at_once_complete():
    async def script(body, number):
        await anyio.lowlevel.checkpoint()
        return "right" if number == 9_999 else "wrong"

    model = Model(script)
    result = await scaled(ttc.BestOfN(10_000, stop="all"), model).run()
    assert (result.output, len(result.samples), model.peak) == ("right", 10_000, 10_000)
    assert result.bill.total.tokens == model.billed == 40_000
    assert result.bill.status == "exact"


async def test_a_thousand_scaled_calls_at_once_keep_their_answers_apart():
    async def script(body, number):
        await steps(number % 3)
        return body["prompt"]

    model, answers = Model(script), {}
    ask = scaled(ttc.BestOfN(2), model, verifier=lambda output, prompt: output == prompt)

    async def one(number):
        answers[number] = await ask(f"question {number}")

    async with anyio.create_task_group() as group:
        for number in range(1_000):
            group.start_soon(one, number)
    assert answers == {number: f"question {number}" for number in range(1_000)}


# Stop, and cancel what is left.


async def test_the_first_accepted_answer_ends_the_search_and_cancels_the_rest():
    cleaned = []

    async def script(body, number):
        if number == 2:
            await steps(3)
            return "right"
        try:
            await forever()
        finally:
            cleaned.append(number)

    model = Model(script)
    result = await scaled(ttc.BestOfN(5), model).run()
    assert (result.output, result.winner.index, result.stop_reason) == ("right", result.samples[0].index, "accepted")
    assert sorted(cleaned) == [0, 1, 3, 4]
    assert (model.in_flight, model.ended) == (0, 4)


async def test_a_vote_ends_as_soon_as_it_is_decided():
    async def script(body, number):
        return "yes" if number < 3 else await forever()

    model = Model(script)
    result = await scaled(ttc.SelfConsistency(5), model, verifier=None).run()
    assert (result.output, len(result.samples), result.stop_reason) == ("yes", 3, "decided")
    assert model.in_flight == 0


async def test_a_draw_not_yet_started_costs_nothing():
    model = Model(lambda body, number: "right")
    await scaled(ttc.BestOfN(50, at_once=1), model)()
    assert len(model.bodies) == 1


async def test_a_strategy_can_cancel_a_draw():
    @dataclass(frozen=True)
    class DropsTheFirst:
        def search(self, call):
            yield [ttc.Draw(), ttc.Draw()]
            sample = yield [ttc.Cancel(0), ttc.Cancel(0), ttc.Cancel(1), ttc.Cancel(99)]
            assert sample is None  # 0 was cancelled, 1 has arrived, 99 never was
            return ttc.best([first])

    async def script(body, number):
        return "right" if place() else await forever()

    class Keeps(DropsTheFirst):
        def search(self, call):
            nonlocal first
            steps_ = super().search(call)
            first = yield next(steps_)
            try:
                step = steps_.send(first)
                while True:
                    step = steps_.send((yield step))
            except StopIteration as end:
                return end.value

    first = None
    model = Model(script)
    result = await scaled(Keeps(), model).run()
    assert (result.winner.index, result.output, len(result.samples)) == (1, "right", 1)
    assert model.ended == 1
    assert result.bill.gaps == {"cancelled": 1}


async def test_a_draw_that_swallows_its_cancellation_harms_nobody():
    async def ask() -> str:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        if place() == 0:
            await steps(3)
            return "right"
        try:
            await forever()
        except BaseException:  # noqa: BLE001  # what a careless function does
            return "right too"

    result = await ttc.scale(ttc.BestOfN(4), verifier=lambda output: output == "right")(ask).run()
    assert (result.output, result.winner.index) == ("right", 0)


# Limits.


async def test_concurrency_bounds_the_draws_under_way_of_one_call():
    async def script(body, number):
        await steps(3)
        return "wrong"

    model = Model(script)
    result = await scaled(ttc.BestOfN(9, stop="all"), model, budget=ttc.Budget(concurrency=2)).run()
    assert (model.peak, len(result.samples)) == (2, 9)


async def test_concurrency_of_a_block_is_shared_by_its_calls():
    async def script(body, number):
        await steps(3)
        return "wrong"

    model = Model(script)
    ask = scaled(ttc.BestOfN(4, stop="all"), model)
    with ttc.policy(budget=ttc.Budget(concurrency=3)):
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(ask)
    assert (model.peak, len(model.bodies)) == (3, 16)


async def test_concurrency_of_the_process_is_shared_by_everything():
    async def script(body, number):
        await steps(3)
        return "wrong"

    ttc.configure(concurrency=2)
    model = Model(script)
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(scaled(ttc.BestOfN(3, stop="all"), model))
    assert (model.peak, len(model.bodies)) == (2, 12)


async def test_a_backend_with_slots_gets_no_more_draws_at_once():
    async def script(body, number):
        await steps(3)
        return "wrong"

    model = Model(script)

    @ttc.scale(ttc.BestOfN(6, stop="all"), verifier=lambda output: False, adapter=Fake(slots=2, can=frozenset()))
    async def complete(prompt: str) -> Completion:
        return await model.send({"prompt": prompt})

    await complete("hi")
    assert model.peak == 2


async def test_a_limit_of_samples_is_kept_and_the_best_so_far_returned():
    model = Model(lambda body, number: "wrong" if number else "nearly")
    ask = scaled(
        ttc.BestOfN(8, stop="all"), model, verifier=lambda output: 0.8 if output == "nearly" else 0.1,
        budget=ttc.Budget(samples=3),
    )  # fmt: skip
    result = await ask.run()
    assert (len(model.bodies), result.output, result.stop_reason, result.accepted) == (3, "nearly", "budget", False)


async def test_samples_of_a_block_are_shared_by_its_calls():
    model = Model(lambda body, number: "wrong")
    ask = scaled(ttc.BestOfN(4, stop="all"), model)
    with ttc.policy(budget=ttc.Budget(samples=6)):
        await ask()
        await ask()
        with pytest.raises(ttc.BudgetExceeded, match="budget of 6 samples leaves no room") as caught:
            await ask()
    assert len(model.bodies) == 6
    assert ttc.result_of(caught.value).samples == ()


async def test_at_the_deadline_the_best_so_far_is_returned():
    async def script(body, number):
        return "nearly" if place() < 2 else await forever()

    model = Model(script)
    ask = scaled(ttc.BestOfN(5, stop="all"), model, verifier=lambda output: 0.7, budget=ttc.Budget(seconds=0.5))
    result = await ask.run()
    assert (result.output, result.stop_reason, result.winner.index) == ("nearly", "deadline", 0)
    assert (len(result.samples), model.in_flight, model.ended) == (2, 0, 3)
    assert (result.bill.status, result.bill.gaps) == ("lower bound", {"cancelled": 3})


async def test_at_the_deadline_a_vote_is_held_with_what_there_is():
    async def script(body, number):
        return "ab"[place() > 0] if place() < 3 else await forever()

    ask = scaled(ttc.SelfConsistency(9), Model(script), verifier=None, budget=ttc.Budget(seconds=0.5))
    assert await ask() == "b"


async def test_a_deadline_that_leaves_nothing_says_so_and_keeps_the_story():
    async def script(body, number):
        await forever()

    model = Model(script)
    with pytest.raises(ttc.BudgetExceeded, match=r"budget of 0\.02 seconds") as caught:
        await scaled(ttc.BestOfN(3), model, budget=ttc.Budget(seconds=0.02))()
    story = ttc.result_of(caught.value)
    assert (story.samples, story.stop_reason, story.bill.total.calls) == ((), "deadline", 3)


async def test_the_deadline_of_a_block_holds_for_the_calls_inside():
    async def script(body, number):
        await forever()

    ask = scaled(ttc.BestOfN(2), Model(script))
    with ttc.policy(budget=ttc.Budget(seconds=0.02)), pytest.raises(ttc.BudgetExceeded, match="seconds"):
        await ask()


async def test_no_draw_starts_after_the_deadline():
    async def script(body, number):
        await forever()

    model = Model(script)
    ask = scaled(ttc.Refine(5), model, budget=ttc.Budget(seconds=0.02))
    with pytest.raises(ttc.BudgetExceeded):
        await ask()
    assert len(model.bodies) == 1


async def test_an_answer_that_has_arrived_at_the_deadline_still_counts():
    """Whatever wins the race, the search ends whole: an answer, or BudgetExceeded."""

    async def script(body, number):
        await anyio.sleep(0.005 * (number + 1))
        return "right"

    outcomes = set()
    for budget in (0.004, 0.005, 0.006, 0.007):
        model = Model(script)
        try:
            outcomes.add(await scaled(ttc.BestOfN(4), model, budget=ttc.Budget(seconds=budget))())
        except ttc.BudgetExceeded:
            outcomes.add("late")
        assert model.in_flight == 0
    assert outcomes <= {"right", "late"}


# Cancellation frees everything.


async def test_a_caller_that_leaves_takes_every_draw_along():
    cleaned = []

    async def script(body, number):
        try:
            await forever()
        finally:
            cleaned.append(number)

    model, ledger_free = Model(script), []
    with ttc.tracking() as bill, ttc.policy(budget=ttc.Budget(tokens=100_000)):
        account = SCOPE.get().ledger
        async with anyio.create_task_group() as group:
            group.start_soon(scaled(ttc.BestOfN(4), model))
            while model.in_flight < 4:
                await anyio.lowlevel.checkpoint()
            ledger_free.append(account.reserved["tokens"])
            group.cancel_scope.cancel()
    assert sorted(cleaned) == [0, 1, 2, 3]
    assert ledger_free[0] > 0
    assert account.reserved["tokens"] == 0
    # Nobody knows what the four have cost: they are charged as held, and the bill says that it is a guess.
    assert account.spent["tokens"] == ledger_free[0]
    assert (bill.total.calls, bill.status, bill.gaps) == (4, "unknown", {"cancelled": 4})


async def test_a_caller_that_leaves_while_draws_wait_for_room_leaves_no_queue():
    async def script(body, number):
        await forever()

    model = Model(script)
    with ttc.policy(budget=ttc.Budget(tokens=1_000, concurrency=2)):
        account = SCOPE.get().ledger
        ask = scaled(ttc.BestOfN(8), model, budget=ttc.Budget(concurrency=5))
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
            while model.in_flight < 2:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    assert not account.waiting_for_seats
    assert not account.waiting_for_money
    assert not any(account.reserved.values())


# Failures.


async def test_a_failed_sample_is_dropped_and_never_sinks_the_call():
    def script(body, number):
        return [ValueError("draw 0"), Refused(400), "right", "wrong"][place()]

    result = await scaled(ttc.BestOfN(4, stop="all"), Model(script)).run()
    assert result.output == "right"
    assert [sample.status for sample in result.samples] == ["failed", "failed", "answer", "answer"]
    assert [sample.fault for sample in result.samples] == ["error", "rejected", None, None]


async def test_where_all_failed_the_earliest_launched_draws_own_exception_comes_out_ungrouped():
    errors = [ValueError("zero"), KeyError("one"), RuntimeError("two")]

    async def script(body, number):
        await steps(6 - 2 * place())  # the earliest launched is the last to fail
        return errors[place()]

    with pytest.raises(ValueError, match="zero") as caught:
        await scaled(ttc.BestOfN(3), Model(script))()
    assert caught.value is errors[0]
    story = ttc.result_of(caught.value)
    assert [sample.error for sample in story.samples] == errors
    assert (story.bill.total.calls, story.accepted, story.output) == (3, False, None)


async def test_result_of_an_exception_from_elsewhere_is_none():
    assert ttc.result_of(ValueError()) is None
    assert ttc.result_of(KeyboardInterrupt()) is None


async def test_not_accepted_is_raised_where_asked_for_and_has_the_best_sample():
    model = Model(lambda body, number: "abc"[number])
    ask = scaled(
        ttc.BestOfN(3, stop="all"), model, on_reject="raise",
        verifier=lambda output: ttc.Verdict({"a": 0.1, "b": 0.6, "c": 0.3}[output], feedback=f"{output} will not do"),
    )  # fmt: skip
    with pytest.raises(ttc.NotAccepted, match=r"none of the 3 samples .* best's feedback: b will not do") as caught:
        await ask()
    assert ttc.result_of(caught.value).output == "b"


async def test_by_default_the_best_comes_back_unaccepted():
    result = await scaled(ttc.BestOfN(2), Model(lambda body, number: "wrong")).run()
    assert (result.output, result.accepted, result.stop_reason) == ("wrong", False, "decided")


async def test_the_winners_own_object_comes_back_untouched():
    outputs = [object() for _ in range(3)]

    async def ask():
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return outputs[len(made) - 1 if made.append(1) is None else 0]

    made = []
    result = await ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: output is outputs[1])(ask).run()
    assert result.output is outputs[1]


class Awkward:
    """Compares like an array, hashes like nothing, and cannot be printed."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("no truth value")

    def __bool__(self):
        raise RuntimeError("no truth value")

    def __repr__(self):
        raise RuntimeError("no repr")


async def test_an_output_that_cannot_be_compared_or_printed_is_an_output_like_any_other():
    async def ask():
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return made[place()]

    made = [Awkward(), Awkward(), Awkward()]
    best = ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: output is made[2])
    assert (await best(ask)()) is made[2]
    assert (await ttc.scale(ttc.SelfConsistency(3, by=id))(ask)()) is made[0]
    with pytest.raises(RuntimeError, match="no repr"):  # a vote has to tell answers apart, and says that it cannot
        await ttc.scale(ttc.SelfConsistency(3))(ask)()


class Unspeakable(Exception):
    """Has no message, not even a bad one."""

    def __str__(self):
        raise RuntimeError("cannot say")

    @property
    def status_code(self):
        raise RuntimeError("cannot say that either")


class Slotted(Exception):
    __slots__ = ("code",)


class Locked(Exception):
    def __setattr__(self, name, value):
        raise TypeError("locked")


@pytest.mark.parametrize("kind", [Unspeakable, Slotted, Locked])
async def test_an_exception_of_any_kind_comes_out_as_itself(kind):
    error = kind()
    with pytest.raises(kind) as caught:
        await scaled(ttc.BestOfN(3), Model(lambda body, number: error))()
    assert caught.value is error


async def test_an_exception_that_cannot_say_what_it_is_leaves_no_reservation_behind():
    model = Model(lambda body, number: "right" if place() else Unspeakable())
    with ttc.policy(budget=ttc.Budget(tokens=10_000)):
        assert await scaled(ttc.BestOfN(2), model)() == "right"
        assert SCOPE.get().ledger.reserved["tokens"] == 0


# Strategies that misbehave are told apart from everything else.


@dataclass(frozen=True)
class Odd:
    kind: str

    def search(self, call):
        return getattr(self, self.kind)()

    def asks_on(self):
        while True:
            yield []

    def returns_a_stranger(self):
        yield [ttc.Draw()]
        return ttc.Sample(index=7, draw=ttc.Draw(), call=ttc.Call(name="x"), output="y")

    def returns_words(self):
        yield [ttc.Draw()]
        return "right"

    def raises(self):
        yield [ttc.Draw()]
        raise LookupError("the strategy's own")

    def is_no_generator(self):
        return [ttc.Draw()]

    def yields_a_draw(self):
        yield ttc.Draw()

    def gives_up(self):
        yield [ttc.Draw()]
        return ttc.best([])


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("asks_on", RuntimeError, "goes on asking after it was told that no more come"),
        ("returns_a_stranger", TypeError, "must return one of the samples it was sent"),
        ("returns_words", TypeError, "must return one of the samples it was sent, got 'right'"),
        ("raises", LookupError, "the strategy's own"),
        ("is_no_generator", TypeError, "must be a generator"),
        ("yields_a_draw", TypeError, "not iterable"),
        ("gives_up", RuntimeError, "returned no sample"),
    ],
)
async def test_a_strategy_that(kind, error, says):
    model = Model(lambda body, number: "right")
    with pytest.raises(error, match=says) as caught:
        await scaled(Odd(kind), model)()
    assert isinstance(ttc.result_of(caught.value), ttc.Result)
    assert model.in_flight == 0


async def test_a_strategy_may_draw_again_after_none_if_the_budget_has_not_ended():
    @dataclass(frozen=True)
    class Again:
        def search(self, call):
            assert (yield []) is None
            sample = yield [ttc.Draw()]
            assert sample is not None
            assert (yield []) is None
            return ttc.best([(yield [ttc.Draw()]), sample])

    model = Model(lambda body, number: "right")
    assert await scaled(Again(), model)() == "right"
    assert len(model.bodies) == 2


# Repeatable.


@thorough(25)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=7), st.data())
async def test_a_vote_elects_the_same_class_however_long_each_draw_takes(texts, data):
    delays = data.draw(st.lists(st.integers(0, 4), min_size=len(texts), max_size=len(texts)))

    async def ask():
        ttc.record_usage(ttc.Usage(1, 1, 1))
        await steps(delays[place()])
        return texts[place()]

    most = max(texts.count(text) for text in texts)
    expected = next(text for text in texts if texts.count(text) == most)
    assert await ttc.scale(ttc.SelfConsistency(len(texts)))(ask)() == expected


async def test_equal_scores_go_to_the_earliest_launched_whatever_arrives_first():
    async def script(body, number):
        await steps(12 - 3 * place())
        return "same"

    result = await scaled(ttc.BestOfN(4, stop="all"), Model(script), verifier=lambda output: 0.5).run()
    assert result.winner.index == 0


# The function itself can be anything.


async def test_the_same_function_can_be_under_way_many_times_within_itself():
    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: True)
    async def countdown(n: int) -> int:
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return 1 + await countdown(n - 1) if n else 0

    result = await countdown.run(4)
    assert (result.output, result.bill.total.calls) == (4, 15)  # three draws of five calls each, not 3 to the 5th


@pytest.mark.parametrize("text", ["", "żółć 漢字 🫠 \x00 \ud800", "line\r\n\u2028line", "x" * 1_000_000])
async def test_any_text_comes_back_as_it_was(text):
    def same(output):
        return output == text

    result = await scaled(ttc.BestOfN(2), Model(lambda body, number: text), verifier=same).run()
    assert result.output is text
    assert await scaled(ttc.SelfConsistency(2), Model(lambda body, number: text), verifier=None)() is text
    assert len(str(result)) < 10_000


async def test_a_function_may_use_task_groups_timeouts_and_threads():
    @ttc.scale(ttc.BestOfN(3), verifier=lambda output: output == [1, 2])
    async def ask() -> list[int]:
        found = []

        async def one(value):
            await steps(1)
            found.append(value)

        with anyio.move_on_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(one, 1)
                group.start_soon(one, 2)
        await anyio.to_thread.run_sync(lambda: ttc.record_usage(ttc.Usage(1, 2, 3)))
        return sorted(found)

    result = await ask.run()
    assert result.output == [1, 2]
    assert result.bill.total.tokens >= 5
