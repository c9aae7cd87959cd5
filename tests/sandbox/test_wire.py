from __future__ import annotations

import contextlib
import json
import marshal
import math
import runpy
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttc_middleware.sandbox import _seccomp, _wire
from ttc_middleware.sandbox._wire import BadFrame, pack, plain, rebuild, unpack

worker = runpy.run_path(str(Path(_wire.__file__).with_name("_worker.py")))

atoms = (
    st.none() | st.booleans() | st.integers() | st.integers(min_value=-(1 << 300), max_value=1 << 300)
    | st.floats(allow_nan=False) | st.text() | st.binary() | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(categories=["Cs"]))
)  # fmt: skip
keys = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=4)
values = st.recursive(
    keys,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.sets(keys) | st.dictionaries(keys, inner),
    max_leaves=12,
)


def exactly(one, other):
    """Equal, and of equal types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(exactly, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(exactly(one[key], other[key]) for key in one)
    return one == other and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))


@given(values)
def test_what_crosses_comes_out_as_it_went_in(value):
    plain(value)
    crossed = rebuild(unpack(f"[0,{worker['encode'](value)}]".encode())[1])
    assert exactly(crossed, value)
    frame = pack((1, value))
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert exactly(marshal.loads(frame[4:])[1], value)


def test_nan_crosses_and_equals_nothing():
    crossed = rebuild(json.loads(worker["encode"]([float("nan")])))
    assert math.isnan(crossed[0])
    assert crossed != [math.nan]


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_noise_is_refused_and_nothing_else(noise):
    with contextlib.suppress(BadFrame):
        for part in unpack(noise):
            rebuild(part)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from("ltszdifcb"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=1), inner, max_size=2),
    max_leaves=20,
)


@given(trees)
def test_any_json_is_refused_or_becomes_plain_data(tree):
    with contextlib.suppress(BadFrame):
        plain(rebuild(tree))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"1", b"null", b"[", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e400" + b"0" * 40 + b"]",
        b"[" * 100_000, b"[" + b"9" * 100_000 + b"]", b"[0." + b"1" * 100_000 + b"]", b'["\xff"]', '["é"]'.encode(),
        b"\xef\xbb\xbf[]", "[1]".encode("utf-16"), b"[1] x",
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_frames_that_are_none_are_refused(body):
    with pytest.raises(BadFrame):
        unpack(body)


@pytest.mark.parametrize(
    "tree",
    [
        [], [1], ["x"], ["l", {}], ["i"], ["i", 5], ["i", "x"], ["i", "1", 16], ["f", "one"], ["f", 1], ["f", ["l"]],
        ["b", "0"], ["b"], ["u", "ff"], ["c", 1.0], ["c", 1, 2], ["c", "1", "2"], ["d", 1], ["s", ["l"]],
        ["d", ["l"], 1],         ["z", ["d"]], [["l"]], {"l": []},
        ["s", *[i * (2**61 - 1) for i in range(40)]],
        ["d", *[x for i in range(40) for x in (["i", f"{i * (2**61 - 1):x}"], 1)]],
    ],
    ids=lambda tree: repr(tree)[:20],
)  # fmt: skip
def test_values_that_are_none_are_refused(tree):
    with pytest.raises(BadFrame):
        rebuild(tree)


def test_values_nest_64_deep_and_no_deeper():
    deep = 1
    for _ in range(64):
        deep = [deep]
    plain(deep)
    tree = json.loads(worker["encode"](deep))
    assert rebuild(tree) == deep
    with pytest.raises(TypeError, match="64"):
        plain([deep])
    with pytest.raises(BadFrame):
        rebuild(["l", tree])
    with pytest.raises(worker["Misfit"]):
        worker["encode"]([deep])


class Sub(int):
    pass


@pytest.mark.parametrize(
    "value",
    [object(), Sub(1), [Sub(1)], {Sub(1): 1}, bytearray(b""), range(3), print, ...],
    ids=lambda value: f"{type(value).__name__} {value!r:.5}",
)
def test_only_exact_builtins_go_in(value):
    with pytest.raises(TypeError, match="plain data"):
        plain(value)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_a_valid_program(machine):
    code = list(struct.iter_unpack("<HBBI", _seccomp.program(machine)))
    assert 100 < len(code) < 4096  # the kernel's BPF_MAXINSNS
    for place, (operation, yes, no, _) in enumerate(code):
        assert operation in (0x20, 0x15, 0x35, 0x45, 0x06)
        if operation in (0x15, 0x35, 0x45):
            assert place + 1 + max(yes, no) < len(code)
    assert code[-1] == (0x06, 0, 0, 0x00050001)  # whatever is not named: EPERM


def simulate(code, number, args=(), arch=0xC000003E):
    """What the kernel would say, by running the filter."""
    words = {0: number, 4: arch}
    for place in range(6):
        value = args[place] if place < len(args) else 0
        words[16 + 8 * place], words[20 + 8 * place] = value & 0xFFFFFFFF, value >> 32
    accumulator = place = 0
    while True:
        operation, yes, no, k = code[place]
        if operation == 0x06:
            return {0x7FFF0000: "allow", 0x80000000: "kill", 0x00050001: "EPERM", 0x00050026: "ENOSYS"}[k]
        if operation == 0x20:
            accumulator, jump = words[k], 0
        else:
            test = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[operation]
            jump = yes if test else no
        place += 1 + jump


@pytest.mark.parametrize(
    ("number", "args", "verdict"),
    [
        (0, (), "allow"), (41, (2, 1), "EPERM"), (319, (), "EPERM"), (425, (), "ENOSYS"), (435, (), "ENOSYS"),
        (436, (), "allow"), (0x40000000, (), "ENOSYS"),
        (56, (0x3D0F00,), "allow"), (56, (17,), "EPERM"), (56, (0x3D0F00 | 0x10000000,), "EPERM"), (57, (), "EPERM"),
        (62, (7, 15), "allow"), (62, (7, 9), "EPERM"), (62, (8, 15), "EPERM"), (62, (0xFFFFFFFF, 15), "EPERM"),
        (234, (7, 7, 6), "allow"), (234, (7, 7, 9), "EPERM"), (234, (9, 9, 6), "EPERM"),
        (72, (3, 1030), "allow"), (72, (3, 8), "EPERM"), (72, (3, 10), "EPERM"), (72, (3, 1024), "EPERM"),
        (16, (3, 0x5421), "allow"), (16, (3, 0x5412), "EPERM"), (16, (3, 0x40086602), "EPERM"),
        (157, (15,), "allow"), (157, (1,), "EPERM"), (157, (22,), "EPERM"),
        (53, (1, 1), "allow"), (53, (2, 1), "EPERM"),
        (44, (3, 1, 1, 0, 0), "allow"), (44, (3, 1, 1, 0, 5), "EPERM"), (44, (3, 1, 1, 0, 1 << 32), "EPERM"),
        (302, (0, 1, 0, 5), "allow"), (302, (0, 1, 5), "EPERM"), (302, (0, 1, 1 << 40), "EPERM"),
    ],
)  # fmt: skip
def test_the_filter_says(number, args, verdict):
    code = list(
        struct.iter_unpack(
            "<HBBI", _seccomp.program("x86_64").replace(_seccomp.SELF.to_bytes(4, "little"), bytes([7, 0, 0, 0]))
        )
    )
    assert simulate(code, number, args) == verdict
    assert simulate(code, number, args, arch=0x40000003) == "kill"  # the same numbers mean others in 32 bits
