"""Where the adapter sits: platforms, patching beside others, what draws change, and what stays the caller's."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import anthropic
import pytest
from anthropic_clients import ASKED, async_client, blocking_client, exact, streams_on_trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from provider import Provider, Reply, fresh

import ttc_anthropic
import ttc_middleware as ttc
from ttc_middleware.telemetry import _spans

pytestmark = streams_on_trio

BASES = (anthropic._base_client.AsyncAPIClient, anthropic._base_client.SyncAPIClient)
LEAVES = (anthropic.AsyncAnthropic, anthropic.Anthropic)
OLDER = "anthropic.claude-sonnet-4-5-v1:0"


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    with Provider(lambda body, number: Reply(text=f"answer {number}", reasoning=7, thought="let me see")) as provider:
        yield provider


@pytest.fixture
def pristine():
    """The SDK as it comes, and as it was again afterwards."""
    ttc_anthropic.uninstrument()
    before = [vars(base)["request"] for base in BASES]
    yield before
    ttc_anthropic.uninstrument()
    for leaf in LEAVES:
        if "request" in vars(leaf):
            del leaf.request
    for base, request in zip(BASES, before, strict=True):
        base.request = request
    ttc_anthropic.instrument()


@pytest.fixture
def spans(monkeypatch):
    """What ends up in a tracing tool, for which the SDK makes spans too."""
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_spans, "_tracer", tracers.get_tracer("ttc_middleware"))
    exporter.tracers = tracers
    return exporter


def with_usage(spans):
    return [span for span in spans.get_finished_spans() if "gen_ai.usage.input_tokens" in span.attributes]


class Drawn:
    """A strategy of the draws that a test wants, one after the other."""

    def __init__(self, *draws, needs=()):
        self.draws = draws
        self.needs = frozenset(needs)

    def search(self, call):
        samples = yield from ttc.gather(self.draws, at_once=1)
        return ttc.best(samples)


async def create(client, **more):
    return await client.messages.create(**{**ASKED, **more})


async def sent(provider, draw, **more):
    """What a draw makes of a request."""
    async with async_client(provider) as client:
        await create(ttc_anthropic.wrap(client, Drawn(draw)), **more)
    return provider.bodies[-1]


def test_a_request_is_described_with_its_system_prompt_whatever_its_form():
    for system in ("Be brief.", [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]):
        request = ttc_anthropic.Messages(server="s", port=8).describe(
            ttc.Call(name="c", arguments={**ASKED, "system": system})
        )
        assert (request.instructions, request.messages) == ("Be brief.", ASKED["messages"])
        assert (request.server, request.port, request.max_tokens) == ("s", 8, ASKED["max_tokens"])


# Patching.


@pytest.mark.asyncio
async def test_instrumenting_twice_is_once_and_uninstrumenting_puts_everything_back(pristine):
    ttc_anthropic.instrument()
    once = [vars(base)["request"] for base in BASES]
    assert once != pristine
    ttc_anthropic.instrument()
    assert [vars(base)["request"] for base in BASES] == once
    ttc_anthropic.uninstrument()
    assert [vars(base)["request"] for base in BASES] == pristine


@pytest.mark.asyncio
@pytest.mark.parametrize("first", [True, False])
async def test_beside_another_instrumentation_on_the_leaves_every_call_is_seen_once_by_both(pristine, provider, first):
    seen = []

    def others():
        inherited = anthropic.AsyncAnthropic.request

        @functools.wraps(inherited)
        async def request(self, *args, **kwargs):
            seen.append(args)
            return await inherited(self, *args, **kwargs)

        anthropic.AsyncAnthropic.request = request

    for put in (others, ttc_anthropic.instrument) if first else (ttc_anthropic.instrument, others):
        put()
    async with async_client(provider) as client:
        with ttc.tracking() as bill:
            await create(client)
    assert len(seen) == 1
    exact(bill, provider)


@pytest.mark.asyncio
async def test_outside_draws_budgets_and_bills_a_request_is_left_alone(provider):
    async with async_client(provider) as client:
        await create(client)
        ttc_anthropic.uninstrument()
        await create(client)
        ttc_anthropic.instrument()
    assert provider.bodies[0] == provider.bodies[1]


@pytest.mark.slow  # imports the SDK anew
def test_instrumenting_works_before_anthropic_is_imported_and_imports_nothing():
    program = """
import sys
import ttc_middleware as ttc
ttc.instrument()
assert "anthropic" not in sys.modules and "ttc_anthropic" not in sys.modules
import anthropic
import ttc_anthropic
assert anthropic._base_client.AsyncAPIClient.request.__wrapped__
ttc.uninstrument()
assert not hasattr(anthropic._base_client.AsyncAPIClient.request, "__wrapped__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_sdk_or_with_one_too_old_the_error_names_the_extra_and_the_range(monkeypatch):
    wants = r'ttc_anthropic needs anthropic >=0\.80,<3: pip install "ttc-middleware\[anthropic\]"'
    monkeypatch.setattr(anthropic, "__version__", "0.79.9")
    with pytest.raises(ImportError, match=wants + r" \(installed is 0\.79\.9\)"):
        ttc_anthropic.instrument()
    monkeypatch.setitem(sys.modules, "anthropic", None)
    for call in (lambda: ttc_anthropic.wrap(None), ttc_anthropic.instrument, lambda: ttc_anthropic.ask(None, "m")):
        with pytest.raises(ImportError, match=wants):
            call()


def test_only_a_client_can_be_wrapped_and_only_as_the_adapter_can():
    with pytest.raises(TypeError, match=r"ttc_anthropic\.wrap\(\) takes an Anthropic client, got 'client'"):
        ttc_anthropic.wrap("client")
    client = anthropic.Anthropic(api_key="x")
    with pytest.raises(TypeError, match="needs seed, which Messages cannot do for anthropic"):
        ttc_anthropic.wrap(client, Drawn(ttc.Draw(), needs=[ttc.Capability.SEED]))


@pytest.mark.asyncio
async def test_the_wrapped_client_is_a_copy_and_the_given_one_stays_as_it_was(provider):
    async with async_client(provider) as client:
        _ = client.messages, client.beta.messages
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(3))
        assert type(scaled) is type(client)
        await create(client)
        assert provider.settled().requests == 1
        await create(scaled)
        await scaled.beta.messages.create(**ASKED)
        assert provider.settled().requests == 7


# Platforms.


PLATFORMS = {
    "Bedrock": ({"aws_region": "eu-west-1", "api_key": "x"}, "aws.bedrock", f"/model/{ASKED['model']}/invoke"),
    "Vertex": (
        {"region": "europe-west1", "project_id": "p", "access_token": "x"},
        "gcp.vertex_ai",
        f"/publishers/anthropic/models/{ASKED['model']}:rawPredict",
    ),
    "Foundry": ({"api_key": "x"}, "local", "/v1/messages"),
    "AWS": ({"aws_region": "eu-west-1", "api_key": "x", "workspace_id": "w"}, "local", "/v1/messages"),
    "BedrockMantle": ({"aws_region": "eu-west-1", "api_key": "x"}, "aws.bedrock", "/v1/messages"),
}
platforms = pytest.mark.parametrize("platform", PLATFORMS)


def on(platform, provider, make, prefix=""):
    kind = getattr(anthropic, f"{prefix}Anthropic{platform}", None)
    if kind is None:
        pytest.skip(f"anthropic {anthropic.__version__} has no client for {platform}")
    if not PLATFORMS[platform][0].keys() <= inspect.signature(kind).parameters.keys():
        pytest.skip(f"anthropic {anthropic.__version__} needs the platform's own keys for {platform}")
    return make(provider, kind, **PLATFORMS[platform][0])


@pytest.mark.asyncio
@platforms
async def test_clients_of_all_platforms_are_wrapped_and_seen(provider, platform, spans):
    _, named, path = PLATFORMS[platform]
    async with on(platform, provider, async_client, "Async") as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(3, at_once=1))
        if (platform, anthropic.__version__.split(".")[0]) != ("Foundry", "0"):  # whose own copy() fails
            scaled = scaled.with_options(max_retries=1)
        assert type(scaled) is type(client)
        with ttc.tracking() as bill:
            await create(scaled)
            await create(client)
    exact(bill, provider)
    assert len(provider.paths) == 4
    assert all(asked.endswith(path) for asked in provider.paths)
    assert [span.attributes["gen_ai.provider.name"] for span in with_usage(spans)] == [named] * 4


@platforms
def test_blocking_clients_of_all_platforms_too(provider, platform):
    with on(platform, provider, blocking_client) as client:
        with ttc.tracking() as bill:
            reply = ttc_anthropic.wrap(client, ttc.SelfConsistency(3)).messages.create(**ASKED)
        assert reply.content[-1].text.startswith("answer")
        assert provider.settled().requests == 3
        exact(bill, provider)
        with ttc.tracking() as bill:
            client.beta.messages.create(**ASKED)
        assert bill.total.calls == 1


@pytest.mark.asyncio
@pytest.mark.skipif(importlib.util.find_spec("botocore") is None, reason="Bedrock's streams need botocore")
async def test_streams_of_bedrock_are_read_in_their_own_frames(provider):
    async with on("Bedrock", provider, async_client, "Async") as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(2))
        with ttc.tracking() as bill:
            async with scaled.messages.stream(**ASKED) as stream:
                assert (await stream.get_final_text()).startswith("answer")
            async with client.messages.stream(**ASKED) as stream:
                assert (await stream.get_final_text()).startswith("answer")
    assert provider.settled().requests == 3
    exact(bill, provider)


@pytest.mark.asyncio
async def test_streams_of_vertex_too(provider):
    async with on("Vertex", provider, async_client, "Async") as client:
        with ttc.tracking() as bill:
            async with ttc_anthropic.wrap(client, ttc.SelfConsistency(2)).messages.stream(**ASKED) as stream:
                assert (await stream.get_final_text()).startswith("answer")
    exact(bill, provider)


# Beside the SDK's own spans, litellm and LangChain.


@pytest.mark.asyncio
@pytest.mark.skipif(int(anthropic.__version__.split(".")[0]) < 2, reason="the SDK makes spans from 2.0 on")
@pytest.mark.parametrize("streamed", [False, True])
async def test_where_we_have_a_span_the_sdk_makes_none(provider, spans, streamed):
    traced = {"api_key": "x", "open_telemetry": {"tracer_provider": spans.tracers}}
    async with async_client(provider, **traced) as client:

        async def ask(client):
            reply = await create(client, stream=streamed)
            if streamed:
                assert [event async for event in reply]

        await ask(client)
        assert [span.name for span in with_usage(spans)] == ["anthropic.messages.create"]  # its own
        spans.clear()
        with ttc.tracking():
            await ask(client)
            assert len(with_usage(spans)) == 1
        await ask(ttc_anthropic.wrap(client, ttc.SelfConsistency(2)))
        assert len(with_usage(spans)) == 3
        assert {span.name for span in with_usage(spans)} == {f"chat {ASKED['model']}"}


@pytest.mark.slow  # litellm is slow to import
@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic")
async def test_litellm_asks_anthropic_without_the_sdk_and_counts_once(provider, spans, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else its import asks the network
    litellm = pytest.importorskip("litellm")
    with ttc.tracking() as bill:
        await litellm.acompletion(
            model="anthropic/claude-opus-4-8", messages=ASKED["messages"], api_base=provider.host, api_key="x"
        )
    assert not any(name.startswith("x-stainless") for name in provider.headers[0])
    assert bill.total.calls == provider.settled().requests == 1
    assert len(with_usage(spans)) == 1


@pytest.mark.asyncio
@pytest.mark.skipif(
    not hasattr(anthropic, "OverloadedError"), reason="langchain-anthropic wants a newer SDK than it says"
)
@pytest.mark.parametrize("how", ["invoke", "stream", "structured"])
async def test_langchains_chat_model_goes_through_the_sdk_and_is_counted_once(provider, spans, how):
    langchain_anthropic = pytest.importorskip("langchain_anthropic")
    calls = [("Count", '{"answer": 1}')] if how == "structured" else []
    provider.script = lambda body, number: Reply(text="a b", tool_calls=calls)
    model = langchain_anthropic.ChatAnthropic(model=ASKED["model"], base_url=provider.host, api_key="x", max_tokens=64)

    @ttc.scale(ttc.BestOfN(2, at_once=1, stop="all"), verifier=lambda reply: True)
    async def ask():
        if how == "structured":
            schema = {"title": "Count", "type": "object", "properties": {"answer": {"type": "integer"}}}
            return str(await model.with_structured_output(schema).ainvoke("how many?"))
        if how == "stream":
            return "".join([str(chunk.content) async for chunk in model.astream("how many?")])
        return str((await model.ainvoke("how many?")).content)

    result = await ask.run()
    assert "b" in result.output or "answer" in result.output
    exact(result.bill, provider)
    assert provider.billed.requests == len(with_usage(spans)) == 2


@pytest.mark.asyncio
async def test_a_wrapped_client_inside_a_decorated_function_draws_once_a_draw(provider):
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(4))
        twice = ttc_anthropic.wrap(scaled, ttc.SelfConsistency(2))

        @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda answer: True)
        async def ask():
            return (await create(scaled)).content[-1].text

        result = await ask.run()
        assert provider.settled().requests == 2
        exact(result.bill, provider)
        provider.reset()
        await create(twice)
        assert provider.settled().requests == 2


@pytest.mark.asyncio
async def test_inside_an_agent_function_each_model_call_is_scaled(provider):
    provider.script = lambda body, number: Reply(text="good" if number % 2 else "bad")
    async with async_client(provider) as client:

        @ttc.scale(ttc.BestOfN(3, at_once=1), verifier=ttc.verifiers.Exact("good"), scope="model_calls")
        async def agent():
            return [(await create(client)).content[-1].text for _ in range(2)]

        assert await agent() == ["good", "good"]
    assert provider.settled().requests == 4


@pytest.mark.asyncio
async def test_disabled_everything_passes_through(provider, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    async with async_client(provider) as client:
        await create(ttc_anthropic.wrap(client, ttc.SelfConsistency(4)))
    assert provider.settled().requests == 1


# What draws change.


@pytest.mark.asyncio
async def test_the_first_draw_is_the_unchanged_call_and_others_are_changed_as_asked(provider):
    draws = [
        ttc.Draw(),
        ttc.Draw(temperature=0.3, seed=7, stop=["."], max_tokens=50, model="claude-opus-4-8"),
        ttc.Draw(instruction="Check it.", thinking="low"),
    ]
    async with async_client(provider) as client:
        await create(client)
        await create(ttc_anthropic.wrap(client, Drawn(*draws)))
    bare, first, second, third = provider.bodies
    assert first == bare
    changes = {"temperature": 0.3, "stop_sequences": ["."], "max_tokens": 50, "model": "claude-opus-4-8"}
    assert second == {**bare, **changes}
    assert third["messages"] == [*ASKED["messages"], {"role": "user", "content": "Check it."}]
    assert (third["thinking"], third["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})


ADAPTIVE = ["claude-opus-5", "claude-sonnet-4-6", "us.anthropic.claude-opus-4-7-v1:0", "claude-mythos-next"]
BUDGETED = [OLDER, "claude-haiku-4-5@20251001", "claude-3-7-sonnet-2025", "claude-opus-4-20250514", "deepseek-chat"]
THINKING = [
    *((model, 0, {"thinking": {"type": "disabled"}}) for model in (*ADAPTIVE[:-1], *BUDGETED)),
    (ADAPTIVE[-1], 0, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
    *((model, "none", {"thinking": {"type": "disabled"}}) for model in (ADAPTIVE[0], OLDER)),
    *(
        (model, tokens, {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}})
        for model in ADAPTIVE
        for tokens, effort in ((500, "low"), (4_000, "medium"), (20_000, "medium"), ("minimal", "low"), ("max", "max"))
    ),
    *(
        (model, wanted, {"thinking": {"type": "enabled", "budget_tokens": tokens}})
        for model in BUDGETED
        for wanted, tokens in ((500, 1_024), (2_000, 2_000), (20_000, 4_096 - 256), ("low", 1_024), ("max", 3_840))
    ),
]


@pytest.mark.filterwarnings("ignore:.* does not take thinking=")
def test_thinking_is_asked_for_in_the_words_that_the_model_takes():
    adapter = ttc_anthropic.Messages()
    for model, wanted, expected in THINKING:
        call = ttc.Call(name="c", arguments={**ASKED, "model": model})
        changed = adapter.apply(call, ttc.Draw(thinking=wanted)).arguments
        assert changed == {**ASKED, "model": model, **expected}, (model, wanted)


@pytest.mark.asyncio
async def test_an_effort_keeps_the_format_that_the_caller_asks_for(provider):
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    body = await sent(provider, ttc.Draw(thinking="high"), output_config=form)
    assert body["output_config"] == {**form, "effort": "high"}


@pytest.mark.asyncio
async def test_where_there_is_no_room_to_think_one_warning_says_so(provider):
    with pytest.warns(UserWarning, match="thinking=2000: max_tokens=1000 leaves no room to think"):
        body = await sent(provider, ttc.Draw(thinking=2_000), model=OLDER, max_tokens=1_000)
    assert body["thinking"] == {"type": "disabled"}
    assert body["max_tokens"] == 1_000


@pytest.mark.asyncio
async def test_a_clamped_call_thinks_within_what_is_left(provider):
    thinking = {"type": "enabled", "budget_tokens": 3_000}
    body = await sent(provider, ttc.Draw(max_tokens=2_000), model=OLDER, thinking=thinking)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2_000 - 256}
    body = await sent(provider, ttc.Draw(max_tokens=500), model=OLDER, thinking=thinking)
    assert body["thinking"] == {"type": "disabled"}


@pytest.mark.asyncio
@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 2_000}, {"type": "adaptive"}])
async def test_a_thinking_model_is_given_no_temperature(provider, thinking):
    assert "temperature" not in await sent(provider, ttc.Draw(temperature=0.7), thinking=thinking)
    assert "temperature" in await sent(provider, ttc.Draw(temperature=0.7), thinking={"type": "disabled"})


@pytest.mark.asyncio
async def test_a_model_that_refuses_a_temperature_is_left_alone_after_one_warning(provider):
    def script(body, number):
        if body.get("temperature", 0) > 0:
            return Reply(status=400, error="`temperature` is deprecated for this model.")
        return Reply(text=str(number))

    provider.script = script
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(3, at_once=1))
        with pytest.warns(UserWarning, match="does not take temperature: its parallel draws may be alike"):
            await create(scaled, extra_body={"temperature": 0})
    assert [body.get("temperature") for body in provider.bodies] == [0, 0.8, 0, 0]


@pytest.mark.asyncio
async def test_going_on_with_a_partial_answer_is_refused_at_once(provider):
    """A prefill comes back without its beginning: the last step alone would be the answer."""
    async with async_client(provider) as client:
        with pytest.raises(TypeError, match="needs extend, which Messages cannot do for anthropic"):
            ttc_anthropic.wrap(client, ttc.BeamSearch(), verifier=lambda output: True)


@pytest.mark.asyncio
async def test_what_can_be_gone_through_only_once_serves_all_draws(provider):
    block = anthropic.types.TextBlock(type="text", text="how many?")

    def messages():
        yield {"role": "user", "content": iter([block, {"type": "text", "text": "cups"}])}

    async with async_client(provider) as client:
        bare = await client.messages.create(**{**ASKED, "messages": messages()})
        await client.messages.create(**{**ASKED, "messages": [*messages()]})
        with ttc.policy(budget=ttc.Budget(tokens=50_000)):
            await ttc_anthropic.wrap(client, ttc.SelfConsistency(2)).messages.create(
                **{**ASKED, "messages": messages()}
            )
    assert bare.content
    assert len({str(body["messages"]) for body in provider.bodies}) == 1
    assert len(provider.bodies) == 4
    assert provider.bodies[-1]["messages"][0]["content"][1] == {"type": "text", "text": "cups"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "more",
    [
        {"container": "container_1"},
        {"container": {"id": "container_1"}},
        {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "shop"}]},
    ],
)
async def test_what_every_draw_would_leave_something_on_is_sent_once_with_a_warning(provider, more):
    said = "the server adds every sample to the conversation, the container or the MCP servers"
    async with async_client(provider) as client:
        scaled = ttc_anthropic.wrap(client, ttc.SelfConsistency(3))
        with pytest.warns(UserWarning, match=f"anthropic: {said}"):
            await create(scaled, extra_body=more)
        assert provider.settled().requests == 1

        @ttc.scale(ttc.SelfConsistency(3), scope="model_calls")
        async def agent():
            return (await create(client, extra_body=more)).content[-1].text

        with pytest.warns(UserWarning, match=f"agent: {said}"):
            await agent()
        assert provider.settled().requests == 2
        await create(scaled, extra_body={"container": {"skills": []}})
    assert provider.settled().requests == 5


# The matrix.

ROW = runpy.run_path(str(Path(__file__).with_name("matrix_anthropic.py")))["ROW"]


def test_the_matrix_names_the_version_that_is_installed():
    assert ".".join(anthropic.__version__.split(".")[:2]) in ROW["framework"]
