"""A known result as the verifier of mathematics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import combinations
from typing import Any, TypeAlias, Union

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict

from ._aside import Aside, Exhausted
from ._given import Given
from ._short import Unread, accepted, answers, normal, rejected, said, shown, stated, typed

_ASIDE = Aside("_math_worker.py", cpu_s=5.0, memory=768 << 20)
_WIDTH = 4_000  # characters of a text that are looked at: an answer comes last
_GOLD = 2_000

Answer: TypeAlias = Union[str, int, float]
_Found: TypeAlias = "tuple[str, str]"


@dataclass(frozen=True, eq=False)
class MathAnswer:
    r"""Accepts every way of writing the right result: `\frac12` is 0.5 is 50 %.

    Equality is math-verify's (Hugging Face), which is SymPy's with rules for answers: expressions are equal if their
    difference simplifies to 0; sets, tuples, intervals and matrices by their parts; units are ignored; `x = 5` is 5;
    a whole number in per cent is also the number without the sign, since the sign is often left out.
    An answer with a decimal point has to be right to six decimals, below 1 to six digits, so 1/3 is 0.333333 and not
    0.333. What is compared is what the last `\boxed{}` holds or what follows the last "the answer is", "answer:" or
    "####"; in a text without such, all of it if it is short and a formula, else the last formula or number.

    What a model wrote is only ever parsed. It is parsed and compared in a process of ours with limits, so that
    `9^{9^{9^9}}` ends after 5 s of CPU: such an answer is rejected. The first answer waits some seconds for SymPy.

    Where it fails: equality of expressions is undecidable, and an equal one that SymPy cannot simplify is rejected; 15
    digits decide between numbers such as roots; words around a number are ignored, `5 cm` is `5 m`, and 1 % is 1.

    Example:
        `MathAnswer(r"\frac{1}{2}")`, or `MathAnswer(lambda problem: problem.answer, tolerance=0.01)`

    Args:
        answer: the result, in LaTeX or plain; or several of which each is right; or a function of the call's
            arguments, by name, that returns it.
        tolerance: by what part of the right number an answer may differ, from 0 and below 1: 0.01 is one per cent.
            Holds for numbers, and for numbers in tuples, intervals and sets; 0 is as said above.

    Raises:
        ValueError: no answer, an empty one, one of more than 2,000 characters, or a tolerance out of range.
        TypeError: an answer is neither text nor a number, or the function of the arguments is async or has
            positional-only parameters.
        ImportError: the package math-verify is missing.
    """

    answer: Answer | Sequence[Answer] | Callable[..., Answer | Sequence[Answer]] = field(repr=False)
    tolerance: float = field(default=0.0, kw_only=True)
    _given: Given[list[_Found]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is at least 0 and below 1, not {self.tolerance!r}")
        _needs_package()
        object.__setattr__(self, "_given", Given.of("answer", self.answer, _golds))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `answer` cannot do without."""
        return self._given.parameters

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Compare an output with the result: score 1 or 0.

        Args:
            output: text or a number.
            arguments: the call's, for a function of them.

        Raises:
            TypeError: the output is neither.
            ValueError: the right answer is no mathematics that can be read.
            VerifierFailed: the right answer itself takes too long to compare, or the process for it does not start.
        """
        golds = self._given.value(arguments)
        try:
            text = said(output, None)
        except Unread as unread:
            return rejected(str(unread))
        found = _found(text)
        try:
            judged = await _judged(golds, found, self.tolerance)
        except Exhausted as error:
            await self._blame(golds)
            return rejected(f"The answer {shown(found[1])} cannot be compared: it {error}. Simplify it.")
        if "unreadable" in judged:
            raise ValueError(f"the right answer is no mathematics that can be read: {golds[judged['unreadable']][1]!r}")
        if not judged["read"]:
            return rejected(r"No mathematical answer is found. End with \boxed{the answer}.")
        return accepted() if judged["right"] else rejected(f"The answer {shown(found[1])} is wrong.")

    async def _blame(self, golds: list[_Found]) -> None:
        """Find out whose fault it is that a comparison took too long: the right answers', if so even among them."""
        for gold in golds:
            try:
                await _judged([gold], gold, self.tolerance)
            except Exhausted as error:  # noqa: PERF203  # each on its own
                raise VerifierFailed(f"the right answer {gold[1]!r:.200} cannot be compared: it {error}") from error


async def math_classes(texts: Sequence[str]) -> list[int | None]:
    """Put answers that are mathematically equal into one class, for a vote.

    Equality of two answers is `MathAnswer`'s, but for what makes that intransitive: here 50 % is 0.5 and not also 50,
    and a set is no tuple. What is left (1/3 = 0.333333 = 333333/1000000, and what SymPy cannot see) is closed: answers
    are in one class if a chain of equal ones connects them. So classes do not depend on the order of the texts.

    Every two different answers that are not connected yet are compared, in some 10 ms each.

    Args:
        texts: what models answered.

    Returns:
        A class for each text, by number, in the order of their first text from 0. A text without a mathematical answer
        that can be read is in a class with those that state the same words, and None where there are none.

    Raises:
        ImportError: the package math-verify is missing.
        VerifierFailed: the process for comparisons does not start.
    """
    _needs_package()
    found = [_found(text) for text in texts]
    forms = {each: await _asked({"do": "read", "text": each}) for each in dict.fromkeys(found)}
    first = {form: each for each, form in reversed(forms.items()) if form is not None}
    group = {form: form for form in first}
    for one, other in combinations(first, 2):
        if group[one] != group[other] and await _asked({"do": "alike", "texts": [first[one], first[other]]}):
            gone = group[other]
            group = {form: group[one] if each == gone else each for form, each in group.items()}
    # In a tuple a class, without one the words of what is no mathematics.
    keys = [normal(each[1]) if forms[each] is None else (group[forms[each]],) for each in found]
    numbers: dict[Any, int] = {}
    return [None if key is None else numbers.setdefault(key, len(numbers)) for key in keys]


async def _asked(question: dict[str, Any]) -> Any:
    try:
        return await _ASIDE.ask(question)
    except Exhausted:
        return None


async def _judged(golds: list[_Found], found: _Found, tolerance: float) -> dict[str, Any]:
    judged: dict[str, Any] = await _ASIDE.ask({"do": "judge", "golds": golds, "said": found, "tolerance": tolerance})
    return judged


def _found(text: str) -> _Found:
    """Where an answer is in a text, and what is to be read of it."""
    text = typed(text)
    box = text.rfind("\\boxed")
    if box >= 0:
        return "boxed", text[max(0, box - 400) : box + _WIDTH]
    answer = stated(text)
    if answer != text:
        return "stated", answer[:_WIDTH]
    return "free", text[-_WIDTH:]


def _golds(given: Any) -> list[_Found]:
    golds = [_found(text) if "\\boxed" in text else ("stated", text) for text in answers(given)]
    longest = max(len(text) for _, text in golds)
    if longest > _GOLD:
        raise ValueError(f"an answer has at most {_GOLD:,} characters, not {longest:,}")
    return golds


def _needs_package() -> None:
    if find_spec("math_verify") is None:
        raise ImportError('MathAnswer needs math-verify: pip install "ttc-middleware[math]"')
