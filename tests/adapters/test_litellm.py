"""Every way to call litellm from a decorated function: same types, same answers, exact bills, nothing left behind."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import subprocess
import sys

import anyio
import httpcore
import pytest
import trio
from litellm_calls import MESSAGES, MODELS, asked, exact, its_tests, joined, litellm, text_of, until
from provider import Provider, Reply

import ttc_litellm
import ttc_middleware as ttc

pytestmark = its_tests

# Bound before anything is instrumented, as in a program that imported litellm first.
early_async, early = litellm.acompletion, litellm.completion
partly = functools.partial(litellm.acompletion, temperature=0.5)

ALL = ttc.BestOfN(4, stop="all")


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=f"answer {number}", reasoning=7)) as provider:
        yield provider


def is_two(text: str) -> bool:
    return text == "answer 2"


def scaled(function, verifier=is_two, **options):
    return ttc.scale(ALL, verifier=verifier, **options)(function)


def checked(result, provider):
    """One sample in four is right, and all are paid for."""
    assert result.output == "answer 2"
    assert result.accepted
    assert provider.settled().requests == 4
    exact(result.bill, provider)


# Async, sync, and streams of both; through the OpenAI SDK and through litellm's own HTTP.


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("acompletion", [early_async, partly], ids=["early", "partial"])
async def test_async_calls_are_seen_whoever_imported_them_before(provider, model, acompletion):
    async def answer() -> str:
        response = await acompletion(**asked(provider, model))
        assert type(response) is litellm.ModelResponse
        return text_of(response)

    checked(await scaled(answer).run(), provider)


@pytest.mark.parametrize("model", MODELS)
def test_sync_calls_are_seen_whoever_imported_them_before(provider, model):
    def answer() -> str:
        response = early(**asked(provider, model))
        assert type(response) is litellm.ModelResponse
        return text_of(response)

    checked(scaled(answer).run(), provider)


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", [ALL, ttc.Single()], ids=["best of 4", "single"])
async def test_async_streams_are_billed_with_their_usage(provider, model, strategy):
    seen = []

    async def answer() -> str:
        stream = await litellm.acompletion(**asked(provider, model, stream=True))
        assert isinstance(stream, litellm.CustomStreamWrapper)
        chunks = [chunk async for chunk in stream]
        seen.append(chunks)
        return text_of(litellm.stream_chunk_builder(chunks))

    result = await ttc.scale(strategy, verifier=is_two)(answer).run()
    exact(result.bill, provider)
    assert result.output.startswith("answer ")
    assert all(getattr(chunk, "usage", None) is None for chunks in seen for chunk in chunks), "nobody asked for it"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", [ALL, ttc.Single()], ids=["best of 4", "single"])
def test_sync_streams_are_billed_with_their_usage(provider, model, strategy):
    def answer() -> str:
        stream = litellm.completion(**asked(provider, model, stream=True))
        assert isinstance(stream, litellm.CustomStreamWrapper)
        return joined(stream)

    result = ttc.scale(strategy, verifier=is_two)(answer).run()
    exact(result.bill, provider)
    assert result.output.startswith("answer ")


def held():
    """Connections that are taken up."""
    pools = [
        each for each in gc.get_objects() if isinstance(each, (httpcore.ConnectionPool, httpcore.AsyncConnectionPool))
    ]
    return [each for pool in pools for each in pool.connections if not each.is_idle() and not each.is_closed()]


@pytest.fixture
def without_collections():
    """No garbage collection lets go of what should have been closed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", [ALL, ttc.Single()], ids=["best of 4", "single"])
def test_a_sync_stream_that_is_read_holds_no_connection(provider, model, strategy):
    @ttc.scale(strategy, verifier=is_two)
    def answer() -> str:
        return joined(litellm.completion(**asked(provider, model, stream=True)))

    for _ in range(8):
        answer()
    assert not held()


@pytest.mark.asyncio
@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", [ALL, ttc.Single()], ids=["best of 4", "single"])
async def test_an_async_stream_that_is_read_holds_no_connection(provider, model, strategy, monkeypatch):
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)  # aiohttp lets go by itself

    @ttc.scale(strategy, verifier=is_two)
    async def answer() -> str:
        return joined([chunk async for chunk in await litellm.acompletion(**asked(provider, model, stream=True))])

    for _ in range(8):
        await answer()
    await anyio.to_thread.run_sync(until, lambda: not held())  # the loop ends one async generator after the other


def endless(body, number):
    return Reply(text=" ".join(f"word{each}" for each in range(500)), pause=0.01)


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("leave", [lambda stream: stream.close(), lambda stream: None], ids=["closed", "dropped"])
def test_a_sync_stream_that_is_left_early_hangs_up(model, leave):
    def first_word() -> str:
        stream = litellm.completion(**asked(provider, model, stream=True))
        word = next(text for chunk in stream if (text := chunk.choices[0].delta.content))
        leave(stream)
        return word

    with Provider(endless) as provider, ttc.policy(budget=ttc.Budget(tokens=10_000)):
        with ttc.tracking() as bill:
            assert first_word().startswith("word0")
        assert bill.bill.gaps == {"cut": 1}
        assert provider.settled().aborted == 1
    assert not held()


@pytest.mark.asyncio
@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("model", MODELS)
async def test_an_async_stream_that_is_closed_early_hangs_up(model):
    with Provider(endless) as provider, ttc.policy(budget=ttc.Budget(tokens=10_000)):
        with ttc.tracking() as bill:
            stream = await litellm.acompletion(**asked(provider, model, stream=True))
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.aclose()
        assert bill.bill.gaps == {"cut": 1}
        assert (await anyio.to_thread.run_sync(provider.settled)).aborted == 1


@pytest.mark.asyncio
async def test_a_stream_whose_reader_asks_for_the_usage_gets_it(provider):
    async def answer() -> int:
        stream = await litellm.acompletion(**asked(provider, stream=True, stream_options={"include_usage": True}))
        return [chunk async for chunk in stream][-1].usage.total_tokens

    result = await ttc.scale(ttc.Single())(answer).run()
    assert result.output == result.bill.total.tokens
    exact(result.bill, provider)


@pytest.mark.asyncio
async def test_a_stream_that_is_read_to_its_last_word_only_has_its_usage(provider):
    async def answer() -> str:
        text = ""
        async for chunk in await litellm.acompletion(**asked(provider, stream=True)):
            text += chunk.choices[0].delta.content or ""
            if chunk.choices[0].finish_reason:
                break
        return text

    result = await ttc.scale(ttc.Single())(answer).run()
    assert result.output == "answer 0"
    exact(result.bill, provider)


# Routers.


def router(provider, **options):
    return litellm.Router([{"model_name": "group", "litellm_params": asked(provider)}], **options)


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_router_is_seen(provider, stream):
    group = router(provider)

    async def answer() -> str:
        response = await group.acompletion(model="group", messages=MESSAGES, stream=stream)
        return joined([chunk async for chunk in response]) if stream else text_of(response)

    checked(await scaled(answer).run(), provider)


def test_a_blocking_router_is_seen(provider):
    group = router(provider)

    def answer() -> str:
        return text_of(group.completion(model="group", messages=MESSAGES))

    checked(scaled(answer).run(), provider)


@pytest.mark.asyncio
async def test_fallbacks_are_billed_one_by_one():
    def script(body, number):
        return Reply(status=400) if body["model"] == "broken" else Reply(text="answer 2")

    with Provider(script) as provider:

        async def answer() -> str:
            return text_of(await litellm.acompletion(**asked(provider, "openai/broken", fallbacks=["openai/mock"])))

        result = await scaled(answer).run()
        assert result.output == "answer 2"
        assert [body["model"] for body in provider.bodies].count("broken") == 4
        assert result.bill.total.calls == provider.settled().requests == 8


# Each model call, scaled by itself.


@pytest.mark.asyncio
async def test_each_call_of_a_function_can_be_scaled_by_itself(provider):
    @ttc.scale(ALL, verifier=lambda reply: text_of(reply) == "answer 0", scope="model_calls")
    async def answer() -> str:
        return text_of(await litellm.acompletion(**asked(provider)))

    result = await answer.run()
    assert result.output == "answer 0"
    assert [body.get("n") for body in provider.bodies] == [4]
    exact(result.bill, provider)


# What other people do to litellm.


@pytest.mark.asyncio
@pytest.mark.parametrize("first", [True, False], ids=["before us", "after us"])
async def test_another_instrumentation_of_the_same_function_changes_nothing(provider, monkeypatch, first):
    calls = []

    def instrument_elsewhere():
        original = litellm.acompletion

        @functools.wraps(original)
        async def traced(*args, **kwargs):
            calls.append(kwargs)
            return await original(*args, **kwargs)

        for module in (litellm, importlib.import_module("litellm.main")):
            monkeypatch.setattr(module, "acompletion", traced)

    if first:
        instrument_elsewhere()
    ttc.instrument()
    if not first:
        instrument_elsewhere()

    async def answer() -> str:
        return text_of(await litellm.acompletion(**asked(provider)))

    checked(await scaled(answer).run(), provider)
    assert len(calls) == 4


@pytest.mark.asyncio
async def test_arguments_may_be_given_by_place(provider):
    more = {name: value for name, value in asked(provider).items() if name not in ("model", "messages")}

    async def answer() -> str:
        return text_of(await litellm.acompletion("openai/mock", MESSAGES, **more))

    checked(await scaled(answer).run(), provider)


@pytest.mark.asyncio
async def test_wrong_arguments_are_the_type_errors_that_they_were(provider):
    async def answer() -> None:
        await litellm.acompletion("openai/mock", MESSAGES, model="openai/mock")

    with pytest.raises(TypeError, match="multiple values for argument 'model'"):
        await ttc.scale(ttc.Single())(answer)()


# Off, on and off again.


@pytest.mark.asyncio
async def test_outside_of_draws_nothing_is_changed(provider):
    async def once():
        response = await litellm.acompletion(**asked(provider, stream=True))
        async for _ in response:
            pass
        return type(response)

    plain = await once()
    ttc.instrument()
    assert await once() is plain
    assert provider.bodies[0] == provider.bodies[1]


@pytest.mark.asyncio
async def test_uninstrumented_functions_are_what_they_were(provider):
    def state():
        modules = "litellm", "litellm.main", "litellm.responses.main"
        names = "acompletion", "completion", "aresponses", "responses"
        functions = [getattr(sys.modules[module], name, None) for module in modules for name in names]
        lists = (
            "callbacks",
            "success_callback",
            "failure_callback",
            "_async_success_callback",
            "_async_failure_callback",
        )
        bodies = [(each, each.__code__, each.__kwdefaults__) for each in functions if each is not None]
        return bodies, [list(getattr(litellm, name)) for name in lists]

    before = state()

    async def answer() -> str:
        return text_of(await early_async(**asked(provider)))

    checked(await scaled(answer).run(), provider)
    ttc_litellm.instrument()  # a second time does nothing
    ttc.uninstrument()
    assert state() == before
    with ttc.tracking(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("ttc_middleware._policy.instrument_once", lambda: None)
        ttc.uninstrument()
        await answer()
    assert provider.settled().requests == 5


def test_importing_the_adapter_imports_no_litellm():
    code = (
        "import sys, ttc_litellm, ttc_middleware as ttc; ttc.instrument();"
        " print([name for name in sys.modules if name in ('litellm', 'openai')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_question_leaves_the_event_loop_free_while_litellm_is_imported(provider):
    code = f"""
import asyncio, sys, ttc_litellm

def underway():
    return getattr(getattr(sys.modules.get("litellm"), "__spec__", None), "_initializing", False)

async def main():
    ask = ttc_litellm.ask("openai/mock", api_base={provider.url!r}, api_key="x")
    question = asyncio.ensure_future(ask([{{"role": "user", "content": "?"}}]))
    seen = False
    while not question.done():
        await asyncio.sleep(0)
        seen = seen or underway()
    print(seen, question.result())

asyncio.run(main())
"""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split("\n")[0] == "True answer 0", done.stderr


def test_without_litellm_the_error_names_the_extra():
    code = "import sys; sys.modules['litellm'] = None; import ttc_litellm; ttc_litellm.instrument()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: ttc_litellm needs litellm >=1.103,<2: pip install "ttc-middleware[litellm]"' in done.stderr


def test_a_litellm_that_is_too_old_is_refused_by_its_version(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"litellm": "1.99.9"}[name])
    with pytest.raises(
        ImportError, match=r'>=1\.103,<2: pip install "ttc-middleware\[litellm\]" \(installed is 1\.99\.9\)'
    ):
        ttc_litellm.instrument()


def test_on_trio_async_calls_say_what_to_do_instead(provider):
    async def answer() -> str:
        return text_of(await litellm.acompletion(**asked(provider)))

    async def in_a_thread() -> str:
        return await anyio.to_thread.run_sync(lambda: text_of(litellm.completion(**asked(provider))))

    with pytest.raises(RuntimeError, match=r"run on asyncio only.*anyio.to_thread.run_sync"):
        trio.run(ttc.scale(ttc.Single())(answer))
    assert not provider.bodies
    assert trio.run(ttc.scale(ttc.Single())(in_a_thread)) == "answer 0"
