"""What leaves the process: every byte that is exported, from real calls through real SDKs that say secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from collector import Collector, attributes
from provider import Provider, Reply

PROGRAM = Path(__file__).with_name("secret_program.py")
VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
SAID = {"system", "prompt", "arguments", "tool-result", "output", "call", "feedback"}
"""What a model was told and has answered, and what a judge thought of it: content. All else never leaves."""
PLACES = SAID | {
    "input",
    "instructions",
    "verifier",
    "exception",
    "error",
    "key",
    "header",
    "query",
    "password",
    "given",
}


@dataclass
class Left:
    """What a program has exported, and printed."""

    collector: Collector
    provider: str
    stderr: str

    def canaries(self, kind):
        bodies = b"".join(body for path, body in self.collector.bodies if path == f"/v1/{kind}")
        assert bodies, f"no {kind} were exported"
        assert bodies.count(b"canary") == sum(bodies.count(f"canary-{place}".encode()) for place in PLACES)
        return {place for place in PLACES if f"canary-{place}".encode() in bodies}


def script(body, number):
    answers = {
        0: Reply(status=400, error="canary-error"),
        1: Reply(None, tool_calls=[("look", '{"at": "canary-call"}')]),
        2: Reply(status=500, error="canary-error", headers={"retry-after-ms": "1"}),
        3: Reply(fault="html"),
    }
    return answers.get(number, Reply(f"canary-output {number % 3}", reasoning=2))


def ran(sdk, **environment):
    with Provider(script) as provider, Collector() as collector:
        addresses = {"PROVIDER": provider.url, "COLLECTOR": collector.url, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        given = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TTC_"))}
        done = subprocess.run(
            [sys.executable, str(PROGRAM), sdk],
            env={**given, **addresses, **environment},
            capture_output=True,
            text=True,
            timeout=380,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert provider.settled().requests > 10
        told = json.dumps([provider.bodies, provider.headers])
        assert all(f"canary-{place}" in told for place in ("system", "prompt", "arguments", "tool-result"))
        return Left(collector, provider.url, done.stderr)


SDKS = ["openai", pytest.param("litellm", marks=pytest.mark.slow)]


@pytest.mark.parametrize("sdk", SDKS)
def test_nothing_that_was_said_leaves_by_default(sdk):
    left = ran(sdk)
    exported = b"".join(body for _, body in left.collector.bodies)
    assert b"invoke_workflow BestOfN" in exported
    assert {path for path, _ in left.collector.bodies} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    assert b"gen_ai.evaluation.result" in exported
    assert b"canary" not in exported
    (leaf, *_) = [attributes(span) for span in left.collector.spans if span.name == "chat small"]
    assert leaf["server.address"] == "127.0.0.1"
    assert f":{leaf['server.port']}/" in left.provider
    if sdk == "openai":  # litellm itself logs what it gets
        assert "canary" not in left.stderr


@pytest.mark.parametrize("sdk", SDKS)
def test_content_is_on_spans_in_the_form_of_the_conventions_where_it_is_asked_for_and_secrets_are_not(sdk):
    left = ran(sdk, **{VARIABLE: "span_only"})
    # Refine tells the model what its verifier has raised: then it is a prompt.
    assert left.canaries("traces") - {"verifier"} == SAID | ({"input", "instructions"} if sdk == "openai" else set())
    events = str([event for span in left.collector.spans for event in span.events])
    assert "canary-feedback" in events
    assert "canary-verifier" not in events
    assert left.canaries("logs") == left.canaries("metrics") == set()
    said = [attributes(span) for span in left.collector.spans if span.name == "chat small"]
    told = next(each for each in said if "canary-call" in each.get("gen_ai.output.messages", ""))
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "canary-system"}]
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "canary-prompt"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "1", "name": "look", "arguments": '{"at": "canary-arguments"}'}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "canary-tool-result"}]},
    ]
    assert json.loads(told["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "name": "look", "arguments": '{"at": "canary-call"}'}],
            "finish_reason": "tool_calls",
        }
    ]


@pytest.mark.slow
def test_content_is_in_events_where_that_is_asked_for():
    left = ran("openai", **{VARIABLE: "EVENT_ONLY"})
    assert left.canaries("logs") - {"verifier"} == SAID | {"input", "instructions"}
    assert left.canaries("traces") == left.canaries("metrics") == set()


@pytest.mark.slow
def test_content_is_in_both_where_that_is_asked_for():
    left = ran("openai", **{VARIABLE: "SPAN_AND_EVENT"})
    assert (
        left.canaries("logs") - {"verifier"}
        == left.canaries("traces") - {"verifier"}
        == SAID | {"input", "instructions"}
    )


@pytest.mark.slow
def test_another_value_is_refused_with_a_warning():
    left = ran("openai", **{VARIABLE: "true"})
    assert b"canary" not in b"".join(body for _, body in left.collector.bodies)
    assert f"{VARIABLE} must be one of NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT" in left.stderr
