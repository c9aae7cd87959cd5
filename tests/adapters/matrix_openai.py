"""What works with OpenAI's SDK: each cell names the tests that show it, or says why it does not."""

from __future__ import annotations

_WAYS = (
    "test_a_wrapped_client_answers_in_the_type_of_the_bare_one_with_the_accepted_text",
    "test_inside_a_decorated_function_every_way_is_seen_and_billed",
)

ROW: dict[str, str | tuple[str, ...]] = {
    "framework": "openai 2.54, 3",
    "async": _WAYS,
    "sync": ("test_a_wrapped_blocking_client_does_the_same", "test_inside_a_decorated_blocking_function_too"),
    "streaming": (
        *_WAYS,
        "test_the_reader_of_a_stream_sees_the_chunks_of_the_bare_client",
        "test_one_draw_that_nobody_judges_streams_as_it_comes_and_keeps_its_budget",
    ),
    "tools": ("test_tool_calls_vote_by_name_and_arguments", "test_tool_calls_in_streams_vote"),
    "structured": (*_WAYS, "test_what_does_not_parse_is_rejected_where_the_verifier_says_so"),
    "usage": (
        "test_a_call_outside_any_draw_passes_through_and_is_billed",
        "test_what_samples_of_one_request_cost_adds_up_to_it",
        "test_losers_are_discarded_and_the_winner_is_visible",
    ),
    "trio": _WAYS,
}
