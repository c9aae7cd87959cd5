"""What programs do on inputs: which of them are the same program, as far as anybody can see."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias, cast

from ttc_middleware._brief import Brief
from ttc_middleware.sandbox import Choice, GuestFailed, Limits, Raised, Reply, Returned, Session, select, valid
from ttc_middleware.sandbox._slots import slot
from ttc_middleware.sandbox._wire import plain

from ._code import extract_code
from ._given import Given
from ._json import LONGEST, NotJson, json_in
from ._run import last_of, session_in

Inputs: TypeAlias = Sequence[Any]
"""One item an input: a tuple of arguments, or the only argument itself where that is no tuple."""

_MOST = 64  # inputs that are taken from a model's reply
_QUESTION = (
    "Do not answer yet. Several programs that answer this will be compared by what they do. Write ten inputs that"
    " wrong programs would get wrong: ordinary ones, and edge cases that the task allows. Reply with JSON alone: a list"
    ' with one list of arguments for each input, as [[3, "ab"], [0, ""]] for a function of two arguments.'
)


@dataclass(frozen=True, repr=False)
class Behaviour(Brief):
    """Runs programs on inputs, in a sandbox, and says which of them do the same; for `CodeSearch`.

    Clusters of programs by their outputs on generated inputs are those of AlphaCode (Li et al. 2022, arXiv:2203.07814)
    and CodeT (Chen et al. 2022, arXiv:2207.10397). Nobody needs to know what is right on these inputs. Two programs do
    the same where for each input they return equal values, floats to nine digits, or raise the same builtin exception.
    A program that does not load, is killed, or returns nothing on any input does nothing, and is like no other.

    Where it fails: inputs that the task does not allow, on which right programs may differ; inputs that are too easy,
    on which wrong programs do not.

    Args:
        inputs: what programs are called with: a sequence with, for each input, a tuple of arguments, or the only
            argument itself where that is no tuple; or a function of the call's arguments, by name, that returns one.
            None: the model is asked for them, in a call of its own on the bill's routing line, and its reply is read
            as JSON and nothing else.
        entry: the function's name, or `Class.method` of a class made without arguments; or a function of the call's
            arguments that returns it. None: the last function that a program defines, as in `UnitTests`.
        sandbox: where programs run, as in `UnitTests`.
        allow_unsafe: let "auto" take a plain process where nothing better works: for code that you trust.
        limits: of one program, on all inputs together.
        extract: from an output to the code.

    Raises:
        ValueError: no inputs, an unknown sandbox, or an entry that is no name.
        TypeError: `inputs` is no sequence or not plain data, or a function of the arguments is async or has
            positional-only parameters.
    """

    inputs: Inputs | Callable[..., Inputs] | None = field(default=None, repr=False, hash=False)
    entry: str | Callable[..., str] | None = field(default=None, kw_only=True)
    sandbox: Choice = field(default="auto", kw_only=True)
    allow_unsafe: bool = field(default=False, kw_only=True)
    limits: Limits = field(default=Limits(), kw_only=True)
    extract: Callable[[Any], str] = field(default=extract_code, kw_only=True)

    def __post_init__(self) -> None:
        valid(self.sandbox)
        _ = self._inputs, self._entry  # checks them

    def __repr__(self) -> str:
        options = super().__repr__().removeprefix("Behaviour(")
        inputs = "" if self.inputs is None else "…" if options == ")" else "…, "
        return f"verifiers.Behaviour({inputs}{options}"

    @property
    def question(self) -> str | None:
        """What the model is asked, to write inputs; None where there are some."""
        return _QUESTION if self.inputs is None else None

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that it cannot do without."""
        own = frozenset[str]() if self._inputs is None else self._inputs.parameters
        return own | self._entry.parameters

    @property
    def _inputs(self) -> Given[list[tuple[Any, ...]]] | None:
        return None if self.inputs is None else Given[list[tuple[Any, ...]]].of("inputs", self.inputs, _checked)

    @property
    def _entry(self) -> Given[str | None]:
        return Given[str | None].of("entry", self.entry, _name)

    def inputs_for(self, arguments: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
        """The inputs for a call with these arguments, each a tuple of arguments; None where the model is asked.

        Raises:
            ValueError: there are none.
            TypeError: they are no sequence, or one is no plain data.
        """
        return None if self._inputs is None else self._inputs.value(arguments)

    def read(self, reply: str) -> list[tuple[Any, ...]]:
        """The inputs in what a model said to the question, the first 64 of them.

        Raises:
            ValueError: it is not JSON, or holds no list of inputs.
        """
        if len(reply) > LONGEST:
            raise NotJson(f"the inputs are {len(reply):,} characters long, where {LONGEST:,} are allowed")
        said: object = json.loads(json_in(reply))
        if not isinstance(said, list) or not said:
            raise ValueError(f"inputs are a JSON list of lists of arguments, not {said!r:.100}")
        items = cast("list[object]", said)[:_MOST]
        listed = all(isinstance(each, list) for each in items)
        return _checked([tuple(cast("list[object]", each)) if listed else each for each in items])

    async def of(
        self, output: Any, inputs: Sequence[tuple[Any, ...]], *, arguments: Mapping[str, Any] | None = None
    ) -> str | None:
        """What a program does on inputs, as a text that is equal where another does the same; None: nothing.

        Args:
            output: what the model wrote, or whatever `extract` takes.
            inputs: the arguments of each call.
            arguments: those of the wrapped function's call, for an entry that is a function of them.

        Raises:
            SandboxUnavailable: no isolating sandbox works here.
            SandboxFailed: the sandbox broke, which says nothing about the code.
            TypeError: the output is no text.
        """
        source, entry = self.extract(output), self._entry.value(arguments)
        async with slot():
            sandbox = await select(self.sandbox, allow_unsafe=self.allow_unsafe)
            async with session_in(sandbox, self.limits) as code:
                try:
                    done = await _done(code, source, entry, inputs)
                except GuestFailed:  # it hung, ended, or used up a limit
                    return None
        if "returned" not in {what for what, _ in done}:
            return None
        return sha256("\n".join(f"{what} {value}" for what, value in done).encode()).hexdigest()


async def _done(
    code: Session, source: str, entry: str | None, inputs: Sequence[tuple[Any, ...]]
) -> list[tuple[str, str]]:
    """How each call ended; nothing where the program does not load, or defines no function."""
    loaded = await code.load(source)
    entry = (entry or last_of(loaded.value)) if isinstance(loaded, Returned) else None
    return [] if entry is None else [_ending(await code.call(entry, args, {})) for args in inputs]


def _ending(reply: Reply) -> tuple[str, str]:
    if isinstance(reply, Returned):
        return "returned", _written(reply.value)
    return ("raised", reply.type) if isinstance(reply, Raised) else ("unfit", "")


def _written(value: Any) -> str:
    """Plain data as a text that is the same for equal values, and for floats that differ by rounding alone."""
    if isinstance(value, (list, tuple)):
        items = ",".join(map(_written, cast("Sequence[Any]", value)))
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    if isinstance(value, (set, frozenset)):
        return f"{{{','.join(sorted(map(_written, cast('set[Any]', value))))}}}"
    if isinstance(value, dict):
        pairs: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return f"{{{','.join(sorted(f'{_written(key)}:{_written(each)}' for key, each in pairs.items()))}:}}"
    if isinstance(value, complex):
        return f"{_written(value.real)}+{_written(value.imag)}j" if value.imag else _written(value.real)
    if isinstance(value, float) and math.isfinite(value):
        near = value if value.is_integer() else float(f"{value:.9g}")
        return hex(int(near)) if near.is_integer() else repr(near)
    return hex(value) if isinstance(value, int) else ascii(value)


def _checked(inputs: object) -> list[tuple[Any, ...]]:
    if isinstance(inputs, (str, bytes)) or not isinstance(inputs, Sequence):
        raise TypeError(f"inputs is a sequence with one item for each input, not {inputs!r:.100}")
    items: Sequence[Any] = inputs  # pyright: ignore[reportUnknownVariableType]
    if not items:
        raise ValueError("inputs is empty: without any, all programs would be alike")
    try:
        plain(list(items))
    except TypeError as error:
        raise TypeError(f"inputs cannot cross into the sandbox: {error}") from None
    return [_arguments(each) for each in items]


def _arguments(given: Any) -> tuple[Any, ...]:
    args: tuple[Any, ...] = given if isinstance(given, tuple) else (given,)  # pyright: ignore[reportUnknownVariableType]
    return args


def _name(entry: object) -> str | None:
    if entry is None:
        return None
    if not isinstance(entry, str) or not all(part.isidentifier() for part in entry.split(".")):
        raise ValueError(f"entry is a function's name or Class.method, not {entry!r:.100}")
    return entry
