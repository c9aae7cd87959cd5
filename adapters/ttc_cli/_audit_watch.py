"""Below `ttc audit`, in the audited program: a line for each model call, with where it was made and what it cost.

No prompt and no answer is written: of a request only a hash with a key that the audit has drawn for itself.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import wrapt

from ttc_middleware import Call, Reading
from ttc_middleware.seam import Seen, watch

from ._audit_sites import site

# What makes two requests the same; where they go, how long one waits and what one notes down does not.
_ASKED = (
    "audio", "conversation", "frequency_penalty", "function_call", "functions", "input", "instructions",
    "logit_bias", "max_completion_tokens", "max_output_tokens", "max_tokens", "messages", "modalities", "model",
    "n", "parallel_tool_calls", "prediction", "presence_penalty", "previous_response_id", "prompt", "reasoning",
    "reasoning_effort", "response_format", "seed", "stop", "stop_sequences", "system", "temperature", "text",
    "text_format", "thinking", "tool_choice", "tools", "top_k", "top_p", "verbosity", "web_search_options",
)  # fmt: skip
_ORIGINS = 12
"""Callers that a coroutine remembers: those of a task are to be found nowhere else."""
_LONGEST = 1 << 16
"""Characters of an answer that is looked at as JSON: more would take time that the program is to have."""
_PROBLEMS = 20


def start(folder: str) -> None:
    """Watch this process; it is about to import an SDK."""
    watch(Audit(Path(folder)))
    for sdk in ("openai", "litellm", "anthropic"):
        wrapt.register_post_import_hook(_imported(folder), sdk)
    _remember_origins()
    _remember_submitters()
    if importlib.util.find_spec("genai_prices") is not None:
        importlib.import_module("genai_prices")  # now, and not within the first call


def _imported(folder: str) -> Callable[[Any], None]:
    return lambda module: _write(Path(folder), {"sdk": str(module.__name__)})


def _remember_origins() -> None:
    """Let coroutines of this thread remember who made them, unless somebody has decided on that already."""
    if not sys.get_coroutine_origin_tracking_depth():
        sys.set_coroutine_origin_tracking_depth(_ORIGINS)


_submitted = threading.local()


def _remember_submitters() -> None:
    """Let the threads of pools know who gave them their work: their own frames say nothing of that."""
    original = ThreadPoolExecutor.submit

    def running(fn: Callable[..., Any], submitter: dict[str, Any], /, *args: Any, **kwargs: Any) -> Any:
        before = getattr(_submitted, "by", None)
        _submitted.by = submitter
        try:
            return fn(*args, **kwargs)
        finally:
            _submitted.by = before

    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        submitter: dict[str, Any] = {}
        with suppress(Exception):  # nobody is to notice
            submitter = _here(None)
        return (
            original(self, running, fn, submitter, *args, **kwargs)
            if submitter
            else original(self, fn, *args, **kwargs)
        )

    ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]


def _here(caller: object) -> dict[str, Any]:
    known = caller or getattr(_submitted, "by", None)
    return site(inspect.currentframe(), cast("dict[str, Any] | None", known))


class Audit:
    """Writes down what it is told of.

    Args:
        folder: the audit's own; has the `key` in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = (folder / "key").read_bytes()
        self._problems = 0
        self._threads = threading.local()

    def begun(self, call: Call, caller: object) -> Callable[[Seen], None]:
        """Note where the call is made, and what it asks."""
        if not hasattr(self._threads, "known"):
            self._threads.known = True
            _remember_origins()
        body = call.arguments
        at = time.time()
        told: dict[str, Any] = {
            **_here(caller),
            "start": at,
            "pid": os.getpid(),
            "asked": _hash(self._key, body),
            "format": _format(body),
            "tools": bool(body.get("tools") or body.get("functions")),
        }
        return lambda seen: self._ended(told, seen)

    def caller(self) -> object:
        """Note who starts a search."""
        return _here(None)

    def failed(self, what: str, error: Exception) -> None:
        """Note what could not be watched; the text of an error may hold anything, and is left out."""
        self._problems += 1
        if self._problems <= _PROBLEMS:
            _write(self._folder, {"problem": f"{what} could not be watched: {type(error).__name__}"})

    def _ended(self, told: Mapping[str, Any], seen: Seen) -> None:
        request, entry = seen.request, seen.entry
        call = {
            **told,
            "seconds": seen.seconds,
            "role": seen.role,
            "sample": seen.draw,
            "model": request.model,
            "provider": request.provider,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": request.stream,
            "fault": entry.fault,
            "gap": entry.gap,
            "answered": entry.answered,
            "usage": entry.usage.to_dict(),
            **_answer(seen.reading, asked_for_json=told["format"] is not None),
        }
        _write(self._folder, {"call": {name: value for name, value in call.items() if value is not None}})


def _write(folder: Path, line: Mapping[str, Any]) -> None:
    data = json.dumps({"v": 1, **line}).encode() + b"\n"
    with suppress(OSError):  # the audit has ended before this process
        # Not kept open: programs close what they do not know, and its number would be another file's.
        file = os.open(folder / "audit.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, data)
        finally:
            os.close(file)


def _hash(key: bytes, body: Mapping[str, Any]) -> str | None:
    try:
        said = json.dumps({name: body[name] for name in _ASKED if name in body}, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):  # no JSON: it is equal to nothing
        return None
    return hashlib.blake2b(said.encode(), key=key, digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else repr(value)


def _format(body: Mapping[str, Any]) -> str | None:
    """What form of JSON is asked for; None: none is."""
    asked: Any = body.get("response_format") or body.get("text_format")
    if asked is None and isinstance(body.get("text"), dict):
        asked = body["text"].get("format")
    if isinstance(asked, type):
        return "json_schema"
    kind = cast("dict[str, Any]", asked).get("type") if isinstance(asked, dict) else None
    return kind if kind in ("json_schema", "json_object") else None


def _answer(reading: Reading | None, *, asked_for_json: bool) -> dict[str, Any]:
    """What kind of answer it was, in no words of its own."""
    if reading is None:
        return {}
    text = reading.text or ""
    told: dict[str, Any] = {"status": reading.status, "code": "```" in text}
    if asked_for_json and reading.status == "answer" and text and len(text) <= _LONGEST:
        told["parses"] = _parses(text)
    return told


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
