"""What works with Anthropic's SDK: each cell names the tests that show it, or says why it does not."""

from __future__ import annotations

_WAYS = (
    "test_a_wrapped_client_answers_in_the_type_of_the_bare_one_with_the_accepted_text",
    "test_inside_a_decorated_function_every_way_is_seen_and_billed",
)

ROW: dict[str, str | tuple[str, ...]] = {
    "framework": "anthropic 0.80, 1.17, 2.12",
    "async": _WAYS,
    "sync": ("test_a_wrapped_blocking_client_does_the_same", "test_inside_a_decorated_blocking_function_too"),
    "streaming": (
        *_WAYS,
        "test_the_reader_of_a_stream_sees_the_events_of_the_bare_client",
        "test_one_draw_that_nobody_judges_streams_as_it_comes",
        "test_streams_of_bedrock_are_read_in_their_own_frames",
        "test_streams_of_vertex_too",
    ),
    "tools": (
        "test_tool_calls_vote_by_name_and_arguments",
        "test_a_tool_runner_runs_the_tools_of_the_winner_only",
    ),
    "structured": (*_WAYS, "test_what_does_not_parse_fails_its_draw_and_is_billed"),
    "usage": (
        "test_a_call_outside_any_draw_passes_through_and_is_billed",
        "test_what_the_cache_takes_and_gives_is_part_of_the_prompt",
        "test_a_budget_clamps_max_tokens_and_is_never_exceeded",
        "test_where_we_have_a_span_the_sdk_makes_none",
    ),
    "trio": ("test_a_wrapped_client_answers_in_the_type_of_the_bare_one_with_the_accepted_text",),
}
