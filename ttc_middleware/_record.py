"""The run record: a line of JSON for each search, in a folder of one's own. Spans are a view; this is what happened.

Every process appends to a file of its own, a line in one write: a crash loses at most the line being written, and
nobody's lines are mixed. A new file is begun each day (UTC), and where one has grown to 64 MiB.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from opentelemetry.trace import Span

from ._context import Entry, Role, Tab
from ._types import Call, Result

LARGEST = 64 << 20
VERSION = 1
"""Of the lines; readers skip those of a later one."""


class Recorder:
    """Writes lines to a folder, from whatever thread.

    Args:
        folder: is made if it is not there.
        content: also prompts, outputs and feedback: whatever the call was given, as JSON or its `repr`.

    Raises:
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str], *, content: bool = False) -> None:
        self._file: int | None = None
        self.folder = Path(folder)
        self.content = content
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise PermissionError(f"configure(record=): {self.folder} cannot be written to")
        self._lock, self._lock_of = threading.Lock(), os.getpid()
        self._torn = False
        """The file ends within a line, which the next is not to share."""
        self._for: tuple[int, str] | None = None
        """The process and the day that the file is of."""
        self._size = 0

    def __repr__(self) -> str:
        return f"Recorder({str(self.folder)!r}, content={self.content})"

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: the disk is full, say.
        """
        now = datetime.now(timezone.utc)
        told = {"v": VERSION, "at": now.isoformat(timespec="milliseconds"), **line}
        data = _json(told).encode("utf-8", "backslashreplace") + b"\n"
        if self._lock_of != os.getpid():  # forked, perhaps while another thread was writing
            self._lock, self._lock_of = threading.Lock(), os.getpid()
        with self._lock:
            file = self._open((os.getpid(), now.date().isoformat()), len(data))
            if self._torn:
                data = b"\n" + data
            written = os.write(file, data)
            self._size += written
            if written:
                self._torn = data[written - 1 : written] != b"\n"
            if written < len(data):  # there was room for some of it only
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: a line was cut")

    def close(self) -> None:
        """Close the file; the next line opens another."""
        with self._lock:
            self._close()

    def _open(self, needed: tuple[int, str], more: int) -> int:
        if self._file is None or self._for != needed or self._size + more > LARGEST:
            self._close()
            pid, day = needed
            path = self.folder / f"ttc-{day}-{pid}-{secrets.token_hex(4)}.jsonl"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._for, self._size, self._torn = needed, 0, False
        return self._file

    def _close(self, close: Callable[[int], None] = os.close) -> None:  # at exit, the module may be gone before us
        if self._file is not None:
            close(self._file)
            self._file = None

    def __del__(self) -> None:
        self._close()


def _json(line: Mapping[str, Any]) -> str:
    try:
        return json.dumps(line, ensure_ascii=False, default=_said)
    except (TypeError, ValueError, RecursionError):  # content: keys that are no text, a list in itself, …
        return json.dumps(_plain(line), ensure_ascii=False)


_DEEPEST = 50


def _plain(value: Any, around: tuple[int, ...] = ()) -> Any:
    """The same in what JSON has a form for."""
    if isinstance(value, (dict, list, tuple)):
        if id(cast("object", value)) in around or len(around) == _DEEPEST:
            return "…"
        around = (*around, id(cast("object", value)))
        if isinstance(value, dict):
            known = cast("dict[object, Any]", value)
            return {key if isinstance(key, str) else _said(key): _plain(each, around) for key, each in known.items()}
        return [_plain(each, around) for each in cast("Sequence[Any]", value)]
    return value if value is None or isinstance(value, (str, float, bool)) else _number(value)


def _number(value: Any) -> int | str:
    short = isinstance(value, int) and abs(value) < 10**_DEEPEST  # some are too long to be written
    return cast("int", value) if short else _said(value)


def _said(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # anybody's
        return f"<{type(value).__name__}>"


def line_of(
    result: Result[Any],
    *,
    error: BaseException | None,
    started: float,
    verified: bool,
    draws: Sequence[tuple[Tab, Sequence[Tab]]],
    routing: Tab,
    tags: Mapping[str, str],
    span: Span,
    call: Call | None,
) -> dict[str, Any]:
    """A search as a line.

    Args:
        result: what it found and spent.
        error: what it raised, if anything.
        started: when, on `time.monotonic()`'s clock.
        verified: whether there is a verifier, which may have had nothing to judge.
        draws: for each draw the tabs of its own model calls and of its verifications.
        routing: the model calls of the strategy itself.
        tags: as on spans.
        span: the search's.
        call: where content is asked for, the call itself.
    """
    line: dict[str, Any] = {**result.to_dict(), "verified": verified}
    for told, sample in zip(line["samples"], result.samples, strict=True):
        if sample.verdict is not None:
            told["verdict"] = {"failed": sample.verdict.failed, "trust": sample.verdict.trust}
            if sample.verdict.sandbox is not None:
                told["verdict"]["sandbox"] = sample.verdict.sandbox
        if call is not None:
            told["content"] = {
                "output": sample.output,
                "text": sample.text,
                "feedback": None if sample.verdict is None else sample.verdict.feedback,
                "error": None if sample.error is None else str(sample.error),
            }
    roles: list[tuple[Role, Tab]] = [(tab.role, tab) for tab, _ in draws]
    roles.extend((tab.role, tab) for _, judged in draws for tab in judged)
    roles.append(("routing", routing))
    line["calls"] = [_called(role, entry, tab.index, started) for role, tab in roles for entry in tab.entries]
    if error is not None:
        line["error"] = type(error).__name__
    if tags:
        line["tags"] = dict(tags)
    context = span.get_span_context()
    if context.is_valid:
        line["trace_id"], line["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    if call is not None:
        line["content"] = dict(call.arguments)
    return line


def _called(role: str, entry: Entry, index: int, started: float) -> dict[str, Any]:
    sent = entry.ended - entry.usage.seconds - started
    told = {
        "role": role,
        "sample": None if role == "routing" else index,
        "model": entry.model,
        "provider": entry.provider,
        "after": round(max(0.0, sent), 6) if entry.ended else None,  # seconds since the search began
        "fault": entry.fault,
        "gap": entry.gap,
        "answered": entry.answered,
        "usage": entry.usage.to_dict(),
    }
    return {name: value for name, value in told.items() if value is not None}


def lines(folder: str | os.PathLike[str], skipped: Callable[[str], object] = str) -> Iterator[dict[str, Any]]:
    """The searches that a folder, or one file, tells of; files in the order of their names.

    Args:
        folder: what `configure(record=)` has written to, or one of its files.
        skipped: is told of each line that cannot be read: "cut" by a crash, or "of a later version".

    Raises:
        FileNotFoundError: there is nothing.
    """
    place = Path(folder)
    files = [place] if place.is_file() else sorted(place.glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(f"no run record (*.jsonl) in {place}")
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as text:
            for line in text:
                try:
                    told = json.loads(line)
                except (ValueError, RecursionError):
                    skipped("cut")
                    continue
                version = cast("dict[str, Any]", told).get("v") if isinstance(told, dict) else None
                if version == VERSION:
                    yield told
                else:
                    skipped("of a later version" if isinstance(version, int) else "cut")
