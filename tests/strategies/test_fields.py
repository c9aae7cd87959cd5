"""Votes on each field of structured outputs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough
from pydantic import BaseModel

import ttc_middleware as ttc
from ttc_middleware.strategies._fields import fields_of
from ttc_middleware.testing import Outcome, play

FIELDS = ttc.SelfConsistency


class Party(BaseModel):
    name: str
    vat: str | None = None


class Invoice(BaseModel):
    total: float
    seller: Party
    lines: list[float] = []


@dataclass
class Place:
    street: str
    tags: list[str] = field(default_factory=list)


def sample(output, **more):
    text = output if isinstance(output, str) else None
    return ttc.Sample(index=0, draw=ttc.Draw(), call=ttc.Call(name="f"), output=output, text=text, **more)


def invoice(total, name, vat=None, lines=()):
    return Invoice(total=total, seller=Party(name=name, vat=vat), lines=list(lines))


def test_the_sample_wins_that_agrees_with_most_of_the_fields_winners():
    outputs = [
        invoice(10, "Ada", "X1"),
        invoice(12, "Bob", "X1"),
        invoice(12, "Ada", "X2"),
        invoice(12, "Ada", "X1"),
        invoice(11, "Bob", "X3"),
    ]
    played = play(FIELDS(5, by="fields"), [Outcome(output=each) for each in outputs])
    assert played.winner.output is outputs[3]  # no two are equal: a vote on the whole is a tie, and the first wins
    assert play(FIELDS(5), [Outcome(output=each) for each in outputs]).index == 0


def test_no_output_is_put_together_of_fields_that_no_sample_has_side_by_side():
    outputs = [{"a": 1, "b": 1, "c": 2}, {"a": 1, "b": 2, "c": 1}, {"a": 2, "b": 1, "c": 1}]
    played = play(FIELDS(3, by="fields"), [Outcome(output=each) for each in outputs])
    assert played.winner.output is outputs[0]


def test_a_field_that_is_missing_has_a_vote_for_that():
    outputs = [{"a": 1, "b": 1}, {"a": 1}, {"a": 1}]
    assert play(FIELDS(3, by="fields"), [Outcome(output=each) for each in outputs]).index == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (invoice(10, "Ada", lines=[1, 2]), '{"seller": {"vat": null, "name": "Ada"}, "total": 10, "lines": [1, 2]}'),
        (Place("High St", ["a"]), {"tags": ["A"], "street": " high  st"}),
        ('Here: ```json\n{"a": 1}\n```', {"a": 1.0}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}),
        ([1, 2], (1, 2)),
    ],
    ids=str,
)
def test_these_have_the_same_fields(one, other):
    assert fields_of(sample(one)) == fields_of(sample(other)) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": True}), ({"a": 1}, {"a": "1"}), ({"a": None}, {}), ({"a": []}, {"a": {}}), ([1, 2], [2, 1])],
    ids=str,
)
def test_these_have_not(one, other):
    assert fields_of(sample(one)) != fields_of(sample(other))


def test_the_arguments_of_tool_calls_are_fields():
    def calling(city, days):
        arguments = json.dumps({"city": city, "when": {"days": days}})
        return sample("", tool_calls=(ttc.ToolCall("weather", arguments),))

    assert fields_of(calling("Rome", 3)) == {
        (0, "name"): ("text", "weather"),
        (0, "arguments", "city"): ("text", "rome"),
        (0, "arguments", "when", "days"): ("value", 3),
    }


def test_what_has_no_fields_has_no_vote():
    outputs = ["no json at all", "7", "{broken", '{"a": 1}', "also none"]
    played = play(FIELDS(5, by="fields"), outputs)
    assert played.index == 3
    assert play(FIELDS(2, by="fields"), ["none", "none"]).index == 0


def test_a_ring_and_a_monster_end():
    ring = {"a": 1}
    ring["self"] = ring
    ring["again"] = [ring, ring]
    assert fields_of(sample(ring))["a",] == ("value", 1)
    wide = fields_of(sample({"rows": [[0] * 300] * 300}))
    assert len(wide) < 20_000
    assert fields_of(sample("[" * 100_000)) is None


def test_weights_count_in_each_field():
    outputs = [({"a": 1, "b": 1}, 0.1), ({"a": 1, "b": 1}, 0.2), ({"a": 2, "b": 1}, 0.9)]
    outcomes = [Outcome(output=each, score=score) for each, score in outputs]
    assert play(FIELDS(3, by="fields", weight="score"), outcomes).index == 2


def test_it_ends_when_no_field_can_change_any_more():
    same = [Outcome(output={"a": 1, "b": 2})] * 5
    assert len(play(FIELDS(5, by="fields"), same).samples) == 3
    outputs = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}]
    assert len(play(FIELDS(5, by="fields"), [Outcome(output=each) for each in outputs]).samples) == 4


RECORDS = st.lists(
    st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2), max_size=3), min_size=1, max_size=8
)  # fmt: skip


def elected(records):
    """The definition: each field by majority, then the record that agrees with most of these."""
    names = {name for each in records for name in each}
    winners = {}
    for name in names:
        values = [each.get(name) for each in records]
        winners[name] = max(values, key=Counter(values).__getitem__)  # max keeps the earliest of equals
    return max(records, key=lambda each: sum(each.get(name) == value for name, value in winners.items()))


@thorough(50)
@given(RECORDS, st.data())
def test_ending_early_elects_exactly_the_fields_of_the_full_vote_in_any_order(records, data):
    arrival = data.draw(st.permutations(range(len(records))))
    played = play(FIELDS(len(records), by="fields"), [Outcome(output=each) for each in records], arrival=arrival)
    assert played.winner.output == elected(records)


def test_other_comparisons_do_not_go_with_fields():
    with pytest.raises(ValueError, match=r"SelfConsistency\(same=\) does not go with by='fields'"):
        FIELDS(3, by="fields", same=str.__eq__)


class Unreadable:
    def model_dump_json(self):
        raise LookupError("no field")


@pytest.mark.parametrize("output", [Unreadable(), {"a": Unreadable()}], ids=["whole", "field"])
def test_an_output_that_cannot_be_taken_apart_abstains(output):
    assert fields_of(sample(output)) is None
    assert play(FIELDS(3, by="fields"), [Outcome(output=each) for each in (output, {"a": 1}, {"a": 1})]).index == 1
