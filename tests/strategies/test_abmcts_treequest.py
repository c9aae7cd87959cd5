"""The tree of ABMCTS beside that of its authors, treequest 0.3.3: in a lane of its own, since it brings scipy."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

from ttc_middleware.strategies._abmcts_tree import Tree
from ttc_middleware.strategies._beliefs import BELIEFS

treequest = pytest.importorskip("treequest", reason="poe test-treequest installs it")

MODELS = ["a", "b", "c"]
KINDS = ["gaussian", "beta"]


class Both:
    """The two trees, fed alike; nodes are known by the order in which they were made, -1 is the root."""

    def __init__(self, kind, seed=0):
        self.ours = Tree(BELIEFS[kind], MODELS, random.Random(seed))
        self.nodes = {-1: self.ours.root}
        self.algorithm = treequest.ABMCTSA(dist_type=kind)
        self.theirs = self.algorithm.init_tree()
        for model in MODELS:  # what their ask() does first
            self.theirs.all_rewards_store[model] = []

    def add(self, parent, model, score):
        name = len(self.nodes) - 1
        self.nodes[name] = self.ours.add(self.nodes[parent], model, score, name)
        node = self.theirs.tree.get_node(parent)
        self.theirs.thompson_states.get_or_create(node, MODELS)
        trial = self.theirs.trial_store.create_trial(node, model)
        self.algorithm.tell(self.theirs, trial.trial_id, (f"answer {name}", score))


def ours(belief):
    if hasattr(belief, "a"):
        return {"a": belief.a, "b": belief.b}
    return {"m": belief.mean, "kappa": belief.kappa, "nu": belief.nu, "tau_square": belief.tau_square}


def exactly(params):
    return pytest.approx(params, abs=1e-9, rel=1e-9)


STEPS = st.lists(st.tuples(st.integers(0, 1_000), st.sampled_from(MODELS), st.floats(0, 1)), max_size=40)


@pytest.mark.parametrize("kind", KINDS)
@given(steps=STEPS)
@thorough(40)
def test_every_posterior_is_theirs_after_the_same_draws(kind, steps):
    from treequest.algos.ab_mcts_a.prob_state import ProbabilisticDist  # noqa: PLC0415  # after the check above

    both = Both(kind)
    for place, model, score in steps:
        both.add(place % len(both.nodes) - 1, model, score)
    for name, node in both.nodes.items():
        state = both.theirs.thompson_states.get(both.theirs.tree.get_node(name))
        if state is None:  # a leaf that nothing was made from, where ours has its priors
            assert not node.children
            continue
        [arms] = state.gen_vs_cont_probas.values()
        assert ours(node.gen) == exactly(arms["GEN"].params)
        assert ours(node.cont) == exactly(arms["CONT"].params)
        [children] = state.node_probas.values()
        assert sorted(children) == list(range(len(node.arms)))
        for place, arm in enumerate(node.arms):
            assert ours(arm) == exactly(children[place].params)
    for model in MODELS:  # theirs is fitted anew, whenever a model is chosen, to all that it has made
        fitted = ProbabilisticDist(both.algorithm.prior_config)
        for reward in both.theirs.all_rewards_store[model]:
            fitted.tell_observation(reward)
        assert ours(both.ours.makers[model]) == exactly(fitted.params)


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_where_they_go_on_as_often(kind):
    import numpy as np  # noqa: PLC0415  # theirs

    both, scores = Both(kind), random.Random(4)
    for place in [0, 0, 1, 1, 2, 0, 3, 5, 2]:
        both.add(place - 1, scores.choice(MODELS), scores.random())
    np.random.seed(0)  # noqa: NPY002  # theirs is the global one
    rounds = 4_000
    chosen, theirs = Counter(), Counter()
    for _ in range(rounds):
        node, model = both.ours.choose()
        chosen[-1 if node.value is None else node.value, model] += 1
    _, trials = both.algorithm.ask_batch(both.theirs, rounds, MODELS)
    theirs.update((trial.node_to_expand, trial.action) for trial in trials)
    assert len(theirs) > 10
    # The chi-square of two samples of one size; its mean is `free`, and its variance twice that.
    free = len(chosen | theirs) - 1
    distance = sum((chosen[at] - theirs[at]) ** 2 / (chosen[at] + theirs[at]) for at in chosen | theirs)
    assert distance < free + 4 * (2 * free) ** 0.5
