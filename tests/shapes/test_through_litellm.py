"""Every provider's own protocol through LiteLLM, which puts them all into OpenAI's shape: what gets lost on the way."""

from __future__ import annotations

import pytest
import pytest_asyncio
from litellm_calls import MESSAGES, close_clients, its_warnings, litellm
from shape_server import FIXTURES, PRICES, WAYS, ShapeServer, expected, told, truth

import ttc_litellm
import ttc_middleware as ttc

# litellm's HTTP sessions for Gemini and Bedrock are nobody's to close.
_LEFT = r"Exception ignored in. <function (_SelectorTransport|ClientSession|BaseConnector)"
pytestmark = [
    *its_warnings,
    pytest.mark.filterwarnings(f"ignore:{_LEFT}:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.asyncio,
]

CHAT = [name for name, fixture in FIXTURES.items() if fixture.get("speaks") != "responses"]
# Of Bedrock's streams litellm drops the tier, so that flex is billed as the standard: the one figure that is wrong.
LOST = {("bedrock", "stream"): {"tier": None}}


@pytest_asyncio.fixture(autouse=True)
async def _clean():
    ttc.configure(prices=PRICES)
    ttc.instrument()
    yield
    ttc.uninstrument()
    ttc.configure(prices={})
    await close_clients()


def asked(fixture, server, way):
    more = {"api_base": f"{server.url}/v1", "api_key": "x"}
    if fixture["api"] == "anthropic":
        more["api_base"] = server.url
    if fixture["api"] == "gemini":
        more["api_base"] = f"{server.url}/v1beta/models/gemini-2.5-flash"
    if fixture["api"] == "bedrock":
        more = {"api_base": server.url, "aws_region_name": "us-east-1"}
        more |= {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
    return {"model": fixture["litellm"], "stream": way == "stream", **more}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CHAT)
async def test_litellm_bills_what_the_provider_did(name, way):
    fixture = FIXTURES[name]
    with ShapeServer(fixture) as server, ttc.tracking() as tracker:
        response = await litellm.acompletion(messages=MESSAGES, **asked(fixture, server, way))
        if way == "stream":
            assert [chunk async for chunk in response]
        assert server.paths
    assert told(tracker.bill.total) == expected(fixture, **LOST.get((name, way), {}))
    assert tracker.bill.status == "exact"


@pytest.mark.parametrize("way", WAYS)
async def test_litellms_responses_bill_what_the_provider_did(way):
    pytest.importorskip("mcp", reason="litellm.aresponses() needs it")
    fixture = FIXTURES["openai_responses"]
    with ShapeServer(fixture) as server, ttc.tracking() as tracker:
        response = await litellm.aresponses(input="how many?", **asked(fixture, server, way))
        if way == "stream":
            assert [event async for event in response]
        assert server.paths
    assert told(tracker.bill.total) == expected(fixture)
    assert tracker.bill.status == "exact"


async def test_litellms_own_responses_are_read_without_a_request():
    from litellm.types.llms.openai import ResponsesAPIResponse  # noqa: PLC0415

    fixture = FIXTURES["openai_responses"]
    reading = ttc_litellm.Responses().read(ResponsesAPIResponse(**fixture["whole"]))
    assert told(reading.usage, reading.service_tier) == truth(fixture)
