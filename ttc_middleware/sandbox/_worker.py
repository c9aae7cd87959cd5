"""What runs inside a sandbox: it locks itself in, then runs a program that nobody vouches for.

Its code is sent to a bare interpreter (`python -I -S`) that does not have this package. It imports little, because
every import costs each candidate milliseconds: no `json`, `re`, `enum`, and `ctypes` only to lock the door. What it
says is never believed: the program shares its memory. So nothing here guards the verdict; it only serves honest code.
"""

from __future__ import annotations

import builtins
import marshal
import os
import sys

try:
    from _json import encode_basestring_ascii as quote  # json itself imports re, which takes 10 ms
except ImportError:
    from json.encoder import py_encode_basestring_ascii as quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEPTH = 64
PROGRAM = "solution"
FILE = "solution.py"


class Misfit(Exception):
    """Raised when a result is not plain data."""


# The door. Everything below this line up to `serve` runs before any foreign code.


def main() -> None:
    """Lock the process in as the first frame says, then answer."""
    setup = receive(0)
    if setup["folder"]:
        os.chdir(setup["folder"])
    limit(setup["limits"])
    confine(setup)
    channel = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    send(channel, 0, "returned", "null")
    serve(channel, setup["result"])


def limit(limits: dict[str, int]) -> None:
    """Lower the resource limits, for good: soft and hard alike."""
    import resource  # noqa: PLC0415  # not on every system

    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}", None)
        if which is not None:
            ceiling = resource.getrlimit(which)[1]
            value = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
            resource.setrlimit(which, (value, value))


def confine(setup: dict[str, Any]) -> None:
    """Become somebody else, then give up files (Landlock) and system calls (seccomp), in the order that still can."""
    if setup["filter"] is None:
        return
    import ctypes  # noqa: PLC0415  # 5 ms, and not for those who lock nothing

    libc = ctypes.CDLL(None, use_errno=True)

    def must(done: int, what: str) -> int:
        if done < 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
        return done

    def control(option: int, *arguments: Any) -> None:
        padded = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
        must(libc.prctl(option, *padded), f"prctl({option})")

    def system(number: int, *arguments: Any) -> int:
        return must(libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")

    if setup["user"] is not None:
        reading = setup["keep_reading"]
        control(8, 1 if reading else 0)  # PR_SET_KEEPCAPS
        os.setgroups([])
        os.setresgid(setup["user"], setup["user"], setup["user"])
        os.setresuid(setup["user"], setup["user"], setup["user"])
        if reading:  # CAP_DAC_READ_SEARCH alone, for an interpreter in a folder that is private to root
            system(setup["capset"], (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(4, 4, 0, 0, 0, 0))
    if setup["parent"]:
        control(1, 9)  # PR_SET_PDEATHSIG: the host's end is ours
        if os.getppid() != setup["parent"]:
            os._exit(1)
    control(38, 1)  # PR_SET_NO_NEW_PRIVS
    if setup["landlock"] is not None:
        attributes, rules = setup["landlock"]
        ruleset = system(444, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
        for path, access in rules:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # gone since it was listed
            rule = access.to_bytes(8, "little") + place.to_bytes(4, "little")  # struct landlock_path_beneath_attr
            system(445, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.c_char_p(rule), ctypes.c_uint32(0))
            os.close(place)
        system(446, ctypes.c_int(ruleset), ctypes.c_uint32(0))
        os.close(ruleset)
    code = ctypes.create_string_buffer(setup["filter"], len(setup["filter"]))
    fprog = (ctypes.c_size_t * 2)(len(code) // 8, ctypes.addressof(code))  # struct sock_fprog
    control(22, 2, ctypes.addressof(fprog))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


# The frames: four bytes of length; marshal from the host, JSON to it.


def receive(channel: int) -> Any:
    """The next frame; the process ends where the channel does."""

    def exactly(count: int) -> bytes:
        parts = []
        while count:
            part = os.read(channel, min(count, 1 << 20))
            if not part:
                os._exit(0)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    return marshal.loads(exactly(int.from_bytes(exactly(4), "big")))  # noqa: S302  # the host wrote it


def send(channel: int, ident: int, kind: str, *parts: str) -> None:
    """Send a frame of JSON texts."""
    body = f"[{','.join([str(ident), quote(kind), *parts])}]".encode("ascii")
    frame = memoryview(len(body).to_bytes(4, "big") + body)
    while frame:
        frame = frame[os.write(channel, frame) :]


def encode(value: Any, depth: int = 0) -> str:
    """A value as JSON, flattened to exact builtins by the base classes' own methods, whatever a subclass overrides."""
    kind = type(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    bases = kind.__mro__
    if int in bases:
        value = int.__pos__(value)
        return int.__repr__(value) if -(1 << 63) <= value < 1 << 63 else f'["i","{value:x}"]'
    if float in bases:
        text = float.__repr__(value)
        return f'["f","{text}"]' if text[-1] in "nf" else text
    if str in bases:
        return quote(str.__str__(value))
    if complex in bases:
        value = complex.__pos__(value)
        return f'["c",{encode(value.real)},{encode(value.imag)}]'
    if bytes in bases or bytearray in bases:
        return f'["b","{(bytes if bytes in bases else bytearray).hex(value)}"]'
    if depth >= DEPTH:
        raise Misfit(f"something nested more than {DEPTH} deep")
    depth += 1
    if dict in bases:
        items = [each for item in dict.items(value) for each in item]
        return _join("d", items, depth)
    for tag, base in (("l", list), ("t", tuple), ("s", set), ("z", frozenset)):
        if base in bases:
            return _join(tag, base.__iter__(value), depth)
    raise Misfit(f"a {kind.__name__}, which is not plain data")


def _join(tag: str, items: Any, depth: int) -> str:
    return ",".join([f'["{tag}"', *[encode(item, depth) for item in items]]) + "]"


# The service. From here on foreign code has been running, and nothing is certain.


def serve(channel: int, size: int) -> None:
    """Answer one request after the other: load, call, check."""
    module = type(sys)(PROGRAM)
    sys.modules[PROGRAM] = module
    while True:
        ident, operation, *rest = receive(channel)
        try:
            if operation == "load":
                result = load(module, *rest)
            elif operation == "call":
                result = call(module, *rest)
            else:
                result = check(channel, ident, *rest)
            text = encode(result)
            if len(text) > size:
                raise Misfit(f"a result of {len(text)} bytes, where {size} are allowed")
        except Misfit as error:
            send(channel, ident, "unfit", quote(str(error)))
        except BaseException as error:  # noqa: BLE001  # SystemExit too: leaving is no way to pass
            send(channel, ident, "raised", *[quote(text) for text in describe(error)])
        else:
            send(channel, ident, "returned", text)


def load(module: Any, source: str) -> list[str]:
    """Run the program's top level; the names of the functions that it defines."""
    exec(compile(source, FILE, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # what a sandbox is for
    return [
        name
        for name, value in list(vars(module).items())
        if callable(value) and not isinstance(value, type) and getattr(value, "__module__", None) == PROGRAM
    ]


def call(module: Any, entry: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function of the program; `Class.method` on a new instance."""
    first, *rest = entry.split(".")
    try:
        target = vars(module)[first]
    except KeyError:
        raise NameError(f"the code defines no {first!r}") from None
    for name in rest:
        target = getattr(target() if isinstance(target, type) else target, name)
    return target(*args, **kwargs)


class Raises:
    """`with raises(ValueError): f(-1)` passes when the block raises that."""

    def __init__(self, *expected: type[BaseException]) -> None:
        self.expected = expected

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is None:
            names = " or ".join(each.__name__ for each in self.expected)
            raise AssertionError(f"did not raise {names}")
        return issubclass(kind, self.expected)


def check(channel: int, ident: int, test: str, names: list[str]) -> None:
    """Run a test whose calls of `names` the host makes elsewhere."""

    def proxy(name: str) -> Callable[..., Any]:
        def relayed(*args: Any, **kwargs: Any) -> Any:
            send(channel, ident, "call", quote(name), encode(args), encode(kwargs))
            kind, *rest = receive(channel)
            if kind == "returned":
                return rest[0]
            raise rebuild(*rest)

        relayed.__name__ = relayed.__qualname__ = name
        return relayed

    scope: dict[str, Any] = {"__name__": "test", "raises": Raises}
    scope.update((name, proxy(name)) for name in names)
    exec(compile(test, "test.py", "exec", dont_inherit=True), scope)  # noqa: S102  # what a sandbox is for


def rebuild(name: str, message: str) -> Exception:
    """An exception of a builtin class, or of the nearest base that takes one message."""
    kind = getattr(builtins, name, None)
    bases = kind.__mro__ if isinstance(kind, type) and issubclass(kind, Exception) else (RuntimeError,)
    for base in bases:
        try:
            return base(message)
        except TypeError:
            continue
    return RuntimeError(message)


def describe(error: BaseException) -> tuple[str, str]:
    """The nearest builtin class's name, and what happened in words, with the line of the program."""
    kind = type(error)
    name = next(base.__name__ for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
    try:
        message = str.__str__(str(error))[:1000]
    except BaseException:  # noqa: BLE001  # a __str__ that raises
        message = ""
    if kind.__name__ != name:
        message = f"{kind.__name__}: {message}"
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is not None and f"line {line})" not in message:
        message = f"{message} (line {line})"
    return name, message
