"""What crosses between host and guest, on the host's side.

To the guest goes marshal, which the guest can trust. From the guest comes JSON, which nobody trusts: it is bounded
before it is read, parsed without hooks that run code, and rebuilt as exact builtins from a closed set of tags:

    null true false 1 2.5 "text"      themselves (ints below 2**63, finite floats)
    ["i", "-1f…"] ["f", "nan"]        big ints in hex (decimal takes quadratic time), floats that JSON lacks
    ["c", re, im] ["b", "6869"]       complex, bytes in hex
    ["u", "eda080"]                   text with surrogates, as UTF-8 in hex
    ["l", …] ["t", …] ["s", …] ["z", …] ["d", key, value, …]    list, tuple, set, frozenset, dict
    ["h", 3, "Stack"] ["y", 3]        a handle of the sender's third object, and the receiver's own third object

A frame is four bytes of length and an array: the id of the request that it answers, a word, and what the word needs.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from ._base import Raised, Reply, Returned, Unfit, Use

DEPTH = 64
"""How deep containers may nest."""
_ROOM = 4  # less for a result, which a test may pass on inside its arguments

_SCALARS = frozenset({type(None), bool, int, float, str})
_COLLISIONS = 16  # more equal hashes than that in one set happen only on purpose, and take quadratic time


class BadFrame(Exception):
    """Raised when bytes from the guest are not what the protocol says."""


@dataclass(frozen=True)
class Handle:
    """An object that stays where it is; the host passes it on, and does nothing else with it."""

    on: int | str
    """Its number there, or a name."""
    kind: str
    """Its class's name, and after a "|" what it can do; "" where it is the receiver's own."""

    def __repr__(self) -> str:
        return f"<{self.kind.partition('|')[0] or 'object'}>"


# To the guest


def pack(message: Any) -> bytes:
    """A frame for the guest: the length in four bytes, and marshal."""
    body = marshal.dumps(message)
    return len(body).to_bytes(4, "big") + body


def answer(said: Reply) -> tuple[Any, ...]:
    """What one side is told of what it has asked of the other."""
    if isinstance(said, Returned):
        return ("returned", tree(said.value))
    if isinstance(said, Raised):
        return ("raised", said.type, said.message, list(said.own))
    return ("unfit", said.reason)


def tree(value: Any) -> Any:
    """A value whose containers say what they are, so that handles can be told from lists."""
    kind = cast("type[object]", type(value))
    if kind is dict:
        return ["d", *(tree(each) for pair in value.items() for each in pair)]
    if kind in _TAGS:
        return [_TAGS[kind], *(tree(each) for each in value)]
    if kind is Handle:
        return ["h", value.on, value.kind] if value.kind else ["y", value.on]
    return value


_TAGS: dict[type[object], str] = {list: "l", tuple: "t", set: "s", frozenset: "z"}


def plain(value: Any, depth: int = 0) -> None:
    """Check that a value is plain data.

    Raises:
        TypeError: a part of it is no exact builtin, or it nests too deep.
    """
    kind = cast("type[object]", type(value))
    if kind in _SCALARS or kind in (complex, bytes):
        return
    if kind not in (list, tuple, set, frozenset, dict):
        raise TypeError(f"{value!r:.100} is a {kind.__qualname__}, not plain data (None, bool, int, float, str, …)")
    if depth >= DEPTH:
        raise TypeError(f"plain data nests at most {DEPTH} deep")
    for item in value:
        plain(item, depth + 1)
    if kind is dict:
        for item in value.values():
            plain(item, depth + 1)


# From the guest


def reply(ident: int, body: bytes) -> Reply | Use:
    """What a frame says in answer to the request `ident`.

    Raises:
        BadFrame: nothing that the protocol knows, or it answers another request.
    """
    parts = unpack(body)
    if parts[:1] != [ident]:
        raise BadFrame("an answer to another question")
    match parts[1:]:
        case ["returned", value]:
            return Returned(rebuild(value, _ROOM))
        case ["raised", str(kind), str(message), int(line), [*own]] if all(_is(each, str) for each in own):
            return Raised(kind, message, line, tuple(own[:8]))
        case ["unfit", str(reason)]:
            return Unfit(reason)
        case ["use", str(operation), (int() | str()) as on, arguments, named]:
            args: Any = rebuild(arguments)
            kwargs: Any = rebuild(named)
            if _is(args, tuple) and _is(kwargs, dict) and all(_is(key, str) for key in kwargs):
                return Use(operation, on, args, kwargs)
        case _:
            pass
    raise BadFrame("an answer of no known kind")


def unpack(body: bytes) -> list[Any]:
    """The parts of a frame, its values not yet rebuilt.

    Raises:
        BadFrame: it is not a JSON array.
    """
    try:
        tree: list[Any] = json.loads(body.decode("ascii"), parse_int=_int, parse_float=_float, parse_constant=_refuse)
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadFrame(f"{type(error).__name__} in a frame") from None
    if not _is(tree, list):
        raise BadFrame("a frame that is no array")
    return tree


def rebuild(tree: Any, depth: int = 0) -> Any:
    """The value that a part of a frame stands for, in exact builtins.

    Raises:
        BadFrame: it stands for none.
    """
    if type(tree) in _SCALARS:
        return tree
    if depth >= DEPTH or not _is(tree, list) or not tree or not _is(tree[0], str):
        raise BadFrame("a value that is no value")
    parts: list[Any] = tree[1:]
    tag: str = tree[0]
    try:
        if tag in _CONTAINERS:
            return _CONTAINERS[tag]([part if type(part) in _SCALARS else rebuild(part, depth + 1) for part in parts])
        return _ATOMS[tag](*parts)
    except (TypeError, ValueError, KeyError):
        raise BadFrame(f"a malformed value of kind {tag!r:.20}") from None


def _is(value: object, kind: type[object]) -> bool:
    return type(value) is kind


def _int(digits: str) -> int:
    return int(digits) if len(digits) <= 20 else _refuse(digits)  # noqa: PLR2004  # 2**63 with its sign


def _float(digits: str) -> float:
    return float(digits) if len(digits) <= 32 else _refuse(digits)  # noqa: PLR2004  # repr needs 24


def _refuse(token: str) -> NoReturn:
    raise ValueError(f"{token:.20} does not belong into a frame")


def _complex(real: Any, imag: Any) -> complex:
    parts = rebuild(real), rebuild(imag)
    if any(type(part) is not float for part in parts):
        raise TypeError("a complex number's parts are floats")
    return complex(*parts)


def _big(digits: str) -> int:
    return int(digits, 16)


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "surrogatepass")


def _odd(name: str) -> float:
    return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[name]


def _dict(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(_hashable(items[::2]), items[1::2], strict=True))


def _hashable(items: list[Any]) -> list[Any]:
    hashes = sorted(map(hash, items))
    if any(low == high for low, high in zip(hashes, hashes[_COLLISIONS:])):  # noqa: B905  # the second is shorter
        raise BadFrame("a set or dict made to collide")
    return items


_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "l": list,
    "t": tuple,
    "s": lambda items: set(_hashable(items)),
    "z": lambda items: frozenset(_hashable(items)),
    "d": _dict,
}


def _handle(on: int, kind: str) -> Handle:
    if not _is(on, int) or not _is(kind, str):
        raise TypeError("a handle is a number and a name")
    return Handle(on, kind[:300] or "object")


def _own(on: int | str) -> Handle:
    if not _is(on, int) and not _is(on, str):
        raise TypeError("a handle is a number or a name")
    return Handle(on, "")


_ATOMS: dict[str, Callable[..., Any]] = {
    "h": _handle,
    "y": _own,
    "i": _big,
    "f": _odd,
    "c": _complex,
    "b": bytes.fromhex,
    "u": _text,
}
