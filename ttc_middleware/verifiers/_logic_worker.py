"""Deciding logic with z3, in a process of its own (`_aside.py`); what it is asked comes from `_smtlib.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any


class _Undecided(Exception):
    """z3 says "unknown"."""


def prepare() -> None:
    """Import what takes long, before any question is timed."""
    import_module("z3")


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Decide one question.

    Args:
        question: `kind`; `problem`, text that stands alone; and `whole`, the problem with what the answer adds to it or
            puts into it, or `holds`, what it says of it.

    Returns:
        `{"right": …, "why": …}`, `{"problem": what is wrong with the problem}` or `{"undecided": z3's reason}`.
    """
    z3 = import_module("z3")
    context = z3.Context()  # of its own: no question changes another's symbols
    facts, error = _parsed(z3, question["problem"], context)
    if error is not None:
        return {"problem": error}
    try:
        if question["kind"] == "answer":
            return _answered(z3, context, facts, question)
        if _model(z3, context, facts) is None:
            return {"problem": "its assertions contradict each other, so that anything follows and nothing fits"}
        both, error = _parsed(z3, question["whole"], context)
        # The answer's assertions were read after the problem's, which cannot have changed: make sure of it.
        if error is None and not (len(both) > len(facts) and all(map(z3.eq, facts, both))):
            error = "it changes the problem"
        if error is not None:
            return _not_understood(error)
        added = list(both)[len(facts) :]
        return (_entailed if question["kind"] == "entailment" else _consistent)(z3, context, list(facts), added)
    except _Undecided as undecided:
        return {"undecided": str(undecided)}


def _entailed(z3: Any, context: Any, facts: list[Any], added: list[Any]) -> dict[str, Any]:
    fails = z3.Not(z3.And(*added))
    if facts and _model(z3, context, [fails]) is None:
        return _wrong("The conclusion says nothing: it holds whatever the premises are.")
    example = _model(z3, context, [*facts, fails])
    if example is None:
        return {"right": True}
    return _wrong(f"The conclusion does not follow: the premises can hold without it{_words(example)}.")


def _consistent(z3: Any, context: Any, facts: list[Any], added: list[Any]) -> dict[str, Any]:
    if _model(z3, context, added) is None:
        return _wrong("The assertions contradict each other.")
    if _model(z3, context, [*facts, *added]) is None:
        return _wrong("The assertions contradict the premises.")
    return {"right": True}


def _answered(z3: Any, context: Any, facts: Any, question: dict[str, Any]) -> dict[str, Any]:
    if "whole" not in question:
        holds = _model(z3, context, facts) is not None
        return {"right": True} if holds == question["holds"] else _wrong("The answer is wrong.")
    filled, error = _parsed(z3, question["whole"], context)
    if error is not None:
        return _not_understood(error)
    if len(filled) and _model(z3, context, [z3.Not(z3.And(*filled))]) is not None:
        return _wrong("The values do not satisfy the assertions.")
    return {"right": True}


def _parsed(z3: Any, text: str, context: Any) -> tuple[Any, str | None]:
    """The assertions of a text, or what is wrong with it."""
    try:
        return z3.parse_smt2_string(text, ctx=context), None
    except z3.Z3Exception as error:
        said = error.args[0] if error.args else ""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return None, "; ".join(re.findall(r'line \d+ column \d+: (.*?)"\)', words))[:200] or words[:200]


def _model(z3: Any, context: Any, facts: Iterable[Any]) -> Any | None:
    """A model of all of them; None where there is none."""
    solver = z3.Solver(ctx=context)
    solver.add(*facts)
    result = solver.check()
    if result == z3.unknown:
        raise _Undecided(solver.reason_unknown())
    return solver.model() if result == z3.sat else None


def _words(model: Any) -> str:
    constants = sorted((each for each in model.decls() if each.arity() == 0), key=str)
    shown = ", ".join(f"{each} = {model[each].sexpr():.40}" for each in constants[:6])
    return f", as where {shown}" if shown else ""


def _not_understood(error: str) -> dict[str, Any]:
    return _wrong(f"The answer is not understood: {error}.")


def _wrong(why: str) -> dict[str, Any]:
    return {"right": False, "why": why}
