r"""Reading and comparing mathematics, in a process of its own (`_aside.py`): math-verify, with what it lacks.

What it lacks: it takes bare `\frac12` for nothing and bare `2\sqrt3` for 2, `0.\overline{3}` for 0, and every decimal
below 0.0000005 for 0; and its equality is not transitive (0.5 = 50 % = 50, (1,2) = {1,2} = {2,1}).
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from typing import Any

_DIGITS = 6  # to which a decimal has to be right, as in math-verify; significant ones below 1
_ZERO = 1e-12  # what may be 0 in another form
_SHORT = 120  # characters of a text that is taken for a formula as a whole

_SIGNS = str.maketrans({
    "\u2212": "-", "\u2013": "-", "\u00d7": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "√": r"\sqrt ",
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "\u222a": r"\cup ", "±": r"\pm ", "°": r"^\circ ",
    "²": "^{2}", "³": "^{3}", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅛": r"\frac{1}{8}",
})  # fmt: skip
_REPEATING = re.compile(r"(?<![\d.])(\d{0,18})\.(\d{0,18})(?:\\overline\s*\{(\d{1,18})\}|\((\d{1,18})\))")
_SCIENTIFIC = re.compile(r"(?<![A-Za-z\\])(\d+(?:\.\d*)?|\.\d+)[eE]([+-]?\d{1,9})(?![\d.A-Za-z])")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?: |\\,|\\ |\{,\}|~)\d{3})+(?!\d)")
_MIXED = re.compile(r"(?<![\d.,])(\d{1,9})\s+(\d{1,9})/(\d{1,9})(?!\d)")
_APART = re.compile(r"\d\s+\d")
_DELIMITER = re.compile(r"(?<!\\)\$|\\[()\[\]]")
_POWER = re.compile(r"(?:\^|\*\*)\s*(-?\d{2,}|-\d)(?![\d.])")
_KNOWN = re.compile(r"(?<![A-Za-z\\])(sqrt|pi|sin|cos|tan|log|ln|exp|infinity)(?![A-Za-z])")
_TEXT = re.compile(
    r"\\(?:text|mbox|mathrm|textbf|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|(?<![A-Za-z])(?:and|or)(?![A-Za-z])"
)
_WORDY = re.compile(r"[A-Za-z]{4,}|^[^A-Za-z]*\d[^A-Za-z]*\s[A-Za-z]{2,}")


def prepare() -> None:
    """Import what takes long, before any question is timed."""
    logging.disable(logging.CRITICAL)
    import_module("math_verify")


def answer(question: dict[str, Any]) -> Any:
    """Answer one question: "read", "judge" or "alike"."""
    if question["do"] == "read":
        return _form(*question["text"])
    if question["do"] == "alike":
        first, second = (_read(*text) for text in question["texts"])
        return first is not None and second is not None and alike(first, second)
    golds = [_read(*text) for text in question["golds"]]
    if None in golds:
        return {"unreadable": golds.index(None)}
    said = _read(*question["said"])
    tolerance = question["tolerance"]
    return {"read": said is not None, "right": said is not None and any(right(each, said, tolerance) for each in golds)}


# Reading


@lru_cache(maxsize=256)
def _read(kind: str, text: str) -> Any | None:
    r"""The one expression that a text states.

    Args:
        kind: "boxed", a text with a `\boxed`; "stated", the words after "the answer is"; "free", any text.
        text: not too long.
    """
    if kind == "boxed":
        text = import_module("latex2sympy2_extended.math_normalization").extract_boxed_content(text, mode="last")
    plain = _readable(text.strip().strip("*`").rstrip(".,;: ").strip("*` "))
    if not plain:
        return None
    bare = _DELIMITER.sub(" ", plain).strip()
    if not _WORDY.search(_TEXT.sub(" ", _KNOWN.sub(" ", bare))) and (
        kind != "free" or (len(plain) <= _SHORT and "\n" not in plain)
    ):
        unclear = _APART.search(bare) and "\\" not in bare  # "2 3" is no number
        return None if unclear else _parse(f"${_formula(bare)}$", whole=True)
    if re.fullmatch(r"[A-Za-z]+", bare):
        return _parse(rf"$\text{{{bare}}}$", whole=True)
    return _parse(plain if kind == "free" else f"The final answer is {plain}")


def _form(kind: str, text: str) -> str | None:
    """What a text states, in a form that only texts share that were read alike."""
    found = _read(kind, text)
    try:
        return None if found is None else str(import_module("sympy").srepr(found))
    except Exception:  # noqa: BLE001  # such as a number of too many digits
        return f"{kind} {text}"


def _parse(text: str, *, whole: bool = False) -> Any | None:
    """What math-verify makes of a text; where the whole of it is a formula, no number within instead."""
    package = import_module("math_verify")
    targets = [package.LatexExtractionConfig()] + ([] if whole else [package.ExprExtractionConfig()])
    # Its own time-outs need signals; ours kills.
    found = package.parse(text, targets, fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None


def _readable(text: str) -> str:
    text = _SCIENTIFIC.sub(r"\1\\times 10^{\2}", text.translate(_SIGNS))
    text = _THOUSANDS.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    return _REPEATING.sub(_fraction, _MIXED.sub(r"\1\\frac{\2}{\3}", text))


def _fraction(match: re.Match[str]) -> str:
    whole, fixed, repeated = match[1] or "0", match[2], match[3] or match[4]
    scale = 10 ** len(fixed)
    tail = Fraction(int(repeated), scale * (10 ** len(repeated) - 1))
    value = Fraction(int(whole + fixed), scale) + tail
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _formula(text: str) -> str:
    return _KNOWN.sub(r"\\\1 ", _POWER.sub(r"^{\1}", text)).replace("**", "^").replace(r"\sqrt (", "sqrt(")


# Comparing


def right(gold: Any, said: Any, tolerance: float) -> bool:
    """Whether an answer is right."""
    if _same(gold, said, tolerance):
        return True
    # "50 %" where 50 is asked for, or the other way round: the unit is said or left out.
    bare = [_bare_percentage(each) for each in (gold, said)]
    one, other = (each if part is None else part for each, part in zip((gold, said), bare, strict=True))
    return bare.count(None) == 1 and _whole(one) and bool(one == other)


def alike(first: Any, second: Any) -> bool:
    """Whether two answers are the same, by a symmetric relation in which a percentage is a number."""
    finite = import_module("sympy").FiniteSet
    if isinstance(first, finite) != isinstance(second, finite):  # math-verify takes (1,2) for {1,2}, and that for (2,1)
        return False
    return _same(first, second, 0) or _same(second, first, 0)


def _same(gold: Any, said: Any, tolerance: float) -> bool:
    pairs = _pairs(gold, said)
    if pairs is not None:
        return all(_same(one, other, tolerance) for one, other in pairs)
    close = _close(gold, said, tolerance)
    if close is not None:
        return close
    verify = import_module("math_verify").verify
    return bool(verify(gold, said, allow_set_relation_comp=True, timeout_seconds=None))


def _close(gold: Any, said: Any, tolerance: float) -> bool | None:
    """Whether two numbers are near enough; None where that does not decide it."""
    sympy = import_module("sympy")
    one, other = _number(gold), _number(said)
    if one is None or other is None:
        return None
    difference, size = sympy.Abs(one - other), min(sympy.Abs(one), sympy.Abs(other))
    if tolerance:
        return bool(difference <= tolerance * sympy.Abs(one) * (1 + 1e-9))  # 1.01 is one per cent off 1
    decimal = gold.has(sympy.Float) or said.has(sympy.Float)
    if size == 0:
        allowed = 0 if decimal else _ZERO
    else:
        allowed = sympy.Float(10) ** (min(0, int(sympy.floor(sympy.log(size, 10))) + 1) - _DIGITS)
    if difference > allowed:
        return False
    return True if decimal else None


def _number(expression: Any) -> Any | None:
    sympy = import_module("sympy")
    if not isinstance(expression, sympy.Expr) or expression.free_symbols:
        return None
    if expression.has(sympy.UnevaluatedExpr):  # the 1/100 of a percentage
        expression = expression.doit()
    value = expression.evalf(20)
    return value if value.is_number and value.is_finite and value.is_comparable else None


def _pairs(gold: Any, said: Any) -> list[tuple[Any, Any]] | None:
    """The parts of two sets of numbers, in order of size, or of two tuples."""
    sympy = import_module("sympy")
    if isinstance(gold, sympy.FiniteSet) and isinstance(said, sympy.FiniteSet):
        one, other = _sorted(gold), _sorted(said)
        return list(zip(one, other, strict=True)) if one and other and len(one) == len(other) else None
    if isinstance(gold, sympy.Tuple) and isinstance(said, sympy.Tuple) and len(gold) == len(said):
        return list(zip(gold, said, strict=True))
    if isinstance(gold, sympy.Interval) and isinstance(said, sympy.Interval):
        same = (gold.left_open, gold.right_open) == (said.left_open, said.right_open)
        return [(gold.start, said.start), (gold.end, said.end)] if same else None
    return None


def _sorted(numbers: Any) -> list[Any]:
    """The elements of a set in order of size; none where they are not all numbers."""
    known = [(number, each) for each in numbers.args if (number := _number(each)) is not None]
    return [each for _, each in sorted(known, key=lambda pair: pair[0])] if len(known) == len(numbers) else []


def _bare_percentage(expression: Any) -> Any | None:
    value = import_module("math_verify.grader").get_pct_val(expression)
    return value if _whole(value) else None


def _whole(value: Any) -> bool:
    return isinstance(value, import_module("sympy").Integer)
