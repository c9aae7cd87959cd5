"""How much thinking pays, measured with models whose accuracy by budget is known."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from decimal import Decimal
from html import escape

import anyio
import pytest
from fake_model import Completion, Model, Refused

import ttc_middleware as ttc
from ttc_middleware.calibration import _work
from ttc_middleware.calibration._figures import largest_drop

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]

from fake_model import fresh  # noqa: E402, F401  # a fixture

BUDGETS = [1_000, 2_000, 4_000, 8_000]
RISES_THEN_FALLS = {1_000: 0.3, 2_000: 0.7, 4_000: 0.95, 8_000: 0.4}


def thinker(accuracy, **more):
    """A model that is right so often at each budget, and thinks as much as it may."""
    asked = Counter()

    def script(body, number):
        key = (body["prompt"], body["thinking"])
        asked[key] += 1
        right = random.Random(f"{key} {asked[key]}").random() < accuracy[body["thinking"]]
        wrong = f"wrong {random.Random(f'{key} {asked[key]} w').randrange(5)}"
        usd = Decimal(body["thinking"]) / 10**6
        return Completion(("right" if right else wrong,), 0, body["thinking"] + 10, body["thinking"], usd, **more)

    return Model(script)


def asking(model):
    async def solve(question):
        return await model(question)

    return solve


def is_right(output):
    return output == "right"


def questions(count):
    return [f"question {k}" for k in range(count)]


async def test_accuracy_tokens_dollars_and_time_are_measured_at_each_budget():
    found = await ttc.calibrate_thinking(asking(thinker(RISES_THEN_FALLS)), questions(40), BUDGETS, is_right)
    assert (found.name, found.problems, found.runs, found.left_out, found.stopped) == ("solve", 40, 160, 0, False)
    for row, budget in zip(found.rows, BUDGETS, strict=True):
        assert row.budget == str(budget)
        assert row.accuracy.value == pytest.approx(RISES_THEN_FALLS[budget], abs=0.2)
        assert row.accuracy.low <= row.accuracy.value <= row.accuracy.high
        assert (row.tokens.value, row.reasoning) == (budget + 12, budget)
        assert row.usd == pytest.approx(budget / 10**6)
        assert row.seconds.value > 0
    assert found.spent["total"]["calls"] == 160
    assert Decimal(found.spent["total"]["usd"]) == sum(40 * Decimal(each) / 10**6 for each in BUDGETS)


@pytest.mark.slow
async def test_the_sweet_spot_is_the_cheapest_that_is_not_significantly_below_the_best():
    found = await ttc.calibrate_thinking(asking(thinker(RISES_THEN_FALLS)), questions(40), BUDGETS, is_right)
    best = max(found.rows, key=lambda row: row.accuracy.value)
    assert best.budget == "4000"
    assert found.sweet_spot in ("2000", "4000")
    assert all(row.below_best.low > 0 for row in found.rows if int(row.budget) < int(found.sweet_spot))
    flat = await ttc.calibrate_thinking(asking(thinker(dict.fromkeys(BUDGETS, 0.7))), questions(40), BUDGETS, is_right)
    assert flat.sweet_spot == "1000"


async def test_a_decline_past_the_peak_is_found_and_a_plateau_is_none():
    falls = await ttc.calibrate_thinking(asking(thinker(RISES_THEN_FALLS)), questions(40), BUDGETS, is_right)
    assert falls.declines
    assert (falls.decline.peak, falls.decline.past) == ("4000", "8000")
    assert falls.decline.drop.low > 0
    rises = await ttc.calibrate_thinking(
        asking(thinker({1_000: 0.2, 2_000: 0.5, 4_000: 0.8, 8_000: 0.8})), questions(40), BUDGETS, is_right
    )
    assert not rises.declines


def flat(chance, _):
    return [float(chance.random() < 0.6) for _ in BUDGETS]


def some_gain_what_others_lose(chance, problem):
    """No budget is better than another on average, and every problem has its own."""
    up = [0.2, 0.4, 0.6, 0.8]
    return [float(chance.random() < p) for p in (up if problem % 2 else up[::-1])]


def rises_then_flat(chance, _):
    return [float(chance.random() < p) for p in (0.3, 0.6, 0.6, 0.6)]


def few_right(chance, _):
    return [float(chance.random() < 0.04) for _ in BUDGETS]


@pytest.mark.parametrize(
    "world",
    [
        flat,
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (some_gain_what_others_lose, rises_then_flat, few_right)
        ),
    ],
)
def test_a_decline_that_is_not_there_is_found_as_rarely_as_stated(world):
    chance, found, runs = random.Random(3), 0, 200
    for run in range(runs):
        table = [world(chance, problem) for problem in range(50)]
        *_, p = largest_drop(list(zip(*table, strict=True)), flips=99, seed=run)
        found += p <= 0.1
    assert found <= 0.1 * runs + 2.6 * (0.1 * 0.9 * runs) ** 0.5


def test_a_decline_that_is_there_is_mostly_found():
    chance, found = random.Random(4), 0
    for run in range(20):
        table = [[float(chance.random() < p) for p in (0.4, 0.8, 0.45)] for _ in range(60)]
        first, second, p = largest_drop(list(zip(*table, strict=True)), flips=199, seed=run)
        found += p <= 0.05 and (first, second) == (1, 2)
    assert found >= 18


async def test_longer_is_set_against_as_many_shorter_samples_as_the_same_tokens_pay_for():
    model = thinker({1_000: 0.75, 4_000: 0.5})
    found = await ttc.calibrate_thinking(asking(model), questions(40), [1_000, 4_000], is_right, samples=4)
    sizes = [(each.budget, each.n) for each in found.wider]
    assert sizes == [("1000", 1), ("1000", 2), ("1000", 4), ("4000", 1), ("4000", 2), ("4000", 4)]
    (only,) = found.versus
    assert (only.longer, only.wider, only.n) == ("4000", "1000", 3)  # 4,012 tokens pay for 3 x 1,012
    assert only.tokens == (4_012, 3 * 1_012)
    assert only.lead.low > 0  # wrong answers scatter, so three votes beat one
    assert found.wider[0].accuracy.value == found.rows[0].accuracy.value


@pytest.mark.slow
async def test_where_the_verifier_chooses_several_samples_are_as_good_as_the_best_of_them():
    model = thinker({1_000: 0.5, 2_000: 0.5})
    found = await ttc.calibrate_thinking(
        asking(model), questions(60), [1_000, 2_000], is_right, samples=4, choose="verifier"
    )
    assert found.chosen_by == "verifier"
    assert [each.accuracy.value for each in found.wider[:3]] == pytest.approx([0.5, 0.75, 0.94], abs=0.1)


async def test_a_problem_gives_the_function_its_arguments_and_the_verifier_all_it_knows():
    async def add(a, b=2):
        return a + b

    def as_expected(output, total):
        return output == total

    problems = [{"a": 1, "b": 1, "total": 2}, {"a": 1, "total": 4}]
    with pytest.warns(UserWarning, match="no model call was seen"):
        found = await ttc.calibrate_thinking(add, problems, ["low"], as_expected, at_once=1)
    assert found.rows[0].accuracy.value == 0.5
    assert (found.rows[0].tokens, found.decline, found.sweet_spot) == (None, None, "low")


async def test_a_decorated_function_is_drawn_once_and_judged_by_its_own_verifier():
    model = thinker({"low": 1.0, "high": 1.0} | {"low": 0.0})

    @ttc.scale(ttc.BestOfN(5), verifier=is_right, budget=ttc.Budget(samples=5), thinking="max")
    async def solve(question):
        return await model(question)

    model.script = lambda body, number: Completion(("right" if body["thinking"] == "high" else "no",), 1, 1)
    found = await ttc.calibrate_thinking(solve, questions(6), ["low", "high"])
    assert [row.accuracy.value for row in found.rows] == [0.0, 1.0]
    assert len(model.bodies) == 12
    assert solve.verifier is is_right


async def test_a_function_that_blocks_is_run_in_threads():
    model = thinker({"low": 1.0, "high": 1.0})
    model.script = lambda body, number: Completion((body["thinking"],), 1, 1)

    def solve(question):
        return model.sync(question)

    found = await ttc.calibrate_thinking(solve, questions(4), ["low", "high"], lambda output: output == "high")
    assert [row.accuracy.value for row in found.rows] == [0.0, 1.0]


async def test_where_the_money_ends_what_was_paid_for_is_kept_and_the_rest_is_made_later(tmp_path):
    file, model = tmp_path / "runs.jsonl", thinker(RISES_THEN_FALLS)
    told = []

    async def calibrate(**more):
        return await ttc.calibrate_thinking(
            asking(model),
            questions(20),
            [1_000, 2_000],
            is_right,
            file=file,
            at_once=2,
            progress=lambda done, total: told.append((done, total)),
            **more,
        )

    first = await calibrate(budget=ttc.Budget(samples=25))
    assert (first.stopped, len(model.bodies), first.runs) == (True, 25, 25)
    assert 0 < first.problems <= 12
    assert first.rows[0].tokens.value == 1_012
    assert told[-1] == (25, 40)
    again = await calibrate()
    assert (again.stopped, len(model.bodies), again.problems, again.runs) == (False, 40, 20, 40)
    assert told[-1] == (40, 40)
    assert (await calibrate()).rows == again.rows
    assert len(model.bodies) == 40


async def test_a_run_that_a_limit_may_have_cut_short_is_paid_for_and_not_counted():
    model = thinker(dict.fromkeys(BUDGETS, 1.0))
    found = await ttc.calibrate_thinking(
        asking(model), questions(9), [1_000], is_right, at_once=1, budget=ttc.Budget(tokens=3_500)
    )
    assert found.stopped
    assert found.spent["total"]["input_tokens"] + found.spent["total"]["output_tokens"] <= 3_500
    assert (found.problems, found.left_out) == (2, 2)  # the third left less than it took itself, the fourth got that


async def test_the_file_holds_no_content_unless_asked_and_survives_a_crash(tmp_path):
    bare, full = tmp_path / "bare.jsonl", tmp_path / "full.jsonl"
    model = thinker(RISES_THEN_FALLS)
    await ttc.calibrate_thinking(asking(model), questions(3), [1_000], is_right, file=bare)
    await ttc.calibrate_thinking(asking(model), questions(3), [1_000], is_right, file=full, content=True)
    assert "question" not in bare.read_text()
    assert "wrong" not in bare.read_text()
    assert "question 1" in full.read_text()
    assert "wrong" in full.read_text()
    assert bare.stat().st_mode & 0o777 == 0o600
    lines = bare.read_text().splitlines()
    bare.write_text("\n".join([*lines[:2], lines[2][:20]]))  # two of three runs are lost, one in its middle
    before = len(model.bodies)
    found = await ttc.calibrate_thinking(asking(model), questions(3), [1_000], is_right, file=bare)
    assert (found.problems, len(model.bodies) - before) == (3, 2)
    assert (await ttc.calibrate_thinking(asking(model), questions(3), [1_000], is_right, file=bare)).problems == 3
    assert len(model.bodies) - before == 2


async def test_votes_count_answers_of_before_and_after_alike(tmp_path):
    file = tmp_path / "runs.jsonl"
    model = Model(lambda body, number: Completion(("wrong" if number == 0 else "right",), 1, 1))
    for samples in (1, 3):
        found = await ttc.calibrate_thinking(
            asking(model), ["q"], ["low"], is_right, samples=samples, file=file, at_once=1
        )
    assert found.wider[-1].n == 3
    assert found.wider[-1].accuracy.value == 1.0
    assert len({line["answer"] for line in map(json.loads, file.read_text().splitlines()[1:])}) == 2


async def test_a_file_of_something_else_is_refused(tmp_path):
    file, model = tmp_path / "runs.jsonl", thinker(RISES_THEN_FALLS)
    await ttc.calibrate_thinking(asking(model), questions(1), [1_000], is_right, file=file)
    with pytest.raises(ValueError, match=r"is of another calibration: its verifier is 'is_right', not 'other'"):

        def other(output):
            return True

        await ttc.calibrate_thinking(asking(model), questions(1), [1_000], other, file=file)
    file.write_text("notes\n")
    with pytest.raises(ValueError, match="is no file of a calibration"):
        await ttc.calibrate_thinking(asking(model), questions(1), [1_000], is_right, file=file)
    assert file.read_text() == "notes\n"


async def test_equal_problems_are_runs_of_their_own(tmp_path):
    model = thinker(RISES_THEN_FALLS)
    found = await ttc.calibrate_thinking(asking(model), ["q", "q"], [1_000], is_right, file=tmp_path / "f")
    assert (found.problems, found.runs) == (2, 2)


async def test_a_fault_of_the_service_is_not_counted_and_what_the_function_raises_is_wrong(tmp_path):
    file = tmp_path / "runs.jsonl"
    broken = {"question 1": Refused(503), "question 2": KeyError("no answer in it")}
    model = Model(lambda body, number: broken.get(body["prompt"], "right"))
    found = await ttc.calibrate_thinking(asking(model), questions(4), ["low"], is_right, file=file, at_once=1)
    assert (found.faults, found.problems) == (1, 3)
    assert found.rows[0].accuracy.value == pytest.approx(2 / 3)
    broken.pop("question 1")
    again = await ttc.calibrate_thinking(asking(model), questions(4), ["low"], is_right, file=file)
    assert (again.faults, again.problems, again.rows[0].accuracy.value) == (0, 4, 0.75)


async def test_a_function_that_only_fails_says_so_before_everything_is_spent(tmp_path):
    asked = []

    async def solve(question):
        asked.append(question)
        raise KeyError("choices")

    with pytest.raises(KeyError, match="choices"):
        await ttc.calibrate_thinking(solve, questions(100), ["low"], is_right, file=tmp_path / "f", at_once=1)
    assert len(asked) == _work.HOPELESS
    with pytest.raises(KeyError, match="choices"):
        await ttc.calibrate_thinking(solve, questions(2), ["low"], is_right)


async def test_a_verifier_that_breaks_says_nothing_of_thinking():
    def breaks(output):
        raise OSError

    found = await ttc.calibrate_thinking(asking(Model(lambda body, number: "a")), ["q"], ["low"], breaks)
    assert (found.faults, found.problems, found.rows, found.sweet_spot) == (1, 0, (), None)
    assert "nothing can be compared" in str(found)


@pytest.mark.slow
async def test_so_many_run_at_once_and_no_more():
    model = thinker(RISES_THEN_FALLS)
    plain = model.script

    async def script(body, number):
        await anyio.lowlevel.checkpoint()
        return plain(body, number)

    model.script = script
    await ttc.calibrate_thinking(asking(model), questions(10), BUDGETS, is_right, at_once=3)
    assert model.peak == 3


@pytest.mark.slow
async def test_it_prints_as_a_table_and_is_json_and_a_picture(tmp_path):
    model = thinker(RISES_THEN_FALLS)
    found = await ttc.calibrate_thinking(asking(model), questions(16), BUDGETS, is_right, samples=2)
    said = str(found)
    assert "solve: 16 problems, 2 samples at each budget; 95% intervals" in said
    assert f"{found.sweet_spot} *" in said
    assert "declines with more thinking: 4000 to 8000" in said
    told = json.loads(json.dumps(found.to_dict()))
    assert told["rows"][0]["accuracy"]["value"] == found.rows[0].accuracy.value
    assert told["declines"] is True
    picture = tmp_path / "thinking.png"
    found.plot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_it_is_a_page_that_loads_and_runs_nothing(tmp_path):
    model = thinker(RISES_THEN_FALLS)
    hostile = ttc.scale(ttc.Single(), name="<script>alert(1)</script>")(asking(model))
    found = await ttc.calibrate_thinking(hostile, questions(8), BUDGETS, is_right, samples=2)
    page = tmp_path / "thinking.html"
    found.html(page)
    text = page.read_text()
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert 'src="data:image/png;base64,' in text
    for line in str(found).splitlines():
        for cell in re.split(r"  +", line.strip()):
            assert escape(cell.removesuffix(":")) in text


async def test_there_is_no_picture_of_nothing(tmp_path):
    async def solve(question):
        return "right"

    with pytest.warns(UserWarning, match="no model call was seen"):
        found = await ttc.calibrate_thinking(solve, ["q"], ["low"], is_right)
    with pytest.raises(ValueError, match="nothing to draw"):
        found.plot(tmp_path / "f.png")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"problems": []}, "problems is empty"),
        ({"budgets": []}, "budgets is empty"),
        ({"budgets": [2_000, 1_000]}, "budgets rise from the least thinking to the most"),
        ({"budgets": ["low", "low"]}, "budgets differ from one another"),
        ({"budgets": ["hard"]}, "thinking="),
        ({"samples": 0}, "samples is a whole number from 1, not 0"),
        ({"at_once": 1.5}, "at_once is a whole number from 1, not 1.5"),
        ({"confidence": 1}, "confidence lies between 0 and 1, not 1"),
        ({"accept": 0}, "accept is a score above 0 and up to 1, not 0"),
        ({"choose": "luck"}, 'choose is "vote" or "verifier"'),
    ],
)
async def test_what_cannot_be_measured_is_said_before_anything_is_spent(given, said):
    model = thinker(RISES_THEN_FALLS)
    with pytest.raises(ValueError, match=said):
        await ttc.calibrate_thinking(
            asking(model), **{"problems": ["q"], "budgets": [1_000], "verifier": is_right} | given
        )
    assert not model.bodies


async def test_it_needs_a_verifier_and_problems_that_the_function_takes(monkeypatch):
    model = thinker(RISES_THEN_FALLS)
    with pytest.raises(TypeError, match="needs a verifier"):
        await ttc.calibrate_thinking(asking(model), ["q"], [1_000])
    with pytest.raises(TypeError, match="missing a required argument: 'question'"):
        await ttc.calibrate_thinking(asking(model), [{"gold": 1}], [1_000], is_right)
    monkeypatch.setenv("TTC_DISABLED", "1")
    with pytest.raises(RuntimeError, match="TTC_DISABLED"):
        await ttc.calibrate_thinking(asking(model), ["q"], [1_000], is_right)
    assert not model.bodies
