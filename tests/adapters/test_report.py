"""`ttc report`, on records that real searches have written: figures that add up, pages that run nothing."""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from html.parser import HTMLParser

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai_clients import CHAT, async_client
from provider import Provider, Reply

import ttc_middleware as ttc
import ttc_openai
from ttc_cli import _report, main
from ttc_cli._charts import charts
from ttc_cli._demo import console_for
from ttc_cli._figures import UNLISTED, UNNAMED, figures, first_accepted
from ttc_cli._picture import draw
from ttc_cli._report import searches, since
from ttc_cli._searches import search_of
from ttc_cli._spreads import quantile
from ttc_cli._tables import Table, four, headline
from ttc_middleware._context import SETTINGS
from ttc_middleware.seam import record_lines

HOSTILE = "shop:<script>alert(1)</script>[/][red]\x1b[2J"
SHOWN = "shop:<script>alert(1)</script>[/][red]?[2J"


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")


def recorded(folder, work):
    """Run searches with the record on; gives the sum of their bills."""
    before = SETTINGS.prices
    try:
        ttc.configure(record=folder, prices={"m": ttc.Price(input="2", output="10")})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a bill has gaps
            return anyio.run(work)
    finally:
        SETTINGS.recorder, SETTINGS.prices = None, before


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A folder, and the bill of all that is in it."""
    folder = tmp_path_factory.mktemp("runs")

    async def work():
        with ttc.tracking() as bill:
            with Provider(lambda _, number: Reply(text=f"It is {number % 3}", reasoning=1)) as provider:
                async with async_client(provider) as client:
                    await extracts(client)
            await races()
            await votes_on_one_score()
            await sees_nothing()
            await fails()
        return bill

    return folder, recorded(folder, work)


async def extracts(client):
    """Six searches of three samples each, one at a time, with a judge that costs, priced."""

    async def judge(text):
        ttc.record_usage(ttc.Usage(1, 70, 5, 0, 0, Decimal("0.0002"), 0.125))
        return text.endswith("2")

    @ttc.scale(ttc.BestOfN(5, at_once=1), verifier=judge, name="orders.extract")
    async def extract():
        return (await client.chat.completions.create(**CHAT)).choices[0].message.content

    for _ in range(6):
        await extract()


async def races():
    """One wins at once; what the cancelled one has cost, nobody says."""
    with Provider(lambda body, _: Reply(delay=30 if body["temperature"] else 0)) as provider:
        async with async_client(provider) as client:
            race = ttc_openai.wrap(client, ttc.BestOfN(2), verifier=lambda _: True, name="race")
            await race.chat.completions.create(**CHAT, temperature=0)


async def votes_on_one_score():
    """Scores that tell nothing apart, from a function with a hostile name, and no price."""

    @ttc.scale(ttc.BestOfN(3, stop="all"), verifier=lambda _: 0.5, name=HOSTILE)
    async def search():
        ttc.record_usage(ttc.Usage(1, 10, 30))

    for _ in range(5):
        await search()


async def sees_nothing():
    @ttc.scale(ttc.BestOfN(1), verifier=lambda _: True, name="blind")
    async def blind():
        return 1

    await blind()


async def fails():
    @ttc.scale(ttc.BestOfN(2), verifier=lambda _: True, name="breaks")
    async def breaks():
        ttc.record_usage(ttc.Usage(1, 3, 4, 0, 0, Decimal("0.5")))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await breaks()


def told(capsys, *arguments, status=0):
    assert main(["report", *map(str, arguments)]) == status
    said = capsys.readouterr()
    return said.out if status == 0 else said.err


def asked(capsys, *arguments):
    return json.loads(told(capsys, *arguments, "--json"))


def cells(text, title):
    """The rows of a printed table, by their first cell."""
    lines = text[text.index(title) :].splitlines()[1:]
    rows = itertools.takewhile(lambda row: len(row) > 1, (re.split(r" {2,}", line.strip()) for line in lines))
    return {row[0]: row[1:] for row in rows}


# Figures


def test_the_total_is_that_of_the_bills(record, capsys):
    folder, bill = record
    found = asked(capsys, folder)
    assert found["searches"] == 14
    assert found["total"]["tokens"] == bill.total.tokens
    assert found["total"]["calls"] == bill.total.calls
    assert found["gaps"] == dict(bill.gaps)
    assert found["status"] == {"exact": 12, "lower bound": 1, "unknown": 1}


def test_what_nobody_knows_is_said_and_never_0(record, capsys):
    folder, _ = record
    found = asked(capsys, folder)
    rows = {row["name"]: row["spent"] for row in found["by"]["function"]}
    assert rows["blind"]["usd"] is rows["blind"]["tokens"] is None
    assert (rows[SHOWN]["usd"], rows[SHOWN]["tokens"]) == (None, 600)
    assert (rows["race"]["usd_exact"], rows["race"]["tokens_exact"]) == (False, False)
    assert rows["orders.extract"]["usd_exact"]
    text = told(capsys, folder)
    printed = cells(text, "Spend by function")
    assert printed["blind"][3:] == ["unknown", "unknown"]
    assert printed["race"][3].startswith("≥ ")
    assert printed["total"][4].startswith("≥ $")
    assert "12 are exact, 1 a lower bound (≥) and 1 unknown" in text


def test_every_model_has_its_share(record, capsys):
    rows = {row["name"]: row["spent"] for row in asked(capsys, record[0])["by"]["model"]}
    assert set(rows) == {"m", UNNAMED, UNLISTED}
    assert rows["m"]["calls"] == 18 + 2
    assert rows[UNLISTED] == {**rows[UNLISTED], "calls": 0, "tokens": None, "usd": None}


def test_samples_and_dollars_to_acceptance(record, capsys):
    found = asked(capsys, record[0])
    assert found["samples_to_acceptance"] == {"1": 2, "3": 6, "never": 6}
    lines = {row["name"]: row for row in found["by"]["function"]}
    assert lines["orders.extract"]["accepted"] == 6
    each = Decimal(lines["orders.extract"]["spent"]["usd"]) / 6
    printed = cells(told(capsys, record[0]), "What an accepted answer costs")
    assert printed["orders.extract"][:2] == ["6", "6"]
    assert float(printed["orders.extract"][2].lstrip("$")) == pytest.approx(float(each), rel=1e-3)
    assert printed[SHOWN][-1] == "none accepted"
    assert printed["blind"][-1] == "unknown"


def test_hidden_share_and_multiplier_are_those_of_the_searches(record):
    found = figures(since(searches(record_lines(record[0])), None))
    mine = [each for each in searches(record_lines(record[0])) if each.name == "orders.extract"]
    [row] = [row for row in found.by["function"] if row.name == "orders.extract"]
    assert row.hidden == sum(each.total.tokens - each.split["visible"].tokens for each in mine)
    assert row.multiplier == pytest.approx(row.spent.tokens / sum(each.plain for each in mine))
    assert row.multiplier > 10  # a judge reads each of three


def test_what_bought_nothing_is_found(record, capsys):
    found = {each["function"]: each for each in asked(capsys, record[0])["findings"]}
    assert found[SHOWN]["what"] == "never accepted"
    assert found[SHOWN]["at_stake"]["tokens"] == 600
    assert found["orders.extract"]["what"] == "thinking made no difference"
    assert len(found) == 2


def search(name, scores, winner=0, thought=None):
    """What a search would have written."""
    spent = {"calls": 1, "input_tokens": 1, "output_tokens": 9, "usd": "0.01"}
    nothing = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "usd": "0"}
    thoughts = thought or [0] * len(scores)
    return search_of({
        "at": "2026-01-02T03:04:05+00:00", "name": name, "winner": winner, "accepted": 1 in scores,
        "verified": True,
        "samples": [
            {"index": k, "status": "answer", "score": score, "accepted": score == 1,
             "usage": {**spent, "reasoning_tokens": thoughts[k]}}
            for k, score in enumerate(scores)
        ],
        "calls": [{"role": "sample", "sample": k, "usage": spent} for k, _ in enumerate(scores)],
        "bill": {"visible": spent, "discarded": {**spent, "calls": len(scores) - 1, "input_tokens": len(scores) - 1},
                 "reasoning": nothing, "verifying": nothing, "routing": nothing},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "what"),
    [
        ([search("f", [1, 0])] * 9 + [search("f", [0, 1], 1)], ["first sample wins"]),
        ([search("f", [1, 0])] * 8 + [search("f", [0, 1], 1)] * 2, []),
        ([search("f", [1, 1])] * 5, ["all scores equal"]),
        ([search("f", [0, 0])] * 5, ["never accepted"]),
        ([search("f", [0, 0])] * 4, []),
        ([search("f", [0, 1], 1, [5, 5])] * 5, ["thinking made no difference"]),
        ([search("f", [0, 1], 1, [5, 9])] * 5, []),
    ],
)
def test_a_call_site_is_told_on_for_what_its_record_shows(runs, what):
    assert [each.what for each in figures(runs).findings] == what


def test_a_search_in_which_every_sample_failed_costs_the_accepted_answers_too():
    failed = replace(search("f", [None]), samples=())
    found = figures([search("f", [1]), failed, failed])
    assert (found.judged, found.accepted, found.never) == (3, 1, 2)
    assert found.judged_spend == found.total


def test_thinking_that_has_no_price_of_its_own_is_not_told_to_be_free():
    thought = {"calls": 0, "input_tokens": 0, "output_tokens": 5, "usd": "0.000"}
    usage = {"calls": 1, "input_tokens": 1, "output_tokens": 9, "usd": "0.01"}
    line = {**json.loads(LINE), "bill": {"visible": usage, "reasoning": thought}, "calls": [{"usage": usage}]}
    found = figures([search_of(line)])
    split = {part: spent.to_dict() for part, spent in found.split.items()}
    assert split["visible"]["usd"] is split["reasoning"]["usd"] is None
    assert split["unattributed"]["usd"] == found.to_dict()["total"]["usd"] == "0.01"
    assert found.to_dict()["total"]["usd_exact"]


def test_a_search_inside_another_is_on_one_bill_only():
    outer = search("outer", [1])
    assert figures([outer, search_of({**json.loads(LINE), "inside": True})]).total == outer.total


LINE = json.dumps({"at": "2026-01-02T03:04:05+00:00", "name": "inner", "bill": {"visible": {"input_tokens": 7}}})


@given(st.lists(st.integers(0, 9), min_size=1))
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(values):
    for share in (0.5, 0.95, 1.0):
        found = quantile(values, share)
        assert found in values
        assert sum(value <= found for value in values) >= share * len(values)
        assert sum(value < found for value in values) < share * len(values)


USD = st.none() | st.decimals(0, 10, places=12)
USAGES = st.builds(
    lambda given, out, thought, usd, seconds: ttc.Usage(1, given, out, min(out, thought), None, usd, seconds),
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), USD, st.floats(0, 100),
)  # fmt: skip
SAMPLES = st.lists(st.tuples(st.lists(USAGES, max_size=3), st.none() | USAGES, st.booleans()), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from("ab"), SAMPLES), min_size=1, max_size=4))
def test_the_parts_of_every_table_add_up_to_the_bills(tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("runs")

    async def work():
        with ttc.tracking() as bill:
            for name, samples in runs:
                ahead = iter(samples)

                def judge(sample):
                    if sample[1] is not None:
                        ttc.record_usage(sample[1])
                    return sample[2]

                @ttc.scale(ttc.BestOfN(len(samples), stop="all", at_once=1), verifier=judge, name=name)
                async def draw(ahead=ahead):
                    sample = next(ahead)
                    for usage in sample[0]:
                        ttc.record_usage(usage)
                    return sample

                await draw()
        return bill

    bill = recorded(folder, work)
    found = figures(searches(record_lines(folder)))
    total = found.total
    assert (total.calls, total.input, total.output) == (
        bill.total.calls, bill.total.input_tokens, bill.total.output_tokens,
    )  # fmt: skip
    if bill.total.usd is not None:
        assert total.usd == bill.total.usd
    used = [usage for _, samples in runs for own, judged, _ in samples for usage in (*own, judged) if usage is not None]
    assert total.usd == sum((usage.usd for usage in used if usage.usd is not None), Decimal(0))
    assert total.unpriced == sum(usage.usd is None for usage in used) + total.unseen
    tables = [[row.spent for row in rows] for kind, rows in found.by.items() if kind != "verified"]
    for parts in (list(found.split.values()), *tables):
        assert sum(part.calls for part in parts) == total.calls
        assert sum(part.input for part in parts) == total.input
        assert sum(part.output for part in parts) == total.output
        assert sum((part.usd for part in parts), Decimal(0)) == total.usd
        assert sum(part.unseen for part in parts) == total.unseen
    # By model there is nothing to be split, so that a sum of floats is all that differs.
    for parts in (list(found.split.values()), tables[0], tables[2]):
        assert sum((part.seconds for part in parts), Decimal(0)) == total.seconds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("1e99999999"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["usage", "usd", "calls", "score", "verdict", "input_tokens", "seconds", "index", "gap"]), inner
    ),
    max_leaves=8,
)  # fmt: skip
KEYS = ["name", "winner", "seconds", "samples", "calls", "strategy", "accepted", "trace_id"]
BILLS = st.dictionaries(st.sampled_from(["visible", "reasoning", "discarded", "plain", "gaps", "status"]), JSON)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda line, bill, at: {"name": "f", **line, "bill": bill, "at": at},
            st.dictionaries(st.sampled_from(KEYS), JSON),
            BILLS,
            st.sampled_from(["2026-01-01T00:00:00+00:00", "0001-01-01T00:00:00+09:00", "soon", None]),
        ),
        max_size=4,
    )
)
def test_a_record_that_somebody_made_up_breaks_nothing(lines):
    from ttc_cli._page import page  # noqa: PLC0415  # beside what it tests

    found = figures(searches(lines))
    json.dumps(found.to_dict(), allow_nan=False)
    well_formed(page(found))
    assert headline(found)
    assert len(four(found)) == 4


# The command


def test_only_what_is_since_then_counts(record, capsys):
    folder, _ = record
    assert asked(capsys, folder, "--since", "2020-01-01")["searches"] == 14
    at = sorted(each.at for each in searches(record_lines(folder)))
    late = [each for each in at if each >= at[7]]
    assert asked(capsys, folder, "--since", at[7].isoformat())["searches"] == len(late) < 14
    assert "no search is on record" in told(capsys, folder, "--since", "2999-01-01", status=1)
    with pytest.raises(SystemExit):
        main(["report", str(folder), "--since", "yesterday"])
    assert "a date is like 2026-11-22" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["function", "model", "day"])
def test_spend_is_told_by_one_kind_where_that_is_asked(kind, record, capsys):
    text = told(capsys, record[0], "--by", kind)
    assert re.findall(r"Spend by (\w+)", text) == [kind]


def test_days_are_those_of_utc():
    found = figures([search_of({**json.loads(LINE), "at": "2026-01-02T23:30:00-02:00"})])
    assert [row.name for row in found.by["day"]] == ["2026-01-03"]
    assert found.since == datetime(2026, 1, 3, 1, 30, tzinfo=timezone.utc)


def test_a_name_drives_neither_the_terminal_nor_its_markup(record, capsys):
    text = told(capsys, record[0])
    assert SHOWN in text
    assert "\x1b" not in text


def test_a_number_is_in_one_piece_however_narrow_the_terminal(capsys, monkeypatch):
    row = ["shop.orders:extract_the_lines_of_an_invoice", "4,000", "409,909,542"]
    table = Table("Spend", ("function", "model calls", "tokens"), [row])
    monkeypatch.setenv("COLUMNS", "30")
    console = console_for(to_stderr=False)
    console.print(_report.drawn(table, console.width))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 30
    assert said.split()[:8] == ["Spend", "model", "function", "calls", "tokens", row[0][:10], "4,000", "409,909,542"]


def test_what_goes_into_a_file_has_room_for_every_column(record, capsys, monkeypatch):
    wide = told(capsys, record[0])
    monkeypatch.delenv("COLUMNS")
    rows = [cells(text, "Spend by function") for text in (wide, told(capsys, record[0]))]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("command", ["report", "trace"])
def test_an_output_that_has_few_letters_gets_those(record, monkeypatch, command):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    assert main([command, str(record[0])]) == 0
    assert b"breaks" in written.getvalue()


def test_a_terminal_is_told_how_many_lines_have_been_read_and_nobody_else(record, capsys, monkeypatch):
    monkeypatch.setattr(_report, "_STEP", 3)
    assert main(["report", str(record[0])]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["report", str(record[0])]) == 0
    said = capsys.readouterr().err
    assert "\r3 lines read" in said
    assert said.endswith("\r")


def test_where_there_is_no_record_it_says_so(tmp_path, capsys):
    assert "no run record" in told(capsys, tmp_path, status=1)
    (tmp_path / "a.jsonl").write_text('{"v": 1}\nnonsense\n')
    assert "no search is on record" in told(capsys, tmp_path, status=1)


def test_samples_are_counted_to_the_first_accepted_one():
    assert first_accepted(search("f", [0, 1, 1], 1)) == 2
    assert first_accepted(search("f", [0, 0])) is None


def test_the_charts_show_all_of_it(record):
    found = figures(searches(record_lines(record[0])))
    days, split, spread, acceptance = charts(found)
    tops = dict(zip(spread.labels, map(sum, zip(*spread.series.values(), strict=True)), strict=True))
    assert tops["orders.extract"] == pytest.approx(found.spreads["orders.extract"]["tokens"].most)
    assert sum(sum(values) for values in days.series.values()) == record[1].total.tokens
    for k, _ in enumerate(split.labels):
        assert sum(values[k] for values in split.series.values()) == pytest.approx(1)
    assert dict(zip(acceptance.labels, acceptance.said, strict=True)) == {"1": "2", "2": "0", "3": "6", "never": "6"}


def test_a_call_of_which_the_least_is_known_is_in_the_spread_and_counted(record, capsys):
    found = asked(capsys, record[0])["spreads"]
    assert (found["race"]["tokens"]["known"], found["race"]["tokens"]["bounds"]) == (1, 1)
    assert (found["orders.extract"]["tokens"]["known"], found["orders.extract"]["tokens"]["bounds"]) == (6, 0)
    assert "tokens" not in found["blind"]


def test_lines_that_say_nothing_are_counted(record, tmp_path, capsys):
    [file, *_] = record[0].iterdir()
    copy = tmp_path / "a.jsonl"
    copy.write_text(file.read_text()[:-20] + '\n{"v": 2}\n[1]\n', encoding="utf-8")
    assert asked(capsys, copy)["unread_lines"] == {"cut": 2, "of a later version": 1}
    assert "3 lines of the record cannot be read: 2 cut, 1 of a later version." in told(capsys, copy)


def test_many_samples_share_a_bar():
    scores = {k: [0] * (k - 1) + [1] for k in (1, 5, 8, 9, 40)}
    *_, chart = charts(figures([search("f", each, len(each) - 1) for each in scores.values()]))
    said = dict(zip(chart.labels, chart.said, strict=True))
    assert (said["1"], said["5 to 8"], said["9 to 16"], said["33+"], said["never"]) == ("1", "2", "1", "1", "0")


# The page


VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would make of it: its tags, what they would load, and their nesting."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def well_formed(html):
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    return page


def test_the_page_runs_nothing_and_loads_nothing(record, tmp_path, capsys):
    file = tmp_path / "report.html"
    told(capsys, record[0], "--html", file)
    html = file.read_text(encoding="utf-8")
    page = well_formed(html)
    assert "<script" not in html
    assert SHOWN in page.text
    assert "url(" not in html
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")
    assert "default-src 'none'" in html


def test_the_page_has_a_headline_four_figures_four_charts_and_the_tables(record, tmp_path, capsys):
    file = tmp_path / "report.html"
    told(capsys, record[0], "--html", file)
    html = file.read_text(encoding="utf-8")
    page = well_formed(html)
    found = figures(searches(record_lines(record[0])))
    assert headline(found) in page.text
    for name, said in four(found):
        assert {name, said} <= set(page.text)
    charts = re.findall(r"<svg.*?</svg>", html)
    assert len(charts) == 4
    for chart in charts:
        ends = [float(r.get("x")) + float(r.get("width")) for r in ET.fromstring(chart).iter("rect")]
        assert 100 < max(ends) < 720
    assert page.tags.count("table") == 10
    assert {"(prefers-color-scheme: dark)", "@media print"} <= set(re.findall(r"\(prefers[^)]*\)|@media print", html))


# The picture


def test_a_picture_is_drawn(record, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    told(capsys, record[0], "--png", tmp_path / "report.png")
    data = (tmp_path / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000


def test_a_name_in_letters_that_the_picture_lacks_is_drawn_as_boxes_without_a_word(tmp_path):
    pytest.importorskip("matplotlib")
    line = {"v": 1, "at": "2026-11-22T10:00:00Z", "name": "名前", "bill": {"total": {"calls": 1, "input_tokens": 3}}}
    draw(figures(searches([line])), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named_and_nothing_written(record, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    said = told(capsys, record[0], "--png", tmp_path / "a.png", "--html", tmp_path / "a.html", status=1)
    assert 'pip install "ttc-middleware[report]"' in said
    assert list(tmp_path.iterdir()) == []
