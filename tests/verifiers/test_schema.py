from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from enum import Enum
from typing import Annotated, Literal, Union

import jsonschema
import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

import ttc_middleware as ttc
from ttc_middleware.verifiers.schema import Schema


class Line(BaseModel):
    sku: str
    amount: float


class Invoice(BaseModel):
    id: str
    lines: list[Line]
    total: float

    @model_validator(mode="after")
    def adds_up(self):
        if self.total != sum(line.amount for line in self.lines):
            raise ValueError("the total must be the sum of the lines")
        return self


RIGHT = '{"id": "A1", "lines": [{"sku": "x", "amount": 2}], "total": 2}'
WRONG = '{"id": "A1", "lines": [{"sku": 7, "amount": "two"}, {"sku": "y"}], "total": 2}'
DESCRIBED = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "count": {"type": "integer", "minimum": 3},
        "tag": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"name": {"type": "string"}}}]},
    },
    "required": ["id", "count"],
    "additionalProperties": False,
}
INTEGERS = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
OLD = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "null"}]}
RECURSIVE = {
    "$defs": {
        "plus": {"properties": {"op": {"const": "+"}, "arg": {"$ref": "#/$defs/term"}}, "required": ["op"]},
        "minus": {"properties": {"op": {"const": "-"}, "arg": {"$ref": "#/$defs/term"}}, "required": ["op"]},
        "term": {"anyOf": [{"$ref": "#/$defs/plus"}, {"$ref": "#/$defs/minus"}]},
    },
    "$ref": "#/$defs/term",
}

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a schema must never open a connection")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# What is accepted.


@pytest.mark.parametrize(
    "text",
    [
        RIGHT,
        f"\ufeff\n {RIGHT} \n",
        f"```json\n{RIGHT}\n```",
        f"~~~\n{RIGHT}\n~~~",
        f"Sure, here it is:\n\n```json\n{RIGHT}\n```\nAnything else?",
        f"The invoice is {RIGHT}. Anything else?",
    ],
)
async def test_the_one_json_value_in_a_text_is_found(text):
    verdict = await Schema(Invoice).check(text, arguments={})
    assert verdict.accepted
    assert verdict.score == 1
    assert verdict.feedback is None


@pytest.mark.parametrize(
    "text",
    [
        f"{RIGHT} or else {RIGHT}",
        f"[1] says: {RIGHT}",
        f"{RIGHT} (see {{this}})",
        RIGHT[:-1],
        "",
        "   ",
        "No.",
        "```",
        "``` ```",
    ],
)
async def test_a_text_is_rejected_where_its_json_is_not_one_value_without_doubt(text):
    verdict = await Schema(Invoice).check(text)
    assert verdict.accepted is False
    assert verdict.score == 0
    assert "not JSON" in verdict.feedback
    assert "one JSON value and nothing around it" in verdict.feedback


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Colour(str, Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("spec", "right", "wrong"),
    [
        (Point, '{"x": 1, "y": 2}', '{"x": 1}'),
        (list[int], "[1, 2]", '[1, "two"]'),
        (TypeAdapter(dict[str, int]), '{"a": 1}', '{"a": "b"}'),
        (Literal["yes", "no"], "yes", "maybe"),
        (Literal["yes", "no"], '"no"', '"nope"'),
        (Literal["1", "2"], "1", "3"),
        (Colour, "red\n", "green"),
        (Colour, Colour.RED, "green"),
        (Annotated[str, StringConstraints(max_length=5)], "hello", "too long"),
        (int, "42", "42 or so"),
        (DESCRIBED, '{"id": "a", "count": 3}', '{"id": "a", "count": 2}'),
        ({"enum": ["yes", "no"]}, "yes", "maybe"),
        ({"type": "string", "maxLength": 3}, "7", "maybe"),
        (OLD, "[null]", "[1]"),
        (Invoice.model_json_schema(), RIGHT, WRONG),
    ],
)
async def test_each_kind_of_schema_judges_text(spec, right, wrong):
    schema = Schema(spec)
    assert (await schema.check(right)).accepted
    verdict = await schema.check(wrong)
    assert verdict.accepted is False
    assert verdict.score < 1


async def test_a_json_schema_that_asks_for_no_string_does_not_take_words_for_one():
    loose = {"properties": {"id": {"type": "string"}}, "required": ["id"]}  # says nothing of strings, so allows them
    assert (await Schema(loose).check("I cannot answer that.")).accepted is False


async def test_values_of_a_function_that_parses_itself_are_judged():
    schema = Schema(Invoice)
    assert (await schema.check(Invoice.model_validate_json(RIGHT))).accepted
    assert (await schema.check(json.loads(RIGHT))).accepted
    for wrong in (None, 7, [], object(), json.loads(WRONG)):
        assert (await schema.check(wrong)).accepted is False


async def test_an_instance_is_validated_again_where_its_model_says_so():
    class Checked(BaseModel):
        model_config = ConfigDict(revalidate_instances="always")
        n: int

    broken = Checked(n=1)
    broken.n = "many"
    verdict = await Schema(Checked).check(broken)
    assert verdict.accepted is False
    assert '- n: Input should be a valid integer, unable to parse string as an integer (got "many")' in verdict.feedback


async def test_a_json_schema_judges_values_by_their_json():
    schema = Schema(Invoice.model_json_schema())
    assert (await schema.check(Invoice.model_validate_json(RIGHT))).accepted
    assert (await Schema({"type": "array"}).check((1, 2))).accepted
    looped: list[object] = []
    looped.append(looped)
    for strange in (object(), looped):
        verdict = await Schema({"type": "array"}).check(strange)
        assert verdict.accepted is False
        assert "not JSON data" in verdict.feedback


async def test_strict_takes_no_string_for_a_number():
    text = '{"sku": "x", "amount": "2"}'
    assert (await Schema(Line).check(text)).accepted
    verdict = await Schema(Line, strict=True).check(text)
    assert verdict.accepted is False
    assert 'amount: Input should be a valid number (got "2")' in verdict.feedback


# What is said of the rest.


async def test_feedback_names_each_field_by_its_path_with_what_was_got():
    verdict = await Schema(Invoice).check(WRONG)
    assert verdict.feedback.splitlines() == [
        "The answer does not fit the schema:",
        "- lines[0].sku: Input should be a valid string (got 7)",
        '- lines[0].amount: Input should be a valid number, unable to parse string as a number (got "two")',
        "- lines[1].amount: Field required",
    ]


async def test_feedback_of_a_json_schema_names_each_field_by_its_path():
    verdict = await Schema(DESCRIBED).check('{"id": 1, "tag": {"name": 5}, "zz": 0}')
    assert verdict.feedback.splitlines() == [
        "The answer does not fit the schema:",
        "- id: is not of type 'string' (got 1)",
        "- tag.name: is not of type 'string' (got 5)",
        "- the answer: 'count' is a required property",
        "- the answer: Additional properties are not allowed ('zz' was unexpected)",
    ]


async def test_feedback_has_the_words_of_the_models_own_validators():
    verdict = await Schema(Invoice).check(RIGHT.replace('"total": 2', '"total": 3'))
    assert "the total must be the sum of the lines" in verdict.feedback


async def test_fewer_problems_score_higher_but_never_as_much_as_none():
    schema = Schema(Invoice)
    texts = ["nonsense", "[]", WRONG, RIGHT.replace('"total": 2', '"total": 3'), RIGHT]
    scores = [(await schema.check(text)).score for text in texts]
    assert scores == [0, 0, 1 / 4, 1 / 2, 1]


async def test_feedback_is_bounded_and_printable_whatever_the_output_holds():
    key, value = "k\x00\n" * 500, "\x1b[31m" * 500

    class Open(BaseModel):
        model_config = ConfigDict(extra="forbid")

    many = json.dumps({f"{number}{key}": value for number in range(50)})
    for spec in (Open, {"type": "object", "additionalProperties": {"type": "integer"}}):
        feedback = (await Schema(spec).check(many)).feedback
        assert len(feedback) <= 2_600
        assert len(feedback.splitlines()) == 10
        assert feedback.endswith("- 42 more")
        assert feedback.replace("\n", "").isprintable()


# What cannot be a schema.


@pytest.mark.parametrize("spec", ["Invoice", None, 7, Invoice.model_validate_json(RIGHT)])
def test_what_is_no_type_fails_at_construction(spec):
    with pytest.raises(TypeError, match="takes a pydantic model, a type, a TypeAdapter or a JSON Schema"):
        Schema(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "strin"}, "not a valid JSON Schema:\n- type"),
        ({"properties": {"a": {"pattern": "("}}}, r"properties\.a\.pattern"),
        ({"$schema": "urn:mine"}, "no such dialect"),
        ({"$ref": "#/$defs/none"}, "leads nowhere in the schema"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "references are never fetched"),
        ({"items": {"anyOf": [{"$ref": "file:///etc/passwd"}]}}, "references are never fetched"),
    ],
)
def test_a_broken_json_schema_fails_at_construction(spec, words):
    with pytest.raises(ValueError, match=words):
        Schema(spec)


async def test_references_inside_a_json_schema_work():
    inside = {"$id": "http://example.com/a", "$defs": {"b": {"$id": "b", "type": "integer"}}, "items": {"$ref": "b"}}
    assert (await Schema(inside).check("[1, 2]")).accepted
    assert (await Schema(inside).check('["1"]')).accepted is False


async def test_a_json_schema_that_is_changed_later_stays_as_it_was_given():
    given = {"type": "integer"}
    schema = Schema(given)
    given["type"] = "string"
    assert (await schema.check("1")).accepted


def test_importing_the_verifier_does_not_import_pydantic_or_jsonschema():
    code = "import sys, ttc_middleware.verifiers.schema; print({'pydantic', 'jsonschema'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# Hostile output.


HOSTILE = {
    "deep": "[" * 100_000,
    "deep and closed": "[" * 1_000 + "]" * 1_000,
    "deep objects": '{"a":' * 100_000,
    "a long number": "9" * 100_000,
    "half a surrogate pair": '"\\ud800"',
    "half a surrogate pair, raw": '"\ud800"',
    "very many problems": "[" + '"x",' * 400_000 + '"x"]',
    "braces": "{" * 700_000 + "}" * 700_000,
    "fences": "```\n" * 100_000,
    "too long": "x" * 3_000_000,
    "infinite": "1e999",
    "not a number": "NaN",
    "many equal objects": "[" + "{}," * 10_000 + "{}]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("spec", [list[int], Invoice, INTEGERS])
async def test_hostile_text_is_rejected(spec, text):
    verdict = await Schema(spec).check(text)
    assert verdict.accepted is False
    assert len(verdict.feedback) < 2_600


async def test_a_long_answer_is_read():
    numbers = json.dumps(list(range(150_000)))
    assert len(numbers) > 1_000_000
    assert (await Schema(list[int]).check(numbers)).accepted
    assert (await Schema(INTEGERS).check(numbers)).accepted


async def test_deep_answers_are_read_to_a_hundred_levels():
    class Tree(BaseModel):
        kids: list[Tree] = []

    deep = '{"kids": [' * 50 + "]}" * 50
    assert (await Schema(Tree).check(deep)).accepted
    assert (await Schema(Tree.model_json_schema()).check(deep)).accepted


async def test_alternatives_that_nest_do_not_double_the_work_at_each_level():
    deep = '{"op": "+", "arg": ' * 60 + '{"op": "?"}' + "}" * 60  # 2 to the power of 60 ways to fail
    verdict = await Schema(RECURSIVE).check(deep)
    assert verdict.accepted is False
    assert (await Schema(RECURSIVE).check(deep.replace("?", "-"))).accepted


async def test_equal_items_are_told_apart_by_their_json_values():
    schema = Schema({"type": "array", "uniqueItems": True})
    assert (await schema.check('[1, true, 0, false, null, "1", [], {}, [1], {"a": 1}]')).accepted
    for twice in ("[1, 1.0]", '[{"a": 1, "b": [2]}, {"b": [2], "a": 1}]', "[[true], [true]]"):
        assert (await schema.check(twice)).accepted is False


async def test_one_of_takes_exactly_one():
    schema = Schema({"oneOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]})
    assert (await schema.check("1.5")).accepted
    assert (await schema.check("null")).accepted
    assert "more than one" in (await schema.check("1")).feedback
    assert (
        "none of the alternatives" in (await schema.check('"x"')).feedback
        or "is not of type" in (await schema.check('"x"')).feedback
    )


async def test_a_validator_of_the_model_that_breaks_is_not_a_rejection():
    class Broken(BaseModel):
        n: int

        @model_validator(mode="after")
        def explode(self):
            raise KeyError("n")

    with pytest.raises(KeyError):
        await Schema(Broken).check('{"n": 1}')


# With the engine.


def flaky(*texts):
    """A model that answers these in turn, and the prompts that it was given."""
    waiting, seen = list(texts), []

    async def model(prompt: str) -> str:
        draw = ttc.current_draw()
        seen.append((draw and draw.instruction) or prompt)
        ttc.record_usage(ttc.Usage(input_tokens=10, output_tokens=5))
        return waiting.pop(0)

    return model, seen


async def test_best_of_n_draws_until_an_answer_fits():
    model, seen = flaky("Sorry?", WRONG, f"Here: {RIGHT}", RIGHT)
    scaled = ttc.scale(ttc.BestOfN(4, at_once=1), verifier=Schema(Invoice))(model)
    result = await scaled.run("mail")
    assert result.accepted
    assert result.output == f"Here: {RIGHT}"
    assert [sample.score for sample in result.samples] == [0, 1 / 4, 1]
    assert len(seen) == 3


async def test_best_of_n_returns_the_answer_with_the_fewest_problems_where_none_fits():
    model, _ = flaky("Sorry?", WRONG, "[]")
    scaled = ttc.scale(ttc.BestOfN(3, at_once=1), verifier=Schema(Invoice), accept=0.2)(model)
    result = await scaled.run("mail")
    assert result.output == WRONG
    assert result.accepted is False


async def test_refine_gets_the_feedback():
    model, seen = flaky(WRONG, RIGHT)
    scaled = ttc.scale(ttc.Refine(2), verifier=Schema(Invoice))(model)
    assert await scaled("mail") == RIGHT
    assert seen[0] == "mail"
    assert WRONG in seen[1]
    assert "- lines[1].amount: Field required" in seen[1]


@pytest.mark.parametrize("parse", [Invoice.model_validate_json, json.loads, lambda text: Invoice(**json.loads(text))])
@pytest.mark.parametrize("first", [WRONG, "Sorry?"])
async def test_a_function_that_parses_itself_and_raises_is_rejected_with_the_same_feedback(parse, first):
    model, seen = flaky(first, RIGHT)

    @ttc.scale(ttc.Refine(2), verifier=Schema(Invoice))
    async def extract(prompt: str):
        return parse(await model(prompt))

    result = await extract.run("mail")
    assert result.accepted
    rejected, accepted = result.samples
    assert rejected.verdict.accepted is False
    assert rejected.verdict.failed is False
    assert accepted.output in (Invoice.model_validate_json(RIGHT), json.loads(RIGHT))
    assert "lines[0].sku" in seen[1] if first == WRONG else "not JSON" in seen[1]


async def test_a_function_that_validates_by_json_schema_itself_is_rejected_with_feedback():
    model, seen = flaky('{"id": 3, "count": 3}', '{"id": "a", "count": 3}')

    @ttc.scale(ttc.Refine(1), verifier=Schema(DESCRIBED))
    async def extract(prompt: str) -> dict[str, object]:
        found = json.loads(await model(prompt))
        jsonschema.validate(found, DESCRIBED)
        return found

    assert (await extract.run("mail")).accepted
    assert "- id: is not of type 'string' (got 3)" in seen[1]


async def test_another_exception_of_the_function_is_a_failure_and_no_rejection():
    model, _ = flaky(RIGHT, RIGHT)
    raised = []

    @ttc.scale(ttc.BestOfN(2, at_once=1), verifier=Schema(Invoice))
    async def extract(prompt: str) -> Invoice:
        text = await model(prompt)
        if not raised:
            raised.append(True)
            raise LookupError("no such customer")
        return Invoice.model_validate_json(text)

    result = await extract.run("mail")
    failed, accepted = result.samples
    assert failed.status == "failed"
    assert failed.verdict is None
    assert accepted.accepted


def test_a_sync_function_is_verified_too():
    @ttc.scale(ttc.BestOfN(2, at_once=1), verifier=Schema(DESCRIBED))
    def answer(prompt: str) -> str:
        ttc.record_usage(ttc.Usage(input_tokens=1, output_tokens=1))
        return '{"id": "a", "count": 3}'

    assert answer.run("mail").accepted


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


Pet = Annotated[Union[Cat, Dog], Field(discriminator="kind")]


async def test_a_tagged_union_tells_what_is_wrong_in_the_branch_that_is_meant():
    verdict = await Schema(Pet).check('{"kind": "cat"}')
    assert verdict.feedback.splitlines()[1:] == ["- cat.lives: Field required"]


async def test_explain_never_raises_and_is_short():
    schema = Schema(Invoice)
    for error in (ValueError("x" * 10_000), json.JSONDecodeError("bad", "y" * 10_000, 5)):
        assert len(schema.explain(error)) <= 600
    with pytest.raises(pydantic.ValidationError) as raised:
        Invoice.model_validate_json(WRONG)
    assert schema.explain(raised.value) == (await schema.check(WRONG)).feedback


async def test_an_explanation_that_breaks_costs_its_words_and_not_the_call():
    class Unspeakable:
        rejects = (ValueError,)

        def explain(self, error):
            raise RuntimeError("no words")

        async def check(self, output, *, arguments):
            return True

    model, _ = flaky("one", "2")

    @ttc.scale(ttc.BestOfN(2, at_once=1), verifier=Unspeakable())
    async def number(prompt: str) -> int:
        return int(await model(prompt))

    result = await number.run("mail")
    assert result.output == 2
    assert result.samples[0].verdict.accepted is False
    assert "invalid literal" in result.samples[0].verdict.feedback
