"""Votes on the engine: batches, and questions about the candidates, are on the bill where they belong."""

from __future__ import annotations

import re

import pytest
from fake_model import Completion, Model, fresh, place, words  # noqa: F401  # a fixture

import ttc_middleware as ttc
from ttc_middleware.strategies import AdaptiveConsistency

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]


def answering(texts, choose=lambda prompt: "1", spent=None):
    """A model that gives these answers, by launch order, and says which of them it likes where it is asked."""

    def script(body, number):
        asked = "data-" in body["prompt"]
        text = choose(body["prompt"]) if asked else texts[place()]
        return Completion((text,), words(body["prompt"]), spent or words(text))

    return Model(script)


def liking(text):
    return lambda prompt: re.search(rf'name="answer (\d+)">\n{text}\n', prompt)[1]


async def test_the_model_chooses_among_its_own_answers_and_is_billed_for_it_as_routing():
    model = answering(["in a hole", "under a hill", "below a hill"], liking("under a hill"))

    @ttc.scale(ttc.SelfConsistency(3, by="universal"), budget=ttc.Budget(samples=3))
    async def ask():
        return await model("where do they live")

    result = await ask.run()
    assert result.output == "under a hill"
    assert len(result.samples) == 3
    assert (len(model.bodies), result.bill.routing.calls) == (6, 3)
    assert result.bill.routing.tokens > result.bill.visible.tokens + result.bill.discarded.tokens
    assert (result.bill.total.input_tokens, result.bill.total.output_tokens) == (model.prompt, model.completion)
    assert result.bill.status == "exact"


async def test_where_no_tokens_are_left_to_ask_equal_answers_vote():
    model = answering(["in a hole", "under a hill", "under a hill"], spent=260)

    @ttc.scale(ttc.SelfConsistency(3, by="universal"), budget=ttc.Budget(tokens=850))
    async def ask():
        return await model("where do they live", max_tokens=270)

    result = await ask.run()
    assert result.output == "under a hill"
    assert (len(model.bodies), result.bill.routing.calls) == (3, 0)


async def test_a_rule_ends_a_vote_between_batches():
    model = answering(["7", "8", *["7"] * 30])

    @ttc.scale(ttc.SelfConsistency(20, stop=AdaptiveConsistency(0.95)))
    async def ask():
        return await model("how many")

    result = await ask.run()
    assert (result.output, len(model.bodies), len(result.samples)) == ("7", 7, 7)
    assert (result.stop_reason, result.bill.status) == ("decided", "exact")


async def by_words(texts):
    """Compares all at once, at a price."""
    ttc.record_usage(ttc.Usage(1, 11, 1))
    return [len(text.split()) for text in texts]


async def test_a_function_of_all_answers_is_run_once_and_what_it_uses_is_routing():
    model = answering(["one word", "a", "b", "c d"])

    @ttc.scale(ttc.SelfConsistency(4, same=by_words))
    async def ask():
        return await model("say")

    result = await ask.run()
    assert result.output == "one word"
    assert (result.bill.routing.calls, result.bill.routing.tokens) == (1, 12)


def test_it_runs_for_a_function_that_blocks_too():
    model = answering(["a", "one word", "b c", "d e f"])

    @ttc.scale(ttc.SelfConsistency(4, same=by_words))
    def ask():
        return model.sync("say")

    result = ask.run()
    assert (result.output, result.bill.routing.tokens) == ("one word", 12)


@pytest.mark.slow
async def test_mathematics_is_compared_as_mathematics():
    pytest.importorskip("math_verify")
    model = answering([r"\boxed{3}", r"\boxed{\frac{1}{2}}", r"\boxed{0.5}", r"\boxed{3}", r"\boxed{\frac{2}{4}}"])

    @ttc.scale(ttc.SelfConsistency(5, same=ttc.verifiers.math_classes))
    async def ask():
        return await model("one half")

    assert await ask() == r"\boxed{\frac{1}{2}}"
