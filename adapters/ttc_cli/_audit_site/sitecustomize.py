# ruff: noqa: INP001  # no package: its folder is a place on the path
"""What Python runs at its start below `ttc audit`: waits for an SDK to be imported, and costs nothing until then.

The folder of this file is put before all others in PYTHONPATH, so that child processes have it too. Nothing in here may
break the program, whatever is installed for its interpreter.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # pathlib takes longer than all the rest
SDKS = ("openai", "litellm", "anthropic")
# Whose calls are not seen, which is worth a word where nothing else was.
OTHERS = ("cohere", "google.genai", "groq", "mistralai", "ollama")


def note(folder: str, text: str) -> None:
    """Write one line of JSON to the audit's folder."""
    try:
        path = os.path.join(folder, "audit.jsonl")  # noqa: PTH118  # as above
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)  # never kept: programs close what they do not know, and reuse its number
        try:
            os.write(file, f"{text}\n".encode())
        finally:
            os.close(file)
    except OSError:  # the audit has ended, or this program may not write there
        pass


class Importing:
    """Sees imports begin; begins to watch with the first that concerns it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._started = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:  # noqa: ARG002  # the protocol's
        """Find nothing by itself."""
        if name in OTHERS:
            note(self._folder, f'{{"v": 1, "other": "{name}"}}')
        if name not in SDKS or self._started:
            return None
        self._started = True
        try:
            from ttc_cli._audit_watch import start  # noqa: PLC0415  # imports the library

            start(self._folder)
        except Exception as error:  # noqa: BLE001  # an older one is installed for this interpreter, or none
            import json  # noqa: PLC0415  # as below

            problem = f"{type(error).__name__}: {error} ({sys.executable})"
            note(self._folder, json.dumps({"v": 1, "problem": problem}))
            return None
        from importlib.util import find_spec  # noqa: PLC0415  # takes time

        return find_spec(name)  # by all finders: there are new ones now


def begin() -> None:
    """Take this folder off the path again, and wait."""
    sys.path[:] = [place for place in sys.path if place != HERE]
    folder = os.environ.get("TTC_AUDIT", "")
    if folder and os.path.isdir(folder):  # noqa: PTH112  # as above
        note(folder, f'{{"v": 1, "python": {os.getpid()}}}')
        finder: object = Importing(folder)
        sys.meta_path.insert(0, finder)  # type: ignore[arg-type]  # which need not inherit from anything


def go_on() -> None:
    """Run the `sitecustomize` that this one stands before."""
    from importlib.machinery import PathFinder  # noqa: PLC0415  # as above

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec  # noqa: PLC0415  # as above

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


try:  # noqa: SIM105  # contextlib takes longer to import than all of this
    begin()
except Exception:  # noqa: BLE001, S110  # the program is not to notice
    pass
go_on()
