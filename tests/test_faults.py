"""What exceptions of SDKs mean, read without importing any; and how often one may try again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware import _faults
from ttc_middleware._faults import RetryBudget, classify, pause, retry_budget


class Response:
    def __init__(self, status, headers=()):
        self.status_code, self.headers = status, dict(headers)


def api_error(name, status=None, headers=(), text="", **more):
    kind = type(name, (type("APIError", (Exception,), {}),), {})
    error = kind(text)
    if status is not None:
        error.response = Response(status, headers)
    for key, value in more.items():
        setattr(error, key, value)
    return error


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "fault", "billed", "retry"),
    [
        (api_error("RateLimitError", 429), "rate limited", False, True),
        (api_error("RateLimitError", 429, code="insufficient_quota"), "rate limited", False, False),
        (api_error("InternalServerError", 500), "server error", True, True),
        (api_error("APIStatusError", 529), "server error", True, True),
        (api_error("ConflictError", 409), "server error", False, True),
        (api_error("BadRequestError", 400), "rejected", False, False),
        (api_error("AuthenticationError", 401), "rejected", False, False),
        (api_error("APITimeoutError"), "timeout", True, True),
        (caused(api_error("APIConnectionError"), ConnectionRefusedError()), "connection", False, True),
        (caused(api_error("APIConnectionError"), OSError("reset by peer")), "connection", True, True),
        # As litellm tells it: with a status that no server has sent.
        (caused(api_error("ServiceUnavailable", 500), api_error("RemoteProtocolError")), "connection", True, True),
        (caused(api_error("BadGatewayError", 500), api_error("HTTPStatusError", 500)), "server error", True, True),
        (ConnectionRefusedError(), "connection", False, True),
        (caused(api_error("APIError"), json.JSONDecodeError("no JSON", "<html>", 0)), "malformed", True, True),
        (json.JSONDecodeError("no JSON", "<html>", 0), "malformed", True, True),
        (api_error("APIError", text="overloaded"), "server error", True, False),
        (TimeoutError(), "timeout", True, True),
        (ttc.BudgetExceeded("tokens", 10, 10), "budget", False, False),
        (ZeroDivisionError(), "error", True, False),
        (KeyboardInterrupt(), "cancelled", True, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_an_error_has_its_meaning(error, fault, billed, retry):
    failure = classify(error)
    assert (failure.fault, failure.billed, failure.retry) == (fault, billed, retry)


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 +2500"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_what_the_provider_asks_to_wait_is_kept_within_reason(headers, after):
    failure = classify(api_error("RateLimitError", 429, headers))
    assert failure.after == after
    assert after is None or pause(1, failure) == after


def test_an_error_that_cannot_be_read_is_an_error_like_any_other():
    class Unreadable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    assert classify(Unreadable()).fault == "error"


def test_a_ring_of_causes_ends():
    one, two = api_error("APIConnectionError"), OSError()
    one.__cause__, two.__cause__ = two, one
    assert classify(one).fault == "connection"


@thorough(100)
@given(st.integers(1, 12))
def test_pauses_are_spread_over_a_window_that_ends(attempt):
    failure = classify(api_error("InternalServerError", 500))
    assert all(0 <= pause(attempt, failure) <= min(8.0, 0.5 * 2**attempt) for _ in range(20))


def outage(budget, calls):
    """Requests of so many calls to a server that answers none, each tried as often as it may be."""
    requests = 0
    for _ in range(calls):
        budget.called()
        requests += 1
        for attempt in range(1, 3):
            if not budget.take(first=attempt == 1):
                break
            requests += 1
    return requests


@pytest.mark.parametrize("saved", [0, 1_000])
@pytest.mark.parametrize(("calls", "most"), [(1, 2), (5, 6), (8, 9), (10, 12), (100, 120), (200, 240)])
def test_an_outage_sees_a_fifth_more_requests_than_calls_whatever_was_before_it(saved, calls, most):
    budget = RetryBudget()
    for _ in range(saved):
        budget.called()
        budget.answered()
    assert outage(budget, calls) == most


def test_one_answer_ends_an_outage():
    budget = RetryBudget()
    assert outage(budget, 3) == 4
    budget.called()
    budget.answered()
    assert outage(budget, 1) == 2


def test_servers_that_were_met_first_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(_faults, "_budgets", {})
    first = retry_budget("some", "first.test")
    first.called()
    for number in range(1_023):
        assert retry_budget("some", f"{number}.test") is retry_budget("some", f"{number}.test")
    assert retry_budget("some", "first.test") is first
    retry_budget("some", "another.test")
    assert retry_budget("some", "first.test") is not first
    assert len(_faults._budgets) == 1_024


@thorough(100)
@given(st.lists(st.booleans(), max_size=300))
def test_retries_are_one_in_five_calls_and_a_few_to_start_with(calls):
    budget, first, retried = RetryBudget(), 0, 0
    for call in calls:
        if call:
            budget.called()
            budget.answered()
            first += 1
        else:
            retried += budget.take(first=True)
        assert retried <= 3 + first / 5 + 1e-6
