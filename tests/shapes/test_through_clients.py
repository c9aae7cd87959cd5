"""The same shapes over the wire, through the clients that an application uses: the bill is what the provider billed.

| path              | shapes                                                                                         |
|-------------------|------------------------------------------------------------------------------------------------|
| the OpenAI SDK    | OpenAI chat and responses, Gemini's OpenAI endpoint, xAI, DeepSeek, Mistral, Qwen, OpenRouter, |
|                   | vLLM, llama.cpp                                                                                |
| boto3             | Bedrock, with its binary event stream                                                          |
| LangChain         | as the OpenAI SDK, through `ChatOpenAI`                                                        |
| LiteLLM           | all, each as the provider's own protocol (`test_through_litellm.py`)                           |
| read only         | Anthropic and Gemini from their JSON: their SDKs are in no environment of this project         |
"""

from __future__ import annotations

from copy import deepcopy

import pytest
from shape_server import FIXTURES, PRICES, WAYS, ShapeServer, expected, model_of, told, truth

import ttc_middleware as ttc
from ttc_middleware._context import SCOPE
from ttc_middleware.seam import StreamUsage, read_usage

openai = pytest.importorskip("openai")
import ttc_openai  # noqa: E402

SPEAK = [name for name, fixture in FIXTURES.items() if fixture.get("speaks")]
MESSAGES = [{"role": "user", "content": "how many?"}]


@pytest.fixture(autouse=True)
def _prices():
    ttc.configure(prices=PRICES)
    yield
    ttc.configure(prices={})


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SPEAK)
async def test_the_openai_sdk_bills_what_the_provider_did(name, way):
    fixture = FIXTURES[name]
    model = model_of(fixture)
    with ShapeServer(fixture) as server, ttc.tracking() as tracker:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as bare:
            client = ttc_openai.wrap(bare)
            if fixture["speaks"] == "chat":
                response = await client.chat.completions.create(model=model, messages=MESSAGES, stream=way == "stream")
            else:
                response = await client.responses.create(model=model, input="how many?", stream=way == "stream")
            if way == "stream":
                assert [event async for event in response]
    assert told(tracker.bill.total) == expected(fixture)
    assert tracker.bill.status == "exact"


@pytest.mark.asyncio
async def test_zeros_behind_the_real_usage_take_nothing_back():
    whole = FIXTURES["openai_chat"]
    *chunks, last = whole["stream"]
    told = {**chunks[-1], "usage": last["usage"]}
    zeros = {**last, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
    with ShapeServer({**whole, "stream": [*chunks[:-1], told, zeros]}) as server, ttc.tracking() as tracker:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as bare:
            stream = await ttc_openai.wrap(bare).chat.completions.create(
                model=model_of(whole), messages=MESSAGES, stream=True
            )
            assert [event async for event in stream]
    assert (tracker.bill.total.tokens, tracker.bill.status) == (last["usage"]["total_tokens"], "exact")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS)
async def test_a_search_of_the_providers_own_makes_the_dollars_a_lower_bound_and_takes_no_tokens_of_a_budget(way):
    fixture = deepcopy(FIXTURES["openai_responses"])
    searched = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    for response in (fixture["whole"], fixture["stream"][-1]["response"]):
        response["output"].insert(0, searched)
    with ShapeServer(fixture) as server, ttc.tracking() as tracker, ttc.policy(budget=ttc.Budget(tokens=100_000)):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as bare:
            response = await ttc_openai.wrap(bare).responses.create(
                model=model_of(fixture), input="how many?", stream=way == "stream"
            )
            if way == "stream":
                assert [event async for event in response]
        assert SCOPE.get().ledger.spent["tokens"] == expected(fixture)["input"] + expected(fixture)["output"]
    assert told(tracker.bill.total) == expected(fixture)
    assert (tracker.bill.status, tracker.bill.gaps) == ("lower bound", {"fees beside tokens": 1})


@pytest.mark.parametrize("way", WAYS)
def test_boto3s_responses_are_read_as_bedrock_billed(way):
    boto3 = pytest.importorskip("boto3")
    from botocore.config import Config  # noqa: PLC0415

    fixture = FIXTURES["bedrock"]
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "us-east-1"}
    asked = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "how many?"}]}]}
    with ShapeServer(fixture) as server:
        client = boto3.client("bedrock-runtime", endpoint_url=server.url, config=Config(proxies={}), **keys)
        if way == "whole":
            known = read_usage(client.converse(**asked), api="bedrock")
        else:
            stream = StreamUsage("bedrock")
            for event in client.converse_stream(**asked)["stream"]:
                stream.see(event)
            known = stream.told
        client.close()
    assert told(known.usage, known.service_tier) == truth(fixture)
    assert not known.partial


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SPEAK)
def test_langchain_bills_what_the_provider_did(name, way):
    pytest.importorskip("langchain_openai")
    import httpx  # noqa: PLC0415
    from langchain.agents import create_agent  # noqa: PLC0415
    from langchain_openai import ChatOpenAI  # noqa: PLC0415

    import ttc_langchain  # noqa: PLC0415

    fixture = FIXTURES[name]
    with ShapeServer(fixture) as server, ttc.tracking() as tracker, httpx.Client() as http:
        chat = ChatOpenAI(
            model=model_of(fixture), base_url=f"{server.url}/v1", api_key="x", max_retries=0,
            streaming=way == "stream", use_responses_api=fixture["speaks"] == "responses", http_client=http,
        )  # fmt: skip
        agent = create_agent(chat, [], middleware=[ttc_langchain.ScaleModelCalls(ttc.Single())])
        agent.invoke({"messages": MESSAGES})
    lost = {"written": None} if name == "qwen" else {}  # LangChain knows no name of Qwen's for it
    assert told(tracker.bill.total) == expected(fixture, **lost)
    assert tracker.bill.status == "exact"
