"""What works with LiteLLM: each cell names the tests that show it, or says why it does not."""

from __future__ import annotations

ROW: dict[str, str | tuple[str, ...]] = {
    "framework": "litellm 1.106",
    "async": (
        "test_async_calls_are_seen_whoever_imported_them_before",
        "test_an_async_function_is_scaled",
        "test_a_router_is_scaled_and_the_given_one_is_not",
        "test_the_winner_alone_goes_back_and_every_sample_is_logged_once",  # of the proxy
        "test_the_example_is_what_a_proxy_takes",
    ),
    "sync": (
        "test_sync_calls_are_seen_whoever_imported_them_before",
        "test_a_function_that_blocks_is_scaled",
        "test_a_router_that_blocks_is_scaled",
    ),
    "streaming": (
        "test_async_streams_are_billed_with_their_usage",
        "test_a_stream_plays_the_winner",
        "test_a_routers_only_draw_streams_as_it_comes",
        "test_a_stream_is_the_winners",  # of the proxy
        "test_one_draw_streams_as_it_comes",  # of the proxy
    ),
    "tools": ("test_tool_calls_vote_by_name_and_arguments",),
    "structured": ("test_the_form_that_is_asked_for_reaches_the_model_and_is_checked",),
    "usage": ("test_async_calls_are_seen_whoever_imported_them_before", "test_fallbacks_are_billed_one_by_one"),
    "trio": "no: litellm's async functions need asyncio",
}
