"""`ttc trace`, on records that real searches have written."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import anyio
import pytest
from openai_clients import CHAT, async_client
from provider import Provider, Reply

import ttc_middleware as ttc
from ttc_cli import main
from ttc_middleware._context import SETTINGS
from ttc_middleware.seam import record_lines


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")


@pytest.fixture
def folder(tmp_path):
    before = SETTINGS.prices
    ttc.configure(record=tmp_path / "runs", prices={"m": ttc.Price(input="2", output="10")})
    yield tmp_path / "runs"
    SETTINGS.recorder, SETTINGS.prices = None, before


def told(capsys, *arguments, status=0):
    assert main(["trace", *map(str, arguments)]) == status
    said = capsys.readouterr()
    return said.out if status == 0 else said.err


def asked(name="ask", *, n=3, right="2"):
    """Searches one answer after the other, with a judge that costs."""

    async def work():
        with Provider(lambda _, number: Reply(text=f"It is {number % 3}", reasoning=1)) as provider:
            async with async_client(provider, max_retries=0) as client:

                async def judge(text):
                    ttc.record_usage(ttc.Usage(1, 70, 5, 0, 0, Decimal("0.0002"), 0.125))
                    return text.endswith(right)

                @ttc.scale(ttc.BestOfN(n, at_once=1), verifier=judge, name=name)
                async def ask():
                    return (await client.chat.completions.create(**CHAT)).choices[0].message.content

                return await ask.run()

    return anyio.run(work)


def test_a_search_is_a_tree_of_samples_calls_and_verifications(folder, capsys):
    result = asked()
    lines = told(capsys, folder).splitlines()

    head, *below = lines
    assert head.startswith("ask BestOfN(3, at_once=1) accepted (accepted), ")
    total = result.bill.total
    assert f"{total.tokens:,} tokens" in head
    assert f"{result.bill.multiplier:.1f} x one plain call" in head
    assert re.search(r"\$0\.00\d+, ", head)
    samples = [line for line in below if re.match(r"[├└]", line)]
    assert [re.findall(r"sample \d", line) for line in samples] == [["sample 0"], ["sample 1"], ["sample 2"]]
    assert ["★" in line for line in samples] == [False, False, True]
    assert [re.search("accepted|rejected", line)[0] for line in samples] == ["rejected", "rejected", "accepted"]
    assert all("▇" in line for line in samples)
    own = [line for line in below if re.search(r"─ m \d+ in, \d+ out \(1 of them thinking\), \$0", line)]
    judged = [line for line in below if "verified, 75 tokens, $0.0002000" in line]
    assert (len(own), len(judged)) == (3, 3)
    assert len([line for line in below if "70 in, 5 out" in line]) == 3


def test_the_last_come_last(folder, capsys):
    for name in ("first", "second", "third"):
        asked(name, n=1)
    heads = re.findall(r"^(\w+) BestOfN", told(capsys, folder, "--last", "2"), re.MULTILINE)
    assert heads == ["second", "third"]
    [file] = folder.iterdir()
    assert re.findall(r"^(\w+) BestOfN", told(capsys, file), re.MULTILINE) == ["third"]
    assert "--last must be at least 1, got 0" in told(capsys, folder, "--last", "0", status=1)


def test_a_search_is_found_by_the_id_of_its_span_or_trace(folder, capsys):
    for name in ("first", "second"):
        asked(name, n=1)
    lines = [{**line, "span_id": f"{k:015x}a", "trace_id": f"{7:032x}"} for k, line in enumerate(record_lines(folder))]
    file = folder.parent / "traced.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert told(capsys, file, "--id", f"{1:015X}A").startswith("second BestOfN")
    assert told(capsys, file, "--id", f"{7:032x}").count("BestOfN") == 2
    assert "no such search" in told(capsys, file, "--id", "ffff", status=1)


@pytest.mark.filterwarnings("ignore")
def test_what_failed_what_broke_and_what_nobody_saw_is_told(folder, capsys):
    async def broken(_):
        raise LookupError

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=broken, name="blind [/] \x1b[2J")
    async def blind():
        return 1

    anyio.run(blind)
    text = told(capsys, folder)
    assert text.startswith("blind [/] ?[2J BestOfN(2, stop='all') not accepted")
    assert "unknown tokens, unknown dollars" in text
    assert "not observed: 1 nothing observed" in text
    assert text.count("the verifier broke") == 2
    assert "\x1b" not in text

    @ttc.scale(ttc.BestOfN(1), verifier=lambda _: True, name="breaks")
    async def breaks():
        ttc.record_usage(ttc.Usage(1, 3, 4))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        anyio.run(breaks)
    text = told(capsys, folder)
    assert "ZeroDivisionError" in text.splitlines()[0]
    assert "sample 0 failed (error)" in text
    assert "unknown dollars" in text


@pytest.mark.filterwarnings("ignore")
def test_a_sample_that_was_cancelled_is_there_with_what_it_had_called(folder, capsys):
    async def work():
        with Provider(lambda _, number: Reply(delay=30 if number else 0)) as provider:
            async with async_client(provider) as client:

                @ttc.scale(ttc.BestOfN(2), verifier=lambda _: True, name="race")
                async def race():
                    await client.chat.completions.create(**CHAT)

                await race()

    anyio.run(work)
    text = told(capsys, folder)
    assert text.count("not finished") == 1
    assert "cancelled" in text
    assert "(lower bound)" in text


def test_a_routing_call_hangs_on_the_search(folder, capsys):
    usage = {"calls": 1, "input_tokens": 11, "output_tokens": 2, "usd": "0.5"}
    line = {
        "v": 1, "at": "2026-01-02T03:04:05+00:00", "name": "routed", "bill": {"routing": usage},
        "calls": [{"role": "routing", "model": "small", "answered": True, "usage": usage}],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text(json.dumps(line))
    assert "routing small 11 in, 2 out, $0.5000" in told(capsys, folder)
