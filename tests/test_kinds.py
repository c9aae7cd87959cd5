"""What draws are for: answers, steps of them, thoughts, and questions about how to search."""

from __future__ import annotations

import json

import pytest
from fake_model import fresh  # noqa: F401  # a fixture

import ttc_middleware as ttc

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("fresh")]


class Once:
    """One draw after the other, as given; the last sample wins."""

    def __init__(self, *draws, judges=()):
        self.draws, self.judges, self.sent = draws, judges, []

    def __repr__(self):
        return "Once()"

    def search(self, call):
        for draw in self.draws:
            self.sent += yield from ttc.gather([draw])
        return ttc.best([sample for sample in self.sent if sample.whole])


async def searched(strategy, verifier=None, **options):
    @ttc.scale(strategy, verifier=verifier, **options)
    async def f(x):
        ttc.record_usage(ttc.Usage(1, 10, 5))
        return "one\ntwo"

    return await f.run(3)


async def test_a_question_about_how_to_search_is_billed_as_routing_and_is_no_sample():
    async def ask():
        ttc.record_usage(ttc.Usage(1, 3, 1))
        return {"tier": "hard"}

    strategy = Once(ttc.Draw(kind="routing", run=ask), ttc.Draw())
    result = await searched(strategy, budget=ttc.Budget(samples=1))
    assert strategy.sent[0].output == {"tier": "hard"}
    assert [sample.index for sample in result.samples] == [1]
    assert (result.bill.routing.tokens, result.bill.visible.tokens, result.bill.plain.tokens) == (4, 15, 15)
    assert result.bill.status == "exact"


async def test_a_routing_draw_of_the_call_itself_is_routing_too():
    strategy = Once(ttc.Draw(kind="routing"), ttc.Draw())
    result = await searched(strategy, verifier=lambda output: True)
    assert strategy.sent[0].verdict is None
    assert (result.bill.routing.tokens, result.bill.total.tokens) == (15, 30)


async def test_a_question_that_fails_is_a_failed_sample():
    def ask():
        raise LookupError("no such thing")

    strategy = Once(ttc.Draw(kind="routing", run=ask), ttc.Draw())
    result = await searched(strategy)
    assert isinstance(strategy.sent[0].error, LookupError)
    assert result.output == "one\ntwo"


async def test_a_step_is_scored_by_its_own_judge_and_the_answer_by_the_call_sites():
    def prefix(output, x):
        return x / 10

    step = ttc.Draw(kind="step", judge=prefix)
    whole = ttc.Draw(kind="step", judge=prefix, ends=lambda text: text.endswith("two"))
    strategy = Once(step, whole)
    result = await searched(strategy, verifier=lambda output: 1.0)
    first, last = strategy.sent
    assert (first.score, first.whole, first.accepted) == (0.3, False, False)
    assert (last.score, last.whole, last.accepted) == (1.0, True, True)
    assert result.accepted


async def test_a_step_without_a_judge_of_its_own_is_scored_by_the_call_sites():
    strategy = Once(ttc.Draw(kind="step"), ttc.Draw())
    await searched(strategy, verifier=lambda output: 0.25)
    assert [sample.score for sample in strategy.sent] == [0.25, 0.25]


async def test_a_step_can_be_left_unjudged_but_not_the_answer_that_it_has_come_to():
    step = ttc.Draw(kind="step", judge=False)
    whole = ttc.Draw(kind="step", judge=False, ends=lambda text: text.endswith("two"))
    strategy = Once(step, whole)
    result = await searched(strategy, verifier=lambda output: 1.0)
    assert [sample.verdict is None for sample in strategy.sent] == [True, False]
    assert result.accepted


async def test_a_draft_is_judged_by_nobody():
    strategy = Once(ttc.Draw(kind="draft"), ttc.Draw())
    await searched(strategy, verifier=lambda output: 0.25)
    assert [sample.score for sample in strategy.sent] == [None, 0.25]


async def test_a_judge_that_asks_for_what_the_function_does_not_have_is_refused_at_decoration():
    with pytest.raises(TypeError, match="asks for y"):
        await searched(Once(judges=(lambda output, y: 1.0,)))


def test_only_a_question_about_the_search_can_run_something_else():
    with pytest.raises(ValueError, match='kind="routing"'):
        ttc.Draw(run=print)


async def test_an_answer_in_steps_is_read_as_a_whole_and_compared_with_one_call():
    texts = ["one", "one\ntwo", "lost"]
    places = iter(range(3))

    class Steps:
        def search(self, call):
            first = (yield from ttc.gather([ttc.Draw(kind="step")]))[0]
            on = ttc.Draw(kind="step", parent=first, extend="one\n", ends=lambda text: "two" in text)
            last = (yield from ttc.gather([on]))[0]
            yield from ttc.gather([ttc.Draw(kind="step", parent=first, extend="one\n")])
            return last

    @ttc.scale(Steps(), verifier=lambda output: output == "one\ntwo")
    async def f():
        place = next(places)
        ttc.record_usage(ttc.Usage(1, 10 + place, 5))
        return texts[place]

    bill = (await f.run()).bill
    assert (bill.visible.tokens, bill.discarded.tokens, bill.plain.tokens) == (15 + 16, 17, 10 + 5 + 5)


async def test_spans_and_the_record_say_what_each_draw_was_for(monkeypatch, tmp_path):
    from traced import Traced  # noqa: PLC0415  # sets tracing up

    traced = Traced(monkeypatch)
    ttc.configure(record=tmp_path)

    def ask():
        ttc.record_usage(ttc.Usage(1, 3, 1))
        return "hard"

    class Steps:
        def search(self, call):
            yield from ttc.gather([ttc.Draw(kind="routing", run=ask)])
            first = (yield from ttc.gather([ttc.Draw(kind="step")]))[0]
            lost = ttc.Draw(parent=first, extend="one")
            return (yield from ttc.gather([lost, lost]))[0]

    await searched(Steps())
    spans = sorted(traced.named("ttc.sample"), key=lambda span: span.attributes["ttc.sample.index"])
    names = ("ttc.sample.kind", "ttc.sample.parent_index", "ttc.sample.outcome")
    assert [tuple(span.attributes.get(name) for name in names) for span in spans] == [
        ("routing", None, "lost"),
        ("step", None, "continued"),
        (None, 1, "won"),
        (None, 1, "lost"),
    ]
    assert traced.one("invoke_workflow").attributes["ttc.samples.requested"] == 3
    line = json.loads(next(tmp_path.glob("*.jsonl")).read_text())
    assert [(sample["kind"], sample["parent"]) for sample in line["samples"]] == [
        ("step", None),
        ("answer", 1),
        ("answer", 1),
    ]
    assert [call["role"] for call in line["calls"]] == ["routing", "sample", "sample", "sample"]


async def test_what_a_search_found_is_kept_where_it_is_asked_for():
    with ttc.tracking(results=True) as kept, ttc.tracking() as other:
        result = await searched(ttc.BestOfN(2, stop="all"), verifier=lambda output: 0.5)
    assert kept.results == [result]
    assert other.results == []
    assert kept.results[0].tree.nodes[1].sample is result.samples[1]


async def test_a_search_that_failed_is_kept_too():
    @ttc.scale(ttc.BestOfN(2), verifier=lambda output: True)
    async def f():
        raise LookupError("none")

    with ttc.tracking(results=True) as kept, pytest.raises(LookupError) as caught:
        await f()
    assert kept.results == [ttc.result_of(caught.value)]
    assert len(kept.results[0].samples) == 2
