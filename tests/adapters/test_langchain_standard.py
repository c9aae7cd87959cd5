"""LangChain's own standard tests of chat models: a scaled one passes what the bare one passes, test by test.

`poe test-langchain` runs them, in an environment of its own: the package brings plugins that would change other tests.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="runs in poe test-langchain")

from langchain_core.load import dumpd
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from provider import Provider, Reply

import ttc_middleware as ttc
from ttc_langchain import scale_model

WORDS = {"integer": 3, "number": 3.5, "boolean": True, "array": [], "object": {}, "null": None}


def made_up(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that a schema allows, and that the tests ask for."""
    fields = schema.get("properties", {})
    return {name: WORDS.get(fields[name].get("type"), "你好こん happy") for name in schema.get("required", fields)}


def script(body: dict[str, Any], number: int) -> Reply:
    """Use the tool that there is, keep to the schema that is asked for, and else talk."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return Reply(text=json.dumps(made_up(wanted["json_schema"]["schema"])))
    if wanted:
        return Reply(text='{"setup": "knock knock", "punchline": "who is there?"}')
    tools = [tool["function"] for tool in body.get("tools", ())]
    if not tools or (body["messages"][-1]["role"] == "tool" and body.get("tool_choice") is None):
        return Reply(text="hello there, it is sunny today", reasoning=2)
    forced = body.get("tool_choice")
    tool = next(
        (each for each in tools if isinstance(forced, dict) and each["name"] == forced["function"]["name"]), tools[0]
    )
    return Reply(text=None, tool_calls=[(tool["name"], json.dumps(made_up(tool.get("parameters", {}))))])


# What the bare model warns of, in these very tests, is LangChain's own.
pytestmark = pytest.mark.filterwarnings("ignore")
SERVER = Provider(script)


@pytest.fixture(autouse=True, scope="module")
def _serving():
    with SERVER:
        yield
    ttc.uninstrument()


class Both:
    """What the tests need to know of the model."""

    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        return {"model": "mock", "base_url": SERVER.url, "api_key": "none", "stream_usage": True}

    @property
    def init_from_env_params(self):
        return {"OPENAI_API_KEY": "none"}, {"model": "mock"}, {"model_name": "mock"}

    @property
    def supports_json_mode(self):
        return True

    @property
    def supports_model_override(self):
        return True

    @property
    def model_override_value(self):
        return "other"

    @pytest.fixture
    def snapshot(self):
        """The bare model, serialized."""
        return lambda name: dumpd(ChatOpenAI(**{**self.standard_chat_model_params, **self.chat_model_params}))


SCALED = type(scale_model(ChatOpenAI(model="mock", base_url=SERVER.url, api_key="none"), ttc.SelfConsistency(2)))


class Scaled(Both):
    @property
    def chat_model_class(self):
        return SCALED


class TestBareUnit(Both, ChatModelUnitTests):
    pass


class TestScaledUnit(Scaled, ChatModelUnitTests):
    pass


class TestBareIntegration(Both, ChatModelIntegrationTests):
    pass


class TestScaledIntegration(Scaled, ChatModelIntegrationTests):
    def test_the_samples_were_drawn(self, model):
        SERVER.reset()
        model.invoke("hi")
        assert SERVER.settled().requests == 2
