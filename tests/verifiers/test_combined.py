from __future__ import annotations

import itertools
import json
from decimal import Decimal

import anyio
import pytest
from fake_model import Model
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import ttc_middleware as ttc
from ttc_middleware.verifiers.cached import Cached
from ttc_middleware.verifiers.combined import All, Any, Chain, Weighted
from ttc_middleware.verifiers.judge import Judge
from ttc_middleware.verifiers.process_reward import ProcessReward
from ttc_middleware.verifiers.reward_model import RewardModel
from ttc_middleware.verifiers.schema import Schema

pytestmark = pytest.mark.anyio


class Says:
    """A verifier that says what it is told to, and counts how often it is asked."""

    def __init__(self, said, *, soft=False, asked=None, name=None):
        self.said = said
        self.soft = soft
        self.asked = asked if asked is not None else []
        self.name = name

    async def check(self, output, *, arguments):
        self.asked.append(self.name or self)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def hard(said, **more):
    return Says(said, **more)


def soft(said, **more):
    return Says(said, soft=True, **more)


YES, NO = ttc.Verdict(1.0, accepted=True), ttc.Verdict(0.0, "no", accepted=False)


# All.


async def test_all_accepts_what_all_accept_with_the_lowest_score():
    verdict = await All(hard(True), soft(ttc.Verdict(0.7, "so so", accepted=True)), hard(1.0)).check("x")
    assert (verdict.accepted, verdict.score, verdict.feedback) == (True, 0.7, "so so")


async def test_all_stops_at_the_first_rejection():
    last = hard(True)
    verdict = await All(hard(True), hard(ttc.Verdict(0.25, "wrong sum")), last).check("x")
    assert (verdict.accepted, verdict.score, verdict.feedback) == (False, 0.25, "wrong sum")
    assert last.asked == []


async def test_a_score_is_accepted_from_accept_on():
    for accept, accepted in [(1.0, False), (0.8, True), (0.81, False)]:
        assert (await All(hard(0.8), accept=accept).check("x")).accepted is accepted


# Any.


async def test_any_accepts_what_one_accepts_and_asks_no_more():
    last = hard(True)
    verdict = await Any(hard(ttc.Verdict(0.5, "half")), hard(True), last).check("x")
    assert (verdict.accepted, verdict.score, verdict.feedback) == (True, 1, None)
    assert last.asked == []


async def test_any_rejects_what_all_reject_with_the_best_of_them():
    verdict = await Any(hard(NO), hard(ttc.Verdict(0.5, "half")), hard(False)).check("x")
    assert (verdict.accepted, verdict.score, verdict.feedback) == (False, 0.5, "half")


async def test_any_of_opinions_is_an_opinion():
    verdict = await Any(soft(NO), soft(YES)).check("x")
    assert verdict.accepted
    assert Any(soft(NO), soft(YES)).soft
    assert not Any(hard(NO), soft(YES)).soft


# Chain.


@pytest.mark.parametrize(
    ("stages", "accepted", "score"),
    [
        ((False, True, True), False, 0),
        ((0.6, True, True), False, 0.2),
        ((True, 0.9, True), False, (1 + 0.9) / 3),
        ((True, True, 0.3), False, (2 + 0.3) / 3),
        ((True, True, ttc.Verdict(0.6, accepted=True)), True, (2 + 0.6) / 3),
        ((True, True, True), True, 1),
    ],
)
async def test_a_chain_grades_by_how_far_an_answer_comes(stages, accepted, score):
    verdict = await Chain(*map(hard, stages)).check("x")
    assert (verdict.accepted, verdict.score) == (accepted, pytest.approx(score))


async def test_a_stage_is_asked_only_where_those_before_it_accept():
    asked = []
    stages = [hard(said, asked=asked, name=name) for said, name in ((True, "a"), (False, "b"), (True, "c"))]
    await Chain(*stages).check("x")
    assert asked == ["a", "b"]


async def test_what_fails_a_check_scores_below_whatever_passes_it():
    scores = [0, 0.5, 0.99]
    failed = [(await Chain(hard(score), soft(1.0)).check("x")).score for score in scores]
    passed = [(await Chain(hard(True), soft(ttc.Verdict(each, accepted=True))).check("x")).score for each in scores]
    assert max(failed) < min(passed)
    assert passed == sorted(passed)


# Weighted.


async def test_weighted_is_the_mean_by_weight():
    first, second = hard(1.0), hard(ttc.Verdict(0.5, "half"))
    for given_ in ({first: 3, second: 1}, [(first, 3), (second, 1)]):
        verdict = await Weighted(given_, accept=0.8).check("x")
        assert (verdict.accepted, verdict.score, verdict.feedback) == (True, 0.875, "half")
    assert not (await Weighted({first: 1, second: 1}, accept=0.8).check("x")).accepted


async def test_among_checks_one_that_rejects_can_be_outweighed():
    assert (await Weighted({hard(False): 1, hard(True): 3}, accept=0.75).check("x")).accepted


async def test_beside_an_opinion_a_check_that_rejects_has_a_veto():
    judge = soft(True)
    verdict = await Weighted({hard(NO): 1, hard(True): 1, judge: 98}, accept=0.01).check("x")
    assert (verdict.accepted, verdict.score, verdict.feedback) == (False, 0.01, "no")
    assert judge.asked == []


async def test_nor_do_opinions_lift_checks_whose_own_mean_is_too_low():
    low = hard(ttc.Verdict(0.3, accepted=True))
    judge = soft(True)
    assert not (await Weighted({low: 1, judge: 9}, accept=0.6).check("x")).accepted
    assert judge.asked == []


async def test_opinions_alone_are_weighed_like_checks():
    assert (await Weighted({soft(False): 1, soft(True): 3}, accept=0.75).check("x")).accepted


async def test_full_marks_are_exactly_one_whatever_the_weights():
    assert (await Weighted({hard(True): 0.1 * place for place in range(1, 8)}).check("x")).accepted


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), True])
def test_a_weight_is_positive(weight):
    with pytest.raises(ValueError, match="a weight is a positive number"):
        Weighted([(hard(True), weight)])


def test_a_verifier_has_one_weight():
    twice = hard(True)
    with pytest.raises(ValueError, match="given twice"):
        Weighted([(twice, 1), (twice, 2)])


# Checks first, opinions last, and never an opinion over a check.


@pytest.mark.parametrize("kind", [All, Chain, lambda *members: Weighted([(each, 1) for each in members])])
async def test_checks_are_asked_first_and_opinions_last_in_the_given_order_otherwise(kind):
    asked = []
    mixed = All(hard(True, asked=asked, name="c"), soft(True, asked=asked, name="d"))
    await kind(
        soft(True, asked=asked, name="e"), mixed, hard(True, asked=asked, name="a"), soft(True, asked=asked, name="f"),
        hard(True, asked=asked, name="b"),
    ).check("x")  # fmt: skip
    assert asked == list("abcdef")


@pytest.mark.parametrize("kind", [All, Any, Chain, lambda *members: Weighted([(each, 1) for each in members])])
async def test_where_a_check_rejects_no_opinion_is_asked(kind):
    judge = soft(True)
    verdict = await kind(judge, hard(NO)).check("x")
    assert not verdict.accepted
    assert judge.asked == []


def test_the_verifiers_that_ask_models_are_opinions():
    models = [
        Judge(lambda messages: "", "rubric"),
        RewardModel(lambda prompt, answer: 1, scale="logit"),
        ProcessReward(lambda prompt, steps: []),
    ]
    assert [each.soft for each in models] == [True] * 3
    assert Cached(models[0]).soft
    assert not getattr(Schema(int), "soft", False)


async def test_a_real_judge_does_not_overrule_a_real_check():
    judge = Judge(lambda messages: json.dumps({"reason": "fine", "score": 5}), "Be kind.", passes=3)
    for kind in (All, Any, Chain):
        assert not (await kind(judge, Schema(int)).check("no number")).accepted
        assert (await kind(judge, Schema(int)).check("7")).accepted


said = st.sampled_from(
    [True, False, 0.0, 0.5, 1.0, YES, NO, ttc.Verdict(0.3, "low", accepted=False), RuntimeError("broke")]
)
leaves = st.builds(lambda verdict, opinion: ("leaf", verdict, opinion), said, st.booleans())
trees = st.recursive(
    leaves,
    lambda below: st.tuples(
        st.sampled_from(["All", "Any", "Chain", "Weighted", "Cached"]), st.lists(below, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def planted(tree, opinions):
    """The tree as verifiers; opinions as they are, all for or all against, or None: left out."""
    if tree[0] == "leaf":
        _, verdict, opinion = tree
        if not opinion:
            return hard(verdict)
        return soft(verdict) if opinions == "as they are" else None if opinions is None else soft(opinions)
    kind, below = tree
    below = below[:1] if kind == "Cached" else below
    members = [member for each in below if (member := planted(each, opinions)) is not None]
    if not members:
        return None
    if kind == "Cached":
        return Cached(members[0])
    if kind == "Weighted":
        return Weighted([(member, 1) for member in members], accept=0.6)
    return {"All": All, "Any": Any, "Chain": Chain}[kind](*members)


@settings(max_examples=300, deadline=None)
@given(trees)
@pytest.mark.parametrize("opinions", ["as they are", YES])
def test_however_nested_what_is_accepted_is_accepted_without_its_opinions_too(opinions, tree):
    checks = planted(tree, None)
    if checks is not None and anyio.run(All(planted(tree, opinions)).check, "x").accepted:
        assert anyio.run(All(checks).check, "x").accepted


# A member that breaks.


@pytest.mark.parametrize("kind", [All, Chain])
async def test_a_member_that_breaks_is_a_failure_unless_another_has_rejected(kind):
    verdict = await kind(hard(True), hard(RuntimeError("gone")), hard(False)).check("x")
    assert (verdict.failed, verdict.accepted) == (True, False)
    assert "gone" in verdict.feedback
    assert not (await kind(hard(False), hard(RuntimeError("gone"))).check("x")).failed


async def test_any_fails_only_where_nobody_accepts_and_one_broke():
    assert (await Any(hard(RuntimeError("gone")), hard(True)).check("x")).accepted
    assert (await Any(hard(RuntimeError("gone")), hard(False)).check("x")).failed
    assert not (await Any(hard(False), hard(False)).check("x")).failed


async def test_an_opinion_does_not_stand_in_for_a_check_that_broke():
    judge = soft(True)
    for kind in (All, Any, Chain, lambda *members: Weighted([(each, 1) for each in members])):
        assert (await kind(hard(RuntimeError("gone")), judge).check("x")).failed
    assert judge.asked == []


async def test_weighted_fails_where_one_broke_and_nobody_has_a_veto():
    assert (await Weighted({hard(RuntimeError("gone")): 1, hard(True): 9}, accept=0.5).check("x")).failed
    vetoed = await Weighted({hard(RuntimeError("gone")): 1, hard(NO): 1, soft(True): 1}).check("x")
    assert (vetoed.failed, vetoed.accepted) == (False, False)


@pytest.mark.parametrize("nonsense", [None, "yes", 2, float("nan"), ttc.Verdict(7.0), ttc.Verdict(0, failed=True)])
async def test_what_no_verifier_may_say_is_a_failure(nonsense):
    assert (await All(hard(nonsense)).check("x")).failed


# What members cost and how far they are to be trusted.


async def test_the_usage_of_all_that_were_asked_adds_up():
    usage = ttc.Usage(calls=1, input_tokens=10, output_tokens=2, usd=Decimal("0.1"))
    priced = [
        hard(ttc.Verdict(1.0, usage=usage)),
        hard(ttc.Verdict(0.0, usage=usage)),
        hard(ttc.Verdict(1, usage=usage)),
    ]
    assert (await All(*priced).check("x")).usage == usage + usage
    assert (await All(hard(True)).check("x")).usage is None
    broken = await All(priced[0], hard(RuntimeError("gone"))).check("x")
    assert (broken.failed, broken.usage) == (True, usage)


async def test_the_trust_is_that_of_the_least_trusted_one_asked():
    weak = soft(ttc.Verdict(1.0, accepted=True, trust="weak"))
    assert (await All(hard(True), weak).check("x")).trust == "weak"
    assert (await All(hard(False), weak).check("x")).trust == "strong"


# What members may be.


def adds_up(output, total):
    return output == total


async def test_members_are_whatever_scale_takes():
    async def later(output, *, total=0, **more):
        return output == total

    class IsCalled:
        def __call__(self, output):
            return 1.0

    verifier = All(adds_up, later, IsCalled(), lambda output, **arguments: "total" in arguments)
    assert (await verifier.check(4, arguments={"total": 4})).accepted
    assert not (await verifier.check(5, arguments={"total": 4})).accepted


async def test_a_member_may_look_at_the_sample():
    def short(sample: ttc.Sample) -> bool:
        return len(sample.text) < 3 and sample.call.arguments == {"question": "why?"}

    assert (await All(short).check("ab", arguments={"question": "why?"})).accepted
    assert All(short).sees_sample
    assert not All(adds_up).sees_sample


@pytest.mark.parametrize("member", [7, "yes", Schema, lambda: True])
def test_what_is_no_verifier_is_refused_when_it_is_made(member):
    with pytest.raises(TypeError):
        All(member)


@pytest.mark.parametrize("kind", [All, Any, Chain])
def test_a_composition_has_members_and_a_threshold_that_is_a_score(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} is made of at least one verifier"):
        kind()
    with pytest.raises(ValueError, match="accept is a score from 0 to 1, not 2"):
        kind(hard(True), accept=2)
    with pytest.raises(ValueError, match="Weighted is made of at least one verifier"):
        Weighted({})


def test_it_needs_what_its_members_need_of_the_call():
    verifier = All(adds_up, Chain(lambda output, limit, more=3: True), Judge(lambda m: "", "x", prompt=lambda q: q))
    assert verifier.parameters == {"total", "limit", "q"}
    with pytest.raises(TypeError, match="asks for limit, q, total"):

        @ttc.scale(ttc.BestOfN(2), verifier=verifier)
        async def ask(question: str) -> str: ...


def test_its_name_is_the_same_in_every_process():
    shown = repr(Chain(adds_up, Weighted([(Schema(int), 2)], accept=0.5)))
    assert shown == "Chain(adds_up, Weighted([(Schema(spec=<class 'int'>, strict=False), 2)], accept=0.5), accept=1)"


# In a search.


def model_of(*answers):
    return Model(lambda body, number: answers[number % len(answers)])


async def test_a_search_takes_the_answer_that_all_accept():
    model = model_of("five", "7", "4")

    @ttc.scale(ttc.BestOfN(3), verifier=All(Schema(int), lambda output, total: int(output) == total))
    async def add(total: int) -> str:
        return await model(str(total))

    result = await add.run(4)
    assert (result.accepted, result.output) == (True, "4")


class Invoice(BaseModel):
    total: int


async def test_an_exception_that_a_member_knows_is_a_rejection_with_its_words():
    model = model_of("nonsense")

    @ttc.scale(ttc.BestOfN(1), verifier=Chain(Schema(Invoice), lambda output: True))
    async def extract(text: str) -> Invoice:
        return Invoice.model_validate_json(await model(text))

    with pytest.raises(ValidationError) as raised:
        await extract("x")
    (sample,) = ttc.result_of(raised.value).samples
    assert (sample.verdict.accepted, sample.verdict.failed) == (False, False)
    assert "The answer is not JSON" in sample.verdict.feedback


async def test_a_chain_prefers_the_better_graded_of_the_accepted():
    grades = {"a": 0.2, "b": 0.9, "c": 0.5}
    judge = RewardModel(lambda prompt, answer: grades[answer], scale="probability", passes=0.1)
    model = model_of(*grades)
    results = []
    for order in itertools.permutations(grades):
        verdicts = {each: await Chain(lambda output: True, judge).check(each) for each in order}
        results.append(max(order, key=lambda each: verdicts[each].score))
    assert set(results) == {"b"}

    @ttc.scale(ttc.BestOfN(3), verifier=Chain(lambda output: True, judge))
    async def ask(question: str) -> str:
        return await model(question)

    assert (await ask.run("?")).accepted
