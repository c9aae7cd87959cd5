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
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=380, check=False)
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
    shares = {
        name: number(count)
        for count, name in re.findall(r"([\d,]+) (visible|reasoning|discarded|verifying|routing)", rest)
    }
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
    assert re.match(r'"""[A-Z].{30,}\.("""\n\n|\n\n)', path.read_text(encoding="utf-8"))


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_example_by_difficulty():
    lines = run("by_difficulty")

    heads = [place for place, line in enumerate(lines) if line.startswith("__main__:")]
    cascade, *adaptive, parts = (lines[a:b] for a, b in zip(heads, [*heads[1:], None], strict=True))
    assert "(Cascade((Tier(None, cap=3), Tier(" in cascade[0]
    assert 2 <= len(cascade) - 2 <= 9
    ways = ["Agreement(2, by=last)", "FirstScore((0.9, 0.5))", "Classify(None)", "how_many"]
    for way, printed in zip(ways, adaptive, strict=True):
        assert f"(Adaptive({way}, {{'easy': Single(), 'medium': BestOfN(4), " in printed[0]
        # Two that are kept at most; then one, four and eight more at most.
        assert 1 <= len(printed) - 2 <= 2 + 1 + 4 + 8
        assert ("routing" in printed[1]) == (way == "Classify(None)")
    assert "(Decompose(in_parts, SelfConsistency(3, by=last), " in parts[0]
    assert 2 + 1 <= len(parts) - 2 <= 6 + 2


@pytest.mark.slow
def test_example_steps_in_place():
    lines = run("steps_in_place")

    names = ["EarlyReject(4", "SpeculativeRejection(8", "Repair(4)", "Repair(4, below", "DraftSteps('draft'"]
    assert len(lines) == 2 * len(names)
    for name, said, printed in zip(names, lines[::2], lines[1::2], strict=True):
        assert said.startswith(name)
        assert said.partition("): ")[2], "no answer"
        bill = bill_in(printed)
        assert bill.shares["visible"] > 0
        assert bill.calls >= 1


@pytest.mark.slow
def test_example_existing_function():
    first, best, one, four = run("existing_function")

    assert re.fullmatch(r"one sample: ['\"].+['\"]", first)
    assert re.fullmatch(r"best of 4:  ['\"].+['\"]", best)
    single, scaled = bill_in(one), bill_in(four)
    assert (single.calls, single.exact, set(single.shares)) == (2, True, {"visible"})
    assert (scaled.calls, scaled.exact, set(scaled.shares)) == (8, True, {"visible", "discarded"})


@pytest.mark.slow
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


@pytest.mark.slow
def test_example_anthropic_messages():
    lines = run("anthropic_messages")

    start = next(place for place, line in enumerate(lines) if line.startswith("winner: "))
    answer, first = "\n".join(lines[: start - 1]), bill_in(lines[start - 1])
    assert answer.startswith("answer: ")
    assert first.exact
    assert first.calls == 6 or (first.calls < 6 and "42" in answer)
    second = bill_in(lines[-1])
    assert 2 <= second.calls <= 3
    assert second.shares["visible"] > 0


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_example_langchain_chain():
    total, chain, *slogans, graph, plain = run("langchain_chain")

    assert re.fullmatch(r"total:  total=\d{1,3}", total)
    voted = bill_in(chain)
    assert 3 <= voted.calls <= 5  # three of five that agree decide
    (slogan,) = slogans  # four were drawn, and one is shown
    assert slogan.startswith("slogan: ")
    drawn = bill_in(graph)
    assert drawn.calls == 4
    assert drawn.shares["discarded"] > 0
    assert bill_in(plain).calls == 1
    assert drawn.exact


def stories(lines, *names):
    """The results that were printed one after the other, by the names of what was scaled."""
    starts = [place for place, line in enumerate(lines) if re.match(rf"({'|'.join(map(re.escape, names))}): ", line)]
    assert [lines[place].partition(": ")[0] for place in starts] == list(names)
    found = []
    for start in starts:
        samples = lines[start + 2 :]
        end = next((place for place, line in enumerate(samples) if not re.match(r" [ *] +\d+ \w", line)), None)
        found.append((lines[start], bill_in(lines[start + 1]), samples[:end]))
    return found


def until_accepted(head, bill, samples):
    """One sample after the other: all but the last are rejected with a score below 1, and with words."""
    adds_up(bill, samples)
    *rejected, last = samples
    assert all("score 1.00" not in line and ": " in line for line in rejected)
    if " not accepted after" not in head:
        assert re.match(r" \* .* score 1\.00", last)


@pytest.mark.slow
def test_example_verify_code():
    lines = run("verify_code")

    average, stack = stories(lines, *["__main__:main.<locals>.write"] * 2)
    until_accepted(*average)
    until_accepted(*stack)
    judged = [re.fullmatch(r"(.+): ([\d.]+), (strong|weak), in ([\w-]+)\. (.*)", line) for line in lines]
    forms = [found.groups() for found in judged if found]
    assert [form for form, *_ in forms] == ["(args, expected)", "assert lines", "check(candidate)", "a pytest file"]
    assert {trust for _, _, trust, _, _ in forms} == {"strong"}
    assert all((score == "1.00") == (feedback == "") for _, score, _, _, feedback in forms)
    if "not accepted" not in average[0]:
        assert forms[0][1] == "1.00"
    assert "by heart, public tests: 1.0" in lines
    assert "by heart, hidden too:   2 of 3 tests passed. 1 of the hidden tests failed" in lines


@pytest.mark.slow
def test_example_search_code():
    lines = run("search_code")

    (deeper, deeper_bill, deeper_samples), (agreed, bill, samples) = stories(lines, "deeper or wider", "by agreement")
    assert "ABMCTS(8)" in deeper
    assert 1 <= len(deeper_samples) <= 8
    adds_up(deeper_bill, deeper_samples)
    assert "CodeSearch(4, 1, behaviour=verifiers.Behaviour(…))" in agreed
    assert 4 <= len(samples) <= 8
    adds_up(bill, samples)
    assert re.match(r"[01]\.\d\d of all tests\.", lines[-1])


@pytest.mark.slow
def test_example_verify_answers():
    lines = run("verify_answers")

    for each in stories(lines, "Exact", "Choice", "Regex"):
        until_accepted(*each)
    assert not [line for line in lines if "Paris" in line and "is wrong" in line]
    problem = next(each for each in recorded() if each["id"] == "math500-37")
    judged = [line.partition(" ")[0] == "right" for line in lines if re.match(r"(right|wrong) ['\"]", line)]
    assert judged == [right for _, right, _ in problem["answers"]]
    voted = re.fullmatch(r"classes: (\[[\d, ]+\]) elected: (['\"].*72.*['\"]) gold: 72", lines[-1])
    assert voted
    classes = json.loads(voted[1])
    # 72 and 72 degrees are one class, and all of it is right; no wrong answer is in it.
    assert [number == 0 for number in classes] == judged


@pytest.mark.slow
def test_example_verify_plans():
    lines = run("verify_plans")

    constraints, goal, logic = stories(lines, "Constraints", "GoalState", "Logic")
    for each in (constraints, goal, logic):
        until_accepted(*each)
    assert all(re.search(r"score 0\.[05]0.*\d of 2 constraints? hold", line) for line in constraints[2][:-1])
    assert all(re.search(r"score 0\.\d\d.*([Gg]oal|illegal)", line) for line in goal[2][:-1])
    said = [line for line in logic[2][:-1] if "score 0.00" in line]
    assert len(said) == len(logic[2]) - 1
    said = {name: lines[: lines.index(each[0])] for name, each in zip("cgl", (constraints, goal, logic), strict=True)}
    if "not accepted" not in goal[0]:
        assert said["g"][-1] == repr("\n".join(["fill"] * 5))
    if "not accepted" not in logic[0]:
        least = re.search(r"\(assert \((>=?) x (-?\d+)\)\)", said["l"][-1])
        assert least is None or int(least[2]) <= 12 + (least[1] == ">=")


@pytest.mark.slow
def test_example_verify_text():
    lines = run("verify_text")

    ((head, bill, samples),) = stories(lines, "__main__:main.<locals>.praise")
    assert "(BestOfN(2, stop='all'); " in head
    assert len(samples) == 2
    # A check before the judge: what fails it scores 0 and costs no verdict.
    asked = [line for line in samples if "score 0.00" not in line]
    assert ("verifying" in bill.shares) == bool(asked)
    # The first verdict is kept, so the second one is for free.
    (again,) = [line for line in lines if line.startswith("judged again: ")]
    (won,) = [line for line in samples if line.startswith(" *")]
    assert float(again.split(": ")[1]) == pytest.approx(float(re.search(r"score ([\d.]+)", won)[1]), abs=0.005)
    assert next(line for line in lines if line.startswith("for ")).startswith("for 0 tokens")
    low, high = (re.search(r"gives the answer ([\d.]+) on", line)[1] for line in lines if "reward model: (" in line)
    assert float(low) < 0.1
    assert float(high) > 0.8
    assert re.fullmatch(r"steps: (0\.\d|1\.0) \(weak trust\)\. (None|Step [123] of 3 is the first .*)", lines[-2])
    assert lines[-1] == "the reward model gave all of it 0.771: right is False"


@pytest.mark.slow
def test_example_pydantic_ai_agent():
    *samples, answer, usage, bill = run("pydantic_ai_agent")

    judged = [line.removeprefix("  a sample: ") for line in samples]
    right = ["Person(name='Ada', age=36)", "Person(name='Ben', age=19)"]
    # Each sample is judged once; the first that is right wins, and is judged once more as the run's output.
    assert judged[-1] == judged[-2] == answer.removeprefix("answer: ")
    assert judged[-1] in right
    spent = bill_in(bill)
    assert spent.exact
    assert spent.calls >= len(judged) - 1
    assert usage == f"the run's usage: {spent.total} tokens"


@pytest.mark.slow
def test_example_measure_verifier():
    lines = run("measure_verifier")

    rows = [(each["id"], text, right, reward) for each in recorded() for text, right, reward in each["answers"]]
    right = sum(row[2] for row in rows)
    heads = [line for line in lines if " samples of " in line]
    assert heads == [
        f"{name}: {len(rows)} samples of 40 questions, {right} right; 95% intervals"
        for name in ("boxed", "RewardModel")
    ]
    accepts = {"boxed": lambda row: "\\boxed" in row[1], "RewardModel": lambda row: row[3] >= 0.75}
    for head, accepted in zip(heads, accepts.values(), strict=True):
        one, other, *_ = lines[lines.index(head) + 1 :]
        of_right = sum(accepted(row) for row in rows if row[2]) / right
        of_wrong = sum(accepted(row) for row in rows if not row[2]) / (len(rows) - right)
        assert one.startswith(f"  accepts right answers: {of_right:.2f} (")
        assert other.startswith(f"  accepts wrong answers: {of_wrong:.2f} (")
    boxed, reward = lines[: lines.index(heads[1])], lines[lines.index(heads[1]) :]
    (warned,) = [line for line in lines if line.startswith("warned: ")]
    assert "  largest n worth drawing: 0" in boxed
    assert "  below break-even: " in boxed[-1]
    assert not any("break-even" in line for line in reward[: reward.index(warned)])
    assert warned.startswith(
        "warned: __main__:main.<locals>.solve: verifier boxed was measured to be below break-even: "
    )
    assert boxed[-1].partition("below break-even: ")[2] in warned
    assert lines[-2:] == ["at n = 8, is it worth it? False", "it still judges: True"]
    page = (EXAMPLES.parent / "docs" / "verifiers.md").read_text(encoding="utf-8")
    (pasted,) = re.findall(r"<!-- measure -->\n```text\n(.*?)```\n<!-- /measure -->", page, re.DOTALL)
    assert pasted.splitlines() == lines[: lines.index(warned)]


def test_example_own_sandbox():
    right, wrong, leaving = run("own_sandbox")

    # The tests are the same wherever they run; a plain process keeps nothing in, and the verdict says so.
    assert right == "1.00 in elsewhere (trust weak): accepted"
    assert wrong.startswith("0.00 in elsewhere (trust weak): 0 of 3 tests passed. power(2, 3) returned 6, expected 8")
    assert leaving.startswith("0.00 in elsewhere (trust weak): 0 of 3 tests passed. power(2, 3) raised SystemExit")


def recorded():
    """The recorded answers; no two of them alike, since one is known by its text."""
    data = json.loads((EXAMPLES / "data" / "math500.json").read_text(encoding="utf-8"))
    assert "MIT License" in data["licence"]
    assert "https://" in data["source"]
    texts = [text for each in data["questions"] for text, *_ in each["answers"]]
    assert len(set(texts)) == len(texts) == 320
    return data["questions"]


@pytest.mark.slow
def test_example_budget_forcing():
    lines = run("budget_forcing")
    assert lines[0].startswith("thought: ")
    assert any(line.startswith("said:    Final Answer:") for line in lines)
    bill = bill_in(next(line for line in lines if line.startswith("bill:")))
    assert bill.exact
    assert set(bill.shares) == {"visible", "reasoning"}
    assert lines[-1] == "tokens of thinking: 48"


@pytest.mark.slow
def test_example_search_steps():
    lines = run("search_steps")
    heads = [line for line in lines if " right; " in line]
    assert [head.split(":")[0] for head in heads] == ["Single", "BeamSearch", "DVTS", "MCTS", "ParticleFilter", "DVTS"]
    for head in heads:
        assert re.search(r": [0-2] of 2 right; ", head)
        bill = bill_in(head)
        assert bill.calls >= 2
        assert ("discarded" in bill.shares) == (not head.startswith("Single"))
    # Of one question, each step's prompt is what the step before it has paid for.
    cached = [re.fullmatch(r"  ([\d,]+) prompt tokens came from the server's cache", line) for line in lines]
    labels = [line for line in lines if re.fullmatch(r"  '.*': \d of \d+ roll-outs are right", line)]
    assert 1 <= len(labels) <= 3
    assert sum(1 for each in cached if each and number(each[1]) > 0) == len(lines) - len(heads) - len(labels) >= 1


@pytest.mark.slow
def test_example_votes():
    lines = run("votes")
    plain, adaptive, windowed, logprob, stated, fields, universal, same = lines
    for line in lines:
        assert line.startswith("SelfConsistency(")
        assert bill_in(line).calls >= 1
    assert "'animal' after" in plain or "'place' after" in plain or "'person' after" in plain
    assert "stop=AdaptiveConsistency(0.95)" in adaptive
    # Windows of four.
    assert int(re.search(r"after (\d+) samples", windowed)[1]) % 4 == 0
    assert "weight='logprob'" in logprob
    assert "weight=CISC()" in stated
    assert re.search(r"'\{\"kind\": \"(place|person)\", \"wet\": (true|false)\}' after", fields)
    assert bill_in(universal).shares["routing"] > 0
    assert "same=alike" in same
