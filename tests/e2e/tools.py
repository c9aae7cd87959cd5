"""Arize Phoenix and MLflow, from PyPI: started in environments of their own, and asked what they have seen."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PHOENIX, MLFLOW = "arize-phoenix==20.26.1", "mlflow==3.17.2"
PATIENCE = 300.0  # seconds: on a busy machine both take a minute to start


@dataclass(frozen=True)
class Seen:
    """What a tool adds up for a trace; None: it has no such figure."""

    spans: int
    input: int
    output: int
    reasoning: int | None
    usd: float | None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], ready: str, log: Path) -> Generator[None]:
    """Run a server until the block ends, however that is, with all of its children."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "UV_", "OTEL_"))}
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            env={**kept, **environment},
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait(server, ready, log)
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):  # SIGKILL is for its children too
                    os.killpg(server.pid, number)
                    server.wait(10)
            server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:  # it is waited for
            time.sleep(0.5)
    raise SystemExit(f"{url} does not answer; its log ends with\n{log.read_text(errors='replace')[-3_000:]}")


def fetch(url: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """Get JSON, or post some."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: {error} {error.read()[:500]!r}") from None


class Phoenix:
    """Arize Phoenix: its tokens and dollars are sums over spans of kind LLM, priced by a table of its own."""

    name = "Phoenix"
    project = "ttc"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.endpoint, self.headers = f"{self.url}/v1/traces", {}
        self._environment = {
            "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(self.port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        }
        self._log = folder / "phoenix.log"

    def running(self) -> Any:
        command = ["uv", "tool", "run", "--from", PHOENIX, "phoenix", "serve"]
        return running(command, self._environment, f"{self.url}/healthz", self._log)

    def learn(self, model: str, input_price: float, output_price: float) -> None:
        """Tell it a price, in dollars per million tokens; it does not reckon backwards."""
        costs = [
            {"tokenType": "input", "costPerMillionTokens": input_price, "kind": "PROMPT"},
            {"tokenType": "output", "costPerMillionTokens": output_price, "kind": "COMPLETION"},
        ]
        given = {"name": model, "namePattern": model.replace(".", r"\."), "costs": costs}
        self._ask("mutation($i:CreateModelMutationInput!){createModel(input:$i){model{id}}}", {"i": given})

    def seen(self, trace_id: str, spans: int) -> Seen:
        """What it knows of a trace once all of its spans are there."""
        query = """query($id:ID!){projects(first:100){edges{node{name trace(traceId:$id){numSpans
            costSummary{total{cost tokens} prompt{tokens} completion{tokens}}
            spans(first:1000){edges{node{tokenCountPrompt tokenCountCompletion attributes}}}}}}}}"""
        ends = time.monotonic() + 60
        while True:
            edges = self._ask(query, {"id": trace_id})["projects"]["edges"]
            found = [edge["node"]["trace"] for edge in edges if edge["node"]["trace"]]
            done = found and found[0]["numSpans"] >= spans and found[0]["costSummary"]["total"]["cost"] is not None
            if done or time.monotonic() > ends:
                break
            time.sleep(0.5)
        (trace,) = found
        leaves = [edge["node"] for edge in trace["spans"]["edges"]]
        thought = [_at(json.loads(leaf["attributes"]), _REASONING) for leaf in leaves]
        known = [count for count in thought if count is not None]
        return Seen(
            trace["numSpans"],
            sum(leaf["tokenCountPrompt"] or 0 for leaf in leaves),
            sum(leaf["tokenCountCompletion"] or 0 for leaf in leaves),
            sum(known) or None,
            trace["costSummary"]["total"]["cost"],
        )

    def page(self, trace_id: str) -> str:
        edges = self._ask("{projects(first:100){edges{node{id name}}}}", {})["projects"]["edges"]
        project = next(edge["node"]["id"] for edge in edges if edge["node"]["name"] == self.project)
        return f"{self.url}/projects/{project}/traces/{trace_id}"

    def _ask(self, query: str, variables: Mapping[str, Any]) -> Any:
        answer = fetch(f"{self.url}/graphql", {"query": query, "variables": variables})
        if answer.get("errors"):
            raise SystemExit(f"Phoenix: {answer['errors']}")
        return answer["data"]


_REASONING = ("llm", "token_count", "completion_details", "reasoning")


def _at(tree: Any, path: Sequence[str]) -> int | None:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


class MLflow:
    """MLflow: the topmost span with usage counts, and the cost that a span states wins over its table."""

    name = "MLflow"

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.endpoint, self.headers = f"{self.url}/v1/traces", {"x-mlflow-experiment-id": "0"}
        self._command = [
            *("uv", "tool", "run", "--from", MLFLOW, "mlflow", "server"),
            *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1", "--default-artifact-root", str(folder / "artifacts")),
        ]
        self._log = folder / "mlflow.log"

    def running(self) -> Any:
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return running(self._command, quiet, f"{self.url}/health", self._log)

    def seen(self, trace_id: str, spans: int) -> Seen:
        info = fetch(f"{self.url}/api/3.0/mlflow/traces/tr-{trace_id}")["trace"]["trace_info"]
        said = info["trace_metadata"]
        usage = json.loads(said["mlflow.trace.tokenUsage"])
        cost = json.loads(said["mlflow.trace.cost"])["total_cost"] if "mlflow.trace.cost" in said else None
        raw = self._raw(trace_id)
        # It has no reasoning tokens of its own: these are the attributes as they came.
        thought = [_number(span["attributes"].get("gen_ai.usage.reasoning.output_tokens")) for span in raw]
        known = [count for count in thought if count is not None]
        return Seen(len(raw), usage["input_tokens"], usage["output_tokens"], sum(known) or None, cost)

    def _raw(self, trace_id: str) -> list[dict[str, Any]]:
        found = fetch(f"{self.url}/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-{trace_id}")
        return list(found["spans"])

    def page(self, trace_id: str) -> str:
        return f"{self.url}/#/experiments/0/traces/tr-{trace_id}"


def _number(value: object) -> int | None:
    """Attributes are kept as JSON texts."""
    return None if value is None else int(json.loads(value) if isinstance(value, str) else str(value))
