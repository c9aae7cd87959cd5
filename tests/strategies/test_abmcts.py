from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import examples, thorough

import ttc_middleware as ttc
from ttc_middleware.strategies._abmcts_tree import Tree
from ttc_middleware.strategies._beliefs import BELIEFS, Beta, Gaussian
from ttc_middleware.testing import Outcome, check_strategy, play

SCORES = st.floats(0, 1)


def depth(draw):
    return 0 if draw.parent is None else 1 + depth(draw.parent.draw)


def mean_depth(strategy, world):
    return statistics.mean(depth(draw) for draw in play(strategy, world).draws)


# The search


def test_the_first_draw_is_the_call_and_ends_the_search_if_it_is_accepted():
    played = play(ttc.ABMCTS(9), [True])
    assert (played.index, played.draws) == (0, (ttc.Draw(),))


def test_it_ends_with_the_first_accepted_sample_or_draws_them_all():
    scores = [0.3, 0.4, 1.0, 0.2, 1.0, 0.1]
    assert (play(ttc.ABMCTS(6), scores).index, len(play(ttc.ABMCTS(6), scores).draws)) == (2, 3)
    every = play(ttc.ABMCTS(6, stop="all"), scores)
    assert (every.index, len(every.draws)) == (2, 6)


def test_it_makes_n_draws_and_no_more():
    assert len(play(ttc.ABMCTS(7), [0.1] * 50).draws) == 7


def test_wider_is_an_unchanged_draw_and_deeper_a_revision_by_the_feedback():
    draws = play(ttc.ABMCTS(30), lambda i, _: Outcome(output=f"try {i}", score=i / 40, feedback=f"{i} wrong")).draws
    deeper = [draw for draw in draws if draw.parent is not None]
    assert 0 < len(deeper) < 29
    for draw in draws:
        if draw.parent is None:
            assert draw == ttc.Draw()
        else:
            assert f"try {draw.parent.index}\n" in draw.instruction
            assert f"{draw.parent.index} wrong" in draw.instruction


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
def test_it_goes_deep_where_revisions_pay_and_wide_where_they_do_not(posterior):
    def pays(index, draw):
        return 0.2 if draw.parent is None else min(draw.parent.score + 0.1, 0.95)

    def spoils(index, draw):
        return 0.6 if draw.parent is None else 0.0

    for seed in range(3):
        strategy = ttc.ABMCTS(60, posterior=posterior, seed=seed)
        assert mean_depth(strategy, pays) > 2 * mean_depth(strategy, spoils) + 0.5


def test_the_better_model_is_asked_more_often():
    def world(index, draw):
        return 0.7 if draw.model == "good" else 0.1

    asked = [draw.model for draw in play(ttc.ABMCTS(60, models=("bad", "good")), world).draws]
    assert set(asked) == {"bad", "good"}
    assert asked.count("good") > 45


def test_a_model_whose_draws_fail_is_hardly_asked():
    def world(index, draw):
        return 0.4 if draw.model == "up" else Outcome(status="failed")

    asked = [draw.model for draw in play(ttc.ABMCTS(60, models=("down", "up"), posterior="beta"), world).draws]
    assert 1 <= asked.count("down") < 10


@pytest.mark.parametrize("lost", [Outcome(status="failed"), Outcome(score=0.9, verifier_failed=True)], ids=repr)
def test_what_has_no_score_is_never_revised(lost):
    draws = play(ttc.ABMCTS(40), lambda index, draw: lost if index % 2 else 0.5).draws
    parents = {draw.parent.index for draw in draws if draw.parent is not None}
    assert parents
    assert all(index % 2 == 0 for index in parents)


def test_an_answer_that_could_not_be_parsed_counts_as_wrong_and_may_be_revised():
    rejected = Outcome(status="abstained", score=0.0, feedback="no JSON")
    draws = play(ttc.ABMCTS(20), lambda index, draw: rejected).draws
    assert "no JSON" in next(draw for draw in draws if draw.parent is not None).instruction


def test_an_accepted_answer_is_not_called_wrong_where_the_search_goes_on():
    good = Outcome(output="fine", score=0.8, accepted=True)
    draws = play(ttc.ABMCTS(20, stop="all"), lambda index, draw: good).draws
    told = next(draw for draw in draws if draw.parent is not None).instruction
    assert "fine" in told
    assert "accepted with a score of 0.80" in told
    assert "not" not in told


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_as_many_are_under_way_as_it_was_given_until_n_are_drawn(at_once):
    steps = ttc.ABMCTS(10, at_once=at_once).search(ttc.Call(name="f"))
    samples = list(play(ttc.BestOfN(10, stop="all"), [0.1] * 10).samples)
    sizes = [len(next(steps)), *(len(steps.send(sample)) for sample in samples[:9])]
    assert sizes == [min(at_once, 10)] + [1] * max(0, 10 - at_once) + [0] * (min(at_once, 10) - 1)
    with pytest.raises(StopIteration):
        steps.send(samples[9])


def test_its_seed_decides_its_choices():
    def parents(seed):
        draws = play(ttc.ABMCTS(30, seed=seed), lambda index, draw: index % 7 / 7).draws
        return [draw.parent and draw.parent.index for draw in draws]

    state = random.getstate()
    assert parents(1) == parents(1)
    assert len({str(parents(seed)) for seed in range(5)}) == 5
    assert random.getstate() == state


@pytest.mark.parametrize("options", [{}, {"models": ("a", "b")}, {"models": ["a"], "at_once": 4}], ids=repr)
def test_it_keeps_the_contract_with_other_models_too(options):
    check_strategy(ttc.ABMCTS(8, **options), examples=examples(20))


def test_it_asks_a_call_site_for_other_models_only_where_it_has_any():
    assert ttc.ABMCTS(2).needs == {ttc.Capability.INSTRUCTION}
    assert ttc.ABMCTS(2, models=["a"]).needs == {ttc.Capability.INSTRUCTION, ttc.Capability.MODEL}
    assert ttc.ABMCTS.needs_verifier


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"n": 0}, ValueError, r"ABMCTS\(n=\) must be a whole number from 1, got 0"),
        ({"at_once": 0}, ValueError, r"ABMCTS\(at_once=\) must be a whole number from 1, got 0"),
        ({"stop": "now"}, ValueError, r"stop=\) must be \"first accepted\" or \"all\", got 'now'"),
        ({"posterior": "cauchy"}, ValueError, r"posterior=\) must be \"gaussian\" or \"beta\", got 'cauchy'"),
        ({"seed": 0.5}, TypeError, r"seed=\) must be a whole number, got 0.5"),
        ({"models": "gpt"}, TypeError, r"models=\) must be a sequence of names, got 'gpt'"),
        ({"models": [1]}, TypeError, r"models=\) must be a sequence of names, got \[1\]"),
        ({"models": []}, ValueError, r"models=\) must name one model or more, each once; got \[\]"),
        ({"models": ["a", "a"]}, ValueError, r"each once; got \['a', 'a'\]"),
    ],
)
def test_what_it_cannot_search_by_is_refused(options, error, said):
    with pytest.raises(error, match=said):
        ttc.ABMCTS(**options)


# What it believes


@given(st.lists(SCORES, max_size=30))
@thorough(100)
def test_the_gaussian_posterior_is_that_of_all_scores_at_once(scores):
    belief = Gaussian()
    for score in scores:
        belief.see(score)
    n = len(scores)
    mean = statistics.fmean(scores) if scores else 0.0
    squares = sum((score - mean) ** 2 for score in scores)
    assert (belief.kappa, belief.nu) == (1 + n, 1 + n)
    assert belief.mean == pytest.approx(n * mean / (1 + n), abs=1e-12)
    assert belief.tau_square == pytest.approx((0.1 + squares + n * mean**2 / (1 + n)) / (1 + n), abs=1e-12)


# The distribution function of Student's t, in closed form for so many degrees of freedom.
STUDENT = {
    1: lambda x: 0.5 + math.atan(x) / math.pi,
    2: lambda x: 0.5 + x / (2 * math.sqrt(2 + x * x)),
    3: lambda x: 0.5 + (x / math.sqrt(3) / (1 + x * x / 3) + math.atan(x / math.sqrt(3))) / math.pi,
}


def furthest(drawn, distribution):
    """Kolmogorov's distance, times the root of the number: above 1.95 once in a thousand times."""
    drawn = sorted(distribution(x) for x in drawn)
    n = len(drawn)
    return max(max(x - place / n, (place + 1) / n - x) for place, x in enumerate(drawn)) * math.sqrt(n)


@pytest.mark.parametrize("scores", [[], [0.4], [0.4, 0.9]])
def test_a_draw_from_the_gaussian_posterior_is_students_t(scores):
    belief = Gaussian()
    for score in scores:
        belief.see(score)
    width = math.sqrt(belief.tau_square / belief.kappa)
    chance = random.Random(1)
    drawn = [belief.draw(chance) for _ in range(4_000)]
    student = STUDENT[len(scores) + 1]
    assert furthest(drawn, lambda x: student((x - belief.mean) / width)) < 1.95


def test_a_draw_from_the_beta_posterior_is_a_beta():
    belief = Beta()
    belief.see(0.5)
    belief.see(0.0)
    belief.see(1.0)  # Beta(2, 2)
    chance = random.Random(1)
    assert furthest([belief.draw(chance) for _ in range(4_000)], lambda x: 3 * x**2 - 2 * x**3) < 1.95


# The tree


def grown(choices, posterior="gaussian", chance=None):
    tree = Tree(BELIEFS[posterior], ["a", "b"], chance or random.Random(0))
    nodes = [tree.root]
    for place, maker, score in choices:
        nodes.append(tree.add(nodes[place % len(nodes)], maker, score, score))
    return tree, nodes


CHOICES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), SCORES), max_size=40)


def seen(belief):
    """How many scores a posterior has seen, and their sum, read off a beta."""
    return round(belief.a + belief.b - 1), pytest.approx(belief.a - 0.5)


@given(CHOICES)
@thorough(60)
def test_every_score_is_counted_once_in_each_arm_that_led_to_it(choices):
    tree, nodes = grown(choices, "beta")

    def below(node):
        return [child.value for child in node.children], [s for child in node.children for s in everything(child)[1:]]

    def everything(node):
        return [node.value, *(s for child in node.children for s in everything(child))]

    for node in nodes:
        own, further = below(node)
        assert seen(node.gen) == (len(own), sum(own))
        assert seen(node.cont) == (len(further), sum(further))
        assert [seen(arm) for arm in node.arms] == [
            (len(everything(child)), sum(everything(child))) for child in node.children
        ]
    for name in "ab":
        scores = [score for _, maker, score in choices if maker == name]
        assert seen(tree.makers[name]) == (len(scores), sum(scores))


class Counting(random.Random):
    """Counts the uniform numbers that are drawn, two for each value of a Gaussian posterior."""

    drawn = 0

    def random(self):
        self.drawn += 1
        return super().random()


@pytest.mark.parametrize("world", ["flat", "deeper", "worthless"])
def test_a_step_draws_from_the_arms_that_it_passes_and_from_no_other(world):
    chance, scores = Counting(0), random.Random(1)
    tree = Tree(BELIEFS["gaussian"], ["only"], chance)
    for _ in range(1_000):
        chance.drawn = 0
        node, maker = tree.choose()
        passed = [(node, 2 if node.children else 0)]  # GEN and CONT, where it stopped
        above = node.parent
        while above is not None:
            passed.append((above, 2 + len(above.children)))
            above = above.parent
        assert chance.drawn == 2 * sum(arms for _, arms in passed)
        parent = node.value or 0.0
        score = {"flat": scores.random(), "deeper": min(parent + 0.02, 1.0), "worthless": 0.0}[world]
        counted = [arm.kappa for each, _ in passed for arm in (each.gen, each.cont, each.subtree)]
        tree.add(node, maker, score, score)
        more = [arm.kappa for each, _ in passed for arm in (each.gen, each.cont, each.subtree)]
        assert sum(more) - sum(counted) == 2 * len(passed) - 1  # GEN once, and two arms a level above
