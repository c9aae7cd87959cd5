"""The interpreter that untrusted code runs on: this one's base, with its standard library and nothing else."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import CodeType

from ._base import Limits
from ._wire import pack

# The worker's code comes over the channel, so that no file of ours need be visible inside.
_BOOT = """\
import marshal,os
n=int.from_bytes(os.read(0,4),"big");b=b""
while len(b)<n:b+=os.read(0,n-len(b))or os._exit(1)
exec(marshal.loads(b));main()"""

_NOBODY = 65534


def command() -> list[str]:
    """An isolated interpreter without site-packages that waits for `worker()` on its standard input."""
    return [executable(), "-I", "-S", "-B", "-c", _BOOT]


@lru_cache(maxsize=1)
def executable() -> str:
    """The base interpreter's real path: a virtual environment's is a link into it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@lru_cache(maxsize=8)
def code(name: str) -> CodeType:
    """One of our programs for the guest: host and guest run the same version of Python."""
    source = resources.files(__name__.rpartition(".")[0]).joinpath(name).read_bytes()
    return compile(source, f"<{name}>", "exec", dont_inherit=True)


@lru_cache(maxsize=2)
def program(name: str) -> bytes:
    """The same, as a frame."""
    return pack(code(name))


@lru_cache(maxsize=1)
def worker() -> bytes:
    """The worker, as what `command()` waits for."""
    return program("_worker.py")


@lru_cache(maxsize=1)
def libraries() -> list[str]:
    """The folders and files that the interpreter needs: shared libraries and its own `lib`."""
    system = ("usr/lib", "usr/lib64", "lib", "lib64", "usr/share/zoneinfo", "etc/ld.so.cache")
    wanted = [
        *(Path("/", name) for name in system),
        *(Path(base, name) for base in (sys.base_prefix, sys.base_exec_prefix) for name in ("lib", "lib64")),
        Path(os.__file__).parent,
        Path("/nix/store") if executable().startswith("/nix/store/") else Path(executable()),
    ]
    found = {os.path.realpath(path) for path in wanted if path.exists()}
    return sorted(path for path in found if not any(path.startswith(f"{other}/") for other in found))


@lru_cache(maxsize=1)
def hidden() -> list[str]:
    """Folders in `libraries()` that hold what was installed: the application, perhaps with its hidden tests."""
    places = {os.path.realpath(place) for path in libraries() for place in Path(path).glob("python*/*-packages")}
    return sorted(place for place in places if any(place.startswith(f"{path}/") for path in libraries()))


def public() -> bool:
    """Whether any user may read the interpreter; root's own often lies in a private home."""
    path = Path(os.path.realpath(os.__file__))
    return reachable(path) and bool(path.stat().st_mode & stat.S_IROTH)


def reachable(path: Path) -> bool:
    """Whether any user may open what lies there, as far as the folders above it go."""
    others = stat.S_IROTH | stat.S_IXOTH
    return all(each.stat().st_mode & others == others for each in path.parents)


def spare_user() -> int | None:
    """A user id that nothing else has, for root to become; None for everybody else.

    From the range that systemd's list of user ids leaves unused, so that limits per user count this process alone;
    "nobody" in a container that does not map so far.
    """
    if os.geteuid() != 0:
        return None
    wanted = 0x70000000 + secrets.randbelow(0x0FFFFFFF)
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        inside, _, count = map(int, line.split())
        if inside <= wanted < inside + count:
            return wanted
    return _NOBODY


def limits_inside(limits: Limits, *, alone: bool, file: int | None = None) -> dict[str, int]:
    """The resource limits that the worker sets, by their names in `resource`.

    Args:
        limits: what the user allows.
        alone: nothing else runs under the guest's user id, so that its processes can be counted.
        file: bytes in one file; None: as many as in all.
    """
    return {
        "AS": limits.memory,
        "CPU": limits.cpu_s,
        "FSIZE": limits.tmp if file is None else file,
        "NPROC": limits.pids if alone else limits.pids + _threads_on_this_machine(),
        "NOFILE": 64,
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
    }


def _threads_on_this_machine() -> int:
    """An upper bound of what the user has running, which NPROC counts too; with room for what others start."""
    try:
        return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[2]) + 1024
    except (OSError, ValueError, IndexError):
        return 1 << 16
