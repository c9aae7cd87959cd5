"""`play()` does to a strategy what the engine does."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play


@dataclass(frozen=True)
class Script:
    """Yields what it is told to, and remembers what it is sent."""

    steps: tuple

    def search(self, call):
        sent = []
        for step in self.steps:
            sent.append((yield step))  # noqa: PERF401  # no comprehension yields
        seen.append([sample and sample.index for sample in sent])
        return ttc.best([sample for sample in sent if sample is not None])


seen: list[list[int | None]] = []


@pytest.fixture(autouse=True)
def _forget():
    seen.clear()


DRAW = ttc.Draw()


def test_samples_arrive_as_launched_unless_told_otherwise():
    assert [sample.index for sample in play(ttc.BestOfN(3, stop="all"), [0.1, 0.2, 0.3]).samples] == [0, 1, 2]
    played = play(ttc.BestOfN(4, stop="all"), [0.1, 0.2, 0.3, 0.4], arrival=[2, 0])
    assert [sample.index for sample in played.samples] == [2, 0, 1, 3]


def test_outcomes_in_short_are_scores_verdicts_and_texts():
    score, verdict, text = play(ttc.BestOfN(3, stop="all"), [0.5, False, "hello"]).samples
    assert (score.score, score.accepted) == (0.5, False)
    assert (verdict.score, verdict.accepted) == (0.0, False)
    assert (text.text, text.output, text.verdict) == ("hello", "hello", None)


def test_a_score_of_one_is_accepted_and_a_broken_verifier_says_nothing():
    one, broken, forced = play(
        ttc.BestOfN(3, stop="all"), [1.0, Outcome(verifier_failed=True), Outcome(score=0.2, accepted=True)]
    ).samples
    assert (one.accepted, one.score) == (True, 1.0)
    assert (broken.accepted, broken.score, broken.verdict.failed) == (False, None, True)
    assert (forced.accepted, forced.score) == (True, 0.2)


def test_a_failed_sample_has_an_error_and_no_verdict():
    (sample,) = play(ttc.Single(), [Outcome(status="failed", score=1.0, output="x")]).samples
    assert (sample.status, sample.fault, sample.output, sample.verdict) == ("failed", "error", None, None)
    assert isinstance(sample.error, RuntimeError)


def test_when_the_outcomes_run_out_no_draw_starts_and_those_under_way_still_arrive():
    play(Script(([DRAW, DRAW, DRAW], [], [])), [0.1, 0.2])
    assert seen == [[0, 1, None]]
    assert play(ttc.BestOfN(5, stop="all"), [0.1, 0.2]).refused == 3


def test_once_a_draw_was_refused_none_starts_any_more():
    outcomes = iter([0.1, 0.2])
    played = play(Script(([DRAW, DRAW, DRAW], [DRAW], [DRAW])), outcomes)
    assert (len(played.draws), played.refused) == (2, 3)


def test_when_the_time_is_up_only_none_comes():
    played = play(Script(([DRAW, DRAW, DRAW], [], [DRAW], [])), [0.1] * 9, ends_after=1)
    assert seen == [[0, None, None, None]]
    assert (len(played.draws), played.refused, played.cancelled) == (3, 1, (1, 2))


def test_with_nothing_under_way_comes_none_and_the_strategy_may_draw_again():
    play(Script(([], [DRAW], [])), [0.1])
    assert seen == [[None, 0, None]]


def test_a_cancelled_draw_does_not_arrive():
    played = play(Script(([DRAW, DRAW], [ttc.Cancel(1)], [ttc.Cancel(0)])), [0.1, 0.2])
    assert seen == [[0, None, None]]
    assert played.cancelled == (1,)


def test_what_is_left_under_way_counts_as_cancelled():
    assert play(ttc.BestOfN(4), [0.1, True, 0.3, 0.4]).cancelled == (2, 3)


def test_outcomes_can_depend_on_the_draw():
    def outcome(index, draw):
        return 1.0 if draw.parent is not None else 0.2

    assert play(ttc.Refine(3), outcome).index == 1


def test_the_call_reaches_the_strategy():
    @dataclass(frozen=True)
    class Reads:
        def search(self, call):
            assert call.arguments == {"question": "why?"}
            return ttc.best((yield from ttc.gather([DRAW])))

    assert play(Reads(), [1.0], call=ttc.Call(name="f", arguments={"question": "why?"})).index == 0


def test_a_score_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"from 0 to 1, or None; got 1.5"):
        Outcome(score=1.5)


def test_what_is_no_strategy_is_refused():
    with pytest.raises(TypeError, match="not a class: write BestOfN"):
        play(ttc.BestOfN, [1.0])
    with pytest.raises(TypeError, match=r"search\(call\) method"):
        play(object(), [1.0])
