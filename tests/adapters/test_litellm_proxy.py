"""`ProxyHook`, in LiteLLM's real proxy: a process of its own, no database, no network (`poe test-litellm-proxy`)."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from litellm_calls import its_warnings, until
from provider import Provider, Reply

pytest.importorskip("litellm_proxy_extras", reason="litellm[proxy] needs an environment of its own")

pytestmark = [*its_warnings, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "litellm_proxy"
QUESTION = [{"role": "user", "content": "how many?"}]
_words = itertools.count()


class Proxy:
    """The process, and what it has written down.

    Args:
        folder: with `config.yaml` and `hooks.py`.
        provider: what its models are.
        events: a file for what happens in it.
        master: a key that it takes.
    """

    def __init__(self, folder, provider, events, master="sk-Zt4hQ9vLm2Xw7Rk1Bn5Jc8"):
        self.provider = provider
        self.master = master
        self._events = events
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {
            **os.environ,
            "EVENTS": str(events),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": master,
            "OPENAI_API_KEY": "x",
            "OPENAI_BASE_URL": provider.url,
            "PROVIDER": provider.url,
        }
        program = Path(sys.executable).with_name("litellm")
        command = [program, "--config", folder / "config.yaml", "--host", "127.0.0.1", "--port", str(self.port)]
        self._said = events.with_suffix(".log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(command, env=environment, stdout=self._said, stderr=subprocess.STDOUT)

    def __enter__(self):
        ends = time.monotonic() + 240
        while True:
            assert self._process.poll() is None, self.said
            assert time.monotonic() < ends, self.said
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{self.port}/health/liveliness", timeout=5)
                return self
            time.sleep(0.1)

    def __exit__(self, *exc):
        self._process.terminate()
        self._process.wait(30)
        self._said.close()

    @property
    def said(self):
        return Path(self._said.name).read_text(encoding="utf-8")

    def ask(self, model, key="ann.blue", path="chat/completions", **body):
        """A client's request."""
        said = {"input": "how many?"} if path == "responses" else {"messages": QUESTION}
        return httpx.post(
            f"http://127.0.0.1:{self.port}/v1/{path}",
            json={"model": model, **said, **body},
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        )

    def events(self, kind):
        """What has been written down of one kind: "logged" or "span"."""
        if not self._events.exists():
            return []
        lines = self._events.read_text(encoding="utf-8").splitlines(keepends=True)
        return [event for line in lines if line.endswith("\n") and kind in (event := json.loads(line))]

    @property
    def spans(self):
        """Ours; LiteLLM traces itself, too."""
        ours = ("invoke_workflow", "ttc.sample", "chat ")
        return [event for event in self.events("span") if event["span"].startswith(ours)]

    @property
    def search(self):
        """The span of the one search that there was, once it has ended."""
        until(lambda: [event for event in self.spans if event["span"].startswith("invoke_workflow")])
        [search] = [event for event in self.spans if event["span"].startswith("invoke_workflow")]
        return search

    def logged(self, number):
        """LiteLLM's log entries, once there are so many: it writes them after the client has its answer."""
        until(lambda: len(self.events("logged")) >= number)
        return self.events("logged")

    def forget(self):
        self._events.unlink(missing_ok=True)
        self.provider.reset()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    events = tmp_path_factory.mktemp("proxy") / "events"
    with Provider() as provider, Proxy(HERE / "proxy", provider, events) as proxy:
        yield proxy


@pytest.fixture
def proxy(running):
    running.forget()
    running.provider.script = lambda body, number: Reply(text=f"answer {number}", reasoning=7)
    return running


def content(response):
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def chunks(response):
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def streamed(response):
    assert response.status_code == 200, response.text
    return "".join(choice["delta"].get("content") or "" for chunk in chunks(response) for choice in chunk["choices"])


def each_once(proxy, number):
    """LiteLLM has logged every request that the provider got, and each of them once; together at their price."""
    billed = proxy.provider.settled()
    assert billed.requests == number
    logged = proxy.logged(number)
    assert [event["logged"] for event in logged] == ["success"] * number
    assert len({event["call"] for event in logged}) == number
    assert sum(event["tokens"] for event in logged) == billed.tokens
    # gpt-5-mini: 0.25 and 2 dollars per million tokens.
    assert sum(event["cost"] for event in logged) == pytest.approx((billed.prompt * 0.25 + billed.completion * 2) / 1e6)
    return logged


def test_the_winner_alone_goes_back_and_every_sample_is_logged_once(proxy):
    response = proxy.ask("best")
    assert content(response) == "answer 2"
    assert response.json()["model"] == "best"
    logged = each_once(proxy, 4)
    assert {(event["user"], event["model"]) for event in logged} == {("ann", "best")}
    assert len({event["trace"] for event in logged}) == 1
    assert response.headers["x-litellm-call-id"] in {event["call"] for event in logged}
    told = {name: int(response.headers[f"x-ttc-{name}"]) for name in ("calls", "total-tokens", "hidden-tokens")}
    own = response.json()["usage"]
    visible = own["prompt_tokens"] + own["completion_tokens"] - own["completion_tokens_details"]["reasoning_tokens"]
    billed = proxy.provider.settled()
    assert told == {"calls": 4, "total-tokens": billed.tokens, "hidden-tokens": billed.tokens - visible}


def test_a_stream_is_the_winners(proxy):
    response = proxy.ask("best", stream=True)
    assert streamed(response) == "answer 2"
    assert {chunk["model"] for chunk in chunks(response)} == {"best"}
    each_once(proxy, 4)


def test_a_stream_with_usage_has_the_winners(proxy):
    response = proxy.ask("best", stream=True, stream_options={"include_usage": True})
    assert streamed(response) == "answer 2"
    assert chunks(response)[-1]["usage"]["completion_tokens"] == 2 + 7


def test_one_draw_streams_as_it_comes(proxy):
    proxy.provider.script = lambda body, number: Reply(text="word " * 200, pause=0.05)
    connection = sent(proxy, "once", stream=True)
    response = connection.getresponse()
    line = b""
    while b'"word' not in line:
        line = response.readline()
    assert proxy.provider.billed.in_flight == 1
    response.close()
    connection.close()
    until(lambda: proxy.provider.billed.aborted == 1)


def test_the_responses_api_is_scaled(proxy):
    response = proxy.ask("best", path="responses")
    assert response.status_code == 200, response.text
    assert response.json()["output"][0]["content"][0]["text"] == "answer 2"
    each_once(proxy, 4)


def test_other_models_are_left_alone(proxy):
    response = proxy.ask("plain")
    assert content(response) == "answer 0"
    assert not [name for name in response.headers if name.startswith("x-ttc")]
    each_once(proxy, 1)
    assert not proxy.spans


def test_a_request_chooses_nothing(proxy):
    claims = {"user_api_key_user_id": "rich", "user_api_key_team_id": "rich", "user_api_key": "rich"}
    forged = {"user": "rich", "ttc": {"samples": 64}, "n_samples": 64, "strategy": "BestOfN(64)", "metadata": claims}
    assert content(proxy.ask("plain", **forged)) == "answer 0"
    each_once(proxy, 1)
    proxy.forget()
    assert content(proxy.ask("best", **forged)) == "answer 2"
    assert {event["user"] for event in each_once(proxy, 4)} == {"ann"}
    assert (proxy.search["user.id"], proxy.search["ttc.tag.team"]) == ("ann", "blue")


def test_the_span_has_every_sample_and_whose_request_it_was(proxy):
    assert content(proxy.ask("best")) == "answer 2"
    search = proxy.search
    key = hashlib.sha256(b"ann.blue").hexdigest()  # keys themselves are nobody's business
    assert (search["user.id"], search["ttc.tag.team"], search["ttc.tag.key"]) == ("ann", "blue", key)
    assert int(search["ttc.usage.total_tokens"]) == proxy.provider.settled().tokens
    assert len([event for event in proxy.spans if event["span"].startswith("chat ")]) == 4


def test_a_client_that_hangs_up_stops_its_samples(proxy):
    proxy.provider.script = lambda body, number: Reply(delay=60)
    for stream in (False, True):
        proxy.forget()
        connection = sent(proxy, "best", stream=stream)
        proxy.provider.wait_for(4)
        connection.close()
        until(lambda: proxy.provider.billed.aborted == 4)


def test_a_team_whose_budget_has_run_out_is_refused(proxy):
    proxy.provider.script = lambda body, number: Reply(text="answer 2", reasoning=60_000_000)
    assert content(proxy.ask("once", key="bob.green")) == "answer 2"
    refused = proxy.ask("once", key="eve.green")
    assert refused.status_code == 429
    assert "green" in refused.text
    assert content(proxy.ask("once", key="ann.red")) == "answer 2"
    assert proxy.provider.settled().requests == 2


def test_where_nothing_is_accepted_the_client_is_told(proxy):
    refused = proxy.ask("strict")
    assert refused.status_code == 422
    each_once(proxy, 2)


def test_a_sample_that_fails_sinks_nothing(proxy):
    proxy.provider.script = lambda body, number: Reply(status=400) if number == 0 else Reply(text="answer 2")
    assert content(proxy.ask("best")) == "answer 2"
    logged = proxy.logged(4)
    assert sorted(event["logged"] for event in logged) == ["failure", "success", "success", "success"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_with_one_request_at_a_time_gets_its_seat_back(proxy, stream):
    def script(body, number):  # the first draw is cancelled, when another has won
        return Reply(text="answer 2") if number % 4 else Reply(delay=60)

    proxy.provider.script = script
    key = f"cat{next(_words)}.blue.1"
    for _ in range(3):
        proxy.forget()
        response = proxy.ask("first", key=key, stream=stream)
        assert (streamed if stream else content)(response) == "answer 2"
        until(lambda: proxy.provider.billed.aborted >= 1)


def test_the_example_is_what_a_proxy_takes(tmp_path):
    def script(body, number):
        return Reply(text=f"The answer is {3 if number % 5 == 1 else 4}")

    with Provider(script) as provider, Proxy(EXAMPLE, provider, tmp_path / "events") as proxy:
        assert content(proxy.ask("plain", key=proxy.master)) == "The answer is 4"
        assert content(proxy.ask("careful", key=proxy.master)) == "The answer is 4"
        assert 1 + 3 <= provider.settled().requests <= 1 + 5
        assert proxy.ask("careful", key="sk-somebody").status_code in (400, 401)
        assert "samples go on" not in proxy.said


def sent(proxy, model, **body):
    """A request on a connection that can be cut."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    asked = json.dumps({"model": model, "messages": QUESTION, **body})
    headers = {"content-type": "application/json", "authorization": "Bearer ann.blue"}
    connection.request("POST", "/v1/chat/completions", asked, headers)
    return connection
