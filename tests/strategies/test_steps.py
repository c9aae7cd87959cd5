"""Searches over steps, against a model that writes digits: the score of a prefix is how many of them are right."""

from __future__ import annotations

import random

import pytest

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play

TARGET = "314159"


def right(text: str) -> int:
    """Digits that are right, from the first on."""
    digits = text.split()
    wrong = (place for place, digit in enumerate(digits) if digit != TARGET[place])
    return next(wrong, len(digits))


def model(seed: int = 0, *, tells: bool = True):
    """Writes a digit a line, the right one in one of two cases, and ends after the last.

    Args:
        seed: of its chances.
        tells: whether it says that it has ended.
    """
    chance = random.Random(seed)

    def outcome(index, draw):
        before = draw.extend or ""
        assert not before or before.endswith("\n") or before.count("\n") == len(TARGET) - 1, f"{before!r} is no line"
        digits, added = before.split(), []
        while len(digits) + len(added) < len(TARGET):
            added.append(chance.choice([TARGET[len(digits) + len(added)], "0"]))
            if draw.kind == "step":
                break
        ended = len(digits) + len(added) == len(TARGET)
        whole = before + "\n".join(added)
        judged = draw.kind == "answer" or (ended and tells)
        score = right(whole) / len(TARGET)
        return Outcome(output=whole, score=float(score == 1) if judged else score, ended=ended if tells else None)

    return outcome


STEPS = ttc.Steps("\n")


@pytest.mark.parametrize(
    "strategy",
    [
        ttc.BeamSearch(8, 4, steps=STEPS),
        ttc.BeamSearch(8, 8, steps=STEPS),
        ttc.DVTS(8, 2, steps=STEPS),
        ttc.MCTS(60, 6, exploration=0.1, steps=STEPS),
        ttc.ParticleFilter(16, steps=STEPS),
    ],
    ids=repr,
)
@pytest.mark.parametrize("tells", [True, False], ids=["told when it ends", "not told"])
def test_a_search_finds_what_a_single_answer_has_one_chance_in_64_of(strategy, tells):
    found = [play(strategy, model(seed, tells=tells)) for seed in range(20)]
    # In a group of 4, a step goes wrong once in 16 times.
    assert sum(played.winner.accepted for played in found) >= 15
    assert all(played.winner.whole for played in found)


@pytest.mark.parametrize(
    "strategy",
    [
        ttc.BeamSearch(8, 2, 4, steps=STEPS),
        ttc.DVTS(8, 4, 4, steps=STEPS),
        ttc.MCTS(30, 3, 4, steps=STEPS),
        ttc.ParticleFilter(8, 4, steps=STEPS),
        ttc.EarlyReject(4, below=0, starts=8, depth=4, steps=STEPS),
        ttc.DraftSteps("small", "large", below=0, depth=4, steps=STEPS),
        ttc.Repair(8, below=0, depth=4, steps=STEPS, value=ttc.verifiers.Regex("")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("seed", range(5))
def test_what_a_strong_verifier_proves_wrong_is_not_gone_on_with(strategy, seed):
    proven, wronged = play(strategy, proving(seed, "strong")), play(strategy, proving(seed, "weak"))
    assert not [draw for draw in proven.draws if "!" in (draw.extend or "")]
    if not isinstance(strategy, (ttc.DraftSteps, ttc.Repair)):  # these write one answer, which may have been right
        assert [draw for draw in wronged.draws if "!" in (draw.extend or "")], "a learned reward is no proof"


def proving(seed: int, trust: str):
    """Writes steps of which some are wrong, "!", though all have the same score; nothing is accepted."""
    chance = random.Random(seed)

    def outcome(index, draw):
        text = (draw.extend or "") + f"s{index}" + chance.choice(["", "!"])
        bad = text.rfind("\n", 0, text.index("!")) + 1 if "!" in text else None
        return Outcome(output=text, score=0.5, first_bad=bad, trust=trust)

    return outcome


@pytest.mark.parametrize(("bad", "goes_on"), [("first", False), ("last", True)])
def test_a_step_that_was_cut_is_not_proven_wrong_yet_but_one_before_it_is(bad, goes_on):
    def outcome(index, draw):
        text = (draw.extend or "") + ("one\ntw" if index == 0 else "o")
        cut = index == 0
        place = {"first": 0, "last": 4}[bad] if cut else None
        return Outcome(output=text, score=0.1, first_bad=place, status="truncated" if cut else "answer", ended=not cut)

    draws = play(ttc.EarlyReject(1, below=0, depth=3, steps=STEPS), outcome).draws
    assert draws[1].extend == ("one\ntw" if goes_on else None)


def test_what_is_wrong_only_after_its_end_is_not_proven_wrong():
    def outcome(index, draw):
        text = (draw.extend or "") + f"s{index}"
        return Outcome(output=text, score=0.5, first_bad=len(text))

    assert len(play(ttc.BeamSearch(2, 1, 3, steps=STEPS), outcome).draws) == 8


@pytest.mark.parametrize(
    "strategy",
    [
        ttc.BeamSearch(4, 2, 6, steps=STEPS),
        ttc.DVTS(4, 1, 6, steps=STEPS),
        ttc.ParticleFilter(4, 6, resample_below=0, steps=STEPS),
    ],
    ids=repr,
)
def test_a_level_that_is_proven_wrong_as_a_whole_is_drawn_again(strategy):
    def outcome(index, draw):
        text = (draw.extend or "") + f"s{index}"
        return Outcome(output=text, score=0.5, first_bad=0 if index < 8 else None)

    draws = play(strategy, outcome).draws
    assert [draw.extend for draw in draws[:12]] == [None] * 12
    assert draws[12].extend == "s8\n"
    wrong = play(strategy, lambda index, draw: Outcome(output=f"s{index}", score=0.0, first_bad=0))
    assert len(wrong.draws) in (4 * 6, 4 * 7), "as often as it may have steps; particles have one more, to the end"


@pytest.mark.parametrize(
    "strategy",
    [ttc.BeamSearch(4, 2, 6, steps=STEPS), ttc.DVTS(4, 1, 6, steps=STEPS), ttc.ParticleFilter(4, 6, steps=STEPS)],
    ids=repr,
)
def test_answers_that_are_proven_wrong_at_their_end_are_ended_otherwise(strategy):
    def outcome(index, draw):
        text = (draw.extend or "") + f"s{index}"
        if index < 4:
            return Outcome(output=text, score=0.5)
        return Outcome(
            output=text, score=float(index > 10), ended=True, first_bad=None if index > 10 else len(text) - 1
        )

    played = play(strategy, outcome)
    assert played.winner.accepted
    assert len(played.draws) == 12
    failing = play(strategy, lambda index, draw: Outcome(output=f"s{index}", status="failed"))
    assert len(failing.draws) == 4, "what fails is not drawn again by a search: the call site has retried it"


def test_a_beam_search_fills_its_level_with_copies_of_what_can_be_gone_on_with():
    def outcome(index, draw):
        text = (draw.extend or "") + f"s{index}"
        return Outcome(output=text, score=index / 100, first_bad=0 if index in (3, 4, 5) else None)

    played = play(ttc.BeamSearch(6, 2, 2, steps=STEPS), outcome)
    assert [draw.extend for draw in played.draws[6:12]] == ["s2\n", "s2\n", "s1\n", "s1\n", "s0\n", "s0\n"]

    def one(index, draw):
        text = (draw.extend or "") + f"s{index}"
        return Outcome(output=text, score=0.5, first_bad=0 if 0 < index < 6 else None)

    assert [draw.extend for draw in play(ttc.BeamSearch(6, 2, 2, steps=STEPS), one).draws[6:12]] == ["s0\n"] * 6


def test_a_beam_search_keeps_the_best_prefixes_and_goes_on_with_each_so_many_times():
    scores = {"a": 0.9, "b": 0.2, "c": 0.7, "d": 0.1}
    texts = iter("abcd" + "efgh")

    def outcome(index, draw):
        text = (draw.extend or "") + next(texts)
        return Outcome(output=text, score=scores.get(text[0], 0.0), ended=len(text) > 2)

    played = play(ttc.BeamSearch(4, 2, steps=STEPS), outcome)
    assert [draw.extend for draw in played.draws] == [None] * 4 + ["a\n", "a\n", "c\n", "c\n"]
    assert [draw.parent.text for draw in played.draws[4:]] == ["a", "a", "c", "c"]
    assert played.index == 4


def test_a_good_prefix_that_was_drawn_often_gets_more_of_the_next_level():
    def outcome(index, draw):
        if draw.parent is None:
            return Outcome(output="aab"[index % 3], score=(0.9, 0.9, 0.1)[index % 3])
        return Outcome(output=draw.extend + "x", score=0.5, ended=True)

    played = play(ttc.BeamSearch(6, 3, steps=STEPS), outcome)
    assert [(draw.extend, draw.parent.index) for draw in played.draws[6:]] == [("a\n", 0)] * 3 + [("a\n", 1)] * 3


def test_groups_know_nothing_of_each_other():
    def outcome(index, draw):
        if draw.parent is None:
            return Outcome(output="wxyz"[index], score=(0.9, 0.8, 0.2, 0.1)[index])
        return Outcome(output=draw.extend + "!", score=0.5, ended=True)

    played = play(ttc.DVTS(4, 2, steps=STEPS), outcome)
    assert [draw.extend for draw in played.draws[4:]] == ["w\n", "w\n", "y\n", "y\n"]


@pytest.mark.parametrize("strategy", [ttc.BeamSearch(4, 2, 3, steps=STEPS), ttc.DVTS(4, 2, 3, steps=STEPS)], ids=repr)
def test_at_the_depth_what_was_kept_is_drawn_to_its_end(strategy):
    played = play(strategy, lambda index, draw: Outcome(output=(draw.extend or "") + f"s{index}", score=0.5))
    assert [draw.kind for draw in played.draws] == ["step"] * 12 + ["answer"] * 2
    assert played.winner.draw.kind == "answer"
    assert max(draw.extend.count("\n") for draw in played.draws if draw.extend) == 3


def test_a_step_that_was_cut_at_its_limit_is_gone_on_with_as_it_is():
    def outcome(index, draw):
        return Outcome(output=(draw.extend or "") + "word", score=0.5, status="truncated")

    played = play(ttc.BeamSearch(1, 1, 3, steps=STEPS), outcome)
    assert [draw.extend for draw in played.draws] == [None, "word", "wordword", "wordwordword"]


@pytest.mark.parametrize(
    "strategy",
    [
        ttc.BeamSearch(4, 2, steps=ttc.Steps("\n", max_tokens=3)),
        ttc.BeamSearch(2, 2, 2, steps=ttc.Steps("\n", max_tokens=3), value=ttc.MonteCarloValue(2)),
        ttc.DVTS(4, 2, steps=ttc.Steps("\n", max_tokens=3)),
        ttc.MCTS(20, 2, steps=ttc.Steps("\n", max_tokens=3)),
        ttc.ParticleFilter(3, steps=ttc.Steps("\n", max_tokens=3)),
        ttc.EarlyReject(2, below=0, steps=ttc.Steps("\n", max_tokens=3)),
        ttc.Repair(steps=ttc.Steps("\n", max_tokens=3), value=lambda output: 0.5),
        ttc.DraftSteps("small", steps=ttc.Steps("\n", max_tokens=3)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_the_call_holds_for_the_whole_answer(strategy, name):
    def never_ends(index, draw):
        return Outcome(output=(draw.extend or "") + f"{index % 10:04}" * draw.max_tokens, score=0.1, status="truncated")

    played = play(strategy, never_ends, call=ttc.Call(name="chat", arguments={name: 8}))
    assert {len(sample.text) for sample in played.samples if sample.whole} == {4 * 8}, "four letters are a token"
    assert max(len(sample.text) for sample in played.samples) == 4 * 8
    assert played.winner.whole


def test_where_nothing_is_finished_the_best_prefix_is_what_there_is():
    played = play(
        ttc.BeamSearch(4, 2, steps=STEPS), [Outcome(output=text, score=0.1 * n) for n, text in enumerate("abcd")]
    )
    assert (played.index, played.winner.whole, played.winner.accepted) == (3, False, False)


@pytest.mark.parametrize("score", [0.5, None])
def test_of_equal_prefixes_the_longest_is_what_there_is(score):
    played = play(
        ttc.BeamSearch(1, 1, steps=STEPS), [Outcome(output=text, score=score) for text in ("a", "a\nb", "a\nb\nc")]
    )
    assert played.winner.text == "a\nb\nc"


def test_a_verifier_of_prefixes_is_named_by_every_step_and_by_no_answer():
    def prefix(output):
        return 0.5

    played = play(
        ttc.BeamSearch(2, 1, 2, steps=STEPS, value=prefix), lambda index, draw: Outcome(output=f"a{index}", score=0.5)
    )
    assert {(draw.kind, draw.judge) for draw in played.draws} == {("step", prefix), ("answer", None)}
    assert ttc.BeamSearch(value=prefix).judges == (prefix,)


WRONG = [
    (lambda: ttc.BeamSearch(2, 4), "must not be below expand=4"),
    (lambda: ttc.BeamSearch(0, 1), "whole number from 1"),
    (lambda: ttc.BeamSearch(depth=0), "whole number from 1"),
    (lambda: ttc.DVTS(6, 4), "multiple of groups=4"),
    (lambda: ttc.MCTS(0), "whole number from 1"),
    (lambda: ttc.MCTS(at_once=0), "whole number from 1"),
    (lambda: ttc.MCTS(exploration=float("nan")), "a number from 0, got nan"),
    (lambda: ttc.ParticleFilter(0), "whole number from 1"),
    (lambda: ttc.ParticleFilter(resample_below=1.5), "from 0 to 1, got 1.5"),
    (lambda: ttc.ParticleFilter(seed="1"), "a whole number, got '1'"),
    (lambda: ttc.MonteCarloValue(0), "whole number from 1"),
    (lambda: ttc.MonteCarloValue(certify=1), "above 0 and below 1"),
    (lambda: ttc.MonteCarloValue(stop="never"), '"first accepted" or "all"'),
    (lambda: ttc.Steps(""), "text between two steps"),
    (lambda: ttc.Steps(max_tokens=0), "whole number from 1"),
    (lambda: ttc.Steps(ends="("), "regular expression"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=range(len(WRONG)))
def test_bad_arguments_are_refused_with_the_rule_and_the_value(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [lambda: ttc.BeamSearch(steps="\n"), lambda: ttc.DVTS(value=3), lambda: ttc.Steps(ends=3)],
    ids=["steps", "value", "ends"],
)
def test_things_of_another_kind_are_refused(wrong):
    with pytest.raises(TypeError, match="must be a"):
        wrong()


def test_a_function_cannot_be_searched_step_by_step():
    with pytest.raises(TypeError, match="a partial answer is not continued there"):
        ttc.scale(ttc.BeamSearch(4), verifier=lambda output: True)(lambda x: "text")
