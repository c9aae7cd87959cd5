"""Which system calls untrusted code may make, as a seccomp filter assembled by hand: libseccomp is no dependency.

An allow-list. What is missing fails with EPERM, and with ENOSYS where the call is so young (2019 and later) that a C
library tries an older one next. So there are no sockets to the outside, no new processes (a thread is the only thing
that `clone` makes), no files that only memory knows (RLIMIT_AS does not count a memfd's or a SysV segment's pages),
no change of owner, mode or time of a file, no keyrings, namespaces, tracing, io_uring or BPF.

Source: seccomp(2), Linux's Documentation/userspace-api/seccomp_filter.rst, and the two system-call tables. The
aarch64 numbers are those of the kernel's generic table; no test of ours has run on such a machine yet.
"""

from __future__ import annotations

import platform
import struct
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

# name: x86-64, aarch64 (which has only the `…at` forms of many old calls)
_FREELY: dict[str, tuple[int | None, int | None]] = {
    # data in and out of what is open
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "pread64": (17, 67),
    "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "preadv": (295, 69), "pwritev": (296, 70),
    "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "pipe": (22, None), "pipe2": (293, 59),
    "sendfile": (40, 71), "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46), "fadvise64": (221, 223),
    "flock": (73, 32), "close_range": (436, 436), "recvfrom": (45, 207), "shutdown": (48, 210),
    "getsockname": (51, 204), "getpeername": (52, 205), "getsockopt": (55, 209),
    # files: where to is for the mount namespace or Landlock to say
    "open": (2, None), "openat": (257, 56), "creat": (85, None), "stat": (4, None), "lstat": (6, None),
    "newfstatat": (262, 79), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "getdents": (78, None), "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35), "readlink": (89, None),
    "readlinkat": (267, 78), "umask": (95, 166), "statfs": (137, 43), "fstatfs": (138, 44),
    # memory and threads
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "msync": (26, 227), "madvise": (28, 233), "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293),
    "membarrier": (324, 283), "gettid": (186, 178), "exit": (60, 93), "exit_group": (231, 94),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "getcpu": (309, 168), "restart_syscall": (219, 128),
    # waiting, clocks, the process's own signals
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "epoll_create": (213, None),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    "eventfd2": (290, 19), "pause": (34, None), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "getitimer": (36, 102), "setitimer": (38, 103), "alarm": (37, None), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "wait4": (61, 260),
    "waitid": (247, 95),
    # asking
    "getrandom": (318, 278), "getpid": (39, 172), "getppid": (110, 173), "getpgrp": (111, None), "getpgid": (121, 155),
    "getsid": (124, 156), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "uname": (63, 160),
}  # fmt: skip

_ARCH = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
SELF = 0x7EADBEEF
"""Stands for the process's own id, which only the worker knows."""

_NUMBERS = {
    "x86_64": {"prctl": 157, "capset": 126, "unshare": 272, "mount": 165},
    "aarch64": {"prctl": 167, "capset": 91, "unshare": 97, "mount": 40},
}
_CLONE_THREAD, _CLONE_NEW_ANYTHING, _SIGKILL, _AF_UNIX = 0x10000, 0x7E020000, 9, 1
_YOUNG = 424  # from here on all architectures number alike, and everything came after 2019
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026

_Check = tuple[Literal["in", "not", "has", "lacks"], int, Sequence[int]]
_Instruction = tuple[int, int, int, int]

_CHECKED: list[tuple[tuple[int, int], list[_Check]]] = [
    # clone: threads only (NPROC does not hold root back, and a daemon outlives its parent)
    ((56, 220), [("has", 0, [_CLONE_THREAD]), ("lacks", 0, [_CLONE_NEW_ANYTHING])]),
    # tgkill, kill: itself only, and not by SIGKILL, so that such a death is known to come from outside
    ((234, 131), [("in", 0, [SELF]), ("not", 2, [_SIGKILL])]),
    ((62, 129), [("in", 0, [SELF]), ("not", 1, [_SIGKILL])]),
    # fcntl: flags, locks and copies, not F_SETOWN and F_SETSIG, which signal other processes
    ((72, 25), [("in", 1, [0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032])]),
    # ioctl: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; not FS_IOC_SETFLAGS, not TIOCSTI
    ((16, 29), [("in", 1, [0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451])]),
    # prctl: a thread's name, which the C library sets
    ((157, 167), [("in", 0, [15, 16])]),
    # socketpair, sendto: what an event loop wakes itself with; local, and without an address
    ((53, 199), [("in", 0, [_AF_UNIX])]),
    ((44, 206), [("in", 4, [0]), ("in", -4, [0])]),
    # prlimit64: only asking
    ((302, 261), [("in", 2, [0]), ("in", -2, [0])]),
]


def machine() -> str:
    """This machine's architecture."""
    return platform.machine()


def supported() -> bool:
    """Whether the table knows this machine."""
    return sys.platform == "linux" and platform.machine() in _ARCH and sys.maxsize > 2**32


def setup() -> dict[str, Any]:
    """What the worker needs to know of this machine: the filter, what stands for its own id there, call numbers."""
    return {"filter": program(platform.machine()), "self": SELF.to_bytes(4, "little"), **_NUMBERS[platform.machine()]}


@lru_cache(maxsize=2)
def program(machine: str) -> bytes:
    """The filter as an array of `struct sock_filter`, with `SELF` for the process's own id.

    Raises:
        KeyError: `machine` has no table; ask `supported()` first.
    """
    arch, column = _ARCH[machine]
    code = [_load(4), *_unless(0x15, [arch], _KILL), _load(0)]
    for numbers in _FREELY.values():
        if (number := numbers[column]) is not None:
            code += [(0x15, 0, 1, number), _give(_ALLOW)]
    for numbers, checks in _CHECKED:
        block = [instruction for check in checks for instruction in _check(*check)] + [_give(_ALLOW)]
        code += [(0x15, 0, len(block), numbers[column]), *block]
    code += [(0x35, 0, 1, _YOUNG), _give(_ENOSYS), _give(_EPERM)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _check(kind: str, argument: int, values: Sequence[int]) -> list[_Instruction]:
    # Arguments are 64 bits wide; the kernel reads the low half of an int. A negative index is a pointer's high half.
    load = _load(16 + 8 * abs(argument) + (4 if argument < 0 else 0))
    if kind == "in":
        return [load, *_unless(0x15, values, _EPERM)]
    if kind == "has":
        return [load, *_unless(0x45, values, _EPERM)]
    return [load, (0x15 if kind == "not" else 0x45, 0, 1, values[0]), _give(_EPERM)]


def _unless(test: int, values: Sequence[int], verdict: int) -> list[_Instruction]:
    jumps = [(test, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [*jumps, _give(verdict)]


def _load(offset: int) -> _Instruction:
    return (0x20, 0, 0, offset)


def _give(verdict: int) -> _Instruction:
    return (0x06, 0, 0, verdict)
