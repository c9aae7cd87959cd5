from __future__ import annotations

import itertools
import json
import math
import random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

from ttc_middleware._types import Sample, Verdict
from ttc_middleware._verify import prepare
from ttc_middleware.verifiers._figures import area, best_of, first_accepted, incomplete_beta, mean_of, share, voted
from ttc_middleware.verifiers._measurement import Measurement
from ttc_middleware.verifiers.measuring import Labelled, Measured, measure, warning_of

pytestmark = pytest.mark.anyio


def near(value, digits=9):
    return pytest.approx(value, abs=10**-digits)


# The figures by themselves


@pytest.mark.parametrize(
    ("count", "of", "confidence", "low", "high"),
    [  # scipy 1.17: binomtest(count, of).proportion_ci(confidence, "exact")
        (0, 10, 0.95, 0.0, 0.30849710781876294),
        (7, 20, 0.95, 0.1539092047845412, 0.5921885345328283),
        (20, 20, 0.99, 0.7672704990114109, 1.0),
        (163, 164, 0.95, 0.9664963228966128, 0.9998456350371795),
    ],
)
def test_shares_have_exact_intervals(count, of, confidence, low, high):
    estimate = share(count, of, confidence)
    assert (estimate.value, estimate.low, estimate.high) == (count / of, near(low), near(high))


def test_nothing_has_no_share():
    assert share(0, 0, 0.95) is None


@given(st.integers(1, 60), st.data())
@thorough(40)
def test_the_incomplete_beta_is_the_tail_of_a_binomial(n, data):
    k, x = data.draw(st.integers(1, n)), data.draw(st.floats(0, 1))
    tail = math.fsum(math.comb(n, i) * x**i * (1 - x) ** (n - i) for i in range(k, n + 1))
    assert incomplete_beta(k, n - k + 1, x) == pytest.approx(tail, abs=1e-10)


@given(st.integers(1, 30), st.floats(0.5, 0.99))
@thorough(20)
def test_exact_intervals_cover_as_often_as_they_say(n, confidence):
    intervals = [share(count, n, confidence) for count in range(n + 1)]
    for p in (0.03, 0.3, 0.5, 0.9):
        covered = sum(
            math.comb(n, k) * p**k * (1 - p) ** (n - k)
            for k, each in enumerate(intervals)
            if each.low <= p <= each.high
        )
        assert covered >= confidence - 1e-9


def test_the_area_is_mann_whitneys_with_ties_counted_half():
    scored = [(0, 0.2, False), (1, 0.5, False), (2, 0.5, True), (3, 0.9, True)]
    assert area(scored, 0.95).value == (1 + 0.5 + 1 + 1) / 4


def test_the_areas_interval_is_delongs():
    rng = random.Random(0)
    right = [round(rng.gauss(0.6, 0.2), 1) for _ in range(30)]
    wrong = [round(rng.gauss(0.45, 0.2), 1) for _ in range(41)]
    scored = [(at, score, at < 30) for at, score in enumerate([*right, *wrong])]
    found = area(scored, 0.95)
    # numpy: the variance of the placement values of either side, on the logit scale
    assert found.value == near(0.6589430894308943)
    assert (found.low, found.high) == (near(0.5225611510831766), near(0.7732702298062637))


def test_samples_of_one_question_count_for_less():
    once = [(at, at % 7 / 7 + 0.3 * (at % 2), bool(at % 2)) for at in range(40)]
    copied = [each for each in once for _ in range(5)]
    alone = area([(at, score, right) for at, (_, score, right) in enumerate(copied)], 0.95)
    together, single = area(copied, 0.95), area(once, 0.95)
    assert (together.low, together.high) == (near(single.low), near(single.high))
    assert alone.high - alone.low < 0.6 * (together.high - together.low)


def test_the_interval_over_questions_is_that_of_their_bootstrap():
    rng = random.Random(5)
    questions = []
    for question in range(60):
        ease = rng.gauss(0, 1)
        rights = [rng.random() < 0.5 for _ in range(8)]
        questions.append([(question, ease + right + rng.gauss(0, 0.3), right) for right in rights])
    found = area([each for samples in questions for each in samples], 0.9)
    drawn = [
        area(
            [(at, *rest) for at, samples in enumerate(rng.choices(questions, k=60)) for _, *rest in samples], 0.9
        ).value
        for _ in range(300)
    ]
    drawn.sort()
    assert (found.low, found.high) == (pytest.approx(drawn[15], abs=0.012), pytest.approx(drawn[284], abs=0.012))


def test_a_perfect_order_of_few_samples_proves_little():
    found = area([(0, 0.1, False), (1, 0.2, False), (2, 0.8, True), (3, 0.9, True)], 0.95)
    assert (found.value, found.high) == (1, 1)
    assert found.low == near(math.sqrt(0.025))  # both of two independent pairs in order


def test_without_both_sides_there_is_no_area():
    assert area([(0, 0.5, True)], 0.95) is None


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1, max_size=7))
@thorough(40)
def test_best_of_k_is_the_mean_over_all_orders(ranked):
    orders = list(itertools.permutations(ranked))
    for k, value in enumerate(best_of(ranked, len(ranked)), 1):
        chosen = [max(order[:k], key=lambda each: each[0])[1] for order in orders]  # max keeps the earliest
        assert value == near(sum(chosen) / len(orders))


@given(st.integers(0, 3), st.integers(0, 4))
@thorough(20)
def test_the_first_accepted_is_the_kth_as_over_all_orders(accepted, rejected):
    if not accepted + rejected:
        return
    orders = set(itertools.permutations([True] * accepted + [False] * rejected))
    for k, value in enumerate(first_accepted(accepted, accepted + rejected, accepted + rejected)):
        assert value == near(sum(order.index(True) == k for order in orders if any(order)) / len(orders))


def test_votes_are_counted_over_random_orders():
    answers = [("a", True), ("a", True), ("b", False), (None, False), ("c", False)]
    every = [
        [next(right for answer, right in order if answer == won) for k in (1, 3, 5) for won in [_vote(order[:k])]]
        for order in itertools.permutations(answers)
    ]
    expected = [sum(column) / len(every) for column in zip(*every, strict=True)]
    assert voted(answers, [1, 3, 5], random.Random(0), 4000) == [pytest.approx(each, abs=0.03) for each in expected]
    assert expected[2] == 1


def _vote(order):
    named = [answer for answer, _ in order if answer is not None]
    return max(named, key=named.count) if named else order[0][0]


def test_means_are_bootstrapped_repeatably():
    rows = [0.0, 1.0] * 50
    found = mean_of(rows, 0.95, random.Random(0))
    assert found == mean_of(rows, 0.95, random.Random(0))
    assert found.value == 0.5
    assert (found.low, found.high) == (pytest.approx(0.4, abs=0.03), pytest.approx(0.6, abs=0.03))


# Measuring


def yes_no(output):
    return output[1]


def samples(*counts):
    """(right and accepted, right and rejected, wrong and accepted, wrong and rejected) of each question."""
    kinds = [(True, True), (True, False), (False, True), (False, False)]
    return [
        Labelled((("right" if right else f"wrong {question} {at}"), accepted), right, group=question)
        for question, count in enumerate(counts)
        for (right, accepted), times in zip(kinds, count, strict=True)
        for at in range(times)
    ]


def alone(*counts):
    return [(each.output, each.right) for each in samples(*counts)]


async def test_counts_become_rates_with_intervals():
    found = await measure(yes_no, alone((40, 10, 5, 45)))
    assert (found.samples, found.right, found.right_accepted, found.wrong_accepted) == (100, 50, 40, 5)
    assert (found.sensitivity, found.false_positive_rate) == (share(40, 50, 0.95), share(5, 50, 0.95))
    assert found.precision == share(40, 45, 0.95)
    assert found.auc.value == near((1 + 0.8 - 0.1) / 2)
    assert (found.questions, found.compared, found.voting_beats_it, found.largest_n) == (0, (), None, None)
    assert found.below_break_even is None
    assert found.worth_it(100) is True


async def test_resampling_follows_the_algebra_of_one_question():
    found = await measure(yes_no, alone((40, 10, 5, 45)), p=0.2)
    rate = 0.2 * 0.8 + 0.8 * 0.1
    assert found.precision.value == near(0.2 * 0.8 / rate)
    assert found.precision.low < 0.2 * 0.8 / rate < found.precision.high
    assert (found.accept_rate, found.coverage(3)) == (near(rate), near(1 - (1 - rate) ** 3))
    assert found.expected_draws(3) == near(1 + (1 - rate) + (1 - rate) ** 2)


async def test_where_nothing_is_accepted_every_draw_is_made():
    found = await measure(yes_no, alone((0, 5, 0, 5)))
    assert (found.coverage(4), found.expected_draws(4), found.precision) == (0, 4, None)


async def test_no_draw_is_worth_it_where_accepted_answers_cost_more_than_they_bring():
    few = alone((80, 20, 10, 90))
    assert (await measure(yes_no, few, p=0.1)).largest_n == 0  # 8 % right, 9 % wrong
    assert (await measure(yes_no, few, p=0.1, wrong=0.5)).largest_n is None
    dear = await measure(yes_no, few, p=0.1, wrong=0.5, cost=0.04)
    assert dear.largest_n == 0
    assert "0.04 a draw" in dear.below_break_even
    assert dear.worth_it(2) is False


async def test_draws_stop_helping_where_late_acceptances_come_from_hard_questions():
    easy, hard = (5, 0, 0, 3), (0, 0, 1, 7)
    found = await measure(yes_no, samples(*[easy] * 10, *[hard] * 10))
    earned = [
        sum(next((1 if right else -1 for right, accepted in order if accepted), 0) for order in orders)
        for k in range(1, 9)
        for orders in [[order[:k] for each in (easy, hard) for order in _orders(each)]]
    ]
    assert found.largest_n == earned.index(max(earned)) + 1 == 2
    assert not found.open_ended
    assert found.worth_it(4) is False


def _orders(counts, times=2000):
    rng = random.Random(0)
    kinds = [(True, True), (True, False), (False, True), (False, False)]
    bag = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    return [rng.sample(bag, len(bag)) for _ in range(times)]


async def test_a_good_verifier_has_no_largest_n_within_its_samples():
    found = await measure(yes_no, samples(*[(1, 0, 0, 7)] * 20))
    assert (found.largest_n, found.open_ended) == (8, True)
    assert found.compared[-1].n == 8
    assert found.compared[-1].best == 1
    assert found.voting_beats_it is False
    assert found.worth_it(8) is True
    assert found.worth_it(9) is None


async def test_a_draw_costs_only_where_it_is_made():
    found = await measure(yes_no, samples(*[(8, 0, 0, 0)] * 10, *[(1, 0, 0, 7)] * 10), cost=0.08)
    assert found.largest_n == 8  # most answers take one draw, and the others are worth 0.125 a draw
    dear = await measure(yes_no, samples(*[(8, 0, 0, 0)] * 10, *[(1, 0, 0, 7)] * 10), cost=0.3)
    assert dear.largest_n == 1


async def test_a_lead_that_one_question_makes_decides_nothing():
    found = await measure(yes_no, samples(*[(6, 0, 0, 2)] * 6, (1, 0, 0, 7)), by=lambda output: output[0])
    assert found.compared[-1].n == 8
    assert found.compared[-1].lead.value == pytest.approx(0.125, abs=0.02)
    assert found.voting_beats_it is None
    assert found.worth_it(8) is None


async def test_what_is_accepted_is_chosen_before_what_scores_higher():
    def odd(output):
        return Verdict(0.2, accepted=True) if output[0] == "right" else Verdict(0.9, accepted=False)

    found = await measure(odd, samples(*[(1, 0, 0, 3)] * 10))
    assert found.compared[-1].best == 1


async def test_grades_are_followed_as_far_as_they_help():
    # Of four samples the best is right, but beyond two the one that looks best is wrong.
    def grade(output):
        return output / 10

    tempting = [Labelled(9, False, group=q) for q in range(30)] + [Labelled(8, True, group=q) for q in range(30)]
    tempting += [Labelled(s, False, group=q) for q in range(30) for s in (1, 2, 3, 4)]
    found = await measure(grade, tempting)
    curve = best_of([(0.9, False), (0.8, True), (0.1, False), (0.2, False), (0.3, False), (0.4, False)], 6)
    assert found.largest_n == curve.index(max(curve)) + 1 == 3
    assert (await measure(grade, tempting, cost=0.06)).largest_n == 2
    assert (await measure(grade, [(each.output, each.right) for each in tempting])).largest_n is None


@pytest.mark.parametrize("seed", range(3))
async def test_a_coin_is_below_break_even_and_loses_to_voting(seed):
    rng = random.Random(seed)
    labelled = [
        Labelled("right" if right else f"wrong {rng.randrange(5)}", right, group=question)
        for question in range(60)
        for right in (rng.random() < 0.45 for _ in range(8))
    ]
    found = await measure(lambda _: rng.random(), labelled)
    assert found.voting_beats_it
    assert "coin" in found.below_break_even
    assert found.worth_it(8) is False
    assert "coin" in warning_of(Measured(lambda _: 1.0, found))


async def test_a_verifier_that_only_knows_easy_questions_is_found_out():
    rng = random.Random(1)
    chances = [0.9 if question % 2 else 0.1 for question in range(80)]
    labelled = [
        Labelled((question, right), right, group=question)
        for question, chance in enumerate(chances)
        for right in (rng.random() < chance for _ in range(8))
    ]

    def ease(output):
        return 0.9 if output[0] % 2 else 0.1

    found = await measure(ease, labelled, by=lambda output: output[1])
    assert found.auc.low > 0.8
    assert found.worth_it(8) is not True
    assert "no better than a single one" in found.below_break_even


async def test_failures_are_counted_apart_after_a_second_try():
    asked = []

    async def shaky(output):
        asked.append(output)
        if output == "breaks" or (output == "at first" and asked.count(output) == 1):
            raise RuntimeError
        return Verdict(0.5, failed=True) if output == "says so" else output != "nonsense" or float("nan")

    labelled = [("fine", True), ("breaks", True), ("at first", False), ("says so", False), ("nonsense", True)]
    found = await measure(shaky, labelled)
    assert (found.samples, found.failures, found.right) == (2, 3, 1)
    assert asked.count("breaks") == 2
    assert asked.count("fine") == 1


async def test_verifiers_get_the_arguments_that_they_ask_for():
    class Equals:
        parameters = frozenset({"gold"})

        async def check(self, output, *, arguments):
            return Verdict(float(output == arguments["gold"]))

    def whole(sample: Sample[str], gold):
        return sample.text == gold

    labelled = [("a", True, {"gold": "a", "other": 1}), ("b", False, {"gold": "a"}, "question 1")]
    for verifier in (Equals(), whole):
        found = await measure(verifier, labelled)
        assert (found.sensitivity.value, found.false_positive_rate.value) == (1, 0)


async def test_verifications_run_side_by_side_up_to_a_limit():
    under_way, most = 0, 0
    said = []

    async def slow(output):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        under_way -= 1
        return True

    await measure(slow, [("x", True)] * 20, at_once=3, progress=lambda done, of: said.append((done, of)))
    assert most == 3
    assert said == [(done, 20) for done in range(1, 21)]


async def test_the_same_samples_give_the_same_measurement_and_json_gives_it_back():
    labelled = samples((3, 1, 1, 3), (2, 2, 0, 4), (0, 1, 2, 5))
    found = await measure(yes_no, labelled, by=lambda output: output[0], confidence=0.9)
    assert found == await measure(yes_no, labelled, by=lambda output: output[0], confidence=0.9)
    assert Measurement.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found
    lone = await measure(yes_no, alone((1, 0, 0, 0)))
    assert Measurement.from_dict(json.loads(json.dumps(lone.to_dict(), allow_nan=False))) == lone


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.sampled_from([None, 1, 2, 3])), min_size=1, max_size=25),
    st.sampled_from([None, 0.0, 0.3, 1.0]),
)
@thorough(40)
def test_whatever_the_samples_the_figures_stay_in_range(rows, p):
    labelled = [Labelled((score, right), right, group=group) for right, score, group in rows]
    found = anyio.run(lambda: measure(lambda output: output[0], labelled, p=p, accept=0.5))
    estimates = [found.p, found.sensitivity, found.false_positive_rate, found.auc, found.precision]
    for each in estimates:
        assert each is None or 0 <= each.low <= each.value + 1e-12 <= each.high + 2e-12 <= 1 + 3e-12
    for each in found.compared:
        assert 0 <= each.best <= 1 + 1e-9
        assert 0 <= each.vote <= 1
        assert -1 <= each.lead.low <= each.lead.value + 1e-9 <= each.lead.high + 2e-9 <= 1 + 3e-9
    assert found.worth_it(1) in (True, False, None)
    assert str(found)


async def test_a_measurement_prints_in_words_and_figures():
    text = str(await measure(yes_no, samples(*[(4, 0, 1, 3)] * 12), by=lambda output: output[0]))
    assert "yes_no: 96 samples of 12 questions, 48 right; 95% intervals" in text
    assert "accepts wrong answers: 0.25 (0.14 to 0.40)" in text
    assert "best of 8: " in text
    assert "largest n worth drawing: " in text


async def test_mistakes_are_named_where_they_are_made():
    for wrong, message in [
        ({"labelled": []}, "empty"),
        ({"confidence": 1}, "confidence lies between 0 and 1, not 1"),
        ({"p": 1.5}, "p is a share from 0 to 1, not 1.5"),
        ({"wrong": -1}, "wrong is a number from 0, not -1"),
        ({"cost": math.nan}, "cost is a number from 0, not nan"),
        ({"at_once": 0}, "at_once is a whole number from 1, not 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            await measure(yes_no, **{"labelled": [("x", True)], **wrong})
    with pytest.raises(TypeError, match=r"labelled\[0\].right is True or False, not 'yes'"):
        await measure(yes_no, [("x", "yes")])
    with pytest.raises(ValueError, match="from 1, not 0"):
        (await measure(yes_no, alone((1, 0, 0, 1)))).worth_it(0)


# Carrying a measurement


class Picky:
    """All that a verifier may have."""

    parameters = frozenset({"task"})
    rejects = (ValueError,)
    soft = True

    def explain(self, error):
        return f"explained: {error}"

    async def check(self, output, *, arguments):
        return Verdict(0.25, f"{output} for {arguments['task']}")


async def test_a_measured_verifier_judges_as_before():
    found = await measure(lambda _: True, [("x", True), ("y", False)])
    measured = Measured(Picky(), found)
    assert (await measured.check("out", arguments={"task": "t"})).feedback == "out for t"
    assert (measured.parameters, measured.rejects, measured.soft) == (Picky.parameters, Picky.rejects, True)
    assert measured.explain(ValueError("no")) == "explained: no"
    assert measured.measurement is found
    ready = prepare(measured, frozenset({"task"}))
    assert (ready.name, ready.rejects, ready.waits) == ("Picky", (ValueError,), True)


async def test_a_measured_function_judges_as_before():
    def adds_up(total, lines, *, scale=1):
        return total == sum(lines) * scale

    measured = Measured(adds_up, await measure(lambda _: True, [("x", True)]))
    assert measured.parameters == {"lines"}
    assert await measured.check(6, arguments={"lines": [1, 2], "scale": 2, "other": 0}) is True
    with pytest.raises(TypeError, match="asks for lines"):
        prepare(measured, frozenset({"text"}))
    assert (
        prepare(measured, None).name == "test_a_measured_function_judges_as_before.<locals>.adds_up".rpartition(".")[2]
    )


async def test_only_a_verifier_that_was_found_wanting_is_warned_of():
    good = await measure(yes_no, samples(*[(2, 0, 0, 6)] * 20))
    bad = await measure(yes_no, samples(*[(1, 1, 3, 3)] * 20))
    assert warning_of(yes_no) is None
    assert warning_of(Measured(yes_no, good)) is None
    assert warning_of(Measured(yes_no, bad)).startswith("verifier yes_no was measured to be below break-even: ")
