"""The file of a calibration: a line of JSON for each run, so that one that was interrupted goes on where it was.

Each line is appended in one write, so a crash loses at most the line being written. There is no content in it: problems
and answers are digests under a random key, which stands in the first line. Whoever has the file can try out short
answers; it is no secret from them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

from ._figures import Run

VERSION = 1
_SHORT = 8  # bytes of a digest


class RunFile:
    """Where runs are kept: in a file, or nowhere.

    Args:
        path: is made if it is not there; None: nowhere.
        about: what is calibrated; a file of something else is refused.
        content: keep texts of problems and outputs too.

    Raises:
        ValueError: the file is of another calibration, or is none.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str] | None, about: Mapping[str, Any], *, content: bool) -> None:
        self.content = content
        self.runs: list[Run] = []
        """What was on file."""
        self._file: int | None = None
        self._key = secrets.token_bytes(16)
        if path is None:
            return
        place = Path(path)
        whole = self._read(place, about) if place.exists() else True
        self._file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if not whole:
            os.write(self._file, b"\n")  # what a crash has cut stays a line of its own
        if os.fstat(self._file).st_size == 0:
            self._write({"v": VERSION, "key": self._key.hex(), **about})

    def digest(self, value: object) -> str:
        """A name for a problem or an answer that does not tell it."""
        text = json.dumps(value, sort_keys=True, default=repr)
        return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), key=self._key, digest_size=_SHORT).hexdigest()

    def add(self, run: Run, content: Mapping[str, Any]) -> None:
        """Keep a run."""
        self.runs.append(run)
        self._write({**asdict(run), **(dict(content) if self.content else {})})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            text = json.dumps(line, ensure_ascii=False, default=repr)
            data = text.encode("utf-8", "backslashreplace") + b"\n"
            if os.write(self._file, data) < len(data):  # there was room for some of it only
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: a line was cut")

    def _read(self, place: Path, about: Mapping[str, Any]) -> bool:
        """Take over what is there; returns whether its last line is whole."""
        lines = _lines(place)
        head = next(lines, None)
        if head is None and place.stat().st_size == 0:
            return True
        if head is None or head.get("v") != VERSION or not isinstance(head.get("key"), str):
            raise ValueError(f"{place} is no file of a calibration")
        for name, value in about.items():
            if head.get(name) != value:
                raise ValueError(f"{place} is of another calibration: its {name} is {head.get(name)!r}, not {value!r}")
        self._key = bytes.fromhex(head["key"])
        names = {each.name for each in fields(Run)}
        for line in lines:
            if names <= line.keys():
                self.runs.append(Run(**{name: line[name] for name in names}))
        with place.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _lines(place: Path) -> Iterator[dict[str, Any]]:
    with place.open(encoding="utf-8", errors="replace") as text:
        for line in text:
            try:
                told = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut by a crash
            if isinstance(told, dict):
                yield cast("dict[str, Any]", told)
