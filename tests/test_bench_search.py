"""What `poe bench-search` stands on: its task families, its estimates, and replays that notice another version."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if str(BENCHMARKS) not in sys.path:
    sys.path.append(str(BENCHMARKS))  # scripts that import each other by name

from equal import Beside, Pooled, beside, note  # noqa: E402  # found there
from estimates import Share, interval, mixed, paired, pass_at, share, tokens_until  # noqa: E402
from families import FAMILIES  # noqa: E402
from mix import FEWER, Turns, fewer, gained, kind, replayed  # noqa: E402
from record import FOLDER, Pool, read, write  # noqa: E402
from searches import Noting, OtherVersion, Recorded, called, replay  # noqa: E402

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
STEPS = ttc.Steps("\n")


@every_family
def test_no_question_is_in_two_splits_and_the_same_ones_come_every_time(family):
    splits = [{each.question for each in family.problems(split, n)} for split, n in (("shots", 5), ("tune", 20))]
    tested = family.problems("test", 40)
    assert tested == family.problems("test", 40)
    assert tested[:10] == family.problems("test", 10)
    assert len({each.question for each in tested}.union(*splits)) == 65


@every_family
def test_a_right_answer_is_verified_and_any_otherwise_one_is_not(family):
    for problem in family.problems("test", 20):
        assert family.verify(problem.shown, problem)
        assert family.prefix(problem.shown, problem) == 1
        assert not family.verify("", problem)
        assert not family.verify("nonsense", problem)
        assert family.judge(problem).check("nonsense").score < 0.2


@pytest.mark.parametrize("name", ["add3", "sort3", "sort4", "sort6"])
def test_each_right_line_is_worth_more_and_a_mistake_next_to_nothing(name):
    family = FAMILIES[name]
    for problem in family.problems("test", 20):
        lines = problem.shown.split("\n")
        worth = [family.prefix("\n".join(lines[:k]), problem) for k in range(len(lines) + 1)]
        assert worth == sorted(set(worth))
        assert family.prefix("\n".join([*lines[:-1], "0"]), problem) < worth[0]


def test_a_story_has_each_word_in_its_sentence_and_no_sentence_twice():
    family = FAMILIES["story4"]
    problem = replace(family.problems("test", 1)[0], goal=("dog", "boat", "moon", "king"))
    right = "A Dog.\nTwo boats.\nThe moon, a boat.\nKing dog."
    assert family.verify(right, problem)
    for wrong in ("A dog.\nA moon.\nA boat.\nA king.", "A dogma.\nA boat.\nA moon.\nA king.", f"{right}\nA king."):
        assert not family.verify(wrong, problem)
    twice = "A dog, a boat."
    assert not family.verify(f"{twice}\n{twice}\nA moon.\nA king.", problem)
    worth = [family.prefix(text, problem) for text in ("A dog.\nA moon.", "", "A dog.", "A dog.\nA boat.")]
    assert worth == sorted(set(worth))


@pytest.mark.parametrize(
    ("name", "text", "bad"),
    [
        ("sort3", "1\n7\n3", "7\n3"),
        ("sort3", "1\n2\n3", None),
        ("walk", "left\nleft\n left\n\n left\nright", " left\nright"),
        ("story4", "A dog.\nA moon.\nA", "A moon.\nA"),
        ("story4", "A dog.\nA boat.", None),
    ],
)
def test_the_verdict_says_where_the_first_mistake_is(name, text, bad):
    family = FAMILIES[name]
    goals = {"walk": (3, 3), "story4": ("dog", "boat", "moon", "king")}
    problem = replace(family.problems("test", 1)[0], shown="1\n2\n3", goal=goals.get(name))
    found = family.judge(problem).check(text).first_bad
    assert (None if found is None else text[found:]) == bad


def test_a_walk_is_worth_more_the_nearer_it_ends_and_nothing_once_off_the_field():
    family = FAMILIES["walk"]
    problem = replace(family.problems("test", 1)[0], goal=(2, 1))
    worth = [family.prefix(text, problem) for text in ("down", "", "up", "up\nright")]
    assert worth == sorted(set(worth))
    assert family.prefix("left\nleft\nleft\nleft\nright", problem) == 0
    assert family.verify("right\nright\nup\nleft\nleft", problem), "who comes by the goal has reached it"
    assert not family.verify("right\nup", problem)


@every_family
def test_what_is_recorded_is_of_todays_problems(family):
    pools = read(family)
    for pool in pools:
        assert all(told[1] > told[2] >= 0 and told[3] > 0 for told in pool.samples)


def test_what_was_recorded_of_other_problems_is_refused(tmp_path):
    family = FAMILIES["sort3"]
    told = ("1\n2\n3", 100, 99, 6, "stop", 0.5)
    pools = [Pool(problem, told, [told]) for problem in family.problems("test", 2)]
    write(family, pools, tmp_path)
    assert read(family, tmp_path) == pools
    write(family, pools[::-1], tmp_path)
    with pytest.raises(ValueError, match=r"recorded of other problems than sort3 has now"):
        read(family, tmp_path)
    assert FOLDER.name == "recordings"


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_all_choices_with_a_right_one(samples, data):
    k = data.draw(st.integers(1, len(samples)))
    chosen = list(combinations(samples, k))
    assert pass_at(k, sum(samples), len(samples)) == pytest.approx(fmean(any(each) for each in chosen))


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("n", [1, 3, 5])
def test_best_of_n_costs_what_the_strategy_itself_draws_over_all_orders(right, n):
    orders = set(permutations([True] * right + [False] * (5 - right)))
    drawn = fmean(len(play(ttc.BestOfN(n, at_once=1), order).draws) for order in orders)
    assert tokens_until(n, right, 5, 10.0) == pytest.approx(10 * drawn)
    found = fmean(play(ttc.BestOfN(n, at_once=1), order).winner.accepted for order in orders)
    assert pass_at(n, right, 5) == pytest.approx(found)


def test_pass_at_more_than_there_is_is_refused():
    with pytest.raises(ValueError, match="at least 4 samples, not 3"):
        pass_at(4, 1, 3)


def test_an_interval_holds_its_mean_and_equal_rows_do_not_differ():
    values = [0.0, 1.0, 1.0, 0.5, 0.0, 1.0]
    found = share(values)
    assert found.low < found.mean < found.high
    assert paired(values, values).points == "+0.0 (+0 to +0)"


def test_best_of_n_at_equal_tokens_is_between_two_whole_numbers():
    found = beside([1.0], [Pooled(right=1, of=2, each=10.0)], 12.5)  # one draw takes 10, two take 15
    assert (found.n, found.right, found.difference.mean) == pytest.approx((1.5, 0.75, 0.25))
    assert found.holds
    assert found.said == "+25.0 (+25 to +25); N = 1.5: 75.0 %"
    less = beside([0.0], [Pooled(right=1, of=2, each=10.0)], 3.0)
    assert (less.n, less.right) == (1, 0.5)


def test_a_pool_that_is_too_small_says_how_many_samples_it_would_take():
    pools = [Pooled(right=0, of=4, each=10.0), Pooled(right=4, of=4, each=10.0)]
    found = beside([1.0, 1.0], pools, 35.0)  # 10 for the one, 40 for the other: 25 a problem, and 5 for each further N
    assert (found.n, found.least, found.right) == (4, 6, 0.5)
    assert "pool too small: at least 6 samples; all 4: 50.0 %" in found.said
    assert beside([1.0, 1.0], pools, 25.0).least is None


def test_the_note_tells_what_holds_from_what_the_pool_is_too_small_for():
    sure, lost = Share(0.2, 0.1, 0.3), Share(-0.2, -0.3, -0.1)
    families = {"sums": Beside(4, 0.5, Share(0.1, -0.1, 0.3)), "walks": Beside(4, 0.5, sure, least=9)}
    lines = note({"a search": families, "another": {"walks": Beside(4, 0.5, lost)}}, "tokens")
    one, other = lines[1:]
    assert one.startswith("- a search: as a point estimate on sums +10.0 (-10 to +30); by its interval on none;")
    assert one.endswith("not known on walks: pool too small")
    assert other == "- another: on none; by its interval on none"


def test_a_mix_is_weighted_by_its_strata_and_resampled_within_them():
    mean, resampled = mixed([(0.75, [1.0, 1.0, 1.0]), (0.25, [0.0, 1.0])])
    assert mean == pytest.approx(0.875)
    assert set(resampled.round(3)) == {0.75, 0.875, 1.0}
    assert interval(mean, resampled).low == 0.75


ANSWERS = Pool(FAMILIES["mood"].problems("test", 1)[0])


def moods(*right):
    """A pool of moods: 100 tokens of prompt, 90 of them cached, and 2 of the answer."""
    shown = ANSWERS.problem.shown
    told = [(shown if each else "neither", 100, 90, 2, "stop", 0.1) for each in right]
    return replace(ANSWERS, greedy=(shown, 100, 90, 2, "stop", 0.1), samples=told)


def test_a_replay_of_the_mix_counts_draws_tokens_and_turns():
    family = FAMILIES["mood"]
    uniform = replayed(ttc.BestOfN(4, stop="all"), family, moods(1, 1, 1, 1), 0)
    assert (uniform.right, uniform.draws, uniform.tokens, uniform.new, uniform.turns) == (1, 4, 408, 48, 1)
    wrong = replayed(ttc.BestOfN(4, at_once=1), family, moods(0, 0, 0, 0), 0)
    assert (wrong.right, wrong.draws, wrong.turns) == (0, 4, 4)
    greedy = replayed(ttc.Single(temperature=0), family, moods(0), 0)
    assert (greedy.right, greedy.draws) == (1, 1)
    tiers = {"easy": ttc.Single(), "hard": ttc.BestOfN(4)}
    grown = replayed(ttc.Adaptive(kind, tiers), family, moods(0, 0, 0, 0, 0), 0)
    assert (grown.draws, grown.turns) == (5, 2)
    assert (fewer({"mood": [uniform]}, {"mood": [wrong]}, lambda each: each.tokens).mean) == 1
    assert gained({"mood": [uniform]}, {"mood": [wrong]}).mean == pytest.approx(0.7)
    assert FEWER == 4


def test_turns_are_those_of_the_longest_chain_of_draws():
    timed = Turns(ttc.BestOfN(6, at_once=2))
    play(timed, [False] * 6)
    assert timed.count == 3


def test_a_question_says_its_kind():
    kinds = {name: kind(FAMILIES[name].problems("test", 1)[0].question) for name in ("mood", "add3", "walk")}
    assert kinds == {"mood": "easy", "add3": "medium", "walk": "hard"}


def recorded(strategy):
    """A search for a walk, by a model that goes at random but repeatably."""
    family = FAMILIES["walk"]
    problem = family.problems("test", 1)[0]
    judge = family.judge(problem)
    into = Recorded("a search", repr(strategy), family.name, problem.question)

    def model(index, draw):
        text = (draw.extend or "") + ("up", "down", "left", "right")[(index * 7 + index // 3) % 4]
        verdict = judge.check(text)
        ended = text.count("\n") > 4
        return Outcome(
            output=text, score=verdict.score, accepted=verdict.accepted, ended=ended, first_bad=verdict.first_bad
        )

    return into, play(Noting(strategy, into), model, call=called(family)), judge


def test_a_replay_sends_the_strategy_what_it_was_sent_and_it_chooses_the_same():
    strategy = ttc.BeamSearch(8, 4, depth=8, steps=STEPS)
    into, played, judge = recorded(strategy)
    assert len(into.samples) == len(played.samples) > 16
    winner = replay(strategy, into, judge)
    assert (winner.index, winner.text) == (played.index, played.winner.text)
    assert winner.draw.parent is not None


def test_a_replay_notices_another_version_of_the_strategy_or_of_the_verifier():
    strategy = ttc.BeamSearch(8, 4, depth=8, steps=STEPS)
    into, _, judge = recorded(strategy)
    otherwise = ttc.BeamSearch(8, 4, depth=8, steps=ttc.Steps("\n", max_tokens=9))  # chooses the same
    for other in (otherwise, ttc.DVTS(8, 2, depth=8, steps=STEPS), ttc.BeamSearch(8, 2, steps=STEPS), ttc.BestOfN(4)):
        with pytest.raises(OtherVersion, match=r"recorded with another version of BeamSearch.*record again"):
            replay(other, into, judge)
    into.samples[3]["score"] += 0.125
    with pytest.raises(OtherVersion, match="the verifier says"):
        replay(strategy, into, judge)
