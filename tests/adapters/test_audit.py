"""`ttc audit`, on real programs that know nothing of it, against a provider that counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
from provider import Provider, Reply

from ttc_cli import main
from ttc_cli._audit_sites import kind

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "ttc_cli", "audit"]

SHOP = """
    import asyncio, concurrent.futures, multiprocessing, os, signal, subprocess, sys, threading
    import openai

    URL = sys.argv[1]
    client = openai.OpenAI(base_url=URL, api_key="x", max_retries=0)

    def ask(text, **more):
        return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **more)

    def streams():
        chunks = list(ask("stream this", stream=True))
        assert all(chunk.choices for chunk in chunks), "a chunk that nobody asked for"
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async def gathers():
        async with openai.AsyncOpenAI(base_url=URL, api_key="x") as client:
            say = client.responses.create
            return await asyncio.gather(*[say(model="r", input=f"number {n}") for n in range(3)])  # gathered here

    def fails():
        try:
            ask("please fail")
        except openai.BadRequestError as error:
            return error.status_code

    def in_child(text):
        ask(text)

    if __name__ == "__main__":
        print("begun")
        assert "TTC_AUDIT" in os.environ
        assert not [place for place in sys.path if "_audit_site" in place]
        print(ask("hello", temperature=0.3).choices[0].message.content)
        print(streams())
        print(len(asyncio.run(gathers())))
        print(fails())
        threads = [threading.Thread(target=ask, args=(f"thread {n}",)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            work = pool.submit(client.chat.completions.create, model="m", messages=[])  # submitted here
            assert work.result().choices
        for method in ("fork", "spawn"):
            process = multiprocessing.get_context(method).Process(target=in_child, args=(method,))
            process.start()
            process.join()
            assert process.exitcode == 0
        subprocess.run([sys.executable, "-c", "import sys; print('child', 'openai' in sys.modules)"], check=True)
        sys.stderr.write("said to stderr\\n")
        sys.stdout.flush()
        for n in range(6):
            ask("secret 4711", temperature=0)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def audit(*arguments, status=0, cwd=None, **environment):
    """Run it; gives stdout and stderr."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "300", **environment},
        check=False,
        timeout=380,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout, done.stderr


def line_of(text, source):
    """The number of the line that has this in it."""
    (number,) = (k for k, line in enumerate(dedent(source).splitlines(), 1) if text in line)
    return number


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A package run by `python -m`, with every way to make a call, bare and audited: what was printed, the figures."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop").mkdir()
    (folder / "shop" / "work.py").write_text(dedent(SHOP))
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n'TTC_AUDIT' in os.environ and sys.stderr.write('its own sitecustomize\\n')\n"
    )

    def script(body, number):
        if "please fail" in json.dumps(body):
            return Reply(status=400, error="no")
        return Reply(text="two words", reasoning=1)

    with Provider(script) as provider:
        out, figures, page = folder / "out.txt", folder / "audit.json", folder / "audit.html"
        command = [sys.executable, "-m", "shop.work", provider.url]
        stdout, stderr = audit(
            "--json", figures, "--html", page, "--", *command, status=137, cwd=folder, PYTHONPATH=str(folder)
        )
        billed = provider.settled()
        out.write_text(stdout)
    return stdout, stderr, json.loads(figures.read_text()), billed, page.read_text()


def test_a_program_that_is_audited_prints_and_ends_as_it_does_alone(shop):
    stdout, stderr, figures, *_ = shop

    assert stdout.splitlines() == ["begun", "two words", "two words", "3", "400", "child False"]
    assert set(stderr.splitlines()) == {"its own sitecustomize", "said to stderr"}
    assert figures["exit_status"] == 137


def test_every_call_is_on_the_line_that_makes_it_whatever_runs_it(shop):
    figures = shop[2]
    ask = line_of("return client.chat", SHOP)
    gather = line_of("# gathered here", SHOP)
    submitted = line_of("# submitted here", SHOP)

    calls = {(each["place"], each["function"]): each["spent"]["calls"] for each in figures["call_sites"]}

    # hello, stream, a failure, two threads, fork, spawn, and six before it killed itself
    assert calls.pop((f"shop/work.py:{ask}", "ask")) == 13
    assert calls.pop((f"shop/work.py:{submitted}", "<module>")) == 1
    ((place, function),) = calls
    assert (place, calls[place, function]) == (f"shop/work.py:{gather}", 3)
    assert "listcomp" in function or "gathers" in function


def test_the_sums_are_those_of_the_provider(shop):
    figures, billed = shop[2], shop[3]

    total = figures["total"]
    assert (total["calls"], total["input_tokens"], total["output_tokens"]) == (
        billed.requests, billed.prompt, billed.completion
    )  # fmt: skip
    assert sum(each["reasoning_tokens"] for each in figures["call_sites"]) == billed.reasoning
    assert figures["hidden_share"] == billed.reasoning / billed.tokens
    assert total["usd"] is None, "no price is known, and none is made up"
    assert {"rejected": 1} in [each["failed"] for each in figures["call_sites"]]


def test_neither_the_figures_nor_the_page_hold_a_prompt_or_what_stands_for_one(shop):
    _, _, figures, _, page = shop

    for text in (json.dumps(figures), page):
        assert "4711" not in text
        assert "two words" not in text
        assert "asked" not in text
    assert "shop/work.py" in page
    assert "<script" not in page


def test_what_it_asked_again_and_again_at_temperature_0_is_worth_a_cache(shop):
    (finding,) = shop[2]["worth_a_test"]

    assert finding["what"] == "a cache"
    assert finding["said"] == ("5 calls ask what had been answered before (1 request), 5 of them at temperature 0")
    assert finding["at_stake"]["calls"] == 5


WAITS = """
    import os, signal, sys, time
    def handler(number, frame):
        # No print: it may have come amid that of "ready", whose buffer nobody else may write to then.
        os.write(1, f"got {signal.Signals(number).name}\\n".encode())
        sys.exit(5)
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), handler)
    print("ready", flush=True)
    while True:
        time.sleep(60)
"""


@pytest.mark.parametrize(("whom", "name"), [("group", "SIGINT"), ("group", "SIGTERM"), ("alone", "SIGTERM")])
def test_a_signal_is_the_programs_to_answer_and_the_report_comes_after_it(tmp_path, whom, name):
    (tmp_path / "waits.py").write_text(dedent(WAITS))
    process = subprocess.Popen(
        [*COMMAND, "--", sys.executable, "waits.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    number = getattr(signal, name)
    (os.killpg if whom == "group" else os.kill)(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stdout) == (5, f"got {name}\n")
    assert "No model call was observed: 1 Python process ran and imported none of openai, litellm and" in stderr


# What cannot be run, or has nothing to show


def test_a_command_that_is_not_there_is_said_as_a_shell_says_it(capfd, tmp_path):
    assert main(["audit", "--", "no-such-program", "-x"]) == 127
    (tmp_path / "data").write_text("no program")
    assert main(["audit", "--", str(tmp_path / "data")]) == 126
    assert main(["audit"]) == 2

    assert capfd.readouterr().err.splitlines() == [
        "ttc audit: no-such-program: command not found",
        f"ttc audit: {tmp_path / 'data'}: cannot be executed",
        "ttc audit: there is no command: ttc audit -- python app.py",
    ]


def test_a_file_that_cannot_be_written_is_said_before_the_program_costs_anything(capfd, tmp_path):
    assert main(["audit", "--json", str(tmp_path / "no" / "f.json"), "--", "touch", str(tmp_path / "ran")]) == 2

    assert not (tmp_path / "ran").exists()
    assert "no/f.json" in capfd.readouterr().err


def test_what_is_no_python_program_is_said_to_be_none(capfd):
    assert main(["audit", "--", "sh", "-c", "echo hello; exit 9"]) == 9

    printed = capfd.readouterr()
    assert printed.out == "hello\n"
    assert "No model call was observed: not a Python program, or one that is started with -I" in printed.err


def test_ctrl_c_and_the_other_signals_mean_again_what_they_meant_before(capfd):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)]
    main(["audit", "--", "true"])

    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)]
    assert after == before


def test_an_interpreter_that_does_not_have_the_library_runs_the_program_and_is_named(capfd, tmp_path):
    for name in ("openai", "mistralai"):
        (tmp_path / f"{name}.py").write_text(f"print('somebody else\\'s {name}')\n")
    # Without site-packages there is no library.
    here = str(Path(__file__).parents[2])
    bare = f"import sys; sys.path[:] = [p for p in sys.path if 'packages' not in p and not p.startswith({here!r})]"
    code = f"{bare}; sys.path.insert(0, {str(tmp_path)!r}); import openai, mistralai; sys.exit(4)"
    hidden = "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]"
    assert (
        main(["audit", "--", sys.executable, "-c", code.replace("; sys.path.insert", f"; {hidden}; sys.path.insert")])
        == 4
    )

    printed = capfd.readouterr()
    assert printed.out == "somebody else's openai\nsomebody else's mistralai\n"
    assert "ModuleNotFoundError: No module named 'ttc_cli'" in printed.err
    assert sys.executable in printed.err
    assert "Calls by mistralai, which was imported, are not seen." in printed.err


@pytest.mark.parametrize(
    ("file", "whose"),
    [
        ("/home/me/app.py", "own"),
        ("<string>", "own"),
        ("<stdin>", "own"),
        ("<frozen runpy>", "plumbing"),
        (os.__file__, "plumbing"),
        (time.__name__ and json.__file__, "plumbing"),
        (pytest.__file__, "installed"),
        (str(Path(sys.executable).with_name("pytest")), "plumbing"),
        (str(Path(pytest.__file__).parents[1] / "langchain_core" / "runnables" / "base.py"), "plumbing"),
        (sys.modules["ttc_cli"].__file__, "plumbing"),
        (sys.modules["ttc_middleware"].__file__, "plumbing"),
        ("/usr/lib/python3.11/asyncio/events.py", "loop"),
    ],
)
def test_whose_a_frame_is_goes_by_its_file(file, whose):
    assert kind(file) == whose


# Frameworks


FRAMEWORKS = """
    import litellm, pytest, sys, os
    from langchain_openai import ChatOpenAI

    URL = os.environ["URL"]

    def test_litellm():
        for model in ("openai/mock", "hosted_vllm/mock"):
            litellm.completion(model=model, api_base=URL, api_key="x", messages=[{"role": "user", "content": "a"}])

    def test_langchain():
        model = ChatOpenAI(model="m", base_url=URL, api_key="x")
        model.invoke("hello")
        assert list(model.stream("hello"))

    def test_langchain_in_threads():
        ChatOpenAI(model="m", base_url=URL, api_key="x").batch(["one", "two"])

    def test_that_fails():
        assert False
"""


def test_frameworks_below_pytest_are_counted_once_and_on_the_lines_of_the_tests(tmp_path):
    (tmp_path / "test_shop.py").write_text(dedent(FRAMEWORKS))
    figures = tmp_path / "audit.json"
    with Provider() as provider:
        command = [str(Path(sys.executable).with_name("pytest")), "-q", "-p", "no:cacheprovider", "test_shop.py"]
        stdout, _ = audit(
            "--json",
            figures,
            "--",
            *command,
            status=1,
            cwd=tmp_path,
            URL=provider.url,
            LITELLM_LOCAL_MODEL_COST_MAP="1",
        )
        billed = provider.settled()

    assert "1 failed, 3 passed" in stdout
    told = json.loads(figures.read_text())
    lines = {each["place"]: each["spent"]["calls"] for each in told["call_sites"]}
    assert lines == {
        f"test_shop.py:{line_of('litellm.completion', FRAMEWORKS)}": 2,
        f"test_shop.py:{line_of('model.invoke', FRAMEWORKS)}": 1,
        f"test_shop.py:{line_of('model.stream', FRAMEWORKS)}": 1,
        f"test_shop.py:{line_of('.batch', FRAMEWORKS)}": 2,
    }
    total = told["total"]
    assert (total["calls"], total["tokens"], told["problems"]) == (billed.requests, billed.tokens, {})


MESSAGES = """
    import sys

    import anthropic

    client = anthropic.Anthropic(base_url=sys.argv[1], api_key="x")
    asked = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "how many?"}]}
    for system in ("one", "two", "one"):
        print(client.messages.create(system=system, **asked).content[0].text)
    with client.messages.stream(**asked) as stream:
        print(stream.get_final_text())
"""


def test_anthropics_messages_are_seen_like_the_others(tmp_path):
    pytest.importorskip("anthropic")
    (tmp_path / "talk.py").write_text(dedent(MESSAGES))
    with Provider(lambda body, number: Reply(text="two words")) as provider:
        command = [sys.executable, "talk.py", provider.host]
        stdout, _ = audit("--json", tmp_path / "audit.json", "--", *command, cwd=tmp_path)
        billed = provider.settled()
    assert stdout == "two words\n" * 4
    told = json.loads((tmp_path / "audit.json").read_text())
    lines = {each["place"]: (each["spent"]["calls"], each["repeats"]["calls"]) for each in told["call_sites"]}
    assert lines == {
        f"talk.py:{line_of('messages.create', MESSAGES)}": (3, 1),
        f"talk.py:{line_of('messages.stream', MESSAGES)}": (1, 0),
    }
    assert (told["total"]["calls"], told["total"]["tokens"]) == (billed.requests, billed.tokens)
