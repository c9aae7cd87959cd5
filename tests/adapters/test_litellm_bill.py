"""litellm calls that fail, are retried, cancelled, cut or unreported: one owner of retries, one bill, hard budgets."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm_calls import MESSAGES, MODELS, asked, exact, its_tests, joined, litellm, text_of, until
from provider import Provider, Reply

import ttc_litellm
import ttc_middleware as ttc

pytestmark = [*its_tests, pytest.mark.slow]

ALL = ttc.BestOfN(4, stop="all")
SOON = {"retry-after-ms": "1"}


def anything(text: str) -> bool:
    return True


def single(function):
    return ttc.scale(ttc.Single())(function)


def failing_first(times, status=429):
    """Fails so many times, then answers."""
    return lambda body, number: (
        Reply(status=status, headers=SOON) if number < times else Reply(text="well then", reasoning=3)
    )


# Who retries.


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_overloaded_provider_is_asked_again_as_it_wishes(model, stream):
    with Provider(failing_first(1)) as provider:

        @single
        async def answer() -> str:
            response = await litellm.acompletion(**asked(provider, model, stream=stream))
            return joined([chunk async for chunk in response]) if stream else text_of(response)

        result = await answer.run()
        assert result.output == "well then"
        exact(result.bill, provider)
        assert result.bill.total.calls == 2
        assert result.bill.discarded.calls == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "more",
    [{}, {"num_retries": 5}, {"max_retries": 5}, {"retry_policy": {"InternalServerErrorRetries": 4}}],
    ids=["default", "num_retries", "max_retries", "retry_policy"],
)
async def test_only_the_engine_retries_async_calls(more, monkeypatch):
    monkeypatch.setattr(litellm, "num_retries", 4)
    with Provider(failing_first(100, 500)) as provider:

        @single
        async def answer() -> None:
            await litellm.acompletion(**asked(provider, **more))

        with pytest.raises(litellm.InternalServerError):
            await answer()
        assert provider.settled().requests == 2


@pytest.mark.parametrize(
    "more",
    [{}, {"num_retries": 5}, {"max_retries": 5}, {"retry_policy": {"InternalServerErrorRetries": 4}}],
    ids=["default", "num_retries", "max_retries", "retry_policy"],
)
def test_only_the_engine_retries_blocking_calls(more, monkeypatch):
    monkeypatch.setattr(litellm, "num_retries", 4)
    with Provider(failing_first(100, 500)) as provider:

        @single
        def answer() -> None:
            litellm.completion(**asked(provider, **more))

        with pytest.raises(litellm.InternalServerError):
            answer()
        assert provider.settled().requests == 2


@pytest.mark.asyncio
async def test_only_the_engine_retries_behind_a_router():
    with Provider(failing_first(100, 500)) as provider:
        group = litellm.Router([{"model_name": "group", "litellm_params": asked(provider)}], num_retries=5)

        @single
        async def answer() -> None:
            await group.acompletion(model="group", messages=MESSAGES)

        with pytest.raises(litellm.InternalServerError):
            await answer()
        assert provider.settled().requests == 2


def test_only_the_engine_retries_behind_a_blocking_router():
    with Provider(failing_first(100, 500)) as provider:
        group = litellm.Router([{"model_name": "group", "litellm_params": asked(provider)}], num_retries=5)

        @single
        def answer() -> None:
            group.completion(model="group", messages=MESSAGES)

        with pytest.raises(litellm.InternalServerError):
            answer()
        assert provider.settled().requests == 2


@pytest.mark.asyncio
async def test_outside_of_draws_litellm_retries_as_it_is_told():
    with Provider(failing_first(2)) as provider:
        ttc.instrument()
        response = await litellm.acompletion(**asked(provider, num_retries=3, retry_strategy="constant_retry"))
        assert text_of(response) == "well then"
        assert provider.settled().requests == 3


# What fails.


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
async def test_what_litellm_raised_is_what_the_caller_gets(model):
    with Provider(lambda body, number: Reply(status=400, error="no such thing")) as provider:

        @ttc.scale(ALL, verifier=anything)
        async def answer() -> None:
            await litellm.acompletion(**asked(provider, model))

        with pytest.raises(litellm.BadRequestError, match="no such thing") as caught:
            await answer()
        result = ttc.result_of(caught.value)
        assert provider.settled().requests == result.bill.total.calls == 4
        assert [sample.fault for sample in result.samples] == ["rejected"] * 4
        assert result.bill.status == "exact"


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
async def test_a_connection_that_was_never_made_costs_nothing(model):
    @single
    async def answer() -> None:
        await litellm.acompletion(model=model, messages=MESSAGES, api_base="http://127.0.0.1:9/v1", api_key="x")

    with pytest.raises(litellm.InternalServerError) as caught:
        await answer()
    result = ttc.result_of(caught.value)
    assert [sample.fault for sample in result.samples] == ["connection"]
    assert result.bill.status == "exact"
    assert result.bill.total.tokens == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
async def test_a_call_that_times_out_may_have_been_billed(model):
    with Provider(lambda body, number: Reply(delay=30)) as provider:

        @single
        async def answer() -> None:
            await litellm.acompletion(**asked(provider, model, timeout=0.2))

        with pytest.raises(litellm.Timeout) as caught:
            await answer()
        result = ttc.result_of(caught.value)
        assert [sample.fault for sample in result.samples] == ["timeout"]
        assert result.bill.gaps == {"timeout": 2}
        assert result.bill.status == "unknown"


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
async def test_a_draw_that_is_cancelled_hangs_up_and_stays_on_the_bill(model):
    def script(body, number):
        return Reply(text="right") if number == 0 else Reply(text="late", delay=30)

    with Provider(script) as provider:

        @ttc.scale(ttc.BestOfN(3), verifier=lambda text: text == "right")
        async def answer() -> str:
            return text_of(await litellm.acompletion(**asked(provider, model)))

        result = await answer.run()
        assert result.output == "right"
        billed = provider.settled()
        assert billed.aborted == billed.requests - 1
        assert result.bill.total.tokens == billed.tokens
        assert result.bill.gaps.get("cancelled", 0) >= billed.aborted


# What litellm makes up.


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_where_no_usage_comes_the_bill_does_not_invent_one(stream):
    with Provider(lambda body, number: Reply(text="some words", fault="no usage")) as provider:

        @single
        async def answer() -> str:
            response = await litellm.acompletion(**asked(provider, stream=stream))
            return joined([chunk async for chunk in response]) if stream else text_of(response)

        result = await answer.run()
        assert result.output == "some words"
        assert result.bill.gaps == {"no usage reported": 1}
        assert result.bill.status != "exact"
        assert result.bill.total.input_tokens == 0


@pytest.mark.asyncio
async def test_a_stream_that_the_provider_cut_is_not_an_answer():
    with Provider(lambda body, number: Reply(text="one two three", fault="cut stream")) as provider:

        @ttc.scale(ALL, verifier=anything)
        async def answer() -> str:
            return joined([chunk async for chunk in await litellm.acompletion(**asked(provider, stream=True))])

        result = await answer.run()
        assert result.bill.gaps == {"cut": 4}


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_cost_is_the_providers_or_the_users_but_not_litellms_own(stream):
    ttc.configure(prices={"gpt-4o": ttc.Price(input=1, output=2)})
    with Provider(lambda body, number: Reply(text="two words")) as provider:

        @single
        async def answer() -> str:
            response = await litellm.acompletion(**asked(provider, "openai/gpt-4o", stream=stream))
            return joined([chunk async for chunk in response]) if stream else text_of(response)

        bill = (await answer.run()).bill
        assert bill.total.usd == Decimal(provider.settled().prompt + 2 * provider.billed.completion) / 10**6
        provider.script = lambda body, number: Reply(text="two words", usage={"cost": 0.25})
        assert (await answer.run()).bill.total.usd == Decimal("0.25")


def test_an_answer_from_litellms_cache_costs_nothing():
    # Made by hand: litellm's own cache hits need more packages than litellm installs.
    cached = litellm.ModelResponse(choices=[{"message": {"content": "known"}}], usage=litellm.Usage(9, 9, 18))
    cached._hidden_params["cache_hit"] = True
    reading = ttc_litellm.Completion().read(cached)
    assert (reading.text, reading.usage) == ("known", ttc.Usage.zero())


# Budgets.


def as_long_as_allowed(body, number):
    """A model that never stops by itself."""
    return Reply(text=" ".join(f"{number}.{place}" for place in range(body["max_tokens"])), finish="length")


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
async def test_a_budget_of_tokens_holds_for_async_draws(model):
    with Provider(as_long_as_allowed) as provider:

        @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=anything, budget=ttc.Budget(tokens=4_000))
        async def answer() -> str:
            return text_of(await litellm.acompletion(**asked(provider, model)))

        result = await answer.run()
        assert 3_000 < provider.settled().tokens <= 4_000
        assert len(provider.bodies) == 8
        assert result.bill.total.tokens == provider.billed.tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_of_tokens_holds_for_blocking_draws(stream):
    with Provider(as_long_as_allowed) as provider:

        @ttc.scale(ttc.BestOfN(8, stop="all"), verifier=anything, budget=ttc.Budget(tokens=4_000))
        def answer() -> str:
            response = litellm.completion(**asked(provider, max_tokens=700, stream=stream))
            return joined(response) if stream else text_of(response)

        result = answer.run()
        assert 1_500 < provider.settled().tokens <= 4_000
        assert max(body["max_tokens"] for body in provider.bodies) <= 700
        assert result.bill.total.tokens == provider.billed.tokens


@pytest.mark.asyncio
async def test_a_budget_of_dollars_holds_across_calls_outside_of_draws():
    ttc.configure(prices={"mock": ttc.Price(input=1, output=1)})
    with Provider(as_long_as_allowed) as provider, ttc.policy(budget=ttc.Budget(usd="0.002")):

        async def spend() -> None:
            for _ in range(100):
                await litellm.acompletion(**asked(provider, max_tokens=500))

        with pytest.raises(ttc.BudgetExceeded):
            await spend()
        assert 1_000 < provider.settled().tokens <= 2_000


@pytest.mark.asyncio
async def test_a_model_without_a_price_is_refused_under_a_budget_of_dollars():
    with Provider() as provider, ttc.policy(budget=ttc.Budget(usd="0.002")):
        with pytest.raises(ttc.PriceUnknown, match="local/mock"):
            await litellm.acompletion(**asked(provider))
        assert not provider.bodies


def test_messages_of_litellms_own_count_towards_the_bound_by_their_bytes():
    message = litellm.Message(content="é" * 1_000, role="assistant")
    call = ttc.Call(name="litellm:completion", arguments={"model": "openai/mock", "messages": [message]})
    assert ttc_litellm.Completion().bound(call) >= 2_000


# litellm's own accounts.


class Log(CustomLogger):
    def __init__(self):
        super().__init__()
        self.successes, self.failures = [], []

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.successes.append(response_obj.usage.total_tokens)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.failures.append(kwargs["exception"])


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_litellm_logs_each_request_once(stream):
    log = Log()
    litellm.callbacks.append(log)
    try:
        with Provider(failing_first(1)) as provider:

            @ttc.scale(ALL, verifier=anything)
            async def answer() -> str:
                response = await litellm.acompletion(**asked(provider, stream=stream))
                return joined([chunk async for chunk in response]) if stream else text_of(response)

            await answer()
            await anyio.to_thread.run_sync(until, lambda: len(log.successes) >= 4)
            await anyio.sleep(0.1)  # for any that should not come
            assert sum(log.successes) == provider.settled().tokens
            assert len(log.failures) == 1
    finally:
        litellm.logging_callback_manager.remove_callback_from_all_lists(log)


def test_a_server_that_knows_no_stream_options_still_streams():
    def script(body, number):
        return Reply(status=400, error="unknown field stream_options") if "stream_options" in body else Reply(text="ok")

    with Provider(script) as provider:

        @single
        def answer() -> str:
            return joined(litellm.completion(**asked(provider, stream=True)))

        assert [answer(), answer()] == ["ok", "ok"]
        assert ["stream_options" in body for body in provider.bodies] == [True, False, False]


def test_a_thread_does_not_wait_beyond_the_deadline():
    with Provider(lambda body, number: Reply(delay=30)) as provider:

        @ttc.scale(ttc.Single(), budget=ttc.Budget(seconds=0.5))
        def answer() -> str:
            return text_of(litellm.completion(**asked(provider)))

        with pytest.raises(ttc.BudgetExceeded):
            answer()
        until(lambda: provider.billed.aborted == provider.billed.requests > 0)
