"""Equal draws of one step share a request where the endpoint has `n`: one call, an exact total, a split by weight."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from fake_model import (  # noqa: F401
    APIConnectionError,
    Completion,
    Fake,
    Model,
    Refused,
    forever,
    fresh,
    place,
    steps,
    words,
)

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE
from ttc_middleware.seam import Site, scale_call

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

PROMPT = "what is the answer"  # 4 tokens


class Client:
    """An SDK's client, wrapped: each of its calls is scaled."""

    def __init__(self, model, strategy, verifier=lambda output: output.text == "right", **options):
        self.model = model
        self.site = Site("client", strategy, verifier, adapter=model.adapter, **options)

    async def __call__(self, **body):
        call = ttc.Call(name="client", arguments={"prompt": PROMPT, **body})
        return await scale_call(self.site, call, lambda given, leaf: self.model.send(given.arguments))

    async def tracked(self, **body):
        with ttc.tracking() as bill:
            return await self(**body), bill.bill


def numbered(body, number):
    """As many different texts as were asked for."""
    n = body.get("n") or 1
    return Completion(tuple(f"{'word ' * (place + 1)}{number}" for place in range(n)))


async def test_equal_draws_of_one_step_are_one_request():
    model = Model(numbered)
    output, bill = await Client(model, ttc.BestOfN(4, stop="all"), lambda output: words(output.text) / 10).tracked()
    assert [body["n"] for body in model.bodies] == [4]
    assert output.texts == ("word word word word 0",)
    assert (bill.total.calls, bill.total.tokens, bill.status) == (1, model.billed, "exact")
    assert bill.visible.output_tokens + bill.discarded.output_tokens == model.completion
    assert bill.plain.input_tokens == 4


async def test_the_samples_share_the_usage_and_say_so():
    model = Model(lambda body, number: Completion(("a", "bb bb", "c c c"), reasoning_tokens=31, usd=Decimal("0.01")))
    site = Site("client", ttc.BestOfN(3, stop="all"), lambda output: 0.5, adapter=model.adapter)
    from ttc_middleware._engine import search  # noqa: PLC0415
    from ttc_middleware.seam import call_model  # noqa: PLC0415

    plan, call = site.plan(), ttc.Call(name="client", arguments={"prompt": PROMPT})
    result = await search(
        plan, call, lambda given: call_model(model.adapter, given, lambda sent, leaf: model.send(sent.arguments))
    )
    assert all(sample.apportioned for sample in result.samples)
    total = ttc.Usage.zero()
    for sample in result.samples:
        total += sample.usage
    assert replace(total, seconds=0.0) == ttc.Usage(1, 4, 1 + 2 + 3 + 31, 31, 0, Decimal("0.01"))
    assert (result.bill.total.usd, result.bill.total.tokens) == (Decimal("0.01"), 41)


@pytest.mark.parametrize(
    "strategy", [ttc.BestOfN(3), ttc.BestOfN(3, stop="all", at_once=3), ttc.SelfConsistency(3)], ids=repr
)
async def test_a_strategy_that_may_end_early_gets_requests_of_its_own(strategy):
    model = Model()
    await Client(model, strategy, lambda output: False)()
    assert [body.get("n") for body in model.bodies] == [None] * len(model.bodies)


@pytest.mark.parametrize("body", [{"n": 2}, {"n": 1}])
async def test_a_caller_that_asks_for_choices_itself_is_left_alone_unless_it_is_one(body):
    model = Model()
    await Client(model, ttc.BestOfN(3, stop="all"), lambda output: False)(**body)
    assert [each["n"] for each in model.bodies] == ([3] if body["n"] == 1 else [2, 2, 2])


async def test_an_adapter_without_choices_gets_requests_of_its_own():
    model = Model(adapter=Fake(can=frozenset(ttc.Capability) - {ttc.Capability.CHOICES}))
    await Client(model, ttc.BestOfN(3, stop="all"), lambda output: False)()
    assert len(model.bodies) == 3


async def test_draws_with_seeds_are_not_equal():
    class Seeded:
        wants_all = True

        def search(self, call):
            return ttc.best((yield from ttc.gather([ttc.Draw(seed=1), ttc.Draw(seed=1), ttc.Draw(), ttc.Draw()])))

    model = Model()
    await Client(model, Seeded(), lambda output: False)()
    assert sorted((body.get("seed") or 0, body.get("n") or 1) for body in model.bodies) == [(0, 2), (1, 1), (1, 1)]


async def test_a_caller_whose_temperature_would_make_all_draws_equal_gets_warmer_ones_after_the_first():
    model = Model()
    await Client(model, ttc.BestOfN(4, stop="all"), lambda output: False)(temperature=0.0)
    assert sorted((body["temperature"], body.get("n") or 1) for body in model.bodies) == [(0.0, 1), (0.8, 3)]


# Endpoints that do not have `n` after all.


def ignores_n(body, number):
    return Completion(("wrong",))


async def test_an_endpoint_that_ignores_n_is_asked_for_the_rest_one_by_one_and_remembered():
    model = Model(ignores_n)
    client = Client(model, ttc.BestOfN(4, stop="all"))
    _, bill = await client.tracked()
    assert [body.get("n") for body in model.bodies] == [4, None, None, None]
    assert (bill.total.tokens, bill.total.calls) == (model.billed, 4)
    await client()
    assert [body.get("n") for body in model.bodies[4:]] == [None] * 4


async def test_an_endpoint_that_refuses_n_is_asked_one_by_one_and_remembered():
    model = Model(lambda body, number: Refused(400, "n is not supported") if body.get("n") else "wrong")
    client = Client(model, ttc.BestOfN(3, stop="all"))
    _, bill = await client.tracked()
    assert [body.get("n") for body in model.bodies] == [3, None, None, None]
    assert (bill.total.tokens, bill.total.calls, bill.status) == (model.billed, 4, "exact")
    await client()
    assert [body.get("n") for body in model.bodies[4:]] == [None] * 3


async def test_another_model_or_server_is_not_blamed_for_it():
    model = Model(ignores_n)
    client = Client(model, ttc.BestOfN(2, stop="all"))
    await client()
    model.bodies.clear()
    await client(model="other")
    await client(server="other.test")
    assert [body.get("n") for body in model.bodies] == [2, None, 2, None]


async def test_a_request_that_is_refused_for_another_reason_is_not_held_against_n():
    model = Model(lambda body, number: Refused(400, "no such model"))
    client = Client(model, ttc.BestOfN(3, stop="all"))
    for _ in range(2):
        with pytest.raises(Refused):
            await client()
    assert [body.get("n") for body in model.bodies] == [3, None, None, None] * 2


@pytest.mark.parametrize("limit", [{"budget": ttc.Budget(concurrency=1)}, {}])
async def test_falling_back_does_not_wait_for_its_own_seat(limit):
    if not limit:
        ttc.configure(concurrency=1)
    model = Model(ignores_n)
    with anyio.fail_after(30):
        await Client(model, ttc.BestOfN(3, stop="all"), **limit)()
    assert len(model.bodies) == 3


async def test_two_searches_that_fall_back_do_not_wait_for_each_others_seats():
    async def script(body, number):
        await steps(3)
        return Completion(("wrong",))

    ttc.configure(concurrency=2)
    model = Model(script)
    client = Client(model, ttc.BestOfN(3, stop="all"))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(client)
            group.start_soon(client)
    assert (model.peak, len(model.bodies)) == (2, 6)


# What goes wrong.


async def test_a_request_that_fails_has_failed_all_its_samples_once():
    model = Model(lambda body, number: ValueError("broken"))
    with pytest.raises(ValueError, match="broken") as caught:
        await Client(model, ttc.BestOfN(3, stop="all"))()
    result = ttc.result_of(caught.value)
    assert [sample.status for sample in result.samples] == ["failed"] * 3
    assert (len(model.bodies), result.bill.total.calls) == (1, 1)


async def test_a_retried_request_is_one_request_more():
    model = Model(lambda body, number: numbered(body, number) if number else APIConnectionError("cut"))
    _, bill = await Client(model, ttc.BestOfN(3, stop="all")).tracked()
    assert [body["n"] for body in model.bodies] == [3, 3]
    assert (bill.total.calls, bill.gaps) == (2, {"connection": 1})


async def test_an_empty_choice_is_a_failed_sample_and_not_a_reason_to_ask_again():
    model = Model(lambda body, number: Completion(("right", None, "wrong"), input_tokens=4, output_tokens=2))
    output, bill = await Client(model, ttc.BestOfN(3, stop="all")).tracked()
    assert (output.text, len(model.bodies), bill.total.tokens) == ("right", 1, 6)


async def test_a_response_without_any_choice_is_not_asked_for_again():
    model = Model(lambda body, number: Completion((), input_tokens=4, output_tokens=0, status="failed", fault="empty"))
    client = Client(model, ttc.BestOfN(3, stop="all"))
    model.adapter.__dict__["read"] = lambda output: ttc.Reading(
        status="failed", fault="empty", usage=ttc.Usage(1, output.input_tokens, 0)
    )
    with pytest.raises(ttc.BadResponse, match=r"none of the 3 responses .* holds an answer") as caught:
        await client()
    assert caught.value.fault == "empty"
    assert len(model.bodies) == 1


async def test_each_sample_is_verified_and_all_at_once_where_that_takes_time():
    waiting, everybody = [], anyio.Event()

    async def check(output):
        waiting.append(output.text)
        if len(waiting) == 3:
            everybody.set()
        await everybody.wait()
        return output.text == "word word 0"

    model = Model(numbered)
    output = await Client(model, ttc.BestOfN(3, stop="all"), check)()
    assert output.text == "word word 0"


async def test_max_tokens_of_each_choice_are_held_and_nothing_is_overshot():
    model = Model(lambda body, number: Completion(tuple(f"{place} " * 900 for place in range(body["n"]))))
    with ttc.policy(budget=ttc.Budget(tokens=2_000)):
        await Client(model, ttc.BestOfN(4, stop="all"), lambda output: 0.5)()
        account = SCOPE.get().ledger
    assert model.bodies[0]["max_tokens"] == (2_000 - 4) // 4
    assert (account.spent["tokens"], account.reserved["tokens"], account.overrun["tokens"]) == (model.billed, 0, 0)


async def test_samples_are_counted_one_by_one():
    model = Model(numbered)
    await Client(model, ttc.BestOfN(8, stop="all"), budget=ttc.Budget(samples=3))()
    assert [body["n"] for body in model.bodies] == [3]


async def test_at_the_deadline_a_shared_request_is_cancelled_whole():
    async def script(body, number):
        await forever()

    model = Model(script)
    with ttc.tracking() as bill, pytest.raises(ttc.BudgetExceeded, match="seconds"):
        await Client(model, ttc.BestOfN(4, stop="all"), budget=ttc.Budget(seconds=0.02))()
    assert (model.ended, bill.gaps, bill.total.calls) == (1, {"cancelled": 1}, 1)


async def test_the_first_answer_of_a_fallback_can_end_the_search_and_the_endpoint_is_still_remembered():
    class UntilRight:
        wants_all = True

        def search(self, call):
            found = yield from ttc.gather([ttc.Draw()] * 3, until=lambda sample: sample.index == 1)
            return ttc.best(found)

    async def script(body, number):
        if "n" not in body and place() == 2:
            await forever()
        return Completion(("right",))

    model = Model(script)
    client = Client(model, UntilRight(), lambda output: True)
    if not (await client()).text == "right":
        raise AssertionError
    model.script = lambda body, number: "right"
    model.bodies.clear()
    await client()
    assert [body.get("n") for body in model.bodies] == [None] * len(model.bodies)


# Streams of a wrapped client, and clients that no policy speaks of, pass through.


async def test_where_nothing_says_so_a_wrapped_client_makes_its_call_once():
    model = Model(lambda body, number: "wrong")
    output, bill = await Client(model, None).tracked()
    assert (output.text, len(model.bodies), bill.total.calls) == ("wrong", 1, 1)


async def test_a_wrapped_client_inside_a_draw_is_not_scaled_again():
    model = Model(lambda body, number: "right")
    client = Client(model, ttc.BestOfN(4, stop="all"))

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: True)
    async def ask() -> str:
        return (await client()).text

    await ask()
    assert len(model.bodies) == 3


# A function that is itself a model call.


async def test_a_function_with_an_adapter_is_steered_and_merged_like_a_client():
    model = Model(numbered)

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda output: words(output.text) / 10, adapter=Fake())
    async def complete(prompt: str, n: int = 1, temperature: float = 1.0) -> Completion:
        return await model.send({"prompt": prompt, "n": n, "temperature": temperature})

    result = await complete.run(PROMPT)
    assert [body["n"] for body in model.bodies] == [3]
    assert (result.output.text, result.bill.total.tokens) == ("word word word 0", model.billed)


async def test_a_strategy_that_the_adapter_cannot_serve_is_refused_at_decoration():
    with pytest.raises(TypeError, match="needs instruction, which Fake cannot do for ask"):
        ttc.scale(ttc.Refine(2), verifier=lambda output: True, adapter=Fake(can=frozenset()), name="ask")
