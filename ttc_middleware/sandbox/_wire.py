"""What crosses between host and guest, on the host's side.

To the guest goes marshal, which the guest can trust. From the guest comes JSON, which nobody trusts: it is bounded
before it is read, parsed without hooks that run code, and rebuilt as exact builtins from a closed set of tags:

    null true false 1 2.5 "text"      themselves (ints below 2**63, finite floats)
    ["i", "-1f…"] ["f", "nan"]        big ints in hex (decimal takes quadratic time), floats that JSON lacks
    ["c", re, im] ["b", "6869"]       complex, bytes in hex
    ["l", …] ["t", …] ["s", …] ["z", …] ["d", key, value, …]    list, tuple, set, frozenset, dict
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

DEPTH = 64
"""How deep a value may nest."""

_SCALARS = frozenset({type(None), bool, int, float, str})
_COLLISIONS = 16  # more equal hashes than that in one set happen only on purpose, and take quadratic time


class BadFrame(Exception):
    """Raised when bytes from the guest are not what the protocol says."""


def pack(message: Sequence[Any]) -> bytes:
    """A frame for the guest: the length in four bytes, and marshal."""
    body = marshal.dumps(message)
    return len(body).to_bytes(4, "big") + body


def plain(value: Any, depth: int = 0) -> None:
    """Check that a value is plain data.

    Raises:
        TypeError: a part of it is no exact builtin, or it nests too deep.
    """
    kind = cast("type[object]", type(value))
    if kind in _SCALARS or kind in (complex, bytes):
        return
    if depth >= DEPTH:
        raise TypeError(f"plain data nests at most {DEPTH} deep")
    if kind is dict:
        for key, item in value.items():
            plain(key, depth + 1)
            plain(item, depth + 1)
    elif kind in (list, tuple, set, frozenset):
        for item in value:
            plain(item, depth + 1)
    else:
        raise TypeError(f"{value!r:.100} is a {kind.__qualname__}, not plain data (None, bool, int, float, str, …)")


def unpack(body: bytes) -> list[Any]:
    """The parts of a frame from the guest, its values not yet rebuilt.

    Raises:
        BadFrame: it is not a JSON array.
    """
    try:
        tree = json.loads(body.decode("ascii"), parse_int=_int, parse_float=_float, parse_constant=_refuse)
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadFrame(f"{type(error).__name__} in a frame") from None
    if type(tree) is not list:
        raise BadFrame("a frame that is no array")
    return cast("list[Any]", tree)


def rebuild(tree: Any, depth: int = 0) -> Any:
    """The value that a part of a frame stands for, in exact builtins.

    Raises:
        BadFrame: it stands for none.
    """
    if type(tree) in _SCALARS:
        return tree
    if depth >= DEPTH or type(tree) is not list or not tree or type(tree[0]) is not str:
        raise BadFrame("a value that is no value")
    tag, *items = cast("list[Any]", tree)
    if tag in _CONTAINERS:
        return _CONTAINERS[tag]([rebuild(item, depth + 1) for item in items])
    if tag in _ATOMS:
        try:
            return _ATOMS[tag](*items)
        except (TypeError, ValueError):
            pass
    raise BadFrame(f"a malformed value of kind {tag!r:.20}")


def _int(digits: str) -> int:
    return int(digits) if len(digits) <= 20 else _refuse(digits)  # noqa: PLR2004  # 2**63 with its sign


def _float(digits: str) -> float:
    return float(digits) if len(digits) <= 32 else _refuse(digits)  # noqa: PLR2004  # repr needs 24


def _refuse(token: str) -> NoReturn:
    raise ValueError(f"{token:.20} does not belong into a frame")


def _big(digits: str) -> int:
    return int(digits, 16)


def _odd(name: str) -> float:
    return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[name]


def _complex(real: Any, imag: Any) -> complex:
    parts = rebuild(real), rebuild(imag)
    if any(type(part) is not float for part in parts):
        raise TypeError("a complex number's parts are floats")
    return complex(*parts)


def _set(items: list[Any]) -> set[Any]:
    return set(_hashable(items))


def _frozenset(items: list[Any]) -> frozenset[Any]:
    return frozenset(_hashable(items))


def _dict(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise BadFrame("a dict with a key too many")
    return dict(zip(_hashable(items[::2]), items[1::2], strict=True))


def _hashable(items: list[Any]) -> list[Any]:
    try:
        hashes = sorted(map(hash, items))
    except TypeError:
        raise BadFrame("a set or a key of what cannot be hashed") from None
    if any(low == high for low, high in zip(hashes, hashes[_COLLISIONS:], strict=False)):
        raise BadFrame("a set or dict made to collide")
    return items


_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "l": list, "t": tuple, "s": _set, "z": _frozenset, "d": _dict,
}  # fmt: skip
_ATOMS: dict[str, Callable[..., Any]] = {"i": _big, "f": _odd, "c": _complex, "b": bytes.fromhex}
