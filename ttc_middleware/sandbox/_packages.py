"""Installed packages that a program may import: those named, with what they need, and no others."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

INSIDE = "/packages"
"""Where a sandbox with a file system of its own has them."""


@lru_cache(maxsize=32)
def installed(names: Sequence[str]) -> tuple[Path, ...]:
    """The files and folders of distributions, and of those that they require.

    Args:
        names: as one would write them after `pip install`.

    Raises:
        ValueError: one is not installed, or not from ordinary files.
    """
    wanted, places, seen = list(names), set[Path](), set[str]()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise ValueError(f"packages names {name!r}, which is not installed here") from None
        places.update(_tops(distribution))
        wanted += [requirement for requirement in _required(distribution) if _is_here(requirement)]
    return tuple(sorted(places))


@lru_cache(maxsize=256)
def providing(module: str) -> str | None:
    """The distribution that has installed a top-level module; None where none has."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    if not any("-packages" in place for place in places):  # somebody's own file, and quicker to tell
        return None
    return next(iter(_all_modules().get(module, ())), None)


@lru_cache(maxsize=1)
def _all_modules() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _tops(distribution: metadata.Distribution) -> set[Path]:
    """What a distribution has put into its site folder; not its scripts."""
    root = Path(os.path.realpath(str(distribution.locate_file(""))))
    firsts = {file.parts[0] for file in distribution.files or () if ".." not in file.parts and file.parts[0] != "bin"}
    tops = {root / first for first in firsts if first != "__pycache__"}
    if not tops or not all(top.exists() for top in tops):
        raise ValueError(f"packages names {distribution.metadata['Name']!r}, whose files are not where it says")
    return {Path(os.path.realpath(top)) for top in tops}


def _required(distribution: metadata.Distribution) -> list[str]:
    """The names of what it always needs; extras were not asked for."""
    lines = [line for line in distribution.requires or () if "extra ==" not in line.replace("'", '"')]
    found = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in lines)
    return [match[0] for match in found if match]


def _is_here(name: str) -> bool:
    """Whether a requirement is installed; one for another system or version is not."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
