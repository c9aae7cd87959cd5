"""Speculative rejection, against a model whose every answer has a quality that shows, or does not, from the start."""

from __future__ import annotations

import pytest

import ttc_middleware as ttc
from ttc_middleware.testing import Outcome, play


class Model:
    """Writes answers of `length` letters, a letter a token; `qualities` are the scores of the whole answers."""

    def __init__(self, qualities, length=64, *, shows=lambda quality, place: quality):
        self.qualities, self.length, self.shows = qualities, length, shows
        self.begun, self.tokens = 0, 0

    def __call__(self, index, draw):
        if draw.parent is None:
            place, self.begun = self.begun, self.begun + 1
        else:
            place = int(draw.extend.partition(":")[0])
        before = len(draw.extend.partition(":")[2]) if draw.extend else 0
        more = min(self.length - before, draw.max_tokens or self.length)
        self.tokens += more
        ended = before + more == self.length
        text = f"{place}:" + "x" * (before + more)
        quality = self.qualities[place]
        status = "answer" if ended else "truncated"
        return Outcome(
            output=text, score=quality if ended else self.shows(quality, place), accepted=ended and quality == 1,
            ended=ended, status=status,
        )  # fmt: skip


QUALITIES = [place / 17 for place in range(16)]
STRATEGY = ttc.SpeculativeRejection(16, length=64)


def test_half_is_kept_at_each_fraction_which_costs_less_than_a_third():
    model = Model(QUALITIES)
    played = play(STRATEGY, model)
    assert played.winner.score == max(QUALITIES)
    assert [draw.max_tokens for draw in played.draws] == [8] * 16 + [8] * 8 + [16] * 4 + [None] * 2
    assert model.tokens == 16 * 64 * 0.3125


def test_what_was_written_is_gone_on_with_and_not_written_again():
    played = play(STRATEGY, Model(QUALITIES))
    assert all(draw.extend == draw.parent.text for draw in played.draws[16:])


@pytest.mark.parametrize(("other", "written_on"), [(0.05, [2]), (0.8, [])], ids=["one is worst", "both are best"])
def test_answers_that_end_early_compete_for_the_places(other, written_on):
    # Two have ended at the first look; where they score best, nobody else has a place, else one has.
    def outcome(index, draw):
        first = {0: (0.9, True), 1: (other, True), 2: (0.5, False), 3: (0.4, False)}
        score, ended = first.get(index, (0.6, True))
        return Outcome(
            output=(draw.extend or "") + "x", score=score, ended=ended, status="answer" if ended else "truncated"
        )

    played = play(ttc.SpeculativeRejection(4, fractions=(0.5,), length=8), outcome)
    assert [draw.parent.index for draw in played.draws[4:]] == written_on
    assert played.index == 0


def test_a_score_that_does_not_tell_beginnings_apart_rejects_nothing():
    model = Model(QUALITIES, shows=lambda quality, place: 0.0)
    played = play(STRATEGY, model)
    assert model.tokens == 16 * 64
    assert played.winner.score == max(QUALITIES)


def test_an_accepted_answer_ends_it():
    played = play(STRATEGY, Model([1.0] * 16, length=8))
    assert (len(played.samples), len(played.cancelled)) == (1, 15)


def test_a_verifier_that_breaks_on_a_beginning_rejects_nothing_of_it():
    def outcome(index, draw):
        broken = draw.parent is None and index == 0
        return Outcome(
            output=(draw.extend or str(index)) + "x", score=index / 10, verifier_failed=broken, status="truncated"
        )

    played = play(ttc.SpeculativeRejection(3, fractions=(0.5,), length=8), outcome)
    assert [draw.parent.index for draw in played.draws[3:]] == [0, 2]


def test_the_length_is_learnt_from_the_first_answer_which_is_one_of_the_n():
    model = Model(QUALITIES, length=78)  # 80 letters, so 20 tokens as they are counted where nobody does
    played = play(ttc.SpeculativeRejection(9), model)
    assert played.draws[0] == ttc.Draw()
    assert [draw.max_tokens for draw in played.draws[1:9]] == [3] * 8
    assert model.begun == 9


def test_where_the_first_answer_fails_it_is_best_of_n():
    played = play(ttc.SpeculativeRejection(3), [Outcome(status="failed"), 0.2, 0.7])
    assert played.draws == (ttc.Draw(),) * 3
    assert played.index == 2


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_callers_own_limit_holds_for_the_whole_answer(name):
    call = ttc.Call(name="f", arguments={name: 40})
    model = Model(QUALITIES)
    played = play(STRATEGY, model, call=call)
    assert [draw.max_tokens for draw in played.draws if draw.kind == "answer"] == [40 - 32] * 2
    low = play(STRATEGY, Model(QUALITIES), call=ttc.Call(name="f", arguments={name: 6}))
    assert low.draws == (ttc.Draw(),) * 16


def test_a_server_that_does_not_say_when_the_model_ends_gets_a_draw_more():
    def outcome(index, draw):
        return Outcome(output=draw.extend or "all of it", score=index / 10)

    played = play(ttc.SpeculativeRejection(1, length=8), outcome)
    assert [draw.kind for draw in played.draws] == ["step", "step", "answer"]
    assert played.winner.whole


def informing(quality, place):
    return quality


def misleading(quality, place):
    return 1 - quality


def many(shows, searches):
    record = ttc.PrefixRecord()
    strategy = ttc.SpeculativeRejection(16, length=64, record=record)
    spent, best = [], []
    for _ in range(searches):
        model = Model(QUALITIES, shows=shows)
        best.append(play(strategy, model).winner.score)
        spent.append(model.tokens / (16 * 64))
    return record, spent, best


def test_a_record_draws_eight_searches_to_their_ends_and_rejects_from_then_on():
    record, spent, best = many(informing, 21)
    assert spent[:8] == [1] * 8
    assert spent[8:] == [0.3125, 1] + [0.3125] * 9 + [1, 0.3125]
    assert [record.concordance(each) for each in (1 / 8, 1 / 4, 1 / 2)] == [1.0] * 3
    assert set(best) == {max(QUALITIES)}


def test_it_is_off_where_beginnings_do_not_tell_how_answers_end():
    record, spent, best = many(misleading, 12)
    assert spent == [1] * 12
    assert set(best) == {max(QUALITIES)}
    assert record.concordance(1 / 4) == 0.0


def test_it_is_off_at_the_fractions_where_nothing_shows_and_on_at_the_others():
    record = ttc.PrefixRecord()
    strategy = ttc.SpeculativeRejection(16, length=64, record=record)
    for _ in range(9):
        model = Model(QUALITIES)
        model.shows = lambda quality, place: quality
        played = play(strategy, lambda index, draw, model=model: _blind_at(model, index, draw, tokens=8))
    assert [draw.max_tokens for draw in played.draws] == [8] * 16 + [8] * 16 + [16] * 8 + [None] * 4
    assert (record.informs(1 / 8), record.informs(1 / 4)) == (False, True)


def _blind_at(model, index, draw, tokens):
    ending = model(index, draw)
    length = len(ending.output.partition(":")[2])
    return Outcome(output=ending.output, score=0.0, ended=False, status="truncated") if length == tokens else ending


def test_answers_that_all_end_alike_teach_nothing():
    record = ttc.PrefixRecord()
    record.learn({0.5: [(0.1, 1.0), (0.9, 1.0)]})
    assert record.concordance(0.5) is None
    record.learn({0.5: [(0.1, 0.0), (0.9, 1.0), (0.9, 0.0)]})
    assert record.concordance(0.5) == 0.75


def test_a_record_is_no_part_of_what_a_span_says_but_its_name():
    assert repr(ttc.SpeculativeRejection(4, record=ttc.PrefixRecord())) == (
        "SpeculativeRejection(4, record=PrefixRecord())"
    )


@pytest.mark.parametrize(
    "wrong",
    [{"fractions": ()}, {"fractions": (0.5, 0.2)}, {"fractions": (0.5, 1.0)}, {"keep": 0}, {"length": 0}, {"n": 0}],
    ids=repr,
)
def test_bad_arguments_are_refused_with_the_rule_and_the_value(wrong):
    with pytest.raises(ValueError, match="must"):
        ttc.SpeculativeRejection(**wrong)


@pytest.mark.parametrize("wrong", [{"record": True}, {"value": 3}], ids=repr)
def test_things_of_another_kind_are_refused(wrong):
    with pytest.raises(TypeError, match="must be a"):
        ttc.SpeculativeRejection(**wrong)
