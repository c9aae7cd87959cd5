"""Every example, run as a user runs it: as a script, on the embedded model or against a provider that counts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from provider import Provider, Reply

EXAMPLES = Path(__file__).parents[1] / "examples"
# litellm would ask the network for prices when it is imported.
ENVIRONMENT = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
MODEL = "SmolLM2-135M-Instruct"


def run(name, *arguments):
    """The lines that an example prints; it must not print anything else, such as a warning."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=110, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


@dataclass
class Printed:
    """A bill, as it is printed."""

    total: int
    usd: Decimal | None
    calls: int
    shares: dict[str, int]
    exact: bool


def bill_in(line):
    """Read a bill back; its shares make up its total."""
    found = re.search(r"([\d,]+) tokens(?: = \$([\d.]+))? in (\d+) calls?: (.*)$", line)
    assert found, f"no bill in {line!r}"
    total, usd, calls, rest = found.groups()
    shares = {name: number(count) for count, name in re.findall(r"([\d,]+) (visible|reasoning|discarded)", rest)}
    assert sum(shares.values()) == number(total), line
    return Printed(number(total), None if usd is None else Decimal(usd), int(calls), shares, "lower bound" not in rest)


def number(text):
    return int(text.replace(",", ""))


def story(lines):
    """The result at the end of what was printed: its first line, its bill, its samples."""
    start = next(place for place, line in enumerate(lines) if line.startswith("__main__:"))
    head, bill, *samples = lines[start:]
    return head, bill_in(bill), samples


def adds_up(bill, samples):
    """What the samples took is the whole bill, but for what was cancelled."""
    taken = sum(number(found[1]) for line in samples if (found := re.search(r", ([\d,]+) tokens", line)))
    assert taken == bill.total
    assert bill.exact == (bill.calls == len(samples))


def test_every_example_has_a_test():
    tested = {name.removeprefix("test_example_") for name in globals() if name.startswith("test_example_")}

    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_the_quickstart_is_short():
    assert len((EXAMPLES / "quickstart.py").read_text(encoding="utf-8").splitlines()) <= 36


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_begins_by_saying_what_it_shows(path):
    assert re.match(r'"""[A-Z].{30,}\."""\n\n', path.read_text(encoding="utf-8"))


def test_example_quickstart():
    lines = run("quickstart")

    head, bill, samples = story(lines)
    assert "(BestOfN(8, at_once=1); " in head
    assert "digit_sum" in "\n".join(lines[: lines.index(head)])
    adds_up(bill, samples)
    assert bill.exact
    # One after the other, so that the accepted one is the last, and all before it failed.
    *rejected, last = samples
    assert all("score 1.00" not in line and ": " in line for line in rejected), "rejected without feedback"
    if "accepted after" in head and "not accepted" not in head:
        assert last.startswith(" *")
        assert "score 1.00" in last
    else:
        assert len(samples) == 8


def test_example_extraction():
    lines = run("extraction")

    assert re.fullmatch(r"Person\(name='[^']*', age=\d+\)", lines[0])
    head, bill, samples = story(lines)
    assert "(Refine(3); " in head
    adds_up(bill, samples)
    assert all(f"{place} " in line for place, line in enumerate(samples))
    accepted = ["score 1.00" in line for line in samples]
    assert accepted in ([False] * 4, [False] * (len(samples) - 1) + [True])
    assert all(said or ": " in line for said, line in zip(accepted, samples, strict=True)), "rejected without feedback"


def test_example_existing_function():
    first, best, one, four = run("existing_function")

    assert re.fullmatch(r"one sample: ['\"].+['\"]", first)
    assert re.fullmatch(r"best of 4:  ['\"].+['\"]", best)
    single, scaled = bill_in(one), bill_in(four)
    assert (single.calls, single.exact, set(single.shares)) == (2, True, {"visible"})
    assert (scaled.calls, scaled.exact, set(scaled.shares)) == (8, True, {"visible", "discarded"})


def test_example_litellm_completion():
    lines = run("litellm_completion")

    votes = json.loads(lines[0].removeprefix("votes: ").replace("None", "null"))
    cast = [vote for vote in votes if vote is not None]
    winner = json.loads(lines[1].removeprefix("answer: "))
    assert all(cast.count(winner) >= cast.count(other) for other in cast)
    head, bill, samples = story(lines)
    assert "SelfConsistency(9" in head
    assert len(votes) == len(samples)
    assert len(samples) <= bill.calls <= 9
    adds_up(bill, samples)


def test_example_console_costs():
    *spans, answer, printed = run("console_costs")

    assert answer
    bill = bill_in(printed)
    assert (bill.calls, bill.exact) == (4, True)
    shown = [(line.split(" ")[0], dict(re.findall(r"([\w.]+)=(\S+)", line))) for line in spans]
    kinds = [kind for kind, _ in shown]
    assert sorted(kinds) == sorted(["chat", "evaluate", "ttc.sample"] * 4 + ["invoke_workflow"])
    assert {attributes["user.id"] for _, attributes in shown} == {"ada"}
    calls = [attributes for kind, attributes in shown if kind == "chat"]
    inputs, outputs = (sum(int(call[f"gen_ai.usage.{kind}_tokens"]) for call in calls) for kind in ("input", "output"))
    _, search = shown[-1]
    assert inputs + outputs == bill.total == int(search["ttc.usage.total_tokens"])
    # 0.10 and 0.40 dollars per million tokens, as the example says.
    assert bill.usd == (Decimal(inputs) * 10 + Decimal(outputs) * 40) / 10**8
    assert sum(float(call["gen_ai.usage.cost"]) for call in calls) == pytest.approx(float(bill.usd))
    assert float(search["ttc.cost.total"]) == pytest.approx(float(bill.usd))
    assert 0 < float(search["ttc.cost.hidden"]) < float(search["ttc.cost.total"])
    assert 0 < int(search["ttc.usage.hidden.output_tokens"]) < outputs


def test_example_langchain_agent():
    eight = threading.Barrier(8)

    def script(body, number):
        eight.wait(60)  # none is cancelled before it was sent
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="Your tea is on its way.")
        return Reply(text=None, tool_calls=[("order_tea", json.dumps({"cups": 2 if number < 2 else 6}))])

    with Provider(script) as provider:
        lines = run("langchain_agent", provider.url, "mock")
        billed = provider.settled()

    assert [line.strip() for line in lines if "ordering" in line] == ["ordering 6 cups"]
    assert "answer: Your tea is on its way." in lines
    bill = bill_in(lines[-1])
    # Five of eight decide; nobody knows what the three that were then cancelled have cost.
    assert bill.calls == billed.requests == 16
    assert bill.total == billed.tokens if bill.exact else bill.total <= billed.tokens
    assert bill.shares["discarded"] > bill.shares["visible"] > 0
    (results,) = {json.dumps(m) for body in provider.bodies for m in body["messages"] if m["role"] == "tool"}
    assert "6 cups are on their way" in results
