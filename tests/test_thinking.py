"""One way to say how much a model may think: the type, its shorthands, and a strategy that says so for its draws."""

from __future__ import annotations

import pytest
from fake_model import Model

import ttc_middleware as ttc
from ttc_middleware.seam import dial
from ttc_middleware.testing import play


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (4_000, ttc.Thinking(tokens=4_000)),
        ("high", ttc.Thinking(effort="high")),
        (0, ttc.Thinking.off()),
        ("none", ttc.Thinking.off()),
        (ttc.Thinking(prompted=True), ttc.Thinking(prompted=True)),
    ],
)
def test_a_shorthand_is_converted_once_wherever_it_is_said(short, long):
    assert ttc.Draw(thinking=short).thinking == long
    assert ttc.policy(thinking=short).thinking == long
    assert ttc.strategies.Thinks(ttc.BestOfN(2), short).thinking == long


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"tokens": -1}, r"Thinking\(tokens=\) must be a whole number from 0, got -1"),
        ({"tokens": True}, "from 0, got True"),
        ({"tokens": 1.5}, "from 0, got 1.5"),
        ({"effort": "hard"}, r"Thinking\(effort=\) must be one of none, minimal, .*; got 'hard'"),
        ({"tokens": 5, "effort": "low"}, "tokens or an effort, not both; got 5 and 'low'"),
        ({}, r"needs tokens=, effort= or prompted=True; Thinking.off\(\)"),
        ({"prompted": "yes"}, "must be True or False, got 'yes'"),
        ({"prompted": True, "tokens": 0}, "cannot ask for none"),
        ({"prompted": True, "effort": "none"}, "cannot ask for none"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_rule_and_the_value(wrong, rule):
    with pytest.raises(ValueError, match=rule):
        ttc.Thinking(**wrong)


@pytest.mark.parametrize("wrong", [-1, True, 1.5, "hard", [], b"high"])
def test_a_decorator_a_block_and_a_draw_refuse_what_is_no_thinking(wrong):
    for say in (
        lambda: ttc.scale(ttc.Single(), thinking=wrong),
        lambda: ttc.policy(thinking=wrong),
        lambda: ttc.Draw(thinking=wrong),
        lambda: ttc.strategies.Thinks(ttc.Single(), wrong),
    ):
        with pytest.raises(ValueError, match=r"tokens from 0 or one of none, .*ttc\.Thinking; got "):
            say()


def test_it_prints_as_one_would_write_it():
    assert repr(ttc.Thinking(tokens=4_000)) == "Thinking(tokens=4000)"
    assert repr(ttc.Thinking(effort="high", prompted=True)) == "Thinking(effort='high', prompted=True)"
    assert repr(ttc.strategies.Thinks(ttc.BestOfN(8), "low")) == "Thinks(BestOfN(8), Thinking(effort='low'))"


@pytest.mark.anyio
async def test_a_strategy_can_say_how_much_its_draws_think_and_a_draw_knows_better():
    model = Model(lambda body, number: "right" if number == 2 else "wrong")

    class Own:
        def search(self, call):
            yield [ttc.Draw(thinking="max"), ttc.Draw()]
            yield []
            yield []
            sample = yield [ttc.Draw()]
            return sample

    @ttc.scale(ttc.strategies.Thinks(ttc.BestOfN(3, at_once=1), 900), verifier=lambda text: text == "right")
    async def ask():
        return await model()

    with ttc.policy(thinking="low"):
        result = await ask.run()
    assert result.accepted
    assert [sample.draw.thinks for sample in result.samples] == [ttc.Thinking(tokens=900)] * 3
    strategy = ttc.strategies.Thinks(Own(), 900)
    first = next(strategy.search(ttc.Call(name="c")))
    assert [draw.thinks for draw in first] == [ttc.Thinking(effort="max"), ttc.Thinking(tokens=900)]


def test_it_needs_and_wants_what_its_strategy_does_and_wins_as_that_does():
    thinks = ttc.strategies.Thinks(ttc.BestOfN(4, stop="all"), "low")
    assert (thinks.needs_verifier, thinks.wants_all) == (True, True)
    assert ttc.Capability.THINKING in thinks.needs
    scores = [0.1, 0.9, 0.4, 0.2]
    assert play(thinks, scores).winner.index == play(ttc.BestOfN(4, stop="all"), scores).winner.index == 1
    with pytest.raises(TypeError, match="a strategy is an object, not a class"):
        ttc.strategies.Thinks(ttc.Single, "low")


@pytest.mark.parametrize(
    ("asked", "model", "most", "says"),
    [
        (4_000, "gpt-5.1", None, "gpt-5.1 does not take thinking=4000: it takes efforts, so medium"),
        ("minimal", "gpt-5.1", None, "takes the efforts low, medium, high, so low"),
        ("max", "gpt-5.2", None, "so xhigh"),
        (0, "o3", None, "it always thinks, so at its least effort, low"),
        ("high", "gpt-4o", None, "it never thinks"),
        (9_000, "grok-4", None, "it thinks as it does anyway"),
        (99_999, "gemini-2.5-flash", None, "it takes 1 to 24,576 tokens, so 24,576"),
        (8_000, "claude-haiku-4-5", 4_096, "max_tokens=4096 leaves room for 3,840 tokens"),
        (0, "gemini-2.5-pro", None, "it always thinks, so about the least, 128 tokens"),
        (4_000, "claude-haiku-4-5", None, None),
        ("high", "gpt-5.1", None, None),
        (0, "gpt-4o", None, None),
    ],
)
def test_what_a_model_cannot_do_becomes_the_nearest_that_it_can_and_is_said(asked, model, most, says):
    said = dial(ttc.Draw(thinking=asked).thinks, model, max_tokens=most).said
    assert (said is None) if says is None else (says in said), said


def test_a_question_about_how_to_search_is_asked_as_it_is():
    tiers = {"easy": ttc.Single(), "hard": ttc.SelfConsistency(3)}
    thinks = ttc.strategies.Thinks(ttc.Adaptive(ttc.strategies.Classify(), tiers), "high")
    question, answer = play(thinks, ["easy", "42"]).draws
    assert (question.kind, question.thinking) == ("routing", None)
    assert answer.thinking == ttc.Thinking(effort="high")
