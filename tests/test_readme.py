"""What the README and the pages of docs/ say, done: their Python runs, and what they link, name and print is there."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import sys
import threading
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import litellm
import openai
import pytest
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from litellm_calls import close_clients, its_warnings
from openai_clients import async_client, exact
from provider import Provider, Reply, fresh

import ttc_langchain
import ttc_middleware as ttc
import ttc_openai
from ttc_middleware._context import SETTINGS
from ttc_middleware.testing import play

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

_BLOCK = re.compile(r"(?:<!-- test: (\w+) -->\n)?```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_BLOCKS = list(_BLOCK.finditer(README))
MARKED = {found[1]: found for found in _BLOCKS if found[1]}
UNMARKED = [found for found in _BLOCKS if not found[1]]
ON_PAGES = [pytest.param(page, found, id=f"{page}:{text.count(chr(10), 0, found.start(2))}")
            for page, text in PAGES.items() for found in _BLOCK.finditer(text)]  # fmt: skip


@pytest.fixture(autouse=True)
def _clean():
    fresh()
    yield
    ttc.uninstrument()


@pytest.fixture
def serve(monkeypatch):
    """Start a provider that SDKs find as they would find yours."""
    providers = []

    def start(script):
        provider = Provider(script)
        providers.append(provider.__enter__())
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_BASE", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        return provider

    yield start
    for provider in providers:
        provider.__exit__()


async def run(block, page="README.md", **names):
    """Run a block with the names that it leaves to the reader; gives all the names that there are then."""
    source = "\n" * block.string.count("\n", 0, block.start(2)) + block[2]
    names = {"__name__": "readme", **names}
    code = compile(source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    waiting = eval(code, names)
    if waiting is not None:
        await waiting
    return names


@dataclasses.dataclass
class Task:
    messages: list[dict[str, str]]
    tests: list[Any]


TASK = Task([{"role": "user", "content": "Write double(x)."}], [((2,), 4), "assert double(5) == 10"])
RIGHT, WRONG = "def double(x): return 2 * x", "def double(x): return x * x"


def code(body, number):
    """Wrong, thoughtful and mostly not at all."""
    return Reply(text=RIGHT if number % 3 == 1 else WRONG, reasoning=3)


def test_each_marked_block_has_a_test():
    tested = {name.removeprefix("test_block_") for name in globals() if name.startswith("test_block_")}

    assert len(_BLOCKS) == len(re.findall(r"^```python", README, re.MULTILINE))
    assert set(MARKED) == tested
    assert len(MARKED) == README.count("<!-- test:")


@pytest.mark.asyncio
@pytest.mark.parametrize("block", UNMARKED, ids=lambda block: f"line {README.count(chr(10), 0, block.start(2))}")
async def test_the_other_blocks_run_as_they_are(block):
    await run(block, ttc=ttc)


@pytest.mark.asyncio
@pytest.mark.parametrize(("page", "block"), ON_PAGES)
async def test_a_block_of_a_page_runs_by_itself_and_prints_what_it_says(page, block, capsys, monkeypatch):
    module = types.ModuleType("readme")  # where dataclasses and type hints look
    monkeypatch.setitem(sys.modules, "readme", module)
    names = await run(block, page)
    if "main" in names:
        await names["main"]()

    said = re.findall(r"^ *print\(.*\)  # (.+)$", block[2], re.MULTILINE)
    if said or "main" not in names:
        assert capsys.readouterr().out.splitlines() == said


@pytest.mark.asyncio
async def test_block_budgets():
    async def write_code(task):
        ttc.record_usage(ttc.Usage(1, 10, 20, 0, 0, Decimal("0.25")))
        return RIGHT

    before = dict(vars(SETTINGS))
    try:
        names = await run(MARKED["budgets"], ttc=ttc, write_code=write_code, task=TASK)
        assert names["code"] == RIGHT
        assert [ttc.balance(user=name).left["usd"] for name in ("ann", "bob")] == [Decimal("0.75"), 1]
        assert ttc.balance().left["usd"] == Decimal("99.75")
    finally:
        vars(SETTINGS).update(before)


@dataclasses.dataclass
class Invoice:
    id: str
    lines: list[int]
    total: int


STORY = {"Invoice": Invoice, "mail": "Invoice A7: 2 and 3."}


def story(ask=None):
    """The block, with a body for the function that the reader has."""
    source, body = MARKED["story"][2], "async def extract(text: str) -> Invoice: ..."
    assert source.count(body) == 1
    if ask is not None:  # without a model, only the first part
        source = source.split("def adds_up")[0]
    return re.match(r"()(.*)", source.replace(body, body.replace("...", "return await ask(text)")), re.DOTALL)


def anything(body, number):
    """Code, an answer, or a tool call and what comes after it: whatever is asked for."""
    if body["messages"][-1]["role"] == "tool":
        return Reply(text="done")
    if body.get("tools"):
        return Reply(text=None, tool_calls=[("order", '{"cups": 3}' if number % 4 == 0 else '{"cups": 2}')])
    return Reply(text="The answer is 4", reasoning=2) if "2 + 2" in str(body["messages"]) else code(body, number)


@pytest.mark.asyncio
@its_warnings[0]
@its_warnings[1]
@its_warnings[2]
async def test_block_journeys(serve, capsys):
    provider, ran = serve(anything), []

    def order(cups: int) -> str:
        """Order tea."""
        ran.append(cups)
        return f"{cups} ordered"

    given = {
        "ttc": ttc,
        "openai": openai,
        "litellm": litellm,
        "create_agent": create_agent,
        "ttc_openai": ttc_openai,
        "ttc_langchain": ttc_langchain,
        "Task": Task,
        "MODEL": "openai/mock",
        "task": TASK,
        "model": ChatOpenAI(model="mock"),
        "tools": [order],
    }
    try:
        names = await run(MARKED["journeys"], **given)

        # The function.
        assert names["code"] == RIGHT
        assert {body["max_tokens"] for body in provider.bodies} == {1000}
        printed, shown = bill_in(capsys.readouterr().out), bill_in(MARKED["journeys"][2])
        for total, calls, shares, times in (printed, shown):
            assert sum(shares.values()) == total
            assert list(shares) == ["visible", "reasoning", "discarded"]
            assert calls >= times > 1
        assert printed[1] == names["bill"].total.calls <= 16

        # The client.
        assert type(names["client"]) is openai.AsyncOpenAI
        question = {"model": "mock", "max_tokens": 20, "messages": [{"role": "user", "content": "2 + 2?"}]}
        async with names["client"] as client:
            reply = await client.chat.completions.create(**question)
        assert reply.choices[0].message.content == "The answer is 4"

        # The agent.
        state = await names["agent"].ainvoke({"messages": [("user", "Two cups, please.")]})
        assert ran == [2]
        assert state["messages"][-1].text == "done"

        # The story, of the same function.
        result = (await run(story({}), **names, **STORY))["result"]
    finally:
        await close_clients()
    assert result.accepted
    assert result.output == RIGHT
    assert result.stop_reason == "accepted"
    assert f"{result.bill}" in capsys.readouterr().out


@pytest.mark.asyncio
async def test_block_story(serve):
    four = threading.Barrier(4)

    def script(body, number):
        if number < 4:
            four.wait(30)  # none is cancelled before it was sent
        return Reply(text="2 + 3 = 5" if number == 2 else "2 + 3 = 6")

    provider = serve(script)

    async def ask(text):
        async with async_client(provider) as client:
            reply = await client.chat.completions.create(
                model="mock", max_tokens=20, messages=[{"role": "user", "content": text}]
            )
        *lines, total = map(int, re.findall(r"\d+", reply.choices[0].message.content))
        return Invoice("A7", lines, total)

    @ttc.scale(ttc.Single())
    async def write_code(task):
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return RIGHT

    names = await run(story(), ttc=ttc, write_code=write_code, task=TASK, ask=ask, **STORY)
    assert names["result"].output == RIGHT

    assert names["invoice"] == Invoice("A7", [2, 3], 5)
    assert provider.settled().requests == 4
    plain = await names["extract"]("Invoice A7: 2 and 3.")  # outside the block: free, and unverified
    assert plain.total == 6
    assert provider.settled().requests == 5


def bill_in(text):
    """The total, the calls, the shares and the multiplier of the bill in a text."""
    (found,) = re.findall(r"([\d,]+) tokens in (\d+) calls: (.*), ([\d.]+) x one plain call$", text, re.MULTILINE)
    total, calls, shares, times = found
    counted = {name: int(count.replace(",", "")) for count, name in re.findall(r"([\d,]+) (\w+)", shares)}
    return int(total.replace(",", "")), int(calls), counted, float(times)


@pytest.mark.asyncio
async def test_block_strategy(serve):
    provider = serve(lambda body, number: Reply(text=f"answer {number}"))
    names = await run(MARKED["strategy"], dataclass=dataclasses.dataclass, Any=Any, ttc=ttc)
    strategy = names["UntilAccepted"](4)

    @ttc.scale(strategy, verifier=lambda text: text == "answer 2")
    async def ask():
        async with async_client(provider) as client:
            reply = await client.chat.completions.create(
                model="mock", max_tokens=20, messages=[{"role": "user", "content": "?"}]
            )
        return reply.choices[0].message.content

    result = await ask.run()
    assert (result.accepted, result.output, len(result.samples)) == (True, "answer 2", 3)
    assert [body["temperature"] for body in provider.bodies] == pytest.approx([0.0, 0.2, 0.4])
    exact(result.bill, provider)
    assert play(strategy, [0.1, 0.2, 1.0, 0.3]).index == 2
    assert play(strategy, [0.1, 0.3, 0.2, 0.1]).index == 1


# What it names


_TEXTS = [README, *PAGES.values()]
_PYTHON = "\n".join(
    [
        *(code for text in _TEXTS for code in re.findall(r"`([^`\n]+)`", text)),
        *(found[2] for text in _TEXTS for found in _BLOCK.finditer(text)),
    ]
)
NAMES = sorted(set(re.findall(r"\b(ttc(?:_\w+)?(?:\.[A-Za-z_]\w*)+)", _PYTHON)))
# Calls without calls among their arguments; of these the keywords.
CALLS = sorted(set(re.findall(r"\b(ttc(?:_\w+)?(?:\.\w+)+)\(([^()`]*=[^()`]*)\)", _PYTHON)))


# Spans and metrics have names of their own that begin so.
TELEMETRY = "".join(
    (ROOT / "ttc_middleware" / "telemetry" / f"{module}.py").read_text(encoding="utf-8")
    for module in ("_search", "_call", "_adopt", "_metrics")
)


def resolved(name):
    module, *attributes = name.split(".")
    found = importlib.import_module("ttc_middleware" if module == "ttc" else module)
    for attribute in attributes:
        if inspect.ismodule(found) and not hasattr(found, attribute):
            found = importlib.import_module(f"{found.__name__}.{attribute}")
        else:
            found = getattr(found, attribute)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_it_mentions_exists(name):
    assert f'"{name}' in TELEMETRY or resolved(name) is not None


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[f"{name}({arguments})" for name, arguments in CALLS])
def test_a_keyword_that_it_mentions_exists(name, arguments):
    keywords = set(re.findall(r"\b(\w+)=", arguments))

    assert keywords
    signature = inspect.signature(resolved(name))
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert keywords <= set(signature.parameters) or inspect.Parameter.VAR_KEYWORD in kinds


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


LINKS = sorted(
    {(f"docs/{page}", target) for page, text in PAGES.items() for target in re.findall(r"\]\(([^)\s]+)\)", text)}
    | {("README.md", target) for target in re.findall(r"\]\(([^)\s]+)\)", README)}
)


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_a_link_leads_somewhere(page, target):
    if target.startswith("https://"):
        assert re.fullmatch(r"https://[\w.-]+(/\S*)?", target)
        return
    path, _, anchor = target.partition("#")
    there = (ROOT / page).parent / path if path else ROOT / page
    assert there.exists()
    if anchor:
        text = there.read_text(encoding="utf-8")
        assert anchor in {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_the_commands_that_it_shows_exist():
    tasks = re.findall(r"\buv run poe ([\w-]+)", README)
    extras = [
        *re.findall(r"--extra ([\w-]+)", README),
        *re.findall(r"`(?:pip install .ttc-middleware)?\[(\w+)\]\"?`", README),
    ]
    commands = re.findall(r"\buv run --extra local ttc (\w+)", README)

    assert {"test", "check"} <= set(tasks)
    assert set(tasks) <= set(PROJECT["tool"]["poe"]["tasks"])
    assert {"local", "litellm", "openai", "langchain"} <= set(extras)
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert set(commands) == {"demo"}
    assert PROJECT["project"]["scripts"]["ttc"] == "ttc_cli:main"


def test_the_options_that_it_mentions_exist(capsys):
    from ttc_cli import main  # noqa: PLC0415  # needed here only

    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    options = set(re.findall(r"--[\w-]+", capsys.readouterr().out))

    assert set(re.findall(r"`(--[\w-]+)`", README)) <= options


def test_it_shows_what_the_demo_printed():
    (shown,) = re.findall(r"<!-- demo -->(.*?)<!-- /demo -->", README, re.DOTALL)
    text = " ".join(shown.split())

    total = re.search(r"\btotal (\d+) of (\d+) (\d+) of (\d+) (\d+) ([\d,]+) ([\d,]+)", text)
    assert total, "the demo's output belongs between the marks"
    single, tasks, scaled, _, drawn, visible, hidden = (int(figure.replace(",", "")) for figure in total.groups())
    rows = re.findall(r"^ *\w+ +(accepted|-) +(accepted|-) +(\d+) +([\d,]+) +([\d,]+) +[\d.]+ *$", shown, re.MULTILINE)
    assert len(rows) == tasks
    assert [row[0] for row in rows].count("accepted") == single
    assert [row[1] for row in rows].count("accepted") == scaled > single
    for place, figure in enumerate((drawn, visible, hidden), start=2):
        assert sum(int(row[place].replace(",", "")) for row in rows) == figure
    for phrase in (
        f"{single} of {tasks} functions pass with one sample, {scaled} of {tasks} with up to",
        f": {visible + hidden:,} tokens, ",
        f"{hidden:,} of them nobody reads: ",
        "all on this machine.",
        "ttc try module:function",
    ):
        assert phrase in text
