"""Patching each SDK's one choke point, once and undoably, as soon as the program has imported it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from . import _threads, _watch
from ._context import SETTINGS

# Which adapter knows which SDK. An adapter has instrument() and uninstrument(), and patches only what is imported.
_ADAPTERS = {"openai": "ttc_openai", "litellm": "ttc_litellm", "anthropic": "ttc_anthropic"}
_hooked: set[str] = set()
_undo: dict[str, Callable[[], None]] = {}
_wanted = False
"""The program has asked for it; if not, whoever looks on has, and nothing is steered."""


def instrument(*, threads: bool = False) -> None:
    """Let the model calls of known SDKs be seen and steered, now or when they are imported: openai, anthropic, litellm.

    Patches one method of each, once. Outside draws, budgets and `tracking()` the patch only checks that there is none.
    The first function that is scaled calls this; `configure(instrument=False)` keeps it from doing so.

    Args:
        threads: also let threads that are started inside a draw or a block, and what is submitted to thread pools
            there (`loop.run_in_executor()`), run in its context, so that model calls in them are seen. Patches
            `threading.Thread.start` and `ThreadPoolExecutor.submit`; a thread that outlives its draw and calls a model
            then is refused.
    """
    global _wanted  # noqa: PLW0603  # patches are the process's, and so is this
    _wanted = True
    if threads:
        _threads.patch()
    patch()


def patch() -> None:
    """Patch what is imported, and the rest when it is."""
    for sdk in _ADAPTERS:
        if sdk in sys.modules:
            _patch(sdk)
        elif sdk not in _hooked:
            import wrapt  # noqa: PLC0415  # as slow to import as the rest of the core together

            _hooked.add(sdk)
            wrapt.register_post_import_hook(lambda module: _patch(module.__name__), sdk)


def uninstrument() -> None:
    """Put the SDKs back as they were."""
    global _wanted  # noqa: PLW0603  # as above
    _wanted = False
    _threads.unpatch()
    if _watch.watching():
        return
    for undo in _undo.values():
        undo()
    _undo.clear()


def wanted() -> bool:
    """Whether the program itself, or its first scaled function, has called `instrument()`."""
    return _wanted


def instrument_once() -> None:
    """What `scale()` and `tracking()` do, unless the program said no."""
    if SETTINGS.instrument and not _wanted:
        instrument()


def _patch(sdk: str) -> None:
    if not (_wanted or _watch.watching()) or sdk in _undo:
        return
    try:
        adapter = importlib.import_module(_ADAPTERS[sdk])
        adapter.instrument()
    except Exception as error:
        if _wanted:
            raise
        _watch.failed(sdk, error)
        return
    _undo[sdk] = adapter.uninstrument
