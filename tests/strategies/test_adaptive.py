"""Adaptive: who chooses the tier, what is kept, and what happens where the choice was wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import examples, thorough

import ttc_middleware as ttc
from ttc_middleware.strategies import Agreement, Classify, FirstScore, adaptive
from ttc_middleware.strategies._paces import SITES, Paces
from ttc_middleware.strategies.difficulty import named
from ttc_middleware.testing import Outcome, check_strategy, play

NAMES = ("easy", "medium", "hard", "very hard")
TIERS = {
    "easy": ttc.Single(temperature=0.0),
    "medium": ttc.SelfConsistency(3),
    "hard": ttc.SelfConsistency(5),
    "very hard": ttc.SelfConsistency(7),
}
WRONG, RIGHT = Outcome(output="x", score=0.2), Outcome(output="y", score=1.0)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(adaptive, "PACES", Paces())


def classified(reply, *outcomes, tiers=TIERS, **options):
    return play(ttc.Adaptive(Classify(), tiers, **options), [Outcome(output=reply), *outcomes])


# A classification.


@pytest.mark.parametrize(
    ("reply", "draws"),
    [
        ("easy", 1), ("Medium.", 3), ("This is HARD", 5), ("very hard", 7), ("**Very hard**, I think", 7),
        ("easy or hard", 3), ("no idea", 3), ("", 3), ("hardly", 3), ("x" * 500 + " hard", 3),
    ],
)  # fmt: skip
def test_a_reply_selects_one_of_the_tiers_own_names_and_anything_else_is_medium(reply, draws):
    asked = []

    def outcome(index, draw):
        asked.append(draw)
        return reply if index == 0 else f"answer {index}"

    strategy = ttc.Adaptive(Classify(), TIERS, escalate=False)
    play(strategy, lambda index, draw: outcome(index, draw) or Outcome(status="abstained", output=""))
    assert [each.kind for each in asked] == ["routing"] + ["answer"] * draws


@thorough(150)
@given(st.text(max_size=60), st.lists(st.sampled_from(NAMES), max_size=3))
def test_no_reply_is_ever_more_than_a_choice(text, mentioned):
    place = named(" ".join([text, *mentioned]), NAMES)
    assert place is None or 0 <= place < len(NAMES)
    if len(set(mentioned)) > 1 and not text.strip():
        assert place is None


def test_a_name_that_begins_with_another_is_not_taken_for_it():
    assert named("Hard as nails", ("hard", "hard as nails")) == 1
    assert named("hard", ("hard", "hard as nails")) == 0


def test_the_question_names_the_tiers_and_is_short_cold_and_no_answer():
    question = next(ttc.Adaptive(Classify("tiny"), TIERS).search(ttc.Call(name="f")))[0]
    assert (question.kind, question.model, question.temperature, question.max_tokens) == ("routing", "tiny", 0.0, 16)
    assert question.instruction.endswith("nothing else: easy, medium, hard, very hard")


def test_a_classification_that_fails_counts_as_medium():
    played = classified("", "a", "a")
    assert played.winner.text == "a"
    failed = play(ttc.Adaptive(Classify(), TIERS), [Outcome(status="failed"), "a", "a"])
    assert (failed.index, failed.winner.text) == (1, "a")


def test_with_three_or_five_tiers_medium_is_in_the_middle_and_with_two_the_lighter():
    for count, draws in [(2, 1), (3, 2), (5, 3)]:
        tiers = {f"tier {place}": ttc.SelfConsistency(place + 1) for place in range(count)}
        played = classified("?", *"abcdefg", tiers=tiers, escalate=False)
        assert len(played.draws) == 1 + draws


# Agreement of a few draws.


def test_two_that_agree_are_the_first_tier():
    played = play(ttc.Adaptive(Agreement(), TIERS), ["a", "a", "b"])
    assert (played.index, len(played.draws)) == (0, 2)


def test_two_that_disagree_are_kept_and_the_second_tier_begins():
    played = play(ttc.Adaptive(Agreement(), TIERS), ["a", "b", "b", "b", "b"])
    assert (played.winner.text, played.index, len(played.draws)) == ("b", 2, 5 - 1 + 1)


def test_agreement_on_what_the_verifier_rejects_is_not_enough_and_acceptance_is():
    tiers = {"easy": ttc.Single(), "hard": ttc.BestOfN(4)}
    assert play(ttc.Adaptive(Agreement(), tiers), [WRONG, WRONG, RIGHT]).index == 2
    assert len(play(ttc.Adaptive(Agreement(), tiers), [RIGHT, WRONG]).samples) == 1


def test_a_kept_sample_can_win():
    tiers = {"easy": ttc.Single(), "hard": ttc.BestOfN(2, stop="all")}
    kept = Outcome(output="k", score=0.7)
    assert play(ttc.Adaptive(Agreement(), tiers), [WRONG, kept, WRONG, WRONG]).index == 1


def test_answers_that_cannot_be_read_do_not_agree():
    played = play(ttc.Adaptive(Agreement(by=int), TIERS), ["x", "x", *"aaa"])
    assert len(played.draws) > 2
    abstained = Outcome(output="a", status="abstained")
    assert len(play(ttc.Adaptive(Agreement(), TIERS), [abstained, abstained, "a", "a", "a"]).draws) == 5


# The verifier's first score.


@pytest.mark.parametrize(("score", "draws"), [(0.9, 1 + 1), (0.8, 1 + 1), (0.5, 1 + 2), (0.1, 1 + 3)])
def test_the_first_score_chooses_by_its_thresholds(score, draws):
    tiers = {name: ttc.BestOfN(n, stop="all") for n, name in enumerate("abc", 1)}
    strategy = ttc.Adaptive(FirstScore([0.8, 0.4]), tiers, escalate=False)
    first = Outcome(output="first", score=score)
    played = play(strategy, [first, *[Outcome(output="x", score=0.05)] * 9])
    assert (len(played.draws), played.index) == (draws, 0)


def test_an_accepted_first_draw_is_all_that_it_takes():
    assert len(play(ttc.Adaptive(FirstScore([0.5]), {"a": ttc.Single(), "b": ttc.BestOfN(9)}), [True]).draws) == 1


def test_a_first_draw_without_a_score_counts_as_medium():
    tiers = {name: ttc.BestOfN(n, stop="all") for n, name in enumerate("abc", 1)}
    for broken in (Outcome(output="a", verifier_failed=True), Outcome(status="failed")):
        played = play(ttc.Adaptive(FirstScore([0.8, 0.4]), tiers, escalate=False), [broken, *[WRONG] * 9])
        assert len(played.draws) == 1 + 2


# A function of the arguments.


def by_length(task):
    return "easy" if len(task) < 5 else "hard"


@pytest.mark.parametrize(("task", "draws"), [("ab", 1), ("abcdef", 5)])
def test_a_function_of_the_arguments_chooses(task, draws):
    call = ttc.Call(name="f", arguments={"task": task, "other": 1})
    played = play(ttc.Adaptive(by_length, TIERS, escalate=False), list("abcdefgh"), call=call)
    assert len(played.draws) == draws


@pytest.mark.parametrize("says", ["impossible", None, 3])
def test_a_function_that_names_no_tier_counts_as_medium_with_a_warning(says):
    with pytest.warns(UserWarning, match=rf"must return one of easy, .*; it returned {says!r}, so .* counts as medium"):
        played = play(ttc.Adaptive(lambda: says, TIERS, escalate=False), list("abcdef"))
    assert len(played.draws) == 3


def test_a_function_that_raises_counts_as_medium_with_a_warning():
    def breaks():
        raise LookupError("no table")

    with pytest.warns(UserWarning, match=r"breaks must return one of .*; it raised LookupError\('no table'\)"):
        assert len(play(ttc.Adaptive(breaks, TIERS, escalate=False), list("abcdef")).draws) == 3


def test_an_argument_that_the_call_does_not_have_is_said():
    with pytest.raises(TypeError, match=r"by_length asks for task, which the call does not have \(it has: none\)"):
        play(ttc.Adaptive(by_length, TIERS), ["a"])


# Escalation.


def test_a_tier_without_an_accepted_sample_hands_over_and_what_it_drew_can_win():
    tiers = {"easy": ttc.Single(), "medium": ttc.BestOfN(2), "hard": ttc.BestOfN(3)}
    played = classified("easy", WRONG, WRONG, RIGHT, tiers=tiers)
    assert (played.index, len(played.samples)) == (3, 4)
    good = Outcome(output="g", score=0.9)
    beaten = classified("easy", good, *[WRONG] * 5, tiers=tiers)
    assert (beaten.index, len(beaten.draws)) == (1, 7)


def test_a_vote_that_no_answer_has_more_than_half_of_hands_over():
    assert len(classified("medium", *"abc", *"ddddd").draws) == 1 + 3 + 5
    assert classified("medium", *"abc", *"ddddd").winner.text == "d"
    assert len(classified("medium", *"aba").draws) == 1 + 3


def test_a_tier_that_only_fails_hands_over():
    failed = Outcome(status="failed")
    played = classified("easy", failed, *"aa")
    assert (played.index, played.winner.text) == (2, "a")


def test_without_escalation_one_tier_is_all():
    assert len(classified("easy", WRONG, RIGHT, escalate=False).draws) == 2


def test_where_nothing_is_judged_the_heaviest_tier_that_ran_decides():
    assert classified("medium", *"abc", *"deeff", *"ggghhij").winner.text == "g"


OUTCOMES = st.lists(
    st.sampled_from([*(Outcome(output=text, score=score) for text in "ab" for score in (0.0, 0.5, 1.0)),
                     Outcome(status="failed"), Outcome(output="a", status="abstained"),
                     Outcome(output="a", verifier_failed=True)]),
    min_size=1, max_size=14,
)  # fmt: skip


@thorough(150)
@given(st.sampled_from(["easy", "hard", "?"]), OUTCOMES, st.booleans())
def test_an_accepted_sample_that_any_tier_drew_wins_and_ends_the_climb(reply, outcomes, escalate):
    tiers = {"easy": ttc.Single(), "medium": ttc.BestOfN(3), "hard": ttc.Refine(3)}
    played = classified(reply, *outcomes, tiers=tiers, escalate=escalate)
    accepted = [each.index for each in played.samples if each.accepted]
    assert played.winner is None or played.winner.accepted == bool(accepted)
    scores = [each.score for each in played.samples if each.whole and each.score is not None]
    assert not scores or played.winner.score in (max(scores), None)


@pytest.mark.parametrize("difficulty", [Classify(), Classify("tiny"), Agreement(3), Agreement(model="tiny")], ids=repr)
@pytest.mark.parametrize("tiers", [TIERS, {"easy": ttc.Refine(1), "hard": ttc.BestOfN(4)}], ids=["votes", "verifier"])
def test_it_keeps_the_contract_however_it_is_routed(difficulty, tiers):
    check_strategy(ttc.Adaptive(difficulty, tiers), examples=examples(25))


# What a call site cannot do.


@dataclass(frozen=True)
class Continues:
    """A step search, as far as its needs go."""

    n: int = 2
    needs = frozenset({ttc.Capability.EXTEND})

    def search(self, call):
        return ttc.best((yield from ttc.gather([ttc.Draw()] * self.n)))


def test_the_nearest_tier_that_can_run_takes_the_place_of_one_that_cannot():
    tiers = {"a": ttc.Single(), "b": Continues(), "c": Continues(3), "d": ttc.SelfConsistency(9)}
    strategy = ttc.Adaptive(Agreement(), tiers)
    assert strategy.suited(frozenset(ttc.Capability)) is strategy
    fit = strategy.suited(frozenset())
    assert list(fit.tiers.values()) == [tiers["a"], tiers["a"], tiers["d"], tiers["d"]]
    assert fit.needs == frozenset()


def test_where_no_tier_can_run_nothing_takes_its_place():
    strategy = ttc.Adaptive(Agreement(), {"a": Continues(), "b": Continues(3)})
    assert strategy.suited(frozenset()) is strategy


def test_two_names_of_one_tier_are_no_reason_to_run_it_twice():
    tiers = {"a": ttc.Single(), "b": Continues(), "c": ttc.SelfConsistency(3)}
    fit = ttc.Adaptive(Classify(), tiers).suited(frozenset())
    assert len(play(fit, ["a", *[WRONG] * 9]).draws) == 1 + 1 + 3


# Deadlines.


def on_the_clock(strategy, seconds, texts, *, took=1.0, deadline=True):
    """Draws that take so many seconds each, those of one step side by side; gives the winner and the draws."""
    steps = strategy.search(ttc.Call(name="f", seconds=seconds))
    now, count, under_way = 0.0, 0, []
    draws = []
    step = next(steps)
    try:
        while True:
            for item in step:
                if isinstance(item, ttc.Draw):
                    text = texts[count] if count < len(texts) else "z"
                    sample = ttc.Sample(index=count, draw=item, call=ttc.Call(name="f"), output=text, text=text)
                    under_way.append(replace(sample, after=now + took))
                    draws.append(item)
                    count += 1
                else:
                    under_way = [each for each in under_way if each.index != item.index]
            late = deadline and seconds is not None and under_way and under_way[0].after > seconds
            sample = under_way.pop(0) if under_way and not late else None
            now = now if sample is None else sample.after
            step = steps.send(sample)
    except StopIteration as end:
        return end.value, draws


SLOW = {"easy": ttc.Single(), "medium": ttc.SelfConsistency(3, at_once=1), "hard": ttc.SelfConsistency(9, at_once=1)}


def test_a_deadline_takes_the_heaviest_tier_that_has_been_seen_to_finish():
    strategy = ttc.Adaptive(Classify(), SLOW)
    for _ in range(9):
        for name in ("easy", "medium", "hard"):
            on_the_clock(ttc.Adaptive(Classify(), SLOW, escalate=False), None, [name, *"ababababab"])
    for seconds, expected in [(30, 9), (5, 3), (3.5, 1), (2, 1)]:
        _, draws = on_the_clock(strategy, seconds, ["hard", *"aaaaaaaaa"])
        assert len(draws) - 1 <= expected, seconds
        first = {9: 5, 3: 2, 1: 1}[expected]  # as many as decide the vote
        assert len(draws) - 1 == first


def test_where_nothing_is_known_yet_the_first_tier_begins_and_tells():
    strategy = ttc.Adaptive(Classify(), SLOW)
    winner, draws = on_the_clock(strategy, 2.5, ["hard", "a"])
    assert (winner.text, len(draws)) == ("a", 2)


def test_escalation_stops_where_the_next_tier_could_not_finish():
    tiers = {"easy": ttc.SelfConsistency(2), "medium": ttc.SelfConsistency(4), "hard": ttc.Refine(6)}
    asked = ttc.Adaptive(Agreement(), tiers)
    assert len(on_the_clock(asked, None, list("abcdefghijklmnop"))[1]) == 2 + 4 + 7
    assert len(on_the_clock(asked, 20.0, list("abcdefghijklmnop"))[1]) == 2 + 4 + 7
    # One second a draw: seven in turn do not fit.
    adaptive.PACES = Paces()
    assert len(on_the_clock(asked, 5.0, list("abcdefghijklmnop"))[1]) == 2 + 4


class OneByOne:
    """A rule that looks after each sample."""

    def more(self, answers):
        return 1


def test_a_tier_that_a_deadline_has_cut_off_is_known_to_take_longer():
    slow = ttc.SelfConsistency(9, stop=OneByOne())  # nobody knows in how many rounds
    strategy = ttc.Adaptive(Agreement(), {"easy": ttc.Single(), "hard": slow})
    for _ in range(9):
        assert len(on_the_clock(strategy, 3.5, list("abcdef"))[1]) > 2
    assert len(on_the_clock(strategy, 3.5, list("abcdef"))[1]) == 2
    # Nothing is known of what it does with more time: by its first draw it may well end.
    assert len(on_the_clock(strategy, 30.0, list("abcdef"))[1]) > 2


def test_a_pace_is_known_from_nine_runs_that_tell():
    paces = Paces()
    for took in range(1, 9):
        paces.observe("f", "tier", float(took), cut=False)
    assert paces.keeps_to("f", "tier", 100.0) is None
    paces.observe("f", "tier", 9.0, cut=False)
    assert (paces.keeps_to("f", "tier", 9.0), paces.keeps_to("f", "tier", 8.9)) == (True, False)
    assert paces.keeps_to("g", "tier", 9.0) is None
    paces.observe("f", "tier", 5.0, cut=True)  # tells of five seconds, not of nine
    assert (paces.keeps_to("f", "tier", 9.0), paces.keeps_to("f", "tier", 5.0)) == (True, False)


def test_paces_forget_what_is_unused_for_longest():
    paces = Paces()
    for site in range(SITES + 1):
        for _ in range(9):
            paces.observe(str(site), "tier", 1.0, cut=False)
    assert (paces.keeps_to("0", "tier", 2.0), paces.keeps_to("1", "tier", 2.0)) == (None, True)


# Arguments.


def test_tiers_and_difficulty_are_checked():
    with pytest.raises(TypeError, match=r"Adaptive\(tiers\) must be strategies by their names"):
        ttc.Adaptive(Classify(), [ttc.Single()])
    for wrong in (
        {},
        {"a": ttc.Single()},
        {"a": ttc.Single(), "A": ttc.Single()},
        {1: ttc.Single(), "b": ttc.Single()},
    ):
        with pytest.raises(ValueError, match=r"Adaptive\(tiers\) must have at least two names that differ"):
            ttc.Adaptive(Classify(), wrong)
    with pytest.raises(TypeError, match="a strategy is an object, not a class"):
        ttc.Adaptive(Classify(), {"a": ttc.Single, "b": ttc.Single()})
    with pytest.raises(TypeError, match=r"Adaptive\(difficulty\) must be a function"):
        ttc.Adaptive("hard", TIERS)
    with pytest.raises(TypeError, match=r"a difficulty is an object, not a class: write Classify\(…\)"):
        ttc.Adaptive(Classify, TIERS)
    with pytest.raises(ValueError, match=r"one fewer than the 4 tiers, got \(0.5,\)"):
        ttc.Adaptive(FirstScore([0.5]), TIERS)
    with pytest.raises(TypeError, match="none may be positional only"):
        ttc.Adaptive(lambda task, /: "easy", TIERS)
    for wrong in ([], [1.2], [0.4, 0.8], [0.5, 0.5], [True], [float("nan")]):
        with pytest.raises(ValueError, match=r"FirstScore\(thresholds\) must be scores from 0 to 1, falling"):
            FirstScore(wrong)
    with pytest.raises(TypeError, match="must be a list of scores"):
        FirstScore(0.5)
    with pytest.raises(ValueError, match=r"Agreement\(draws=\) must be a whole number from 2, got 1"):
        Agreement(1)
    with pytest.raises(ValueError, match=r"Classify\(max_tokens=\) must be a whole number from 1"):
        Classify(max_tokens=0)
    for kind in (Classify, Agreement):
        for wrong in ("", 5):
            with pytest.raises(TypeError, match=rf"{kind.__name__}\(model\) must be the name of a model, or None; got"):
                kind(model=wrong)
    with pytest.raises(TypeError, match=r"Classify\(instruction=\) must be a text, or None; got 5"):
        Classify(instruction=5)
    for wrong in (-0.1, float("nan"), "hot", True):
        with pytest.raises(ValueError, match=r"Single\(temperature=\) must be a number from 0, or None"):
            ttc.Single(temperature=wrong)


def test_it_prints_as_one_would_write_it():
    strategy = ttc.Adaptive(Classify("tiny"), {"easy": ttc.Single(temperature=0.0), "hard": ttc.BestOfN(4)})
    said = "Adaptive(Classify('tiny'), {'easy': Single(temperature=0.0), 'hard': BestOfN(4)})"
    assert repr(strategy) == said
    assert repr(ttc.Adaptive(by_length, {"a": ttc.Single(), "b": ttc.Refine(2)})).startswith("Adaptive(by_length, {")
    assert eval(said, {**vars(ttc.strategies), **vars(ttc)}) == strategy


@dataclass(frozen=True)
class EndsInAStep:
    """Its budget ends before its answer does."""

    def search(self, call):
        return (yield [ttc.Draw(kind="step")])


def test_a_tier_that_ends_before_an_answer_does_hands_over_to_the_next():
    strategy = ttc.Adaptive(lambda: "easy", {"easy": EndsInAStep(), "hard": ttc.Single()})
    played = play(strategy, [Outcome(output="half", ended=False), "whole"])
    assert played.winner.text == "whole"


@pytest.mark.parametrize(
    ("tier", "turns"),
    [
        (ttc.BestOfN(8), 1),
        (ttc.BestOfN(8, at_once=3), 3),
        (ttc.SelfConsistency(9, at_once=1), 9),
        (ttc.SelfConsistency(3, by="universal"), 2),
        (ttc.strategies.ABMCTS(7, at_once=2), 4),
        (ttc.strategies.CodeSearch(4, 2, behaviour=ttc.verifiers.Behaviour([1])), 4),
        (ttc.Decompose(), 4),
        (ttc.Decompose(lambda: ["whole"], ttc.SelfConsistency(3, at_once=1)), 5),
    ],
    ids=repr,
)
def test_a_tier_whose_draws_follow_one_another_does_not_begin_where_they_would_not_fit(tier, turns):
    strategy = ttc.Adaptive(Agreement(), {"easy": ttc.Single(), "hard": tier})
    for spare, begins in ((0.5, True), (-0.5, False)):
        adaptive.PACES = Paces()
        draws = on_the_clock(strategy, 1 + turns + spare, list("abcdefghijklmnop"))[1]
        assert (len(draws) > 2) == begins
