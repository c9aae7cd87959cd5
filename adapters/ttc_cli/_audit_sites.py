"""Which line of a program makes a model call: the nearest frame that is not a library's."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Literal

Kind = Literal["own", "installed", "plumbing", "loop"]
Place = tuple[str, int, str]
"""File, line, function."""

# What stands between a program and its model, whoever wrote the program.
_PLUMBING = (
    "anyio", "backoff", "httpx", "instructor", "langchain", "langgraph", "litellm", "openai", "openinference",
    "opentelemetry", "tenacity", "ttc_", "wrapt",
)  # fmt: skip
# Below these a task runs by itself: who runs the loop is not who makes the call.
_LOOPS = (
    "asyncio/base_events.py",
    "asyncio/events.py",
    "asyncio/runners.py",
    "trio/_core/_run.py",
    "uvloop/__init__.py",
)
_MADE_UP = ("<frozen", "<ttc_", "<attrs", "<decorator-gen", "<makefun", "<__array_function__")
_PATHS = sysconfig.get_paths()
_STDLIB = tuple({f"{_PATHS[name]}/" for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({f"{_PATHS[name]}/" for name in ("purelib", "platlib", "scripts")})
_OURS = tuple(f"{folder}/" for folder in (Path(__file__).parents[1], Path(sys.modules["ttc_middleware"].__path__[0])))


@lru_cache(maxsize=4096)
def kind(file: str) -> Kind:
    """Whose a file is."""
    if file.startswith("<"):
        return "plumbing" if file.startswith(_MADE_UP) else "own"
    if file.endswith(_LOOPS):
        return "loop"
    if file.startswith(_OURS):
        return "plumbing"
    for mark in ("/site-packages/", "/dist-packages/"):
        _, found, inside = file.rpartition(mark)
        if found:
            return "plumbing" if inside.startswith(_PLUMBING) else "installed"
    if file.startswith(_INSTALLED):  # a command's script: two lines that call what is installed
        return "plumbing"
    return "plumbing" if file.startswith(_STDLIB) else "own"


def site(frame: FrameType | None, caller: dict[str, Any] | None) -> dict[str, Any]:
    """Where a call is made: `file`, `line` and `function`, or nothing where no line of the program is to be seen.

    Args:
        frame: the innermost.
        caller: who has started the search that the call is made in, where that is known.
    """
    place, installed = _nearest(_frames(frame))
    if place is None and caller:
        return caller
    if place is None:
        place, made_by_installed = _nearest(_origins())
        place = place or installed or made_by_installed
    return {} if place is None else dict(zip(("file", "line", "function"), place, strict=True))


def _nearest(places: Iterator[Place]) -> tuple[Place | None, Place | None]:
    """The nearest that is the program's own, and the nearest that is a package's."""
    installed: Place | None = None
    for place in places:
        whose = kind(place[0])
        if whose == "own":
            return place, installed
        if whose == "loop":
            break
        if whose == "installed" and installed is None:
            installed = place
    return None, installed


def _frames(frame: FrameType | None) -> Iterator[Place]:
    while frame is not None:
        code = frame.f_code
        yield code.co_filename, frame.f_lineno, str(getattr(code, "co_qualname", code.co_name))  # Python 3.11
        frame = frame.f_back


def _origins() -> Iterator[Place]:
    """Who has made the coroutine of the task that is running: `gather()` was given it, say, and awaits it elsewhere."""
    yield from getattr(_task_coroutine(), "cr_origin", None) or ()


def _task_coroutine() -> Any:
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    try:
        task = None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        task = None
    if task is not None:
        return task.get_coro()
    try:
        return None if trio is None else trio.lowlevel.current_task().coro
    except RuntimeError:  # nor here
        return None
