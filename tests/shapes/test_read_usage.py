"""Usage in every provider's own shape, whole and streamed, as JSON and as the SDK's objects."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough
from shape_server import FIXTURES, WAYS, told, truth

from ttc_middleware.seam import StreamUsage, make_usage, read_usage


def read(fixture, way, events=None):
    if way == "whole":
        return read_usage(fixture["whole"], api=fixture["api"])
    stream = StreamUsage(fixture["api"])
    for event in fixture["stream"] if events is None else events:
        stream.see(event)
    return stream.told


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FIXTURES)
def test_a_response_is_read_as_it_was_billed(name, way):
    fixture = FIXTURES[name]
    known = read(fixture, way)
    assert told(known.usage, known.service_tier) == truth(fixture)
    assert not known.partial


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name, fixture in FIXTURES.items() if fixture.get("speaks")])
def test_the_sdks_objects_are_read_like_the_json(name, way):
    pytest.importorskip("openai")
    from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: PLC0415
    from openai.types.responses import Response, ResponseStreamEvent  # noqa: PLC0415
    from pydantic import TypeAdapter  # noqa: PLC0415

    fixture = FIXTURES[name]
    chat = fixture["speaks"] == "chat"
    whole = (ChatCompletion if chat else Response).model_validate(fixture["whole"])
    event = TypeAdapter(ChatCompletionChunk if chat else ResponseStreamEvent)
    known = read({**fixture, "whole": whole}, way, [event.validate_python(each) for each in fixture["stream"]])
    assert told(known.usage, known.service_tier) == truth(fixture)


@pytest.mark.parametrize("name", FIXTURES)
def test_a_stream_that_is_cut_never_says_more_than_was_billed_and_says_that_it_is_partial(name):
    fixture = FIXTURES[name]
    billed = truth(fixture)
    for count in range(len(fixture["stream"])):
        known = read(fixture, "stream", fixture["stream"][:count])
        if known.usage is None:
            continue
        so_far = told(known.usage)
        assert all(so_far[kind] <= billed[kind] for kind in ("input", "output"))
        if so_far != {**billed, "tier": None}:
            assert known.partial


def test_anthropics_prompt_is_known_before_anything_else():
    known = read(FIXTURES["anthropic"], "stream", FIXTURES["anthropic"]["stream"][:1])
    assert (known.usage.input_tokens, known.usage.output_tokens, known.partial) == (5017, 1, True)


COUNT = st.integers(1, 10**6)


@thorough(100)
@given(COUNT, COUNT, COUNT)
def test_a_total_tells_whether_thinking_is_in_the_output_or_beside_it(prompt, answer, thinking):
    inside = make_usage(prompt, answer + thinking, total=prompt + answer + thinking, thinking=thinking)
    beside = make_usage(prompt, answer, total=prompt + answer + thinking, thinking=thinking)
    unasked = make_usage(prompt, answer, total=prompt + answer + thinking)
    assert inside == beside
    assert inside.usage.output_tokens == unasked.usage.output_tokens == answer + thinking
    assert (inside.usage.reasoning_tokens, unasked.usage.reasoning_tokens) == (thinking, None)


def test_without_a_total_the_provider_decides_and_thinking_never_exceeds_the_output():
    assert make_usage(10, 50, thinking=20).usage.output_tokens == 50
    assert make_usage(10, 50, thinking=20, beside=True).usage.output_tokens == 70
    assert make_usage(10, 50, thinking=60).usage.output_tokens == 110  # cannot be in it
    contradiction = make_usage(10, 50, thinking=60, total=60).usage
    assert (contradiction.output_tokens, contradiction.reasoning_tokens) == (50, 50)


def test_what_is_not_said_is_unknown_and_half_a_usage_is_partial():
    bare = read_usage({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}).usage
    assert (bare.reasoning_tokens, bare.cached_tokens, bare.usd, bare.cache_write_tokens) == (None,) * 4
    assert not read_usage({"usage": {"prompt_tokens": 3, "completion_tokens": 0}}).partial
    for half in ({"prompt_tokens": 3}, {"completion_tokens": 4}, {"prompt_tokens": 0, "completion_tokens": 4}):
        assert read_usage({"usage": half}).partial
    for nothing in (None, {}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "12", [1], 7):
        assert read_usage({"usage": nothing}).usage is None


def test_a_count_that_cannot_be_is_unknown_and_one_written_as_a_float_is_one():
    for none in (10**13, -1, True, "12", 0.5, float("inf"), float("nan")):
        known = read_usage({"usage": {"prompt_tokens": 3, "completion_tokens": none}})
        assert (known.usage.output_tokens, known.partial) == (0, True), none
    whole = read_usage({"usage": {"prompt_tokens": 3.0, "completion_tokens": 4.0}}).usage
    assert repr((whole.input_tokens, whole.output_tokens)) == "(3, 4)"


def test_a_total_below_the_prompt_does_not_say_that_the_output_is_nothing():
    assert read_usage({"usage": {"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 0}}).partial
    assert not read_usage({"usage": {"prompt_tokens": 3, "total_tokens": 3}}).partial


@pytest.mark.parametrize("nothing", [{}, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": None}, "x"])
def test_of_a_stream_an_empty_usage_after_the_real_one_takes_nothing_back(nothing):
    stream = StreamUsage()
    stream.see({"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    stream.see({"choices": [], "usage": nothing})
    assert (stream.told.usage.input_tokens, stream.told.usage.output_tokens, stream.told.partial) == (3, 4, False)


def test_of_an_anthropic_stream_a_0_at_the_end_does_not_take_the_prompt_back():
    stream = StreamUsage("anthropic")
    stream.see({"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}})
    stream.see({"type": "message_delta", "usage": {"input_tokens": 0, "output_tokens": 9}})
    assert (stream.told.usage.input_tokens, stream.told.usage.output_tokens, stream.told.partial) == (25, 9, False)


@pytest.mark.parametrize(
    ("more", "usd"),
    [
        ({"cost": 0.25}, "0.25"),
        ({"cost": 0}, "0"),
        ({"cost": {"total_cost": 0.006, "request_cost": 0.005}}, "0.006"),  # Perplexity
        ({"cost_in_usd_ticks": 12_345}, "0.0000012345"),  # xAI
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}, "1.05"),  # OpenRouter
        ({"cost": 0.05, "is_byok": True}, None),  # its fee alone: the provider's own bill is somewhere else
        ({"cost_in_usd_ticks": 5 * 10**12}, "500"),
        ({"cost": 1e13}, None),
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": "free"}, None),
        ({"cost": float("nan")}, None),
        ({"cost_in_usd_ticks": -3}, None),
    ],
)
def test_what_the_provider_says_it_cost_is_taken_where_it_is_a_price(more, usd):
    known = read_usage({"usage": {"prompt_tokens": 3, "completion_tokens": 4, **more}})
    assert known.usage.usd == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    ("said", "tier"),
    [("default", None), ("auto", None), ("standard", None), ("flex", "flex"), ("priority", "priority"), (7, None)],
)
def test_a_tier_counts_only_where_it_has_a_price_of_its_own(said, tier):
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    assert read_usage({"usage": usage, "service_tier": said}).service_tier == tier


def test_vertex_and_anthropic_name_their_tiers_in_the_usage():
    gemini = {"promptTokenCount": 3, "candidatesTokenCount": 4, "trafficType": "ON_DEMAND_PRIORITY"}
    assert read_usage({"usageMetadata": gemini}, api="gemini").service_tier == "priority"
    assert read_usage({"usageMetadata": {**gemini, "trafficType": "ON_DEMAND"}}, api="gemini").service_tier is None
    fast = {"input_tokens": 3, "output_tokens": 4, "service_tier": "standard", "speed": "fast"}
    assert read_usage({"usage": fast}, api="anthropic").service_tier == "fast"


def test_what_anthropic_compacted_is_added_and_what_another_model_did_makes_it_partial():
    part = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0}
    usage = {**part, "iterations": [{"type": "message", **part}, {"type": "compaction", **part}]}
    known = read_usage({"usage": usage}, api="anthropic")
    assert (known.usage.input_tokens, known.usage.output_tokens, known.partial) == (220, 10, False)
    usage["iterations"].append({"type": "advisor_message", "model": "other", **part})
    assert read_usage({"usage": usage}, api="anthropic").partial


CHAT = {"prompt_tokens": 3, "completion_tokens": 4}
MESSAGE = {"input_tokens": 3, "output_tokens": 4}
GEMINI = {"promptTokenCount": 3, "candidatesTokenCount": 4}


SEARCHED = {
    "anthropic": lambda n: {"usage": {**MESSAGE, "server_tool_use": {"web_search_requests": n}}},
    "openai": lambda n: {"usage": MESSAGE, "output": [{"type": "message"}, *[{"type": "web_search_call"}] * n]},
    "openai, litellm's Anthropic": lambda n: {"usage": {**CHAT, "server_tool_use": {"web_search_requests": n}}},
    "openai, litellm's Gemini": lambda n: {"usage": {**CHAT, "prompt_tokens_details": {"web_search_requests": n}}},
    "gemini": lambda n: {
        "usageMetadata": GEMINI,
        "candidates": [{"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["q"] * n}}],
    },
}


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("who", SEARCHED)
def test_what_is_charged_by_the_piece_is_told_and_the_tokens_stay_exact(who, count):
    known = read_usage(SEARCHED[who](count), api=who.split(",")[0])
    assert (known.usage.input_tokens, known.usage.output_tokens, known.partial) == (3, 4, False)
    assert known.fees is (count > 0)


def test_of_a_gemini_stream_a_search_is_told_too():
    stream = StreamUsage("gemini")
    stream.see(SEARCHED["gemini"](1))
    stream.see({"usageMetadata": GEMINI, "candidates": [{"finishReason": "STOP"}]})
    assert stream.told.fees


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
MORE = {"iterations": [{"type": "compaction"}], "speed": "fast", "cost": {"total_cost": 1}, "cost_details": {}}
SAID = [
    (fixture["api"], {**said, "usage": {**said.get("usage", {}), **MORE}})
    for fixture in FIXTURES.values()
    for said in [fixture["whole"], *fixture["stream"]]
]


def spoiled(said, place, junk):
    """The JSON with the part at this place, counted depth first, replaced by something else; and what is left."""
    if place == 0:
        return junk, -1
    place -= 1
    for key in said if isinstance(said, dict) else range(len(said)) if isinstance(said, list) else ():
        part, place = spoiled(said[key], place, junk)
        if place < 0:
            copied = said.copy()
            copied[key] = part
            return copied, -1
    return said, place


@thorough(300)
@given(st.sampled_from(SAID), st.integers(0, 60), JSON)
def test_nothing_that_a_server_may_send_raises_or_makes_a_part_larger_than_the_whole(case, place, junk):
    api, said = case
    said, _ = spoiled(said, place, junk)
    stream = StreamUsage(api)
    stream.see(said)
    for known in (read_usage(said, api=api), stream.told):
        usage = known.usage
        if usage is not None:
            assert 0 <= (usage.reasoning_tokens or 0) <= usage.output_tokens
            assert (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0) <= usage.input_tokens
            assert (usage.cache_write_1h_tokens or 0) <= (usage.cache_write_tokens or 0)
            assert usage.usd is None or usage.usd >= 0
