"""The command, as one types it: `ttc demo` on the embedded model, `ttc try` on functions of one's own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from provider import Provider, Reply

import ttc_local
import ttc_middleware as ttc
from ttc_cli import main

COMMAND = [sys.executable, "-m", "ttc_cli"]


def start(*arguments, **options):
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **pipes, text=True, **options)


def run(*arguments, status=0, **options):
    """Run it to its end; gives stdout and stderr."""
    process = start(*arguments, **options)
    stdout, stderr = process.communicate(timeout=380)
    assert process.returncode == status, stdout + stderr
    assert "Traceback" not in stderr
    return stdout, stderr


def said_in_one_line(stderr):
    """What an error looks like."""
    (line,) = stderr.splitlines()
    return line


# ttc


@pytest.mark.parametrize("command", [COMMAND, [str(Path(sys.executable).with_name("ttc"))]], ids=["module", "script"])
def test_help_names_the_commands(command):
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("usage: ttc ")
    assert re.search(r"^ +demo +see it work", done.stdout, re.MULTILINE)
    assert re.search(r"^ +try +run one of your functions", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("arguments", "missing"), [([], "required: command"), (["dmeo"], "invalid choice: 'dmeo'")])
def test_a_command_that_is_none_ends_with_the_usage(arguments, missing, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: ttc ")
    assert missing in said.err


@pytest.mark.parametrize("command", ["demo", "try"])
def test_each_command_explains_its_options(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ttc demo


@pytest.fixture
def tasks(tmp_path):
    """Two of the built-in tasks, the one with the longest name included; the other's is trouble for markup."""
    lines = {task["name"]: task for task in map(json.loads, ttc_local.TASKS.read_text(encoding="utf-8").splitlines())}
    chosen = [lines["capitalize_words"], {**lines["digit_sum"], "name": "sum [/] [red]"}]
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(map(json.dumps, chosen)), encoding="utf-8")
    return file


@pytest.fixture
def collector():
    """The paths and sizes of what a collector of traces is sent."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # the body would wait 40 ms for the headers to be acknowledged

        def do_POST(self):
            requests.append((self.path, len(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
        server.shutdown()
        thread.join()


def test_the_demo_shows_a_table_that_adds_up_and_a_tree_of_spans(tasks):
    stdout, _ = run("demo", "--n", 2, "--tasks", tasks, "--trace", env={**os.environ, "COLUMNS": "80"})

    lines = stdout.splitlines()
    assert max(map(len, lines)) <= 80
    heading = next(line for line in lines if line.strip().startswith("function"))
    assert re.split(r"  +", heading.strip()) == [
        "function", "one sample", "best of 2", "drawn", "visible", "hidden", "seconds",
    ]  # fmt: skip
    text = " ".join(stdout.split())
    assert "SmolLM2-135M-Instruct writes 2 functions" in text
    assert "up to 2 samples of each" in text
    rows = [figures(line, name) for name in ("capitalize_words", "sum [/] [red]", "total") for line in lines]
    first, second, total = filter(None, rows)
    assert [sum(pair) for pair in zip(first, second, strict=True)] == total
    drawn, visible, hidden = total
    assert 2 <= drawn <= 4
    passed = re.search(r"(\d) of 2 functions pass with one sample, (\d) of 2 with up to 2: ([\d,]+) tokens", text)
    single, scaled, tokens = (int(figure.replace(",", "")) for figure in passed.groups())
    assert single <= scaled
    assert tokens == visible + hidden
    assert f"{hidden:,} of them nobody reads" in text
    # One tree for each search: its samples, and in each a model call and a verdict.
    heads = [line for line in lines if line.startswith("invoke_workflow BestOfN")]
    assert len(heads) == 2
    assert sum(int(re.search(r"tokens (\d+)", line)[1]) for line in heads) == tokens
    for span in ("ttc.sample", "chat SmolLM2-135M-Instruct", "evaluate"):
        assert len([line for line in lines if re.match(rf"[│ ]*[├└]── .*{span} ", line)]) == drawn


def figures(line, name):
    """The samples and the tokens, visible and hidden, of a line of the table."""
    if not line.strip().startswith(name):
        return None
    found = re.search(r"\s(\d+)\s+([\d,]+)\s+([\d,]+)(?:\s+\d+\.\d)?\s*$", line)
    return [int(figure.replace(",", "")) for figure in found.groups()]


@pytest.mark.slow
def test_the_demos_json_adds_up_and_its_spans_reach_a_collector(tasks, collector):
    url, requests = collector
    stdout, stderr = run("demo", "--n", 2, "--tasks", tasks, "--json", "--otlp", url)

    told = json.loads(stdout)
    assert "sandbox" in stderr
    rows, bill = told["rows"], told["bill"]
    assert [row["task"] for row in rows] == ["capitalize_words", "sum [/] [red]"]
    assert told["tasks"] == 2
    assert told["model"] == "SmolLM2-135M-Instruct"
    assert told["accepted_by_one_sample"] == sum(row["samples"][0]["accepted"] for row in rows)
    assert told["accepted_by_search"] == sum(row["accepted"] for row in rows) >= told["accepted_by_one_sample"]
    for row in rows:
        accepted = [sample["accepted"] for sample in row["samples"]]
        assert row["single"] == accepted[0]
        assert row["scaled"] == row["accepted"] == any(accepted)
        assert len(accepted) == (1 if accepted[0] else 2)
        assert row["error"] is None
    samples = [sample["usage"] for row in rows for sample in row["samples"]]
    assert told["samples"] == len(samples)
    assert (
        told["generated_tokens"] == sum(usage["output_tokens"] for usage in samples) == bill["total"]["output_tokens"]
    )
    assert bill["status"] == "exact"
    for kind in ("input_tokens", "output_tokens"):
        assert bill["visible"][kind] + bill["hidden"][kind] == bill["total"][kind]
        assert bill["total"][kind] == sum(row["bill"]["total"][kind] for row in rows)
    hidden, price = bill["hidden"], told["priced_as"]
    dollars = hidden["input_tokens"] * float(price["input"]) + hidden["output_tokens"] * float(price["output"])
    assert float(told["hidden_usd_at_that_price"]) == pytest.approx(dollars / 1e6)
    assert told["tokens_per_second"] == pytest.approx(told["generated_tokens"] / told["seconds"])
    assert {path for path, _ in requests} == {"/v1/traces"}
    assert all(size > 100 for _, size in requests)


GOOD = '{"name": "one", "entry": "one", "prompt": "Write one().", "tests": [[[], 1]]}'


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (None, [], "No such file"),
        (f"{GOOD}\n{{nonsense}}\n", [], "tasks.jsonl:2: "),
        (GOOD.replace("prompt", "prompts"), [], "prompt is missing"),
        ("\n", [], "at least one task"),
        (GOOD, ["--n", "0"], "--n must be at least 1, got 0"),
        (GOOD, ["--tokens", "100", "--n", "16"], "a function takes at least 32: raise --tokens, or lower --n"),
        (GOOD, ["--model", "missing.gguf"], "there is none at missing.gguf"),
        (GOOD, ["--model", "tasks.jsonl"], "model must be a GGUF file"),
    ],
    ids=["no file", "no json", "no task", "empty", "n", "tokens", "no model", "not a model"],
)
def test_the_demo_says_in_a_line_what_is_wrong(content, arguments, words, here, capsys):
    if content is not None:
        Path("tasks.jsonl").write_text(content, encoding="utf-8")
    status = main(["demo", "--tasks", "tasks.jsonl", *arguments])

    said = capsys.readouterr()
    assert (status, said.out) == (1, "")
    line = said_in_one_line(said.err)
    assert line.startswith("ttc demo: ")
    assert words in line


def test_only_debug_shows_where_an_error_is_from(tmp_path):
    arguments = ["demo", "--tasks", tmp_path / "none.jsonl"]
    stdout, stderr = run(*arguments, status=1)
    assert stdout == ""
    assert said_in_one_line(stderr).endswith("none.jsonl'")

    process = start(*arguments, "--debug")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.startswith("Traceback")
    assert "FileNotFoundError" in stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("send", "number", "status"),
    [(os.kill, signal.SIGINT, 130), (os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGTERM, None)],
    ids=["Ctrl-C", "Ctrl-C to the group", "SIGTERM"],
)
def test_an_interrupted_demo_leaves_no_process_behind(send, number, status, tmp_path):
    # The test sleeps, so that the sandbox is there for as long as it takes to find it.
    task = json.loads(ttc_local.TASKS.read_text(encoding="utf-8").splitlines()[0])
    task["tests"] = [f"import time; time.sleep(100); assert {task['entry']}(1) == 1"]
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps(task), encoding="utf-8")
    process = start("demo", "--n", "8", "--tasks", file, start_new_session=True)
    try:
        started = {}

        def under_way():
            started.update(descendants(process.pid))
            assert process.poll() is None, process.communicate()
            commands = [command_of(pid) for pid in started]
            server = any("_child.py" in command for command in commands)
            # bwrap's own child, too, which comes a moment after it
            return server and any("bwrap" in command for command in commands) and len(started) >= 3

        until(under_way)
        send(process.pid, number)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()

    assert len(started) >= 3
    if status is not None:
        assert process.returncode == status
        assert stderr.endswith("\ninterrupted\n")
    assert "Traceback" not in stderr
    until(lambda: not {pid for pid, since in started.items() if since_when(pid) == since})


def descendants(pid):
    """The processes below one, each with the time of its start: a number alone may be given to another."""
    parents, found = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(fields(entry.name)[1]), []).append(int(entry.name))
    ahead = [pid]
    while ahead:
        for child in parents.get(ahead.pop(), []):
            with contextlib.suppress(OSError):
                found[child] = fields(child)[19]
                ahead.append(child)
    return found


def fields(pid):
    """What /proc says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def since_when(pid):
    """When a process was started; None if there is none, or only its exit status is left."""
    with contextlib.suppress(OSError):
        state, *_ = said = fields(pid)
        return None if state == "Z" else said[19]
    return None


def command_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def until(condition):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.01)


# ttc try

MODULE = """
import openai
import ttc_middleware as ttc

URL = "{url}"
BODY = dict(model="mock", max_tokens=20)
not_a_function = 7


class Thing:
    def run(self): ...


def is_four(text, question):
    return "4" in text and question == "2 + 2?"


def ask(question: str) -> str:
    with openai.OpenAI(base_url=URL, api_key="x") as client:
        reply = client.chat.completions.create(messages=[dict(role="user", content=question)], **BODY)
    return reply.choices[0].message.content


async def ask_async(question: str) -> str:
    async with openai.AsyncOpenAI(base_url=URL, api_key="x") as client:
        reply = await client.chat.completions.create(messages=[dict(role="user", content=question)], **BODY)
    return reply.choices[0].message.content


decorated = ttc.scale(ttc.SelfConsistency(3), verifier=is_four, name="decorated")(ask)
decorated_async = ttc.scale(ttc.BestOfN(2), verifier=is_four, name="decorated_async")(ask_async)
verifiable = ttc.verifiable(is_four, name="verifiable")(ask)
verifiable_async = ttc.verifiable(is_four, name="verifiable_async")(ask_async)
voting = ttc.scale(ttc.SelfConsistency(3), name="voting")(ask_async)


class Asker:
    @ttc.verifiable(is_four, name="method")
    def ask(self, question: str) -> str:
        return ask(question)


asker = Asker()


def broken(question):
    raise LookupError("no such [/] question")
"""
JUDGED = ["decorated", "decorated_async", "verifiable", "verifiable_async", "asker.ask"]


@pytest.fixture
def provider():
    """The first sample is wrong, the others are right."""
    with Provider(lambda body, number: Reply(text="It is 4" if number % 3 else "It is 5")) as provider:
        yield provider


@pytest.fixture
def folder(provider, here, monkeypatch):
    """A working directory with the module in it."""
    (here / "mine.py").write_text(MODULE.replace("{url}", provider.url), encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield here
    sys.modules.pop("mine", None)
    ttc.uninstrument()


def tried(capsys, *arguments):
    """What `ttc try` says in JSON: single, and scaled."""
    status = main(["try", *arguments, "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    single, scaled = json.loads(said.out).items()
    return single, scaled


@pytest.mark.parametrize("name", JUDGED)
def test_a_function_that_says_what_is_right_is_tried_once_and_best_of_n(name, folder, provider, capsys):
    (first, single), (second, scaled) = tried(capsys, f"mine:{name}", "--args", '["2 + 2?"]', "--n", "1")

    assert (first, second) == ("single", "BestOfN(1)")
    assert (single["strategy"], scaled["strategy"]) == ("Single()", "BestOfN(1)")
    assert (single["accepted"], scaled["accepted"]) == (False, True)
    billed = provider.settled()
    assert billed.requests == 2
    total = sum(
        story["bill"]["total"][kind] for story in (single, scaled) for kind in ("input_tokens", "output_tokens")
    )
    assert total == billed.tokens
    assert {story["bill"]["status"] for story in (single, scaled)} == {"exact"}


@pytest.mark.parametrize("name", ["ask", "ask_async", "voting"])
def test_a_function_that_does_not_say_is_put_to_the_vote(name, folder, provider, capsys):
    (_, single), (title, scaled) = tried(capsys, f"mine:{name}", "--args", '{"question": "2 + 2?"}', "--n", "2")

    assert title == "SelfConsistency(2)"
    assert not scaled["accepted"]
    assert len(single["samples"]) == 1
    assert len(scaled["samples"]) == 2
    assert provider.settled().requests == 3


@pytest.mark.parametrize("name", ["ask", "ask_async"])
def test_a_verifier_may_come_from_the_command_line(name, folder, provider, capsys):
    arguments = [f"mine:{name}", "--verifier", "mine:is_four", "--args", '["2 + 2?"]', "--n", "1"]
    (_, single), (title, scaled) = tried(capsys, *arguments)

    assert title == "BestOfN(1)"
    assert (single["accepted"], scaled["accepted"]) == (False, True)


@pytest.mark.slow
def test_the_table_sets_both_side_by_side(folder, provider):
    stdout, _ = run("try", "mine:verifiable", "--args", '["2 + 2?"]', "--n", "1", cwd=folder)

    rows = {
        cells[0]: cells[1:] for line in stdout.splitlines() if len(cells := re.split(r"\s*[│┃]\s*", line)[1:-1]) == 3
    }
    assert rows[""] == ["single", "BestOfN(1)"]
    assert rows["output"] == ["It is 5", "It is 4"]
    assert rows["accepted"] == ["no", "yes"]
    assert rows["samples"] == ["1", "1"]
    tokens = [int(re.fullmatch(r"(\d+) \(exact\)", cell)[1]) for cell in rows["tokens"]]
    assert sum(tokens) == provider.settled().tokens
    assert rows["hidden tokens"] == ["0", "0"]
    assert rows["dollars"] == ["unknown", "unknown"]
    assert rows["ended"] == ["decided", "accepted"]


def test_switched_off_elsewhere_it_is_still_tried(folder, provider, capsys, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    _, (_, scaled) = tried(capsys, "mine:verifiable", "--args", '["2 + 2?"]', "--n", "1")

    assert scaled["stop_reason"] == "accepted"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mine"], "given as module:function, got 'mine'"),
        (["no_such_module:ask"], "No module named 'no_such_module'"),
        (["mine:no_such_function"], "mine has no no_such_function"),
        (["mine:not_a_function"], "functions and methods, got 7"),
        (["mine:Thing"], "not classes"),
        (["mine:ask", "--args", "[1"], "--args must be JSON"),
        (["mine:ask", "--args", "7"], "--args must be a JSON list or object, got 7"),
        (["mine:ask", "--args", "[]"], "missing a required argument: 'question'"),
        (["mine:ask", "--args", '["?"]', "--n", "0"], "must be a whole number from 1, got 0"),
        (["mine:ask", "--verifier", "mine:nothing"], "mine has no nothing"),
        (["mine:decorated", "--verifier", "mine:is_four"], "--verifier is for functions that are not decorated"),
        (["mine:broken", "--args", '["?"]'], "LookupError: no such [/] question"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value),
)
def test_try_says_in_a_line_what_is_wrong(arguments, words, folder, capsys):
    status = main(["try", *arguments])

    said = capsys.readouterr()
    assert (status, said.out) == (1, "")
    line = said_in_one_line(said.err)
    assert line.startswith("ttc try: ")
    assert words in line


# ttc verify


@pytest.fixture
def files(tmp_path):
    """Writes a file, and gives its path."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_candidate_is_checked_by_test_code(files):
    tests = files("tests.py", "assert add(1, 2) == 3\nassert add(2, 2) == 4")
    told, _ = run("verify", "--verifier", "unit_tests", "--tests", tests, files("a.py", "def add(a, b): return a + b"))
    assert told.startswith("accepted: score 1, trust strong, in ")
    wrong = files("b.py", "def add(a, b): return 3")
    told, _ = run("verify", "--verifier", "unit_tests", "--tests", tests, wrong, status=1)
    assert told.startswith("rejected: score 0.5")
    assert "add(2, 2) returned 3, expected 4" in told


def test_a_candidate_is_checked_by_pairs_and_hidden_ones(files):
    pairs, hidden = files("pairs.json", "[[[1, 2], 3]]"), files("hidden.json", "[[[5, 5], 10]]")
    options = ("verify", "--verifier", "unit_tests", "--tests", pairs, "--hidden", hidden, "--json")
    told, _ = run(*options, files("learnt.py", "def add(a, b): return 3"), status=1)
    verdict = json.loads(told)
    assert (verdict["score"], verdict["accepted"], verdict["trust"]) == (0.5, False, "strong")
    assert "hidden" in verdict["feedback"]


@pytest.mark.parametrize(
    ("options", "right", "wrong"),
    [
        (["exact", "--answer", "Paris"], "The answer is paris.", "London"),
        (["regex", "--answer", r"\d{4}"], "1234", "12345"),
        (["math_answer", "--answer", "1/2"], r"\boxed{\frac12}", r"\boxed{2}"),
    ],
)
def test_a_short_answer_is_checked_from_standard_input(options, right, wrong, monkeypatch, capsys):
    for text, status in ((right, 0), (wrong, 1)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert main(["verify", "--verifier", *options, "-"]) == status
        assert capsys.readouterr().out.startswith("accepted" if status == 0 else "rejected")


def test_structured_output_is_checked_by_a_schema(files):
    schema = files("schema.json", '{"type": "object", "required": ["total"]}')
    told, _ = run("verify", "--verifier", "schema", "--schema", schema, files("a.json", "{}"), status=1)
    assert "total" in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--verifier", "unit_tests"], "--verifier unit_tests needs --tests"),
        (["--verifier", "unit_tests", "--tests", "nowhere.py"], "nowhere.py"),
        (["--verifier", "exact"], "--verifier exact needs --answer"),
    ],
)
def test_no_verdict_is_an_exit_status_of_its_own(options, said, files):
    _, error = run("verify", *options, files("a.py", "x = 1"), status=2)
    assert said in error


def test_pairs_that_are_none_are_said_to_be(files):
    tests = files("pairs.json", "[[1, 2, 3]]")
    _, error = run("verify", "--verifier", "unit_tests", "--tests", tests, files("a.py", "x = 1"), status=2)
    assert "[[argument, …], expected]" in error


# ttc sandbox probe


def test_sandboxes_are_probed():
    told, _ = run("sandbox", "probe", "--json")
    found = json.loads(told)["sandboxes"]
    assert set(found) == {"bubblewrap", "fork-server", "landlock", "unsafe"}
    for each in found.values():
        assert each["works"] == (each["reason"] == "")
        if each["works"] and each["trust"] == "kernel":
            assert each["lets"] == []
            assert "open a socket" in each["stops"]
            assert each["ms"] > 0
    assert "read a file" in found["unsafe"]["lets"]
    told, _ = run("sandbox", "probe")
    assert '"auto" takes the first that works and isolates' in told
