"""SMT-LIB 2, as far as it takes to know what a text does before z3 sees it.

What a model wrote is taken apart here and put together again from whole commands of a closed list. So no text can end
an expression early, read a file, set an option, or change what the problem means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias, Union

Term: TypeAlias = Union[str, "list[Term]"]
Command: TypeAlias = "list[Term]"

LONGEST = 200_000
"""Characters of SMT-LIB that are read."""
_DEPTH = 200
_TOKEN = re.compile(r'\s+|;[^\n]*|(?P<part>[()]|"(?:[^"]|"")*"|\|[^|\\]*\||[^\s()";|]+)')
_FOREIGN = re.compile(r'[^\t\n\r\x20-\x7e]|\\"')
_DECLARING = frozenset({"declare-const", "declare-fun", "declare-sort", "declare-datatype", "declare-datatypes"})
_DEFINING = frozenset(
    {"define-fun", "define-const", "define-sort"}
)  # not -rec: what contradicts itself proves anything
_RECURSIVE = frozenset({"define-fun-rec", "define-funs-rec"})
_NOTHING = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "get-value", "exit"})  # dropped


class NotSmt(ValueError):
    """Raised where a text is not SMT-LIB that is understood here; its text says why."""


def read(text: str) -> list[Term]:  # noqa: C901  # a scanner in one sitting
    """The terms of a text, commands and bare words alike.

    Raises:
        NotSmt: brackets or quotes that do not match, other characters than ASCII's, too deep or too long.
    """
    if len(text) > LONGEST:
        raise NotSmt(f"it is {len(text):,} characters long, where {LONGEST:,} are allowed")
    foreign = _FOREIGN.search(text)
    if foreign:
        raise NotSmt(f"it contains {foreign[0]!a}, which is no SMT-LIB")
    stack: list[list[Term]] = [[]]
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotSmt(f"a quote is not closed: {text[at : at + 30]!a}")
        at = match.end()
        part = match["part"]
        if part == "(":
            if len(stack) > _DEPTH:
                raise NotSmt(f"it is nested deeper than {_DEPTH} levels")
            stack.append([])
        elif part == ")":
            done = stack.pop()
            if not stack:
                raise NotSmt("a bracket is closed that was not opened")
            stack[-1].append(done)
        elif part:
            stack[-1].append(part)
    if len(stack) > 1:
        raise NotSmt("a bracket is not closed")
    return stack[0]


def written(commands: Iterable[Term]) -> str:
    """Terms as text, one a line."""
    return "\n".join(map(_written, commands))


def problem_in(text: str) -> list[Command]:
    """The declarations, definitions and assertions of a problem.

    Raises:
        NotSmt: it is not understood, or has other commands.
    """
    return _commands(read(text), _DECLARING | _DEFINING | _RECURSIVE | {"assert"})


def added_by(said: Sequence[Term], problem: Sequence[Command]) -> list[Command]:
    """What an answer adds to a problem: its assertions, with what it declares and defines for them.

    Raises:
        NotSmt: it has other commands, asserts nothing, or declares anew what the problem declares.
    """
    known = {_written(each) for each in problem if each[0] != "assert"}
    taken = {_name(each) for each in problem if each[0] != "assert"}
    own = [each for each in _commands(said, _DECLARING | _DEFINING | {"assert"}) if _written(each) not in known]
    for each in own:
        if each[0] != "assert" and _name(each) in taken:
            raise NotSmt(f"it declares {_name(each):.60} anew")
    if not any(each[0] == "assert" for each in own):
        raise NotSmt("it asserts nothing: write (assert ...)")
    return own


def with_values(problem: Sequence[Command], said: Sequence[Term]) -> list[Command] | None:
    """The problem with a model's values in place of its declarations, of the same sorts; None: it gives no values.

    Raises:
        NotSmt: they are no values, or of something that the problem does not declare.
    """
    values: dict[str, tuple[list[Term], Term]] = {}
    for name, value in _values([term for term in said if isinstance(term, list)]):
        if name in values:
            raise NotSmt(f"{name:.60} has two values")
        values[name] = value
    found: list[Command] = []
    for command in problem:
        if command[0] in ("declare-const", "declare-fun") and _name(command) in values:
            found.append(_defined(command, *values.pop(_name(command))))
        else:
            found.append(command)
    if values:
        raise NotSmt(f"{next(iter(values)):.60} is not declared in the problem")
    return None if found == list(problem) else found


def verdict_in(said: Sequence[Term]) -> set[str]:
    """The words `sat` and `unsat` among the bare words of an answer."""
    return {term.strip("*`.,:!").lower() for term in said if isinstance(term, str)} & {"sat", "unsat"}


def _commands(terms: Iterable[Term], allowed: frozenset[str]) -> list[Command]:
    found: list[Command] = []
    for term in terms:
        if isinstance(term, list):
            head = term[0] if term and isinstance(term[0], str) else ""
            if head in allowed and len(term) > 1:
                found.append(term)
            elif head not in _NOTHING:
                raise NotSmt(f"{_shown(term)} is no declaration, definition or assertion")
    return found


def _values(terms: list[Term]) -> Iterable[tuple[str, tuple[list[Term], Term]]]:
    """Parameters and body by name, from `(define-fun x () Int 3)` or `((x 3) (y 4))`, in a list or not."""
    for term in terms:
        match term:
            case ["define-fun", str(name), [*parameters], _, body]:
                yield name.strip("|"), (parameters, body)
            case ["define-const", str(name), _, body]:
                yield name.strip("|"), ([], body)
            case [str(head), *_] if head in _NOTHING:
                pass
            case ["model", *inner] | [*inner] if inner and all(isinstance(each, list) for each in inner):
                yield from _values(inner)
            case [str(name), body]:
                yield name.strip("|"), ([], body)
            case _:
                raise NotSmt(f"{_shown(term)} is no value: write (define-fun x () Int 3)")


def _defined(command: Command, parameters: list[Term], body: Term) -> Command:
    """A declaration as a definition: its own sorts, the model's names of parameters and its value."""
    sorts = command[2] if command[0] == "declare-fun" and len(command) > 3 else []  # noqa: PLR2004  # name, sorts, sort
    names = [each[0] for each in parameters if isinstance(each, list) and each]
    if not isinstance(sorts, list) or not len(names) == len(parameters) == len(sorts):
        raise NotSmt(f"{_name(command):.60} takes another number of arguments")
    typed: list[Term] = [[one, sort] for one, sort in zip(names, sorts, strict=True)]
    return ["define-fun", command[1], typed, command[-1], body]


def _name(command: Command) -> str:
    return _written(command[1]).strip("|")


def _written(term: Term) -> str:
    return term if isinstance(term, str) else f"({' '.join(map(_written, term))})"


def _shown(term: Term) -> str:
    text = _written(term)
    return text if len(text) <= 60 else f"{text[:60]}..."  # noqa: PLR2004  # characters that name it
