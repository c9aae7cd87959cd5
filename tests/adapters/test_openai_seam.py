"""Where the adapter sits: patching beside others, wrapping, what draws change, and what stays the caller's."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading

import anyio.to_thread
import openai
import pytest
import wrapt
from openai_clients import ASKED, CHAT, async_client, blocking_client, exact, streams_on_trio
from provider import Provider, Reply, fresh

import ttc_middleware as ttc
import ttc_openai

pytestmark = [streams_on_trio, pytest.mark.anyio]

BASES = (openai._base_client.AsyncAPIClient, openai._base_client.SyncAPIClient)
LEAVES = (openai.AsyncOpenAI, openai.OpenAI)


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=f"answer {number}", reasoning=7)) as provider:
        yield provider


@pytest.fixture
def pristine():
    """The SDK as it comes, and as it was again afterwards."""
    ttc_openai.uninstrument()
    assert not any("request" in vars(leaf) for leaf in LEAVES)
    before = [vars(base)["request"] for base in BASES]
    yield before
    ttc_openai.uninstrument()
    for leaf in LEAVES:
        if "request" in vars(leaf):
            del leaf.request
    for base, request in zip(BASES, before, strict=True):
        base.request = request
    ttc_openai.instrument()


async def chat(client, **more):
    return await client.chat.completions.create(**CHAT, **more)


class Drawn:
    """A strategy of the draws that a test wants, one after the other."""

    def __init__(self, *draws):
        self.draws = draws

    def search(self, call):
        samples = yield from ttc.gather(self.draws, at_once=1)
        return ttc.best(samples)


# Patching.


def test_instrumenting_twice_is_once_and_uninstrumenting_puts_everything_back(pristine):
    ttc_openai.instrument()
    once = [vars(base)["request"] for base in BASES]
    assert once != pristine
    ttc_openai.instrument()
    assert [vars(base)["request"] for base in BASES] == once
    ttc_openai.uninstrument()
    assert [vars(base)["request"] for base in BASES] == pristine
    ttc_openai.uninstrument()
    assert [vars(base)["request"] for base in BASES] == pristine


class Other:
    """Another instrumentation, as OpenInference: it wraps `request` on the leaves, and puts back what it had found."""

    def __init__(self, *, proxied=True):
        self.seen = 0
        self.proxied = proxied

    def instrument(self):
        self.found = [leaf.request for leaf in LEAVES]
        for leaf in LEAVES:
            leaf.request = wrapt.FunctionWrapper(leaf.request, self.call) if self.proxied else self.plain(leaf.request)

    def call(self, wrapped, instance, args, kwargs):
        self.seen += 1
        return wrapped(*args, **kwargs)

    def plain(self, inner):
        @functools.wraps(inner)
        def request(client, *args, **kwargs):
            self.seen += 1
            return inner(client, *args, **kwargs)

        return request

    def uninstrument(self):
        for leaf, request in zip(LEAVES, self.found, strict=True):
            leaf.request = request


ORDERS = {
    "alone": "+",
    "they come first": "o+",
    "they come last": "+o",
    "they come and go before": "oO+",
    "they come and go after": "+oO",
    "they go after we came, and we mend": "o+O+",
    "they come again": "+oOo",
    "we come and go between": "o+-+",
    "we go and come around them": "+o-+",
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("proxied", [True, False])
async def test_beside_another_instrumentation_every_call_is_seen_once_by_both(pristine, provider, order, proxied):
    other = Other(proxied=proxied)
    step = {
        "+": ttc_openai.instrument, "-": ttc_openai.uninstrument, "o": other.instrument, "O": other.uninstrument,
    }  # fmt: skip
    for letter in order:
        step[letter]()
    theirs = order.rfind("o") > order.rfind("O")
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(2, at_once=1), verifier=lambda text: text == "answer 1")
        async def ask():
            return (await chat(client)).choices[0].message.content

        result = await ask.run()
    exact(result.bill, provider)
    with blocking_client(provider) as client, ttc.tracking() as bill:
        client.chat.completions.create(**CHAT)
    assert bill.total.calls == 1
    assert other.seen == (3 if theirs else 0)


@pytest.mark.parametrize("order", ["+-", "o+-", "+o-", "+oO-", "+o-O"])
async def test_after_uninstrumenting_nothing_is_seen_whatever_others_have_done(pristine, provider, order):
    other = Other()
    step = {
        "+": ttc_openai.instrument, "-": ttc_openai.uninstrument, "o": other.instrument, "O": other.uninstrument,
    }  # fmt: skip
    for letter in order:
        step[letter]()
    ttc.configure(instrument=False)
    try:
        async with async_client(provider) as client:
            with ttc.tracking() as bill:
                assert [chunk async for chunk in await chat(client, stream=True)]
    finally:
        ttc.configure(instrument=True)
    assert bill.total.calls == 0
    assert "stream_options" not in provider.bodies[0]


async def test_what_others_have_put_over_ours_stays_when_we_go(pristine, provider):
    ttc_openai.instrument()
    seen, base, ours = [], BASES[0], BASES[0].request

    async def theirs(client, *args, **kwargs):
        seen.append(client)
        return await ours(client, *args, **kwargs)

    base.request = theirs
    ttc_openai.uninstrument()
    assert vars(base)["request"] is theirs
    async with async_client(provider) as client:
        await chat(client)
    assert seen == [client]


async def test_outside_draws_budgets_and_bills_a_request_is_left_alone(provider):
    ttc_openai.instrument()
    async with async_client(provider) as client:
        stream = await chat(client, stream=True)
        assert type(stream) is openai.AsyncStream
        assert [chunk async for chunk in stream]
    assert "stream_options" not in provider.bodies[0]


def test_instrumenting_works_before_openai_is_imported_and_imports_nothing():
    with Provider() as provider:
        script = f"""
import sys
import ttc_middleware as ttc, ttc_openai

@ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda text: True, budget=ttc.Budget(tokens=5_000))
def ask():
    import openai
    client = openai.OpenAI(base_url="{provider.url}", api_key="x")
    return client.chat.completions.create(model="m", messages=[]).choices[0].message.content

assert "openai" not in sys.modules and "httpx" not in sys.modules
ttc.instrument()
assert "openai" not in sys.modules
print(ask.run().bill.status)
"""
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert ended.stdout == "exact\n", ended.stderr
        assert provider.bodies[0]["max_tokens"] >= 256


# Wrapping.


async def test_a_wrapped_client_needs_no_instrumentation(pristine, provider):
    def script(body, number):
        return Reply(status=429, headers={"retry-after-ms": "1"}) if number == 0 else Reply(text="answer", reasoning=7)

    provider.script = script
    results = []

    def keep(sample: ttc.Sample) -> bool:
        results.append(sample)
        return True

    async with async_client(provider, max_retries=9) as client:
        await chat(ttc_openai.wrap(client, ttc.BestOfN(1), verifier=keep))
    assert [header["x-stainless-retry-count"] for header in provider.headers] == ["0", "0"]
    assert results[0].usage.calls == 2
    assert results[0].usage.tokens == provider.settled().tokens


async def test_the_wrapped_client_is_a_copy_and_the_given_one_stays_as_it_was(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(3))
        assert type(scaled) is openai.AsyncOpenAI
        assert "request" not in vars(client)
        await chat(client)
        assert provider.settled().requests == 1
        await chat(scaled.with_options(timeout=30).copy())
    assert provider.settled().requests == 4


@pytest.mark.parametrize("deployment", [None, "here"])
async def test_azure_clients_are_wrapped_and_seen_as_azure(provider, deployment):
    options = {"azure_endpoint": provider.host, "api_version": "2026-01-01", "api_key": "x"}
    if deployment:
        options["azure_deployment"] = deployment
    async with openai.AsyncAzureOpenAI(**options) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(2), budget=ttc.Budget(tokens=5_000))
        assert type(scaled) is openai.AsyncAzureOpenAI
        with ttc.tracking() as bill:
            await chat(scaled.with_options(max_retries=1))
            await scaled.responses.create(**ASKED)
    assert [body["max_completion_tokens"] >= 256 for body in provider.bodies[:2]] == [True, True]
    assert provider.settled().requests == 4
    exact(bill, provider)


def test_a_blocking_azure_client_too(provider):
    options = {"azure_endpoint": provider.host, "api_version": "2026-01-01", "api_key": "x"}
    with openai.AzureOpenAI(**options) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(2))
        scaled.chat.completions.create(**CHAT)
    assert provider.settled().requests == 2


def test_only_a_client_can_be_wrapped_and_only_as_the_adapter_can():
    with pytest.raises(TypeError, match="takes an OpenAI or AsyncOpenAI client, got 'gpt'"):
        ttc_openai.wrap("gpt")
    client = openai.OpenAI(api_key="x", http_client=openai.DefaultHttpxClient())
    with client:
        with pytest.raises(TypeError, match="needs a verifier"):
            ttc_openai.wrap(client, ttc.BestOfN(2))
        with pytest.raises(ValueError, match="accept="):
            ttc_openai.wrap(client, ttc.SelfConsistency(2), accept=2)
        with pytest.raises(TypeError, match="an object, not a class"):
            ttc_openai.wrap(client, ttc.SelfConsistency)


async def test_without_a_strategy_a_policy_decides(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, name="mail")
        await chat(scaled)
        assert provider.settled().requests == 1
        with ttc.policy(ttc.SelfConsistency(3)):
            await chat(scaled)
    assert provider.settled().requests == 4


async def test_disabled_everything_passes_through(provider, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(3), budget=ttc.Budget(tokens=1))
        with ttc.tracking() as bill:
            stream = await chat(scaled, stream=True)
            assert type(stream) is openai.AsyncStream
            assert [chunk async for chunk in stream]
    assert provider.settled().requests == 1
    assert bill.total.calls == 0


async def test_a_verifier_gets_the_keywords_of_the_request(provider):
    got = []

    def verifier(reply, messages, model, n=None):
        got.append((type(reply).__name__, messages, model, n))
        return True

    async with async_client(provider) as client:
        await chat(ttc_openai.wrap(client, ttc.BestOfN(2), verifier=verifier))
    assert got[0] == ("ChatCompletion", CHAT["messages"], "m", None)


async def test_the_winner_is_the_very_object_that_the_sdk_made(provider):
    seen = {}

    def verifier(reply):
        seen[reply.choices[0].message.content] = reply
        return reply.choices[0].message.content == "answer 1"

    async with async_client(provider) as client:
        reply = await chat(ttc_openai.wrap(client, ttc.BestOfN(2, at_once=1), verifier=verifier))
    assert reply is seen["answer 1"]


async def test_no_more_requests_are_in_flight_than_the_server_has_slots(provider):
    provider.script = lambda body, number: Reply(text=f"{number}", delay=0.02)
    async with async_client(provider) as client:
        await chat(ttc_openai.wrap(client, ttc.SelfConsistency(12), slots=3))
    assert provider.settled().peak <= 3


async def test_a_kept_conversation_gets_one_turn(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(3), name="kept")
        with pytest.warns(UserWarning, match="kept: the server adds every sample to the conversation"):
            await scaled.responses.create(**ASKED, conversation="conv_1")
        assert provider.settled().requests == 1
        await scaled.responses.create(**ASKED, previous_response_id="resp_1")
    assert provider.settled().requests == 4


# What draws change.


async def test_the_first_draw_is_the_unchanged_call_and_others_are_changed_as_asked(provider):
    draws = [
        ttc.Draw(),
        ttc.Draw(temperature=0.3, seed=7, stop=["."], max_tokens=50, model="other", thinking="high"),
        ttc.Draw(instruction="Check it.", thinking="medium"),
    ]
    async with async_client(provider) as client:
        await chat(client)
        await chat(ttc_openai.wrap(client, Drawn(*draws)))
    bare, first, second, third = provider.bodies
    assert first == bare
    assert second == {
        **bare, "temperature": 0.3, "seed": 7, "stop": ["."], "max_tokens": 50, "model": "other",
        "reasoning_effort": "high",
    }  # fmt: skip
    said = [*CHAT["messages"], {"role": "user", "content": "Check it."}]
    assert third == {**bare, "messages": said, "reasoning_effort": "medium"}


async def test_responses_are_changed_in_their_own_words(provider):
    draws = [ttc.Draw(temperature=0.3, seed=7, max_tokens=50), ttc.Draw(instruction="Check it.", thinking="low")]
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, Drawn(*draws))
        await scaled.responses.create(**ASKED, reasoning={"summary": "auto"})
    first, second = provider.bodies
    assert first == {**ASKED, "reasoning": {"summary": "auto"}, "temperature": 0.3, "max_output_tokens": 50}
    assert second["input"] == [{"role": "user", "content": text} for text in (ASKED["input"], "Check it.")]
    assert second["reasoning"] == {"summary": "auto", "effort": "low"}


async def test_a_callers_temperature_near_zero_is_warmed_up_for_all_draws_but_the_first(provider):
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, ttc.SelfConsistency(3))
        await chat(scaled, temperature=0)
        await chat(scaled, temperature=0.5)
        await chat(scaled)

        @ttc.scale(ttc.SelfConsistency(3))
        async def ask():
            return (await chat(client, temperature=0.05)).choices[0].message.content

        await ask()
    asked = [body.get("temperature") for body in provider.bodies]
    assert sorted(asked[:3]) == [0, 0.8, 0.8]
    assert asked[3:9] == [0.5] * 3 + [None] * 3
    assert sorted(asked[9:]) == [0.05, 0.8, 0.8]


async def test_a_model_that_refuses_a_temperature_is_left_alone_after_one_warning(provider):
    def script(body, number):
        if body.get("temperature", 1) != 1:
            return Reply(status=400, error="Unsupported value: 'temperature' does not support 0.8 with this model.")
        return Reply(text=f"answer {number}")

    provider.script = script
    async with async_client(provider) as client:
        scaled = ttc_openai.wrap(client, Drawn(*[ttc.Draw(temperature=0.8, seed=place) for place in range(3)]))
        with pytest.warns(UserWarning, match="m does not take temperature: its parallel draws may be alike") as warned:
            await chat(scaled)
        await chat(scaled)  # a second warning would be an error
    assert len(warned) == 1
    assert [("temperature" in body, body["seed"]) for body in provider.bodies] == [
        (True, 0), *[(False, seed) for seed in (0, 1, 2, 0, 1, 2)],
    ]  # fmt: skip


async def test_inside_a_function_the_instruction_goes_to_the_first_call_and_helpers_only_get_the_sampling(provider):
    draw = ttc.Draw(instruction="Check it.", temperature=0.3, seed=5, thinking="low", model="better")
    async with async_client(provider) as client:

        @ttc.scale(Drawn(draw))
        async def ask():
            await chat(client)
            await client.chat.completions.create(**{**CHAT, "model": "helper"})
            await client.responses.create(**ASKED)
            return (await chat(client)).choices[0].message.content

        await ask()
    first, helper, response, last = provider.bodies
    assert [message["content"] for message in first["messages"]] == ["how many?", "Check it."]
    assert (first["model"], first["reasoning_effort"], first["seed"]) == ("better", "low", 5)
    assert helper == {**CHAT, "model": "helper", "temperature": 0.3, "seed": 5}
    assert response == {**ASKED, "model": "better", "temperature": 0.3, "reasoning": {"effort": "low"}}
    assert last == {**CHAT, "model": "better", "temperature": 0.3, "seed": 5, "reasoning_effort": "low"}


@pytest.mark.parametrize(("tokens", "effort"), [(0, "none"), (800, "low"), (5_000, "medium"), (50_000, "high")])
@pytest.mark.filterwarnings("ignore:.* does not take thinking=")
async def test_thinking_in_tokens_becomes_the_nearest_effort(provider, tokens, effort):
    async with async_client(provider) as client:
        await chat(ttc_openai.wrap(client, ttc.SelfConsistency(1), thinking=tokens))
        with ttc.policy(thinking=tokens):
            await ttc_openai.wrap(client).responses.create(**ASKED)
    limit = tokens + 4_096 if tokens else None
    assert provider.bodies[0]["reasoning_effort"] == effort
    assert provider.bodies[0].get("max_tokens") == limit
    assert provider.bodies[1]["reasoning"] == {"effort": effort}
    assert provider.bodies[1].get("max_output_tokens") == limit


async def test_refining_tells_the_model_what_was_wrong(provider):
    def verifier(reply):
        right = reply.choices[0].message.content == "answer 2"
        return right or ttc.Verdict(0.0, feedback="too low")

    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            reply = await chat(ttc_openai.wrap(client, ttc.Refine(3), verifier=verifier))
    assert reply.choices[0].message.content == "answer 2"
    said = [len(body["messages"]) for body in provider.bodies]
    assert said == [1, 2, 2]
    assert "answer 0" in provider.bodies[1]["messages"][1]["content"]
    assert "too low" in provider.bodies[1]["messages"][1]["content"]
    exact(bill, provider)


async def test_calls_in_threads_of_a_draw_belong_to_it(provider):
    with blocking_client(provider) as client:

        @ttc.scale(ttc.BestOfN(3, at_once=1), verifier=lambda text: text == "answer 2")
        async def ask():
            call = functools.partial(client.chat.completions.create, **CHAT)
            return (await anyio.to_thread.run_sync(call)).choices[0].message.content

        result = await ask.run()
    assert threading.active_count() >= 1
    exact(result.bill, provider)


async def test_a_background_response_is_taken_as_it_is(provider):
    provider.script = lambda body, number: Reply(text=None, status=200)
    async with async_client(provider) as client:
        adapter = ttc_openai.Responses()
        queued = await client.responses.create(**ASKED)
        queued.status, queued.output, queued.usage = "queued", [], None
        assert adapter.read(queued) == ttc.Reading(text="", model="m", id=queued.id, finish_reasons=("queued",))
