"""Code that tries to read, write, talk, multiply or stay, each way by itself; `test_corpus.py` runs whole attacks."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from ttc_middleware.sandbox import GuestFailed, Limits, Raised, Returned, Unfit, select

pytestmark = pytest.mark.anyio
TRY = """
def attempt(what, *args, **kwargs):
    try:
        return "got", repr(what(*args, **kwargs))[:200]
    except BaseException as error:
        return "refused", f"{type(error).__name__}: {error}"
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=["bubblewrap", "landlock"])
async def run(request):
    """Runs `f(*args)` of a source in a fresh sandbox."""
    sandbox = await select(request.param)

    async def run(source, *args, limits=None):
        session = await sandbox.start(limits or Limits(cpu_s=2, wall_s=60))
        try:
            loaded = await session.load(TRY + source)
            return await session.call("f", args, {}) if isinstance(loaded, Returned) else loaded
        finally:
            await session.kill()

    return run


@pytest.fixture
def outside():
    """A folder that any user of the machine may read and write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o777)
        (path / "secret").write_text("the answer")
        (path / "secret").chmod(0o666)
        yield path


async def test_files_outside_cannot_be_read(run, outside):
    source = "def f(*paths): return [attempt(lambda: open(p, 'rb').read(100)) for p in paths]"
    paths = [
        str(outside / "secret"),
        "/etc/passwd",
        "/proc/1/environ",
        "/proc/self/environ",
        "/proc/self/mem",
        __file__,
    ]
    paths += [
        f"/proc/{os.getpid()}/{name}" for name in ("environ", "cmdline", "mem", "maps", "fd/0", "root/etc/passwd")
    ]
    paths += ["/dev/mem", "/dev/shm/x", "/sys/kernel/notes", "../../../../../etc/passwd"]
    reply = await run(source, *paths)
    assert [outcome for outcome, _ in reply.value] == ["refused"] * len(paths), reply


async def test_the_installed_packages_cannot_be_read(run):
    source = (
        "import os\ndef f(*paths): return [attempt(lambda: open(p).read(9)) for p in paths],"
        " [n for p in paths for n in (os.listdir(p) if os.path.isdir(p) else [])]"
    )
    stdlib = Path(os.__file__).parent
    reply = await run(source, str(stdlib / "site-packages" / "README.txt"), pytest.__file__)
    assert all(outcome == "refused" for outcome, _ in reply.value[0]), reply


async def test_nothing_outside_can_be_changed(run, outside):
    before = (outside / "secret").stat()
    source = """
import os, shutil
def f(secret, new, library):
    return [
        attempt(open, secret, "a"), attempt(open, secret, "w"), attempt(open, new, "w"),
        attempt(os.open, secret, os.O_RDONLY | os.O_TRUNC), attempt(os.truncate, secret, 0),
        attempt(os.chmod, secret, 0), attempt(os.chown, secret, os.getuid(), os.getgid()), attempt(os.utime, secret),
        attempt(os.setxattr, secret, "user.x", b"1"), attempt(os.rename, secret, new), attempt(os.unlink, secret),
        attempt(os.symlink, "/etc", new), attempt(os.link, secret, new), attempt(os.mkdir, new),
        attempt(os.mkfifo, new),
        attempt(os.mknod, new), attempt(os.rmdir, os.path.dirname(new)), attempt(shutil.rmtree, os.path.dirname(new)),
        attempt(open, library, "a"), attempt(os.chmod, library, 0o777), attempt(os.utime, library),
    ]
"""
    reply = await run(source, str(outside / "secret"), str(outside / "new"), os.__file__)
    assert {outcome for outcome, _ in reply.value} == {"refused"}, reply
    after = (outside / "secret").stat()
    assert (outside / "secret").read_text() == "the answer"
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (after.st_mode, after.st_uid, after.st_mtime) == (before.st_mode, before.st_uid, before.st_mtime)


async def test_the_environment_is_empty(run, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "sk-123")
    source = "import os\ndef f(): return sorted(os.environ), sorted(k.decode() for k in os.environb)"
    names, _ = (await run(source)).value
    assert set(names) <= {
        "LC_CTYPE",
        "PWD",
        "MALLOC_ARENA_MAX",
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
    }  # what the interpreter and the launcher set themselves


async def test_no_descriptor_of_ours_is_inherited(run, outside):
    source = """
import os, stat
def f():
    kinds = []
    for fd in range(64):
        try: kinds.append(stat.S_IFMT(os.fstat(fd).st_mode))
        except OSError: pass
    return kinds
"""
    with (outside / "secret").open() as file:
        os.set_inheritable(file.fileno(), True)
        kinds = (await run(source)).value
    assert kinds == [stat.S_IFCHR] * 3 + [stat.S_IFSOCK]  # /dev/null three times, and the channel


async def test_nothing_can_be_sent_anywhere(run, outside):
    heard = []
    servers = [
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        (socket.AF_UNIX, socket.SOCK_STREAM, str(outside / "stream")),
        (socket.AF_UNIX, socket.SOCK_DGRAM, str(outside / "datagram")),
        (socket.AF_UNIX, socket.SOCK_DGRAM, f"\0ttc-{os.getpid()}"),
    ]
    open_servers = []
    for family, kind, address in servers:
        server = socket.socket(family, kind)
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen()
        server.setblocking(False)
        open_servers.append(server)
    for name in ("stream", "datagram"):
        (outside / name).chmod(0o777)
    targets = [(int(s.family), int(s.type), s.getsockname()) for s in open_servers]
    source = """
import socket
def talk(family, kind, address):
    with socket.socket(family, kind) as s: s.connect(address); s.send(b"leak")
def misuse(family, kind, address):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    if kind == socket.SOCK_DGRAM: a.sendto(b"leak", address)
    else: a.connect(address)
def f(*targets):
    return [attempt(talk, *t) for t in targets] + [attempt(misuse, *t) for t in targets] + [
        attempt(socket.getaddrinfo, "example.com", 80), attempt(socket.create_connection, ("1.1.1.1", 53), 1)]
"""
    try:
        reply = await run(source, *targets)
        for server in open_servers:
            with contextlib.suppress(BlockingIOError):
                heard.append(server.accept() if server.type == socket.SOCK_STREAM else server.recv(10))
    finally:
        for server in open_servers:
            server.close()
    assert {outcome for outcome, _ in reply.value} == {"refused"}, reply
    assert not heard


async def test_no_process_can_be_started(run, outside):
    source = """
import ctypes, os, subprocess, multiprocessing
libc = ctypes.CDLL(None, use_errno=True)
def raw(number, *args):
    if libc.syscall(number, *args) < 0: raise OSError(ctypes.get_errno(), "")
    return os.getpid()
def f(mark):
    return [
        attempt(os.fork), attempt(os.forkpty), attempt(os.posix_spawn, "/bin/sh", ["sh", "-c", f"touch {mark}"], {}),
        attempt(subprocess.run, ["sh", "-c", f"touch {mark}"]),
        attempt(os.execv, "/bin/sh", ["sh", "-c", f"touch {mark}"]),
        attempt(raw, 56, 17, 0, 0, 0, 0), attempt(raw, 57), attempt(raw, 58), attempt(raw, 435, 0, 0),
        attempt(multiprocessing.get_context("fork").Process(target=print).start),
    ]
"""
    reply = await run(source, str(outside / "mark"))
    assert {outcome for outcome, _ in reply.value} == {"refused"}, reply
    assert not (outside / "mark").exists()


async def test_threads_are_limited(run):
    source = """
import threading
threading.stack_size(65536)
def f():
    wait = threading.Event()
    started = 0
    try:
        for _ in range(20_000):
            threading.Thread(target=wait.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    return started
"""
    reply = await run(source, limits=Limits(cpu_s=4, wall_s=60, pids=20))
    if os.geteuid() == 0:  # alone under a user id of its own
        assert reply.value < 20
    else:  # where the user's other threads count too, the limit leaves room for those
        assert isinstance(reply, Raised) or reply.value < 20_000


async def test_dangerous_system_calls_are_refused(run):
    numbers = {
        "ptrace": 101, "socket": 41, "connect": 42, "bind": 49, "sendmsg": 46, "recvmsg": 47, "chmod": 90, "fchmod": 91,
        "chown": 92, "fchmodat": 268, "utimensat": 280, "setxattr": 188, "truncate": 76, "link": 86, "symlink": 88,
        "setuid": 105, "setresuid": 117, "setgroups": 116, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166,
        "pivot_root": 155, "chroot": 161, "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68,
        "semget": 64, "mq_open": 240, "add_key": 248, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
        "userfaultfd": 323, "io_uring_setup": 425, "io_setup": 206, "process_vm_readv": 310, "process_vm_writev": 311,
        "kcmp": 312, "open_by_handle_at": 304, "name_to_handle_at": 303, "pidfd_open": 434, "pidfd_send_signal": 424,
        "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "tkill": 200, "setpriority": 141, "ioprio_set": 251,
        "sched_setscheduler": 144, "sched_setaffinity": 203, "setrlimit": 160, "personality": 135, "timer_create": 222,
        "inotify_init": 253, "fanotify_init": 300, "reboot": 169, "swapon": 167, "init_module": 175, "kexec_load": 246,
        "acct": 163, "settimeofday": 164, "syslog": 103, "seccomp": 317, "landlock_create_ruleset": 444, "clone3": 435,
        "execve": 59, "execveat": 322, "fork": 57, "vfork": 58, "setsid": 112, "setpgid": 109, "splice": 275,
        "tee": 276, "vmsplice": 278, "modify_ldt": 154, "arch_prctl": 158, "quotactl": 179, "iopl": 172,
        "x32 read": 0x40000000,
    }  # fmt: skip
    source = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def f(numbers):
    done = {}
    for name, number in numbers.items():
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
        done[name] = errno.errorcode.get(ctypes.get_errno(), "") if result == -1 else "done"
    return done
"""
    if os.uname().machine != "x86_64":
        pytest.skip("these numbers are x86-64's")
    reply = await run(source, numbers)
    assert {name: how for name, how in reply.value.items() if how not in ("EPERM", "ENOSYS")} == {}


async def test_signals_reach_nobody_else(run):
    source = """
import ctypes, fcntl, os, signal, threading
libc = ctypes.CDLL(None, use_errno=True)
def raw(*args):
    if libc.syscall(*[ctypes.c_long(a) for a in args]) < 0: raise OSError(ctypes.get_errno(), "")
def f(host):
    r, w = os.pipe()
    return [
        attempt(os.kill, host, 0), attempt(os.kill, host, 9), attempt(os.kill, os.getppid(), 9),
        attempt(os.kill, -1, 9), attempt(os.kill, 0, 9), attempt(os.killpg, os.getpgrp(), 9),
        attempt(raw, 234, host, host, 9),
        attempt(raw, 200, host, 9), attempt(fcntl.fcntl, r, 8, host), attempt(fcntl.fcntl, r, 10, 9),
        attempt(fcntl.ioctl, 0, 0x8901, b"1234"), attempt(os.kill, os.getpid(), 9),
        attempt(os.setpriority, os.PRIO_USER, 0, 19), attempt(os.sched_setaffinity, host, {0}),
    ]
"""
    reply = await run(source, os.getpid())
    assert {outcome for outcome, _ in reply.value} == {"refused"}, reply


async def test_limits_cannot_be_raised(run):
    source = """
import resource, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def prctl(*a):
    if libc.prctl(*a) < 0: raise OSError(ctypes.get_errno(), "")
def f():
    every = [getattr(resource, n) for n in dir(resource) if n.startswith("RLIMIT_")]
    limits = {n: resource.getrlimit(getattr(resource, "RLIMIT_" + n)) for n in ("AS", "CPU", "FSIZE", "NOFILE", "CORE")}
    return [attempt(resource.setrlimit, r, (1 << 40, 1 << 40)) for r in every] + [attempt(prctl, 1, 0, 0, 0, 0)], limits
"""
    tried, limits = (await run(source)).value
    assert {outcome for outcome, _ in tried} == {"refused"}, tried
    assert limits["AS"] == (768 << 20, 768 << 20)
    assert limits["CPU"] == (2, 2)
    assert limits["CORE"] == (0, 0)
    assert limits["FSIZE"][1] <= 32 << 20


async def test_nothing_is_left_for_the_next_candidate(run):
    source = (
        "import os\ndef f():\n with open('note', 'a') as s: s.write('x')\n return os.listdir('.'), open('note').read()"
    )
    for _ in range(2):
        assert (await run(source)).value == (["note"], "x")


async def test_scratch_folders_are_removed(run, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o700)  # closed to the user that the code runs as, like the folders above it
    with pytest.raises(GuestFailed):
        await run("import os\ndef f():\n open('x', 'w').write('x')\n os._exit(1)")
    assert list(tmp_path.iterdir()) == []


async def test_what_is_no_plain_data_does_not_cross(run):
    for source in (
        "def f(): return object()",
        "def f(): return (i for i in [])",
        "def f(): return f",
        "def f(): return type",
    ):
        assert isinstance(await run(source), Unfit)
