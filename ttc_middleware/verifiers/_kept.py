"""Where verdicts are kept, and in what form: JSON that is read as if somebody else had written it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import math
import os
import re
import stat
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ttc_middleware._types import Verdict

_FORM = 1  # of an entry; another number is another form, so a miss
_LARGEST = 1 << 16
_DIGEST = re.compile("[0-9a-f]{64}")
_SHORTEST_KEY = 16
_PLAIN = (str, int, float, bool, type(None))


def canonical(value: Any) -> bytes | None:
    """JSON data in the one form that equal data has; None for what is no JSON data, or is another kind of it in Python.

    So a tuple is none: it would come out as a list does.
    """
    try:
        if not _is_json(value):
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):  # NaN, a number of too many digits, too deep or within itself
        return None


def _is_json(value: Any) -> bool:
    if type(value) is dict:
        items = cast("Mapping[Any, Any]", value).items()
        return all(type(name) is str and _is_json(each) for name, each in items)
    if type(value) is list:
        return all(map(_is_json, cast("Sequence[Any]", value)))
    return type(value) in _PLAIN


def entry(verdict: Verdict) -> str:
    """A verdict as it is kept."""
    kept: dict[str, Any] = {
        "form": _FORM,
        "score": float(verdict.score),
        "feedback": verdict.feedback,
        "accepted": verdict.accepted,
        "trust": verdict.trust,
    }
    if verdict.first_bad is not None:
        kept["first_bad"] = verdict.first_bad
    return json.dumps(kept)


def verdict_in(text: str | None) -> Verdict | None:
    """A verdict that was kept; None for anything else."""
    if not isinstance(text, str) or len(text) > _LARGEST:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    kept = cast("dict[str, Any]", found)
    if kept.keys() - {"first_bad"} != {"form", "score", "feedback", "accepted", "trust"} or kept["form"] != _FORM:
        return None
    score, feedback, accepted, trust = kept["score"], kept["feedback"], kept["accepted"], kept["trust"]
    if type(score) is not float or not (math.isfinite(score) and 0 <= score <= 1):
        return None
    if not isinstance(feedback, (str, type(None))) or not isinstance(accepted, (bool, type(None))):
        return None
    first_bad = kept.get("first_bad")
    if trust not in ("strong", "weak") or not (first_bad is None or (type(first_bad) is int and first_bad >= 0)):
        return None
    return Verdict(score, feedback, accepted, trust=trust, first_bad=first_bad)


class Recent(MutableMapping[str, str]):
    """The entries that were used last, in memory; for several threads."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._entries: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> str:
        with self._lock:
            self._entries.move_to_end(key)  # KeyError where there is none
            return self._entries[key]

    def __setitem__(self, key: str, value: str) -> None:
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def __delitem__(self, key: str) -> None:
        with self._lock:
            del self._entries[key]

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True, eq=False)
class Folder(MutableMapping[str, str]):
    """Verdicts on disk, one file each, for `Cached`: they outlive the process, and processes can share them.

    A file is named by 64 hexadecimal digits, and written beside its place before it is put there, so a reader sees all
    of it or none. What is no such file, was changed, or is no verdict, is as good as not there. Nothing is ever
    removed, except by deleting files, which is safe at any time. The folder is made when it is first written to,
    readable for its owner only.

    Args:
        path: the folder.
        key: at least 16 secret bytes. With it, each file carries an HMAC-SHA256 of its name and content, and one that
            was written without the key is not read: who can write to the folder cannot make up verdicts. (He can still
            delete them, and put back an older one for the same answer.)

    Raises:
        ValueError: a key that is too short.
    """

    path: str | os.PathLike[str]
    key: bytes | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key) < _SHORTEST_KEY:
            raise ValueError(f"key has at least {_SHORTEST_KEY} bytes, not {len(self.key)}")

    def __getitem__(self, key: str) -> str:
        content = self._read(self._file(key))
        if content is None:
            raise KeyError(key)
        if self.key is None:
            return content
        sign, _, text = content.partition("\n")
        if not hmac.compare_digest(sign.encode(), self._sign(key, text).encode()):
            raise KeyError(key)
        return text

    def __setitem__(self, key: str, value: str) -> None:
        target = self._file(key)
        Path(self.path).mkdir(mode=0o700, parents=True, exist_ok=True)
        content = value if self.key is None else f"{self._sign(key, value)}\n{value}"
        handle, scratch = tempfile.mkstemp(dir=self.path, prefix="writing-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content.encode())
            Path(scratch).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(scratch).unlink()
            raise

    def __delitem__(self, key: str) -> None:
        try:
            self._file(key).unlink()
        except OSError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        with contextlib.suppress(OSError):
            yield from (each.stem for each in Path(self.path).glob("*.json") if _DIGEST.fullmatch(each.stem))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _file(self, key: str) -> Path:
        if not _DIGEST.fullmatch(key):  # nothing else ever becomes a path
            raise KeyError(key)
        return Path(self.path, f"{key}.json")

    def _sign(self, name: str, text: str) -> str:
        return hmac.new(self.key or b"", f"{name}\n{text}".encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def _read(file: Path) -> str | None:
        # No link is followed, and opening a pipe that somebody left there does not wait for a writer.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            handle = os.open(file, flags)
            with os.fdopen(handle, "rb") as stream:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    return None
                content = stream.read(_LARGEST + 1)
            return content.decode() if len(content) <= _LARGEST else None
        except (OSError, UnicodeDecodeError):
            return None
