"""What the tests of `ttc_pydantic_ai` show, for the table in the README: a cell names its tests, or says why not."""

from __future__ import annotations

ROW: dict[str, str | tuple[str, ...]] = {
    "framework": "pydantic-ai-slim 1.70 (ScaledModel), 1.107, 2.31 (openai 2) and 2.68 (openai 3)",
    "async": (
        "test_pydantic_ai.py::test_the_best_of_four_is_the_only_message",
        "test_pydantic_ai_bill.py::test_a_run_of_several_requests_adds_up",
    ),
    "sync": ("test_pydantic_ai.py::test_an_agent_can_be_run_from_blocking_code",),
    "streaming": (
        "test_pydantic_ai_streams.py::test_the_winner_is_streamed_once_and_no_other_sample",
        "test_pydantic_ai_streams.py::test_one_draw_that_nobody_judges_streams_as_it_comes",
        "test_pydantic_ai_streams.py::test_a_run_that_is_stepped_through_shows_one_winner_and_runs_its_tools_once",
    ),
    "tools": (
        "test_pydantic_ai.py::test_tools_run_once_and_only_those_of_the_winner",
        "test_pydantic_ai.py::test_a_tool_that_needs_approval_is_put_off_and_called_once_it_has_it",
        "test_pydantic_ai.py::test_mixed_answers_and_tools_are_judged_by_the_answer_and_run_nothing",
    ),
    "structured": (
        "test_pydantic_ai.py::test_a_verifier_gets_the_typed_output_however_it_was_asked_for",
        "test_pydantic_ai.py::test_what_an_output_validator_tells_the_model_is_the_feedback",
        "test_pydantic_ai.py::test_structured_outputs_vote_by_value_and_those_that_are_no_json_abstain",
    ),
    "usage": (
        "test_pydantic_ai_bill.py::test_hidden_samples_are_in_the_run_s_usage_once_and_on_the_bill_to_the_token",
        "test_pydantic_ai_bill.py::test_hidden_samples_count_against_token_limits_and_not_against_the_number_of_requests",
        "test_pydantic_ai_streams.py::test_hidden_samples_are_in_the_usage_of_a_streamed_run_once",
        "test_pydantic_ai_bill.py::test_of_an_instrumented_agent_each_model_call_has_one_span_with_usage",
    ),
    "trio": "no: Pydantic AI itself runs on asyncio only",
}
