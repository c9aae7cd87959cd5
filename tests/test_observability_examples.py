"""The examples of examples/observability, run as scripts; what they send is compared with the bill that they print."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from collector import Collector, attributes

EXAMPLES = Path(__file__).parents[1] / "examples" / "observability"
pytestmark = pytest.mark.slow


def needs(*modules):
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"`poe test-instrumentations` has {', '.join(modules)}")


def ran(name, **environment):
    """Run an example to its end; returns the tokens that it prints."""
    given = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TTC_OTEL", "LANGFUSE"))}
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(
        command, env={**given, **environment}, capture_output=True, text=True, timeout=380, check=False
    )
    assert done.returncode == 0, done.stderr
    return total(done.stdout)


def total(printed):
    found = re.search(r"^([\d,]+) tokens = \$", printed, re.MULTILINE)
    assert found, printed
    return int(found[1].replace(",", ""))


def received(collector):
    said = [attributes(span) for span in collector.spans]
    return sum(each.get("gen_ai.usage.input_tokens", 0) + each.get("gen_ai.usage.output_tokens", 0) for each in said)


def test_each_says_what_was_run_and_what_was_only_read():
    for path in sorted(EXAMPLES.glob("*.py")):
        if path.stem != "searching":
            assert re.search(r"^Run: ", path.read_text(encoding="utf-8"), re.MULTILINE), path
    assert len(list(EXAMPLES.glob("*.py"))) == 5


def test_example_collector():
    with Collector() as collector:
        printed = ran("collector", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        assert received(collector) == printed
        assert {path for path, _ in collector.bodies} == {"/v1/traces"}


def test_example_langfuse():
    with Collector() as collector:
        keys = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_HOST": collector.url}
        printed = ran("langfuse", **keys)
        assert received(collector) == printed
        assert {path for path, _ in collector.bodies} == {"/api/public/otel/v1/traces"}
        assert {headers["authorization"] for headers in collector.headers} == {
            "Basic " + base64.b64encode(b"pk:sk").decode()
        }


@needs("logfire")
def test_example_pydantic_logfire():
    with Collector() as collector:
        printed = ran("pydantic_logfire", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        assert received(collector) == printed
        assert {"/v1/traces", "/v1/metrics"} <= {path for path, _ in collector.bodies}


@pytest.fixture
def scraped():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / "prometheus.py")]
    environment = {**os.environ, "PORT": str(port)}
    example = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield port, total(example.stdout.readline())
    finally:
        example.communicate("\n", timeout=60)


@needs("opentelemetry.exporter", "prometheus_client")
def test_example_prometheus(scraped, tmp_path):
    port, printed = scraped
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    counted = [float(value) for value in re.findall(r"^ttc_tokens_total\{.*\} (\S+)$", page, re.MULTILINE)]
    assert sum(counted) == printed
    if shutil.which("prometheus") is not None:
        assert asked_of_prometheus(port, tmp_path, "sum(ttc_tokens_total)") == printed


def asked_of_prometheus(port, folder, query):
    """What a real Prometheus says once it has scraped."""
    targets = f"static_configs: [{{targets: ['127.0.0.1:{port}']}}]"
    config = folder / "prometheus.yml"
    config.write_text(f"scrape_configs:\n- job_name: ttc\n  scrape_interval: 1s\n  {targets}\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = server.getsockname()[1]
    listen = f"--web.listen-address=127.0.0.1:{own}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", listen]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            with suppress(OSError, IndexError):
                url = f"http://127.0.0.1:{own}/api/v1/query?query={query}"
                answer = urllib.request.urlopen(url, timeout=5).read().decode()
                return float(re.findall(r'"value":\[[\d.]+,"([^"]+)"\]', answer)[0])
            time.sleep(0.2)
        pytest.fail("Prometheus has scraped nothing")
    finally:
        server.terminate()
        server.wait()
