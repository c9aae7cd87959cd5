"""The run record: a line for each search, whole, without content, and never in the way."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
from decimal import Decimal

import anyio
import pytest

import ttc_middleware as ttc
from ttc_middleware import _record
from ttc_middleware._context import SETTINGS
from ttc_middleware._record import Recorder, lines

pytestmark = pytest.mark.anyio

SECRET = "the canary sings"


@pytest.fixture
def folder(tmp_path):
    ttc.configure(record=tmp_path / "runs")
    yield tmp_path / "runs"
    SETTINGS.recorder = None


def says_anything(said):
    return bool(said)


def ends_with_2(said):
    return said.endswith("2")


def asking(verifier=ends_with_2, strategy=None):
    count = iter(range(100))

    @ttc.scale(strategy or ttc.BestOfN(3, stop="all", at_once=1), verifier=verifier, name="ask")
    async def ask(question):
        number = next(count)
        ttc.record_usage(ttc.Usage(1, 10, 20, 5, 0, Decimal("0.001")))
        return f"{question} {number}"

    return ask


async def test_a_search_is_a_line_with_its_samples_calls_and_bill(folder):
    with ttc.tags(user="ada"):
        result = await asking().run(SECRET)
    [line] = lines(folder)
    assert (line["name"], line["accepted"], line["winner"], line["stop_reason"]) == ("ask", True, 2, "accepted")
    assert line["bill"] == result.bill.to_dict()
    assert [sample["score"] for sample in line["samples"]] == [0, 0, 1]
    assert line["tags"] == {"user": "ada"}
    calls = line["calls"]
    assert [call["sample"] for call in calls] == [0, 1, 2]
    assert sum(Decimal(call["usage"]["usd"]) for call in calls) == result.bill.total.usd
    assert sum(call["usage"]["output_tokens"] for call in calls) == result.bill.total.output_tokens


async def test_no_content_is_in_it_unless_asked_for(folder, tmp_path):
    await asking().run(SECRET)
    assert SECRET not in "".join(file.read_text() for file in folder.iterdir())
    ttc.configure(record=tmp_path / "more", record_content=True)
    await asking().run(SECRET)
    [line] = lines(tmp_path / "more")
    assert line["content"] == {"question": SECRET}
    assert line["samples"][2]["content"]["output"] == f"{SECRET} 2"


async def test_a_failure_is_recorded_by_its_type(folder):
    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=says_anything, name="breaks")
    async def breaks():
        ttc.record_usage(ttc.Usage(1, 1, 1))
        raise ZeroDivisionError(SECRET)

    with pytest.raises(ZeroDivisionError):
        await breaks()
    [line] = lines(folder)
    assert line["error"] == "ZeroDivisionError"
    assert line["bill"]["total"]["calls"] == 2
    assert SECRET not in json.dumps(line)


async def test_a_search_that_is_cancelled_is_recorded_too(folder):
    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=says_anything, name="waits")
    async def waits():
        ttc.record_usage(ttc.Usage(1, 1, 1))
        await anyio.sleep_forever()

    with anyio.move_on_after(0.05):
        await waits()
    [line] = lines(folder)
    assert line["bill"]["total"]["calls"] == 2


@pytest.mark.filterwarnings("error")
async def test_judges_are_told_apart(folder):
    async def judge(said):
        ttc.record_usage(ttc.Usage(1, 7, 3))
        return 1.0

    await asking(judge, ttc.BestOfN(1)).run("x")
    [line] = lines(folder)
    assert [call["role"] for call in line["calls"]] == ["sample", "verifier"]


async def test_a_record_that_cannot_be_written_costs_a_warning_and_no_answer(folder, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.warns(UserWarning, match="has gaps: No space left"):
        assert await asking()("x") == "x 2"


def test_lines_of_many_threads_are_whole(tmp_path):
    recorder = Recorder(tmp_path)

    def write(number):
        for _ in range(50):
            recorder.write({"number": number, "filling": "é" * 2000})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert len(list(lines(tmp_path))) == 400


def test_a_file_that_has_grown_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(_record, "LARGEST", 1000)
    recorder = Recorder(tmp_path)
    for _ in range(5):
        recorder.write({"filling": "x" * 400})
    recorder.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert len(list(lines(tmp_path))) == 5
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())


def test_a_forked_process_has_a_file_of_its_own(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.write({"by": "parent"})
    pid = os.fork()
    if not pid:
        recorder.write({"by": "child"})
        os._exit(0)
    os.waitpid(pid, 0)
    recorder.write({"by": "parent"})
    recorder.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(line["by"] for line in lines(tmp_path)) == ["child", "parent", "parent"]


def test_a_process_that_is_forked_while_a_line_is_being_written_does_not_wait_for_it(tmp_path):
    recorder = Recorder(tmp_path)
    with recorder._lock:
        pid = os.fork()
        if not pid:
            signal.alarm(20)
            recorder.write({"by": "child"})
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


def test_a_line_that_a_crash_has_cut_is_skipped(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"v": 1, "name": "a"}\n{"v": 2}\nnonsense\n[1]\n{"v": 1, "na')
    assert [line["name"] for line in lines(tmp_path)] == ["a"]
    with pytest.raises(FileNotFoundError, match="no run record"):
        list(lines(tmp_path / "nothing"))


def test_a_line_for_which_there_was_no_room_is_told_and_takes_no_other_with_it(tmp_path):
    recorder = Recorder(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    recorder.write({"name": "a"})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # stands in for a disk that is full after 100 bytes
        for _ in range(2):
            with pytest.raises(OSError, match=r"cut|too large"):
                recorder.write({"name": "b", "filling": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    recorder.write({"name": "c"})
    recorder.close()
    skipped = []
    assert [line["name"] for line in lines(tmp_path, skipped.append)] == ["a", "c"]
    assert skipped == ["cut"]


class Mute:
    def __repr__(self):
        raise RuntimeError("nothing to say")


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("nothing to say")


def ring():
    inside = {"a": 1}
    inside["itself"] = [inside]
    return inside


def well():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({(1, 2): 3}, {"(1, 2)": 3}),
        (ring(), {"a": 1, "itself": ["…"]}),
        (Mute(), "<Mute>"),
        ("\ud800", "\ud800"),
        ({"n": 10**5000, (): None}, {"n": "<int>", "()": None}),
    ],
)
async def test_content_that_json_has_no_form_for_is_told_as_well_as_can_be(tmp_path, odd, said):
    @ttc.scale(ttc.BestOfN(2), verifier=says_anything, name="odd")
    async def ask(question):
        ttc.record_usage(ttc.Usage(1, 1, 1))
        return "yes"

    ttc.configure(record=tmp_path, record_content=True)
    try:
        assert await ask(odd) == "yes"
    finally:
        SETTINGS.recorder = None
    [line] = lines(tmp_path)
    assert line["content"] == {"question": said}


async def test_no_content_breaks_the_call(tmp_path):
    numbers = iter(range(2))

    @ttc.scale(ttc.BestOfN(2, stop="all"), verifier=lambda output: True, name="deep")
    async def deep(question):
        ttc.record_usage(ttc.Usage(1, 1, 1))
        if next(numbers):
            raise MuteError
        return question

    ttc.configure(record=tmp_path, record_content=True)
    try:
        with pytest.warns(UserWarning, match="has gaps: RuntimeError"):
            assert await deep(odd := well()) is odd
    finally:
        SETTINGS.recorder = None


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        ttc.configure(record=tmp_path / "file" / "runs")


async def test_a_search_inside_another_says_so(folder):
    inner = asking(strategy=ttc.BestOfN(1))

    @ttc.scale(ttc.BestOfN(1), verifier=says_anything, name="outer")
    async def outer():
        return (await inner.run("x")).output

    await outer()
    assert [(line["name"], line.get("inside", False)) for line in lines(folder)] == [("ask", True), ("outer", False)]
