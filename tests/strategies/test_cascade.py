"""Cascade: cheap draws first, and a larger model only where they disagree."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies import Tier
from ttc_middleware.testing import Outcome, play

SMALL_LARGE = ttc.Cascade([Tier(lead=2, cap=4), Tier("large", lead=3, cap=6)])

TIERS = st.lists(
    st.builds(
        Tier,
        st.sampled_from([None, "large"]),
        lead=st.integers(1, 4),
        cap=st.integers(1, 5),
        weight=st.sampled_from([1, 1, 0.5, 0.7, 1.6, 3]),
    ),
    min_size=1,
    max_size=3,
)
BALLOTS = st.lists(
    st.one_of(
        st.sampled_from("aaabbc"),
        st.sampled_from(["abstained", "truncated", "failed"]).map(lambda status: Outcome(output="a", status=status)),
    ),
    min_size=15,
    max_size=15,
)


def one_at_a_time(tiers, ballots):
    """The definition: in each tier one draw after the other, until the pooled lead is there or the cap."""
    votes, drawn = {}, []

    def ahead():
        *_, second, first = sorted([Fraction(0), Fraction(0), *votes.values()])
        return first - second

    for tier in tiers:
        for _ in range(tier.cap):
            if ahead() >= tier.lead:
                break
            ballot = ballots[len(drawn)]
            drawn.append(tier.model)
            if isinstance(ballot, str):
                votes[ballot] = votes.get(ballot, 0) + Fraction(tier.weight)
        if ahead() >= tier.lead:
            break
    seen = [each for each in ballots[: len(drawn)] if isinstance(each, str)]
    return drawn, max(votes, key=lambda each: (votes[each], -seen.index(each)), default=None)


@thorough(120)
@given(TIERS, BALLOTS, st.permutations(range(15)))
def test_batches_in_any_order_of_arrival_take_the_draws_and_the_winner_of_one_at_a_time(tiers, ballots, arrival):
    drawn, elected = one_at_a_time(tiers, ballots)
    played = play(ttc.Cascade(tiers), ballots, arrival=arrival)
    assert [each.model for each in played.draws] == drawn
    assert (len(played.samples), played.cancelled) == (len(drawn), ())
    if elected is None:
        assert played.winner.status != "answer"
    else:
        assert (played.winner.text, played.index) == (elected, ballots.index(elected))


@thorough(60)
@given(st.lists(st.sampled_from("abc"), min_size=9, max_size=9))
def test_one_tier_whose_lead_is_out_of_reach_elects_the_class_of_self_consistency(ballots):
    voted = play(ttc.SelfConsistency(9), ballots).winner.text
    assert play(ttc.Cascade([Tier(lead=99, cap=9)]), ballots).winner.text == voted


@thorough(40)
@given(TIERS, BALLOTS)
def test_no_tier_draws_more_than_its_cap(tiers, ballots):
    assert len(play(ttc.Cascade(tiers), ballots).draws) <= sum(each.cap for each in tiers)


def test_two_that_agree_are_enough_and_the_large_model_is_never_asked():
    played = play(SMALL_LARGE, ["a", "a", "b"])
    assert (len(played.draws), played.winner.text) == (2, "a")


def test_where_the_small_model_cannot_agree_the_large_one_decides_beside_its_votes():
    played = play(SMALL_LARGE, [*"abca", *"bbb", *"bbb"])
    # a 2, b 1, c 1 go over; the large model's b needs four votes to lead by three.
    assert [each.model for each in played.draws] == [None] * 4 + ["large"] * 4
    assert (played.winner.text, played.index) == ("b", 1)


def test_the_large_model_starts_once_those_under_way_can_no_longer_decide():
    asked = []

    def outcome(index, draw):
        asked.append((index, draw.model))
        return "abcd"[index] if index < 4 else "e"

    steps = SMALL_LARGE.search(ttc.Call(name="f"))
    assert len(next(steps)) == 2
    play(SMALL_LARGE, outcome, arrival=[3, 2, 1, 0])
    assert asked[4] == (4, "large")
    late = play(ttc.Cascade([Tier(lead=3, cap=3), Tier("large", lead=1, cap=2)]), ["a", "b", "b", "b"], arrival=[0, 1])
    assert len(late.draws) == 3  # the third small one was under way, and leads by one


def test_a_heavier_vote_counts_for_more():
    tiers = [Tier(lead=3, cap=2, weight=0.5), Tier("large", lead=2, cap=2, weight=2)]
    assert play(ttc.Cascade(tiers), ["a", "a", "b", "b"]).winner.text == "b"


def test_the_first_accepted_sample_to_arrive_ends_it():
    played = play(SMALL_LARGE, [False, True, True], arrival=[1, 0])
    assert (played.index, len(played.samples), played.cancelled) == (1, 1, (0,))


def test_rejected_answers_that_agree_are_no_reason_to_stop():
    outcomes = [*[Outcome(output="a", score=0.0)] * 4, *[Outcome(output="b", score=1.0)] * 3]
    played = play(SMALL_LARGE, outcomes)
    assert (played.winner.text, played.winner.draw.model) == ("b", "large")


def test_where_everything_is_rejected_the_votes_decide_all_the_same():
    texts = ["a", "b", "c", "b", *"cccccc"]
    played = play(SMALL_LARGE, [Outcome(output=each, score=0.0) for each in texts])
    assert (len(played.draws), played.winner.text, played.index) == (10, "c", 2)


def test_where_the_budget_ends_the_votes_so_far_decide():
    assert play(SMALL_LARGE, list("abb")).winner.text == "b"


def test_by_says_what_votes_and_its_error_comes_out_where_it_reads_nothing():
    by_length = ttc.Cascade([Tier(lead=2, cap=3)], by=len)
    assert play(by_length, ["xx", "yy"]).winner.text == "xx"
    with pytest.raises(ValueError, match="invalid literal"):
        play(ttc.Cascade([Tier(lead=2, cap=2)], by=int), ["x", "y"])
    assert play(ttc.Cascade([Tier(lead=1, cap=3)], by=lambda text: [text] if text == "x" else text), "xy").index == 1


def test_another_model_is_needed_only_where_a_tier_names_one():
    assert SMALL_LARGE.needs == {ttc.Capability.MODEL}
    assert ttc.Cascade([Tier()]).needs == frozenset()


def test_tiers_are_checked():
    with pytest.raises(ValueError, match="at least one tier"):
        ttc.Cascade([])
    for wrong in (Tier(), "small", None):
        with pytest.raises(TypeError, match=r"Cascade\(tiers\) must be a list of tiers, got"):
            ttc.Cascade(wrong)
    with pytest.raises(TypeError, match=r'like ttc.strategies.Tier\("small"\); got \'small\''):
        ttc.Cascade(["small"])
    with pytest.raises(TypeError, match=r"Cascade\(by=\) must be a function of the output"):
        ttc.Cascade([Tier()], by="answer")
    with pytest.raises(TypeError, match=r"Tier\(model\) must be the name of a model"):
        Tier(3)
    for wrong in (0, -1.0, float("nan"), float("inf"), 10**400, True):
        with pytest.raises(ValueError, match=r"Tier\(weight=\) must be a number above 0"):
            Tier(weight=wrong)
    for name in ("lead", "cap"):
        with pytest.raises(ValueError, match=rf"Tier\({name}=\) must be a whole number from 1, got 0"):
            Tier(**{name: 0})
