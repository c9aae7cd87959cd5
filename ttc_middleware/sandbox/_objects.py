"""What a worker learns where tests use more than plain data: handles of objects.

Two workers face each other, with the host between them: one has the program, the other runs the tests and nothing
else. What is no plain data stays where it is, and the other side gets a handle of it, whose every use is a message.

Values that a test knows are compared on the test's side alone. So a handle answers to methods, items, iteration and
conversions, but never to a comparison or an operator whose other side is plain: the program would be told what is
expected. Handles compare with each other, by the program's own word, which the host notes. The other way, a program
can call functions of the test and exhaust its iterators, and nothing else.

Its code runs in the worker's own namespace.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingParameterType=false, reportUnknownParameterType=false
# Values of any type are its business.

from __future__ import annotations

import builtins
import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._worker import OPERATIONS, ROOM, STATE, Misfit, answer, encode, quote, rebuild, receive, send, target

HELD: list[Any] = []
"""What the other side has handles of, by their numbers."""
PLACES: dict[int, int] = {}
SEEN: dict[int, Any] = {}
"""Handles of the other side's objects, by their numbers: what is the same there is the same here."""
EXCEPTIONS: dict[str, type[Exception]] = {}
"""On the tests' side: classes that stand for the program's own exceptions."""


class Handle:
    """An object of the other side, or one of its names."""

    def __init__(self, on: int | str) -> None:
        object.__setattr__(self, "_ttc_on", on)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__array", "__cuda", "__dlpack")):  # numpy would follow a pointer that the program gives
            raise AttributeError(name)
        return ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        ask("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        ask("delete", self, name)

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Handle) and bool(ask("is an instance", self, value))

    def __subclasscheck__(self, value: Any) -> bool:
        return isinstance(value, Handle) and bool(ask("is a subclass", self, value))

    def __hash__(self) -> int:
        return int(ask("hash", self))


class Whole(Handle):
    """A handle of which nobody knows yet what it can do: a name, and what all others take their abilities from."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return ask("call", self, *args, **kwargs)

    def __enter__(self) -> Any:
        return ask("enter", self)

    def __exit__(self, kind: object, error: object, _: object) -> Any:
        return ask("exit", self, None if error is None else type(error).__name__, str(error))

    def __await__(self) -> Any:
        return ask("await", self)
        yield


def handle_of(on: int, kind: str) -> Handle:
    """A handle that can do what its object can: `callable()` and `isinstance(…, Iterator)` tell the truth of it."""
    able = tuple(name for name in kind.partition("|")[2].split(",") if name in ABILITIES)
    if able not in KINDS:
        names = [f"__{name}__" for name in able] + (["__exit__"] if "enter" in able else [])
        KINDS[able] = type("Handle", (Handle,), {name: getattr(Whole, name) for name in names})
    return KINDS[able](on)


def _unary(operation: str) -> Callable[[Handle], Any]:
    def asked(self: Handle, *args: Any) -> Any:
        return ask(operation, self, *args)

    return asked


def _binary(operation: str) -> Callable[[Handle, Any], Any]:
    def asked(self: Handle, other: Any) -> Any:
        return ask(operation, self, other) if isinstance(other, Handle) else NotImplemented

    return asked


class Flatly:
    """How `repr`, `bool` and their like cross: as plain data whatever the object makes of them."""

    repr = staticmethod(repr)
    str = staticmethod(str)
    bool = staticmethod(bool)
    len = staticmethod(len)
    iter = staticmethod(iter)
    next = staticmethod(next)
    hash = staticmethod(hash)
    int = staticmethod(int)
    float = staticmethod(float)
    round = staticmethod(round)
    abs = staticmethod(abs)
    reversed = staticmethod(reversed)
    index = staticmethod(operator.index)
    getitem = staticmethod(operator.getitem)
    setitem = staticmethod(operator.setitem)
    delitem = staticmethod(operator.delitem)


for _name in [name for name in vars(Flatly) if not name.startswith("_")]:
    setattr(Handle if _name in ("repr", "str", "bool", "hash") else Whole, f"__{_name}__", _unary(_name))
ABILITIES = (
    "call", "iter", "next", "len", "getitem", "setitem", "delitem", "int", "float", "index", "round", "abs", "reversed",
    "enter", "await",
)  # fmt: skip
KINDS: dict[tuple[str, ...], type[Handle]] = {}
_COMPARING = (
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "matmul",
    "or_",
    "and_",
)
for _name in _COMPARING:
    setattr(Handle, f"__{_name.rstrip('_')}__", _binary(_name))


def called(target: Any, /, *args: Any, **kwargs: Any) -> Any:
    return target(*args, **kwargs)


def is_instance(target: Any, value: Any) -> bool:
    return isinstance(value, target)


def is_subclass(target: Any, value: Any) -> bool:
    return issubclass(value, target)


def enter(target: Any) -> Any:
    return type(target).__enter__(target)


def leave(target: Any, kind: str | None, message: str) -> Any:
    error = None if kind is None else rebuild(kind, message)
    return bool(type(target).__exit__(target, None if error is None else type(error), error, None))


def wait(target: Any) -> Any:
    import asyncio  # noqa: PLC0415, TID251  # slow, and the program's own loop

    async def waited() -> Any:
        return await target

    return asyncio.run(waited())


USES: dict[str, Callable[..., Any]] = {
    **{name: getattr(Flatly, name) for name in vars(Flatly) if not name.startswith("_")},
    **{name: getattr(operator, name) for name in _COMPARING},
    "call": called,
    "get": getattr,
    "set": setattr,
    "delete": delattr,
    "is an instance": is_instance,
    "is a subclass": is_subclass,
    "enter": enter,
    "exit": leave,
    "await": wait,
}
_OF_A_TEST = ("call", "iter", "next")


def ask(operation: str, handle: Handle, /, *args: Any, **kwargs: Any) -> Any:
    """Have the other side use what is its own; meanwhile it may ask for something here."""
    on = object.__getattribute__(handle, "_ttc_on")
    try:
        told = [encode(args, odd=held), encode(kwargs, odd=held)]
    except Misfit as error:
        STATE["misfit"] = error  # whatever becomes of it here, it is the test's fault
        raise
    place = str(on) if type(on) is int else quote(on)
    send(STATE["channel"], STATE["ident"], "use", quote(operation), place, *told)
    while True:
        message = receive(STATE["channel"])
        if message[0] == "returned":
            return decode(message[1])
        if message[0] == "raised":
            its = raised(*message[1:])
            if isinstance(its, (StopIteration, StopAsyncIteration)) and operation != "next":
                raise RuntimeError(f"raised {message[1]}: {message[2]}")  # map() or zip() would take it for the end
            raise its
        if message[0] == "unfit":
            raise Unfit(message[1])
        answer(message)


class Unfit(BaseException):
    """Raised where a result cannot cross: no `except Exception` or `raises(TypeError)` of a test takes it for one."""


def raised(name: str, message: str, own: list[str]) -> BaseException:
    """What the program has raised, its own classes by their stand-ins."""
    for kind in own:
        if kind in EXCEPTIONS and issubclass(EXCEPTIONS[kind], getattr(builtins, name, ())):
            return EXCEPTIONS[kind](message)
    return rebuild(name, message)


def held(value: Any) -> str:
    """A handle of a value that cannot cross; of a handle, the other side's own object."""
    if isinstance(value, Handle):
        on = object.__getattribute__(value, "_ttc_on")
        return f'["y",{on if type(on) is int else quote(on)}]'
    if STATE.get("tests") and not callable(value) and not hasattr(value, "__next__"):
        raise Misfit(f"was given a {type(value).__name__} by the test, which is neither plain data nor a function")
    flat: Any = getattr(value, "tolist", None) if type(value).__module__ == "numpy" else None
    if flat is not None:
        return encode(flat(), 1)
    place = PLACES.setdefault(id(value), len(HELD))  # one number for one object, which HELD keeps alive
    if place == len(HELD):
        HELD.append(value)
    kind: Any = type(value)
    known = {name for base in kind.__mro__ for name in vars(base)}
    able = ",".join([name for name in ABILITIES if f"__{name}__" in known])
    return f'["h",{place},{quote(type(value).__name__[:80] + "|" + able)}]'


def decode(tree: Any) -> Any:
    """A value from the host."""
    if type(tree) is not list:
        return tree
    tag, *parts = tree
    if tag == "h":
        return SEEN.setdefault(parts[0], handle_of(*parts))
    if tag == "y":
        return owned(parts[0])
    items = [decode(part) for part in parts]
    if tag == "d":
        return dict(zip(items[::2], items[1::2]))  # noqa: B905  # pairs
    kinds: dict[str, Any] = {"l": list, "t": tuple, "s": set, "z": frozenset}
    return kinds[tag](items)


def owned(on: int | str) -> Any:
    """What a handle of the other side stands for here."""
    if STATE.get("tests") and type(on) is not int:
        raise TypeError("a test has no names for a program")
    return HELD[on] if type(on) is int else target(str(on))


def use(operation: str, on: int | str, args: Any, kwargs: Any) -> str:
    """Do what the other side asks of an object here; the result, as it crosses."""
    if STATE.get("tests") and (type(on) is not int or operation not in _OF_A_TEST):
        if operation == "get":
            raise AttributeError(f"a test's function shows no {str(args)[:80]}")
        raise TypeError("a program may call the functions of a test, and do nothing else with them")
    return encode(USES[operation](owned(on), *decode(args), **decode(kwargs)), ROOM, held)


def named_as(value: Any) -> Any:
    """What a name of the program is: itself, and for an exception class the names of what it derives from."""
    if not isinstance(value, type) or not issubclass(value, Exception):
        return [value]
    kinds = value.__mro__
    place = next(at for at, base in enumerate(kinds) if getattr(builtins, base.__name__, None) is base)
    return [value, [base.__name__ for base in kinds[: place + 1]]]


USES["name"] = named_as
OPERATIONS["use"] = use
