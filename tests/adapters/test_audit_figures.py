"""What `ttc audit` makes of the calls that it has seen: figures that add up, and no advice without evidence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ttc_cli._audit_advice import advice
from ttc_cli._audit_calls import NO_LINE, log_of
from ttc_cli._audit_figures import Audit, places, repeated, runs
from ttc_cli._audit_tables import caveats, headline, tables

HERE = Path("/home/me/shop")


def called(number=0, **told):
    """A line about a call, one second after the one before it."""
    usage = {"calls": 1, "input_tokens": 10, "output_tokens": 20, "reasoning_tokens": 0, "usd": "0.01", "seconds": 0.5}
    usage = {name: value for name, value in {**usage, **told.pop("usage", {})}.items() if value is not None}
    call = {
        "file": str(HERE / "app.py"), "line": 7, "function": "ask", "start": 1000.0 + number, "pid": 1,
        "asked": f"request {number}", "model": "m", "provider": "p", "answered": True, "status": "answer",
    }  # fmt: skip
    return {"v": 1, "call": {**call, "usage": usage, **told}}


def audited(lines):
    log = log_of(lines, HERE)
    found = places(log.calls)
    return Audit(log, found, advice(found))


def suggested(lines):
    return [(each.what, each.said) for each in audited(lines).findings]


def test_calls_are_added_up_by_line_and_in_all():
    lines = [called(n, usage={"output_tokens": 10 * n, "reasoning_tokens": n}) for n in range(1, 4)]
    lines.append(
        called(9, line=8, answered=False, fault="timeout", usage={"output_tokens": 0, "reasoning_tokens": None})
    )
    audit = audited(lines)

    first, second = audit.places
    assert (first.name, first.function, first.spent.calls) == ("app.py:7", "ask", 3)
    assert (first.spent.input, first.spent.output, first.reasoning) == (30, 60, 6)
    assert first.hidden == 6 / 90
    assert (second.name, dict(second.faults), second.hidden) == ("app.py:8", {"timeout": 1}, 1.0)
    assert audit.total == first.spent + second.spent
    assert headline(audit) == "4 model calls from 2 call sites spent 100 tokens ($0.04000); nobody reads 16% of them."


def test_what_nobody_knows_is_said_to_be_unknown_and_never_nothing():
    lines = [called(0), called(1, gap="cut", usage={"usd": None, "reasoning_tokens": None}), called(2, file=None)]
    audit = audited(lines)

    row = tables(audit)[0].rows[0]
    assert row[4:8] == ["≥ 20", "≥ 40", "≥ 0", "≥ $0.01000"]
    assert NO_LINE in {place.name for place in audit.places}
    assert caveats(audit)[0] == "1 call did not tell all of their usage: figures with ≥ are the least."
    assert caveats(audit)[1].startswith("1 call had no price")


def test_only_what_was_answered_before_counts_as_repeated():
    lines = [
        called(0, asked="a", answered=False, fault="timeout"),
        called(1, asked="a"),
        called(2, asked="a"),
        called(3, asked=None),
        called(4, asked=None),
        called(5, asked="a", role="sample", sample=1),
        called(6, asked="a", answered=False, fault="timeout"),
    ]
    assert [call.start for call in repeated(log_of(lines, HERE).calls)] == [1002.0]


def test_requests_in_a_row_are_those_of_one_process_and_line():
    lines = [called(n, asked="a", pid=n % 2) for n in range(4)] + [called(n, asked="b", line=9) for n in range(4, 6)]
    lines.append(called(6, asked="a", pid=0))

    found = [runs(place) for place in audited(lines).places]
    assert sorted(len(row) for rows in found for row in rows) == [2, 2, 3]


# Advice


EACH = {
    "a retry by hand": (6, {"asked": "a", "temperature": 1.0}, "ttc.scale(ttc.BestOfN(6), verifier=…)"),
    "cold and the same": (6, {"asked": "a", "temperature": 0}, "a cache"),
    "cut": (5, {"status": "truncated"}, "a higher max_tokens, or less to say"),
    "thinks": (5, {"usage": {"reasoning_tokens": 15}}, 'thinking="low"'),
    "JSON": (5, {"format": "json_schema", "parses": True}, "verifier=ttc.verifiers.Schema(…)"),
    "code": (5, {"code": True}, "verifier=ttc.verifiers.UnitTests(…)"),
}


@pytest.mark.parametrize("name", EACH)
def test_each_suggestion_needs_its_evidence_and_no_less_of_it(name):
    count, told, what = EACH[name]

    assert [said for said, _ in suggested([called(n, **dict(told)) for n in range(count)])] == [what]
    assert suggested([called(n, **dict(told)) for n in range(count - 1)]) == []
    assert suggested([called(n) for n in range(count)]) == []


@pytest.mark.parametrize("name", ["a retry by hand", "cold and the same", "JSON", "code"])
def test_the_draws_of_a_search_are_no_sign_of_anything(name):
    count, told, _ = EACH[name]

    assert suggested([called(n, role="sample", sample=n, **dict(told)) for n in range(count)]) == []


def test_a_cap_is_suggested_where_a_few_answers_are_far_longer_than_the_others():
    outputs = [100] * 18 + [600, 4_000]
    lines = [called(n, usage={"output_tokens": each}) for n, each in enumerate(outputs)]

    ((what, said),) = suggested(lines)
    assert what == "max_tokens=600"
    assert said == (
        "20 calls without max_tokens: output p50 100, p95 600 (6.0 times that), most 4,000."
        " A cap at the p95 would have cut 1 short"
    )
    (finding,) = audited(lines).findings
    assert finding.spent.tokens == 3_400
    assert suggested(lines[1:]) == [], "nineteen calls say nothing of the twentieth part"
    assert (
        suggested([called(n, max_tokens=4_000, usage={"output_tokens": each}) for n, each in enumerate(outputs)]) == []
    )


def test_a_suggestion_says_what_speaks_for_it():
    failed = [called(n, asked="a", answered=n > 2, fault=None if n > 2 else "timeout") for n in range(6)]
    ((_, said),) = suggested(failed)
    assert "5 calls repeat the one just before them, 3 of them after a call that failed, up to 6 equal" in said

    broken = [called(n, format="json_object", parses=n != 3) for n in range(5)]
    ((_, said),) = suggested(broken)
    assert "5 answers were asked for as JSON (json_object), 1 of 5 are none" in said
    (finding,) = audited(broken).findings
    assert finding.spent.tokens == 30

    thinks = [called(n, asked="a" if n < 2 else str(n), usage={"reasoning_tokens": 10 + n}) for n in range(5)]
    assert "60% of the output of 5 calls is thinking" in suggested(thinks)[0][1]
    assert "one and the same request took 10 to 11 (1.1 times as much)" in suggested(thinks)[0][1]


# Nothing seen, and files that anybody may have written


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "not a Python program, or one that is started with -I"),
        ([{"python": 3}, {"python": 4}], "2 Python processes ran and imported none of openai, litellm and anthropic"),
        ([{"python": 3}, {"sdk": "openai"}], "1 Python process ran and imported openai, but made no call"),
    ],
)
def test_where_nothing_was_observed_it_says_why(lines, why):
    audit = audited(lines)

    assert headline(audit).startswith(f"No model call was observed: {why}")
    assert tables(audit) == []
    assert audit.to_dict()["call_sites"] == []


def test_what_could_not_be_watched_is_said():
    audit = audited([{"problem": "litellm could not be watched: ImportError"}, {"other": "mistralai"}] * 2)

    assert caveats(audit) == [
        "Calls by mistralai, which was imported, are not seen.",
        "litellm could not be watched: ImportError (2 times)",
    ]


def test_a_program_that_uses_ttc_is_told_how_many_calls_were_whose():
    lines = [called(n, role="sample", sample=n) for n in range(3)] + [called(5, role="verifier", sample=0)]

    assert caveats(audited(lines)) == ["4 calls were made in searches of ttc: 3 as sample, 1 as verifier."]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [*sorted(called()["call"]), "temperature", "max_tokens", "role", "sample", "fault", "gap", "format", "parses"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8), max_size=8))
def test_lines_that_anybody_has_written_make_a_report_all_the_same(calls):
    audit = audited([{"v": 1, "call": {**called(n)["call"], **call}} for n, call in enumerate(calls)])

    headline(audit), caveats(audit), tables(audit), audit.to_dict()
    assert sum(len(place.calls) for place in audit.places) == len(calls)
    shown = [cell for table in tables(audit) for row in table.rows for cell in row]
    assert all(each.isprintable() for each in shown)


def test_a_name_that_would_drive_a_terminal_does_not():
    (place,) = audited([called(0, file="/x/\x1b[2J.py", function="f\x07")]).places

    assert (place.name, place.function) == ("/x/?[2J.py:7", "f?")
