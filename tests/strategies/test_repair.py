"""Repair: what is good of an answer is kept, and not written again."""

from __future__ import annotations

import pytest

import ttc_middleware as ttc
from ttc_middleware.strategies.repair import repaired
from ttc_middleware.testing import Outcome, play

STEPS = ttc.Steps("\n")


def score(text):
    """The share of lines that are right, and where the first wrong one begins."""
    lines = text.split("\n")
    bad = next((place for place, line in enumerate(lines) if line != "ok"), None)
    where = None if bad is None else len("\n".join([*lines[:bad], ""]))
    return lines.count("ok") / len(lines), where


def names(*texts):
    """A model that writes these, one after the other; its verifier names the first bad line."""
    drawn = iter(texts)

    def outcome(index, draw):
        text = (draw.extend or "") + next(drawn)
        found, where = score(text)
        return Outcome(output=text, score=found, first_bad=where)

    return outcome


def test_an_answer_is_written_again_from_its_first_bad_step_on():
    played = play(ttc.Repair(), names("ok\nok\nbad\nbad", "ok\nok"))
    assert [draw.extend for draw in played.draws] == [None, "ok\nok\n"]
    assert played.draws[1].parent.text == "ok\nok\nbad\nbad"
    assert (played.winner.accepted, played.winner.text) == (True, "ok\nok\nok\nok")


def test_each_round_begins_from_the_better_answer():
    played = play(ttc.Repair(3), names("ok\nok\nbad", "bad\nbad\nbad\nbad\nbad", "ok\nbad", "ok"))
    # The first repair made it worse, so the second goes on from the first answer again; that one is better.
    assert [draw.extend for draw in played.draws] == [None, "ok\nok\n", "ok\nok\n", "ok\nok\nok\n"]
    assert [draw.parent.index for draw in played.draws[1:]] == [0, 0, 2]
    assert played.winner.text == "ok\nok\nok\nok"


@pytest.mark.parametrize("first_bad", [None, 0], ids=["nobody says where", "nothing is good"])
def test_an_answer_is_drawn_anew_where_nothing_of_it_is_known_to_be_good(first_bad):
    played = play(ttc.Repair(1), [Outcome(output="x", score=0.0, first_bad=first_bad), 1.0])
    assert played.draws == (ttc.Draw(), ttc.Draw())


def test_it_ends_after_its_rounds_with_the_best():
    played = play(ttc.Repair(2), names("ok\nbad", "ok\nbad", "ok\nok\nbad", "never"))
    assert len(played.draws) == 3
    assert (played.winner.accepted, played.winner.text) == (False, "ok\nok\nok\nok\nbad")


def lines(*steps, wins="ok\nok\nok"):
    """A model that writes these steps, one after the other, each with the score of what there is then."""
    drawn = iter(steps)

    def outcome(index, draw):
        said, value = next(drawn)
        text = (draw.extend or "") + said
        ended = text.count("\n") == 2
        return Outcome(output=text, score=float(text == wins) if ended else value, ended=ended)

    return outcome


def prefix(output):
    return 0.5


STEPWISE = ttc.Repair(3, steps=STEPS, value=prefix)


def test_with_a_verifier_of_prefixes_a_bad_step_is_written_again_before_the_next_one_is_paid_for():
    played = play(STEPWISE, lines(("ok", 0.9), ("bad", 0.1), ("worse", 0.0), ("ok", 0.8), ("ok", 1)))
    assert [draw.extend for draw in played.draws] == [None, "ok\n", "ok\n", "ok\n", "ok\nok\n"]
    assert {draw.judge for draw in played.draws} == {prefix}
    assert played.winner.accepted


def test_the_better_try_of_a_step_is_kept_where_the_rounds_are_used_up():
    played = play(ttc.Repair(1, steps=STEPS, value=prefix), lines(("b", 0.3), ("c", 0.2), ("d", 0.9), ("e", 1)))
    assert [draw.extend for draw in played.draws] == [None, None, "b\n", "b\nd\n"]


def test_an_answer_that_is_rejected_without_a_bad_step_is_written_again_from_the_step_that_scored_lowest():
    played = play(STEPWISE, lines(("ok", 0.9), ("no", 0.6), ("ok", 1), ("ok", 0.9), ("ok", 1)))
    assert [draw.extend for draw in played.draws] == [None, "ok\n", "ok\nno\n", "ok\n", "ok\nok\n"]
    assert played.winner.accepted


def test_at_the_depth_the_answer_is_drawn_to_its_end():
    played = play(
        ttc.Repair(1, depth=2, steps=STEPS, value=prefix),
        lambda index, draw: Outcome(output=(draw.extend or "") + "x", score=0.6),
    )
    assert [draw.kind for draw in played.draws] == ["step", "step", "answer", "step", "step", "answer"]


def test_it_asks_of_a_call_site_only_what_its_way_needs():
    assert ttc.Repair().needs == {ttc.Capability.EXTEND}
    assert STEPWISE.needs == {ttc.Capability.EXTEND, ttc.Capability.MAX_TOKENS, ttc.Capability.STOP}
    assert (ttc.Repair().judges, STEPWISE.judges) == ((), (prefix,))


@pytest.mark.anyio
async def test_a_process_reward_says_where_the_first_bad_step_begins():
    check = ttc.verifiers.ProcessReward(lambda task, steps: [0.1 if "bad" in step else 0.9 for step in steps])
    good = await check.check("one\n\ntwo")
    assert good.first_bad is None
    text = "one\n\n  two\n\nbad two\n\nbad"
    assert text[(await check.check(text)).first_bad :] == "bad two\n\nbad"
    numbers = ttc.verifiers.ProcessReward(check.scorer, steps=str.upper)  # letters, none of which is in the answer
    assert (await numbers.check("bad")).first_bad is None


@pytest.mark.anyio
async def test_compositions_and_caches_pass_on_where_the_first_bad_step_begins(tmp_path):
    def bad_two(output):
        return ttc.Verdict(0.2, "two is bad", accepted=False, first_bad=4)

    def bad_three(output):
        return ttc.Verdict(0.1, "three is bad", accepted=False, first_bad=7)

    def short(output):
        return ttc.Verdict(0.3, "too short", accepted=False)

    async def of(verifier):
        return (await verifier.check("one\ntwo\nthree")).first_bad

    # With a strong verdict it is a proof, so not where another member may still accept what this one rejects.
    combined = ttc.verifiers
    assert [await of(combined.All(*each)) for each in ((bad_two, short), (short, bad_two))] == [4, None]
    assert await of(combined.Chain(bad_two, short)) == 4
    assert await of(combined.Any(bad_two)) == 4
    assert await of(combined.Any(bad_two, bad_three)) == 7
    assert await of(combined.Any(bad_two, short)) is None
    assert await of(combined.Weighted([(bad_two, 1), (lambda output: True, 9)], accept=0.9)) is None
    assert await of(combined.Weighted([(bad_two, 1)])) == 4
    judged = ttc.verifiers.ProcessReward(lambda question, steps: [0.9, 0.1, 0.8])
    assert await of(combined.Weighted([(bad_two, 1), (judged, 1)])) == 4, "a check has a veto"

    both = ttc.verifiers.All(ttc.verifiers.Regex("(?s)one.*"), bad_two)
    assert (await both.check("one\ntwo")).first_bad == 4
    cached = ttc.verifiers.Cached(ttc.verifiers.Weighted([(bad_two, 1)]))
    assert [(await cached.check("one\ntwo")).first_bad for _ in range(2)] == [4, 4]


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", [-1, "2"], ids=repr)
async def test_a_place_that_is_no_count_of_characters_is_the_verifiers_failure(wrong):
    @ttc.scale(ttc.BestOfN(1), verifier=lambda output: ttc.Verdict(0.5, first_bad=wrong))
    async def f():
        ttc.record_usage(ttc.Usage(1, 10, 5))
        return "text"

    result = await f.run()
    assert result.samples[0].verdict.failed
    assert "first_bad" in result.samples[0].verdict.feedback


@pytest.mark.anyio
async def test_an_answer_that_was_repaired_is_discarded_and_no_thinking():
    texts = iter(["ok\nbad", "ok\nok"])

    class Once:
        def search(self, call):
            first = (yield from ttc.gather([ttc.Draw()]))[0]
            return (yield from ttc.gather([repaired(first)]))[0]

    def whole(output):
        found, where = score(output)
        return ttc.Verdict(found, first_bad=where)

    @ttc.scale(Once(), verifier=whole)
    async def f():
        text = next(texts)
        ttc.record_usage(ttc.Usage(1, 10, len(text)))
        return text

    bill = (await f.run()).bill
    assert (bill.visible.tokens, bill.discarded.tokens, bill.reasoning.tokens) == (15, 16, 0)
