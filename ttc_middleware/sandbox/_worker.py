"""What runs inside a sandbox: it locks itself in, then runs a program that nobody vouches for.

Its code is sent to a bare interpreter (`python -I -S`) that does not have this package. It imports little, because
every import costs each candidate milliseconds: no `json`, `re`, `enum`, and `ctypes` only to lock the door. What it
says is never believed: the program shares its memory. So nothing here guards the verdict; it only serves honest code.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# Values of any type are its business.

from __future__ import annotations

import builtins
import marshal
import os
import sys

try:
    from _json import encode_basestring_ascii as _quote  # json itself imports re, which takes 10 ms
except ImportError:
    from json.encoder import py_encode_basestring_ascii as _quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

quote: Callable[[str], str] = _quote
DEPTH = 64
ROOM = 4  # less for a result, which a test may pass on inside its arguments
PROGRAM = "solution"
FILE = "solution.py"
LIBC: list[Any] = []


class Misfit(Exception):
    """Raised when a call has no outcome that can cross; says what became of it."""


# The door: what runs before any foreign code


def main() -> None:
    """Lock the process in as the first frame says, then answer."""
    setup: Any = receive(0)
    os.umask(0o077)
    if setup["guard"]:
        guard()
    if setup["folder"]:
        os.chdir(setup["folder"])
    limit(setup["limits"], strictly=setup["lock"] is not None)
    if setup["lock"]:
        lock(setup["lock"])
    sys.path += setup["packages"]
    channel = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    send(channel, 0, "returned", "null")
    serve(channel, setup["result"])


def guard() -> None:
    """Go on in a child. This process stays what the launcher started, the first of its namespace: it dies with the
    launcher, which may not signal another user's process, and the namespace dies with it.
    """  # noqa: D205
    child = os.fork()
    if child:
        os.closerange(0, 64)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)


def limit(limits: dict[str, int], *, strictly: bool) -> None:
    """Lower the resource limits, for good: soft and hard alike. Not every system has or takes them all."""
    import resource  # noqa: PLC0415  # not on every system

    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}", None)
        if which is not None:
            ceiling = resource.getrlimit(which)[1]
            least = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
            try:
                resource.setrlimit(which, (least, least))
            except (OSError, ValueError):
                if strictly:
                    raise


def libc() -> Any:
    """The C library; a fork server has loaded it already."""
    if not LIBC:
        import ctypes  # noqa: PLC0415  # as in lock()

        LIBC.append(ctypes.CDLL(None, use_errno=True))
    return LIBC[0]


def lock(setup: Any) -> None:  # noqa: C901  # one step after the other
    """Become somebody else, then give up files (Landlock) and system calls (seccomp), in the order that still can."""
    import ctypes  # noqa: PLC0415  # 5 ms, and not for those who lock nothing

    syscall = libc().syscall

    def system(number: int, *arguments: Any) -> int:
        result: int = syscall(ctypes.c_long(number), *arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), f"system call {number}: {os.strerror(ctypes.get_errno())}")
        return result

    def control(option: int, *arguments: int) -> None:
        padded = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
        system(setup["prctl"], ctypes.c_ulong(option), *padded)

    def become(user: int) -> None:
        control(8, int(setup["keep_reading"]))  # PR_SET_KEEPCAPS
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        if setup["keep_reading"]:  # CAP_DAC_READ_SEARCH alone, for an interpreter in a folder that is root's own
            system(setup["capset"], (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(4, 4, 0, 0, 0, 0))

    def give_up_files(attributes: bytes, rules: list[tuple[str, int]]) -> None:
        ruleset = system(444, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
        for path, access in rules:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = access.to_bytes(8, "little") + place.to_bytes(4, "little")  # struct landlock_path_beneath_attr
            system(445, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.c_char_p(rule), ctypes.c_uint32(0))
            os.close(place)
        system(446, ctypes.c_int(ruleset), ctypes.c_uint32(0))
        os.close(ruleset)

    def new_scratch(size: int) -> None:
        """An empty /tmp of this process's own, then no more right to mount anything."""
        system(setup["unshare"], ctypes.c_int(0x20000))  # CLONE_NEWNS
        system(setup["mount"], b"none", b"/", None, ctypes.c_ulong(0x44000), None)  # MS_REC | MS_PRIVATE
        scratch, options = "/tmp", f"size={size},nr_inodes=4096,mode=1777".encode()  # noqa: S108  # not the host's
        system(setup["mount"], b"tmpfs", scratch.encode(), b"tmpfs", ctypes.c_ulong(6), options)  # MS_NOSUID | MS_NODEV
        os.chdir(scratch)

    if setup["scratch"] is not None:
        new_scratch(setup["scratch"])
    if setup["user"] is not None:
        become(setup["user"])
    elif setup["scratch"] is not None:
        system(setup["capset"], (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
    control(1, 9)  # PR_SET_PDEATHSIG, which a change of user clears: the host's end is ours
    if os.getppid() != setup["parent"]:
        raise ProcessLookupError("the host is gone")
    control(38, 1)  # PR_SET_NO_NEW_PRIVS
    if setup["landlock"] is not None:
        give_up_files(*setup["landlock"])
    program = setup["filter"].replace(setup["self"], os.getpid().to_bytes(4, "little"))
    code = ctypes.create_string_buffer(program, len(program))
    fprog = (ctypes.c_size_t * 2)(len(code) // 8, ctypes.addressof(code))  # struct sock_fprog
    control(22, 2, ctypes.addressof(fprog))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


# The frames: four bytes of length; marshal from the host, JSON to it


def receive(channel: int) -> Any:
    """The next frame; the process ends where the channel does."""

    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = os.read(channel, count - len(data))
            if not part:
                os._exit(0)
            data += part
        return data

    return marshal.loads(exactly(int.from_bytes(exactly(4), "big")))  # noqa: S302  # the host wrote it


def send(channel: int, ident: int, kind: str, *parts: str) -> None:
    """Send a frame of JSON texts."""
    body = f"[{','.join([str(ident), quote(kind), *parts])}]".encode("ascii")
    frame = memoryview(len(body).to_bytes(4, "big") + body)
    while frame:
        frame = frame[os.write(channel, frame) :]


def no_value(value: Any) -> str:
    """What becomes of a value that cannot cross."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), 1)
    raise Misfit(f"returned a {type(value).__name__}, which is not plain data")


def encode(value: Any, depth: int = 0, odd: Callable[[Any], str] = no_value) -> str:  # noqa: C901  # one kind after the other
    """A value as JSON, flattened to exact builtins by the base classes' own methods, whatever a subclass overrides."""
    bases = type(value).__mro__
    if value is None:
        return "null"
    if bool in bases:
        return "true" if value else "false"
    if int in bases:
        whole = int.__pos__(value)
        return int.__repr__(whole) if -(1 << 63) <= whole < 1 << 63 else f'["i","{whole:x}"]'
    if float in bases:
        digits = float.__repr__(value)
        return f'["f","{digits}"]' if digits[-1] in "nf" else digits
    if str in bases:
        return text(str.__str__(value))
    if complex in bases:
        number = complex.__pos__(value)
        return f'["c",{encode(number.real)},{encode(number.imag)}]'
    if bytes in bases:
        return f'["b","{bytes.hex(value)}"]'
    if bytearray in bases:
        return f'["b","{bytearray.hex(value)}"]'
    if depth >= DEPTH:
        raise Misfit(f"returned something nested more than {DEPTH} deep")
    if dict in bases:
        pairs: Any = dict.items(value)
        return _join("d", [each for pair in pairs for each in pair], depth, odd)
    kinds: Any = (("l", list), ("t", tuple), ("s", set), ("z", frozenset))
    for tag, base in kinds:
        if base in bases:
            return _join(tag, base.__iter__(value), depth, odd)
    return odd(value)


def _join(tag: str, items: Any, depth: int, odd: Callable[[Any], str]) -> str:
    return ",".join([f'["{tag}"', *[encode(item, depth + 1, odd) for item in items]]) + "]"


def text(value: str) -> str:
    """A string as JSON, which would make one character of two surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return f'["u","{value.encode("utf-8", "surrogatepass").hex()}"]'
    return quote(value)


# The service: foreign code has been running, and nothing is certain


def serve(channel: int, size: int) -> None:
    """Answer one request after the other."""
    sys.modules[PROGRAM] = MODULE
    STATE.update(channel=channel, size=size, ident=0)
    while True:
        answer(receive(channel))


def answer(message: Any) -> None:
    """Do what a request asks, and say how that ended."""
    ident, operation, *rest = message
    outer, STATE["ident"] = STATE["ident"], ident
    channel, size = STATE["channel"], STATE["size"]
    try:
        told = OPERATIONS[operation](*rest)
    except Misfit as error:
        send(channel, ident, "unfit", quote(str(error)))
    except BaseException as error:  # noqa: BLE001  # SystemExit too: leaving is no way to pass
        name, message, line, own = describe(error)
        send(channel, ident, "raised", quote(name), quote(message), str(line), f"[{','.join(map(quote, own))}]")
    else:
        if len(told) > size:
            send(channel, ident, "unfit", quote(f"returned {len(told)} bytes, where {size} are allowed"))
        else:
            send(channel, ident, "returned", told)
    finally:
        STATE["ident"] = outer


def load(source: str) -> str:
    """Run the program's top level; the names of the functions that it defines."""
    exec(compile(source, FILE, "exec", dont_inherit=True), MODULE.__dict__)  # noqa: S102  # what a sandbox is for
    scope: dict[str, Any] = dict(vars(MODULE))
    return encode(
        [
            name
            for name, value in scope.items()
            if callable(value) and not isinstance(value, type) and getattr(value, "__module__", None) == PROGRAM
        ]
    )


def call(entry: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Call a function of the program; a coroutine is run to its end."""
    result = target(entry)(*args, **kwargs)
    if type(result).__name__ == "coroutine":
        import asyncio  # noqa: PLC0415, TID251  # slow; the program's own loop

        result = asyncio.run(result)
    return encode(result, ROOM)


def target(entry: str) -> Any:
    """What a name of the program means; `Class.method` is one of a new instance."""
    first, *rest = entry.split(".")
    if first not in vars(MODULE):
        raise Misfit(f"cannot be made: the code defines no {first!r}")
    found: Any = getattr(MODULE, first)
    for name in rest:
        owner: Any = found() if isinstance(found, type) else found
        found = getattr(owner, name)
    return found


def learn(code: Any) -> str:
    """Take in more of ourselves."""
    exec(code, globals())  # noqa: S102  # the host wrote it
    return "null"


MODULE: Any = type(sys)(PROGRAM)
STATE: dict[str, Any] = {}
OPERATIONS: dict[str, Callable[..., str]] = {"load": load, "call": call, "learn": learn}


class Raises:
    """`with raises(ValueError): f(-1)` passes when the block raises that."""

    def __init__(self, *expected: type[BaseException]) -> None:
        self.expected = expected

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is None:
            raise AssertionError(f"did not raise {' or '.join(each.__name__ for each in self.expected)}")
        return issubclass(kind, self.expected)


def rebuild(name: str, message: str) -> Exception:
    """An exception of a builtin class, or of the nearest base that takes one message."""
    kind = getattr(builtins, name, None)
    while isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # noqa: PERF203  # a step or two
            kind = kind.__base__
    return RuntimeError(message)


def describe(error: BaseException) -> tuple[str, str, int, list[str]]:
    """The nearest builtin class's name, the message, the line of the program, and the names of classes of its own."""
    kinds = type(error).__mro__
    place = next(at for at, base in enumerate(kinds) if getattr(builtins, base.__name__, None) is base)
    own = [str.__str__(base.__name__)[:80] for base in kinds[:place]][:8]
    try:
        message = str.__str__(str(error))[:1000]
    except BaseException:  # noqa: BLE001  # a __str__ that raises
        message = ""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return kinds[place].__name__, message, line if type(line) is int else 0, own
