"""What the tests of `ttc_langchain` show, for the table in the README: a cell names its tests, or says why not."""

from __future__ import annotations

ROW: dict[str, str | tuple[str, ...]] = {
    "framework": "langchain 1.2.11, 1.4.7",
    "async": (
        "test_langchain_bill.py::test_the_best_of_four_is_the_only_message_and_every_token_is_on_the_bill",
        "test_langchain_chat.py::test_a_chain_gets_the_winner_and_every_sample_is_on_the_bill_once",
        "test_langchain_node.py::test_the_winner_s_update_is_the_node_s_and_every_draw_is_on_the_bill",
    ),
    "sync": (
        "test_langchain_bill.py::test_the_best_of_four_is_the_only_message_and_every_token_is_on_the_bill",
        "test_langchain_chat.py::test_a_chain_gets_the_winner_and_every_sample_is_on_the_bill_once",
        "test_langchain_node.py::test_the_winner_s_update_is_the_node_s_and_every_draw_is_on_the_bill",
    ),
    "streaming": (
        "test_langchain_streams.py::test_only_the_winner_is_streamed_once_and_whole",
        "test_langchain_streams.py::test_the_events_of_an_agent_show_the_winner_once_and_no_other_sample",
        "test_langchain_chat.py::test_a_stream_of_one_sample_passes_through_and_is_billed",
        "test_langchain_node.py::test_streams_show_the_winner_once_with_what_it_wrote_and_no_other_draw",
    ),
    "tools": (
        "test_langchain.py::test_tools_run_once_and_only_those_of_the_winner",
        "test_langchain_observe.py::test_an_agent_votes_on_its_tool_calls_and_the_winner_s_tool_runs_once",
    ),
    "structured": (
        "test_langchain_structured.py::test_samples_vote_by_value_and_what_does_not_parse_has_no_vote",
        "test_langchain_chat.py::test_structured_output_is_voted_on_and_judged_as_json",
    ),
    "usage": (
        "test_langchain_bill.py::test_both_turns_of_an_agent_add_up_in_its_state",
        "test_langchain_chat.py::test_callbacks_see_one_call_whose_usage_is_that_of_all_samples",
        "test_langchain_observe.py::test_each_call_is_counted_once_whether_or_not_the_sdk_is_instrumented",
    ),
    "trio": "no: LangChain itself needs asyncio",
}
