from __future__ import annotations

import json
import os
import re
import threading
from enum import Enum
from pathlib import Path

import anyio
import pytest
from fake_model import Model
from hypothesis import given
from hypothesis import strategies as st

import ttc_middleware as ttc
from ttc_middleware.verifiers._kept import Folder, Recent, canonical, entry, verdict_in
from ttc_middleware.verifiers.cached import Cached
from ttc_middleware.verifiers.combined import All
from ttc_middleware.verifiers.schema import Schema

pytestmark = pytest.mark.anyio


class Counts:
    """A verifier that says what a function says, and counts."""

    soft = True
    parameters = frozenset({"question"})

    def __init__(self, says=lambda output: len(output) / 10):
        self.says = says
        self.asked = []

    async def check(self, output, *, arguments):
        self.asked.append((output, dict(arguments)))
        await anyio.lowlevel.checkpoint()
        return self.says(output)


CALL = {"question": "why?"}


async def ask(cached, output="yes", arguments=None):
    return await cached.check(output, arguments=CALL if arguments is None else arguments)


# What is remembered.


async def test_an_equal_answer_to_an_equal_call_is_judged_once():
    counts = Counts()
    cached = Cached(counts)
    assert [(await ask(cached)).score for _ in range(3)] == [0.3] * 3
    assert len(counts.asked) == 1


async def test_another_answer_or_another_call_is_judged_anew():
    counts = Counts()
    cached = Cached(counts)
    others = [("no", CALL), (" yes", CALL), ("yes", {}), ("yes", {**CALL, "more": None})]
    for output, arguments in [("yes", CALL), *others, ("yes", {"question": "how?"}), ("yes", {"question": ["why?"]})]:
        await ask(cached, output, arguments)
    assert len(counts.asked) == 7


@pytest.mark.parametrize(
    "said",
    [ttc.Verdict(0.5, "half"), ttc.Verdict(0.5, accepted=False), ttc.Verdict(0.5, accepted=True, trust="weak"),
     ttc.Verdict(1.0, "\ud800\x00\n"), True, False, 1, 0.25],
)  # fmt: skip
async def test_a_verdict_comes_back_as_it_was_said(said, tmp_path):
    counts = Counts(lambda output: said)
    for cached in (Cached(counts), Cached(counts, Folder(tmp_path), version="1")):
        first, second = await ask(cached), await ask(cached)
        assert first == second
        if isinstance(said, ttc.Verdict):
            assert first == said
        else:
            assert first.accepted is (said if isinstance(said, bool) else None)
    assert len(counts.asked) == 2


async def test_a_remembered_verdict_costs_nothing():
    usage = ttc.Usage(calls=1, input_tokens=10)
    cached = Cached(Counts(lambda output: ttc.Verdict(1.0, usage=usage)))
    assert [(await ask(cached)).usage for _ in range(2)] == [usage, None]


async def test_a_failure_is_never_remembered():
    said = [RuntimeError("gone"), ttc.Verdict(0.0, failed=True), True]

    def says(output):
        each = said.pop(0)
        if isinstance(each, Exception):
            raise each
        return each

    cached = Cached(Counts(says))
    with pytest.raises(RuntimeError, match="gone"):
        await ask(cached)
    assert (await ask(cached)).failed
    assert (await ask(cached)).accepted
    assert said == []


class Colour(Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


ITSELF: list = []
ITSELF.append(ITSELF)
DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "other",
    [object(), b"x", (1,), {1}, {1: 2}, Colour.RED, Text("x"), float("nan"), float("inf"), [(1,)],
     {"a": {"b": object()}}, ITSELF, DEEP, 10**5000],
    ids=range(14),
)  # fmt: skip
async def test_what_is_no_json_data_is_judged_each_time(other):
    counts = Counts(lambda output: True)
    cached = Cached(counts)
    for output, arguments in ((other, CALL), ("yes", {"question": other})):
        counts.asked.clear()
        for _ in range(2):
            assert (await ask(cached, output, arguments)).accepted
        assert len(counts.asked) == 2


json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b and str(a) == str(b)


@given(json_data, json_data)
def test_equal_data_and_nothing_else_has_an_equal_form(a, b):
    assert (canonical(a) == canonical(b)) == same(a, b)


@given(st.dictionaries(st.text(), json_data, max_size=4))
def test_the_order_of_keys_makes_no_difference(data):
    assert canonical(data) == canonical(dict(reversed(data.items())))


# What a function can see.


async def test_a_function_is_asked_again_only_where_what_it_sees_is_another():
    asked = []

    def check(output, question, limit=3):
        asked.append((output, question, limit))
        return True

    cached = Cached(check)
    assert cached.parameters == {"question"}
    for more in ({}, {"unseen": 1}, {"unseen": object()}, {"limit": 3}, {"limit": 4}):
        await ask(cached, "yes", {**CALL, **more})
    assert asked == [("yes", "why?", 3), ("yes", "why?", 3), ("yes", "why?", 4)]


async def test_a_function_of_everything_sees_everything():
    asked = []
    cached = Cached(lambda output, **arguments: asked.append(arguments) or True)
    for more in ({}, {"a": 1}, {"a": 1}):
        await ask(cached, "yes", {**CALL, **more})
    assert len(asked) == 2


def test_a_verifier_that_looks_at_the_sample_is_refused():
    def check(sample: ttc.Sample) -> bool: ...

    for verifier in (check, All(check)):
        with pytest.raises(TypeError, match="looks at the sample"):
            Cached(verifier)
    with pytest.raises(TypeError, match="a verifier must be"):
        Cached(7)


def test_it_is_to_others_what_its_verifier_is():
    cached = Cached(Schema(int))
    assert json.JSONDecodeError in cached.rejects
    assert "not JSON" in cached.explain(json.JSONDecodeError("bad", "x", 0))
    assert (cached.soft, cached.kind) == (False, "hard")
    assert (Cached(Counts()).soft, Cached(All(Counts(), Schema(int))).kind) == (True, "mixed")


async def test_it_can_hold_a_composition():
    counts = Counts(lambda output: ttc.Verdict(0.5, accepted=True))
    cached = Cached(All(Schema(int), counts))
    for _ in range(2):
        assert (await ask(cached, "7")).accepted
    assert len(counts.asked) == 1


# One check for all who wait.


async def waiting(cached, *, times, outputs=("yes",)):
    """How each of several checks at the same time ended."""
    ended = []

    async def one(output):
        try:
            ended.append(await ask(cached, output))
        except (OSError, ttc.VerifierFailed) as error:
            ended.append(error)

    async with anyio.create_task_group() as group:
        for place in range(times):
            group.start_soon(one, outputs[place % len(outputs)])
    return ended


async def test_equal_answers_at_the_same_time_are_judged_once():
    counts = Counts()
    ended = await waiting(Cached(counts), times=20, outputs=("yes", "no"))
    assert sorted(each.score for each in ended) == [0.2] * 10 + [0.3] * 10
    assert len(counts.asked) == 2


async def test_only_who_asked_has_paid():
    usage = ttc.Usage(calls=1, input_tokens=10)
    ended = await waiting(Cached(Counts(lambda output: ttc.Verdict(1.0, usage=usage))), times=3)
    assert [each.usage for each in ended].count(usage) == 1
    assert [each.usage for each in ended].count(None) == 2


async def test_a_search_with_many_equal_samples_judges_each_answer_once():
    counts = Counts(lambda output: ttc.Verdict(0.1, accepted=False))
    model = Model(lambda body, number: "ab"[number % 2])

    @ttc.scale(ttc.BestOfN(8), verifier=Cached(counts))
    async def answer(question: str) -> str:
        return await model(question)

    result = await answer.run("why?")
    assert len(result.samples) == 8
    assert sorted(output for output, _ in counts.asked) == ["a", "b"]


class Waits:
    """A verifier that waits to be let go on."""

    def __init__(self, says=lambda number: True):
        self.says = says
        self.began = 0
        self.by = None
        self.go = anyio.Event()

    async def check(self, output, *, arguments):
        self.began += 1
        self.by = anyio.get_current_task().id
        number = self.began
        await self.go.wait()
        return self.says(number)


async def until(condition):
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110  # of what other tasks do, whatever it is
            await anyio.sleep(0.001)


async def test_whoever_waits_goes_on_where_the_first_is_cancelled():
    waits = Waits()
    cached = Cached(waits)
    ended = []
    scopes = {}

    async def one():
        with anyio.CancelScope() as scope:
            scopes[anyio.get_current_task().id] = scope
            ended.append(await ask(cached))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
        await until(lambda: len(scopes) == 4)
        await anyio.wait_all_tasks_blocked()
        assert waits.began == 1
        scopes.pop(waits.by).cancel()
        await until(lambda: waits.began == 2)  # another one does it
        next(scope for task, scope in scopes.items() if task != waits.by).cancel()  # one that waits
        await anyio.wait_all_tasks_blocked()
        assert waits.began == 2
        waits.go.set()
    assert [each.accepted for each in ended] == [True, True]
    assert waits.began == 2
    assert cached._flights == {}


async def test_where_the_check_fails_all_who_wait_have_failed_and_the_next_is_asked_anew():
    def says(number):
        if number == 1:
            raise OSError("gone")
        return True

    waits = Waits(says)
    cached = Cached(waits)

    async with anyio.create_task_group() as group:
        ended = []

        async def all_of_them():
            ended.extend(await waiting(cached, times=3))

        group.start_soon(all_of_them)
        await until(lambda: waits.began == 1)
        await anyio.wait_all_tasks_blocked()
        waits.go.set()
    assert sorted(type(each).__name__ for each in ended) == ["OSError", "VerifierFailed", "VerifierFailed"]
    assert all("gone" in str(each) for each in ended)
    assert waits.began == 1
    assert (await ask(cached)).accepted


async def test_a_failed_verdict_goes_to_all_who_wait():
    waits = Waits(lambda number: ttc.Verdict(0.0, failed=True) if number == 1 else True)
    cached = Cached(waits)
    ended = []

    async def all_of_them():
        ended.extend(await waiting(cached, times=3))

    async with anyio.create_task_group() as group:
        group.start_soon(all_of_them)
        await until(lambda: waits.began == 1)
        await anyio.wait_all_tasks_blocked()
        waits.go.set()
    assert [each.failed for each in ended] == [True] * 3
    assert waits.began == 1


def test_loops_in_several_threads_share_what_is_remembered():
    counts = Counts()
    cached = Cached(counts)

    def run():
        for _ in range(20):
            assert anyio.run(ask, cached).score == 0.3

    threads = [threading.Thread(target=run) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert 1 <= len(counts.asked) <= 4


# Where it is kept.


async def test_without_a_version_nothing_is_shared_in_one_store():
    store = {}
    yes, no = Counts(lambda output: True), Counts(lambda output: False)
    assert (await ask(Cached(yes, store))).accepted
    assert not (await ask(Cached(no, store))).accepted
    assert len(store) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in store)


async def test_what_has_the_same_version_is_shared_and_another_is_not():
    store = {}
    counts = Counts()
    for version in ("1", "1", "2"):
        await ask(Cached(counts, store, version=version))
    assert len(counts.asked) == 2

    async def other(output):
        return True

    await ask(Cached(other, store, version="1"))
    assert len(store) == 3


@pytest.mark.parametrize(
    "poison",
    ["", "no json", "null", "[]", "{}", '{"score": 1.0}', "[" * 50_000,
     '{"form": 2, "score": 1.0, "feedback": null, "accepted": true, "trust": "strong"}',
     '{"form": 1, "score": 7.0, "feedback": null, "accepted": true, "trust": "strong"}',
     '{"form": 1, "score": NaN, "feedback": null, "accepted": true, "trust": "strong"}',
     '{"form": 1, "score": "1", "feedback": null, "accepted": true, "trust": "strong"}',
     '{"form": 1, "score": true, "feedback": null, "accepted": true, "trust": "strong"}',
     '{"form": 1, "score": 1.0, "feedback": 7, "accepted": true, "trust": "strong"}',
     '{"form": 1, "score": 1.0, "feedback": null, "accepted": 1, "trust": "strong"}',
     '{"form": 1, "score": 1.0, "feedback": null, "accepted": true, "trust": "blind"}',
     '{"form": 1, "score": 1.0, "feedback": null, "accepted": true, "trust": ["strong"]}',
     '{"form": 1, "score": 1.0, "feedback": null, "accepted": true, "trust": "strong", "failed": false}',
     b"bytes", 7, None],
    ids=range(20),
)  # fmt: skip
async def test_what_is_no_verdict_in_a_store_is_as_good_as_not_there(poison):
    store = {}
    counts = Counts()
    cached = Cached(counts, store)
    await ask(cached)
    (key,) = store
    store[key] = poison
    assert (await ask(cached)).score == 0.3
    assert len(counts.asked) == 2
    assert verdict_in(store[key]) == ttc.Verdict(0.3)


@given(st.text())
def test_no_text_breaks_the_reading(text):
    assert verdict_in(text) is None or entry(verdict_in(text))


class Broken(dict):
    def get(self, key, default=None):
        raise OSError("the disk is gone")

    def __setitem__(self, key, value):
        raise OSError("the disk is full")


async def test_a_store_that_breaks_is_a_warning_and_loses_no_verdict():
    cached = Cached(Counts(), Broken())
    with pytest.warns(UserWarning, match=r"cannot be (read|written): OSError: the disk is"):
        assert (await ask(cached)).score == 0.3


def test_memory_holds_the_entries_that_were_used_last():
    recent = Recent(2)
    recent["a"], recent["b"] = "1", "2"
    assert recent["a"] == "1"
    recent["c"] = "3"
    assert sorted(recent) == ["a", "c"]
    del recent["a"]
    assert (len(recent), recent.get("a")) == (1, None)


# On disk.

KEY = b"0123456789abcdef"


@pytest.mark.parametrize("key", [None, KEY])
async def test_a_folder_outlives_the_process(tmp_path, key):
    counts = Counts()
    for _ in range(2):
        assert (await ask(Cached(counts, Folder(tmp_path / "verdicts", key=key), version="1"))).score == 0.3
    assert len(counts.asked) == 1


def test_a_folder_needs_a_version_and_a_key_that_is_one(tmp_path):
    with pytest.raises(ValueError, match="version= must say"):
        Cached(Counts(), Folder(tmp_path))
    with pytest.raises(ValueError, match="at least 16 bytes, not 3"):
        Folder(tmp_path, key=b"abc")
    assert "0123456789" not in repr(Folder(tmp_path, key=KEY))


def test_a_folder_is_made_when_it_is_first_written_to(tmp_path):
    folder = Folder(tmp_path / "a" / "b")
    digest = "0" * 64
    assert (folder.get(digest), len(folder), list(folder)) == (None, 0, [])
    assert not (tmp_path / "a").exists()
    folder[digest] = "x"
    assert (folder[digest], len(folder), list(folder)) == ("x", 1, [digest])
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == [f"{digest}.json"]
    del folder[digest]
    assert digest not in folder
    with pytest.raises(KeyError):
        del folder[digest]


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "/etc/passwd", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 63 + "/", "0" * 64 + "\n"]
)
def test_only_a_digest_becomes_a_file_name(tmp_path, name):
    folder = Folder(tmp_path / "verdicts")
    with pytest.raises(KeyError):
        folder[name] = "x"
    with pytest.raises(KeyError):
        folder[name]
    assert list(tmp_path.iterdir()) == []


def spoiled(file: Path, how: str) -> None:
    content = file.read_bytes()
    file.unlink()
    if how == "a link":
        other = file.with_name("other")
        other.write_bytes(content)
        file.symlink_to(other)
    elif how == "a folder":
        file.mkdir()
    elif how == "a pipe":
        os.mkfifo(file)
    else:
        file.write_bytes({"cut": content[:-5], "huge": content + b" " * (1 << 17), "no text": b"\xff\xfe"}[how])


@pytest.mark.parametrize("how", ["a link", "a folder", "a pipe", "cut", "huge", "no text"])
async def test_what_is_no_whole_file_of_ours_is_as_good_as_not_there(tmp_path, how):
    counts = Counts()
    cached = Cached(counts, Folder(tmp_path), version="1")
    await ask(cached)
    (file,) = tmp_path.glob("*.json")
    spoiled(file, how)
    if how == "a folder":
        with pytest.warns(UserWarning, match="cannot be written"):
            assert (await ask(cached)).score == 0.3
    else:
        assert (await ask(cached)).score == 0.3
    assert len(counts.asked) == 2


@pytest.mark.parametrize(
    "poison",
    [lambda content, other: content.replace(b'"score": 0.3', b'"score": 1.0'),  # changed
     lambda content, other: content.partition(b"\n")[2],  # without the HMAC
     lambda content, other: b"0" * 64 + b"\n" + content.partition(b"\n")[2],
     lambda content, other: other,  # that of another answer
     lambda content, other: b"",
     lambda content, other: "é".encode() + content],
    ids=["changed", "bare", "made up", "moved", "empty", "not ascii"],
)  # fmt: skip
async def test_with_a_key_nobody_else_can_make_up_a_verdict(tmp_path, poison):
    counts = Counts()
    cached = Cached(counts, Folder(tmp_path, key=KEY), version="1")
    await ask(cached)
    (file,) = tmp_path.glob("*.json")
    await ask(cached, "another")
    (other,) = (each for each in tmp_path.glob("*.json") if each != file)
    file.write_bytes(poison(file.read_bytes(), other.read_bytes()))
    assert (await ask(cached)).score == 0.3
    assert len(counts.asked) == 3


@pytest.mark.parametrize(("first", "second"), [(KEY, None), (None, KEY), (KEY, KEY[::-1])])
async def test_what_another_key_has_signed_is_not_read(tmp_path, first, second):
    counts = Counts()
    for key in (first, second):
        await ask(Cached(counts, Folder(tmp_path, key=key), version="1"))
    assert len(counts.asked) == 2


def test_a_writer_that_dies_leaves_the_old_entry(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    digest = "0" * 64
    folder[digest] = "old"

    def dies(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        folder[digest] = "new"
    assert folder[digest] == "old"
    assert [each.name for each in tmp_path.iterdir()] == [f"{digest}.json"]
