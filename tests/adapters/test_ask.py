"""The questions that adapters make for verifiers that ask a model."""

from __future__ import annotations

import json

import pytest
from litellm_calls import asked, close_clients, its_warnings
from openai_clients import async_client, blocking_client, exact
from provider import Provider, Reply, fresh

import ttc_litellm._ask
import ttc_local._ask
import ttc_middleware as ttc
import ttc_openai._ask
from ttc_middleware.verifiers.judge import Judge

MESSAGES = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "how many?"}]
SAID = json.dumps({"reason": "fine", "score": 5})


@pytest.fixture(autouse=True)
def forget():
    fresh()


@pytest.fixture
def provider():
    def script(body, number):
        return Reply(text=None if body["model"] == "refuses" else SAID if body["model"].endswith("judge") else "Paris")

    with Provider(script) as provider:
        yield provider


async def closed(client):
    done = client.close()
    if done is not None:
        await done


@pytest.mark.anyio
@pytest.mark.parametrize("make", [async_client, blocking_client])
async def test_an_openai_client_is_asked_with_its_parameters(provider, make):
    client = make(provider)
    ask = ttc_openai._ask.ask(client, "judge", temperature=0, max_tokens=99)
    assert await ask(MESSAGES) == SAID
    assert provider.bodies[0] == {"model": "judge", "messages": MESSAGES, "temperature": 0, "max_tokens": 99}
    assert await ttc_openai._ask.ask(client, "refuses")(MESSAGES) == ""
    await closed(client)


def test_what_is_no_client_is_refused():
    with pytest.raises(TypeError, match="must be an OpenAI client"):
        ttc_openai._ask.ask("gpt", "judge")


@pytest.mark.anyio
@pytest.mark.parametrize("make", [async_client, blocking_client])
async def test_what_an_openai_client_is_asked_by_a_judge_is_on_the_bill(provider, make):
    client, judges = async_client(provider), make(provider)

    @ttc.scale(ttc.BestOfN(1), verifier=Judge(ttc_openai._ask.ask(judges, "judge"), "Name the capital."))
    async def capital(country: str) -> str:
        messages = [{"role": "user", "content": f"The capital of {country}?"}]
        return (await client.chat.completions.create(model="m", messages=messages)).choices[0].message.content

    result = await capital.run("France")
    assert (result.accepted, result.output) == (True, "Paris")
    assert (result.bill.visible.calls, result.bill.verifying.calls) == (1, 1)
    exact(result.bill, provider)
    await closed(client)
    await closed(judges)


class TestLiteLLM:
    pytestmark = its_warnings

    @pytest.mark.asyncio
    async def test_a_model_of_litellm_is_asked_with_its_parameters_and_is_on_the_bill(self, provider):
        import litellm  # noqa: PLC0415

        params = {name: value for name, value in asked(provider).items() if name not in ("model", "messages")}
        ask = ttc_litellm._ask.ask("openai/judge", temperature=0, **params)
        assert await ask(MESSAGES) == SAID
        assert provider.bodies[0]["messages"] == MESSAGES
        assert provider.bodies[0]["temperature"] == 0
        provider.reset()

        @ttc.scale(ttc.BestOfN(1), verifier=Judge(ask, "Name the capital."))
        async def capital(country: str) -> str:
            return (await litellm.acompletion(**asked(provider))).choices[0].message.content

        result = await capital.run("France")
        assert (result.accepted, result.output) == (True, "Paris")
        assert (result.bill.visible.calls, result.bill.verifying.calls) == (1, 1)
        exact(result.bill, provider)
        await close_clients()


class AtTheProvider:
    """What `ask` needs of a server."""

    def __init__(self, provider):
        self.base_url, self.model = provider.url, "judge"


@pytest.mark.anyio
async def test_a_local_server_is_asked_on_any_loop(provider):
    ask = ttc_local._ask.ask(AtTheProvider(provider), temperature=0)
    for _ in range(2):
        assert await ask(MESSAGES) == SAID
    assert provider.bodies[0] == {"model": "judge", "messages": MESSAGES, "temperature": 0, "max_tokens": 256}


@pytest.mark.anyio
async def test_without_a_server_one_starts_with_the_first_question(provider, monkeypatch):
    started = []
    monkeypatch.setattr(ttc_local._ask, "serve", lambda: started.append(True) or AtTheProvider(provider))
    ask = ttc_local._ask.ask()
    assert started == []
    for _ in range(2):
        assert await ask(MESSAGES) == SAID
    assert started == [True]
