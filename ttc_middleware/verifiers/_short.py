"""Short answers: from an output to the text that is judged."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from ttc_middleware._answers import _canonical, _stated  # pyright: ignore[reportPrivateUsage]  # one way to read answers
from ttc_middleware._types import Verdict

from ._feedback import bounded

LONGEST = 1 << 20
"""Characters of an output that is looked at."""
_SHOWN = 80

_TYPED = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff"),  # invisible
    }
)


class Unread(Exception):
    """Raised when there is no answer in an output; its text is feedback."""


def said(output: Any, extract: Callable[[Any], Any] | None) -> str:
    """The text of an output, or what `extract` makes of it.

    Raises:
        Unread: there is none, or too much of it.
        TypeError: the output is a value that is no text, and nobody said where in it the text is.
    """
    if extract is not None:
        try:
            output = extract(output)
        except Exception as error:  # a malformed answer is no answer
            raise Unread(f"The answer cannot be read: {type(error).__name__}: {error!s:.200}") from error
    if isinstance(output, (int, float, Decimal, Fraction)):
        output = str(output)
    if output is None:
        raise Unread("There is no answer.")
    if not isinstance(output, str):
        raise TypeError(f"the answer is looked for in text, not in {type(output).__name__}: extract= says where it is")
    if len(output) > LONGEST:
        raise Unread(f"The answer is {len(output):,} characters long, where {LONGEST:,} are allowed.")
    return output


def stated(text: str) -> str:
    r"""What a text states as its answer, in its last `\boxed{}` or after "the answer is"; else all of it."""
    return _stated(text)


def normal(text: str) -> Hashable | None:
    """An answer as it is compared: numbers by value, everything else without what nobody can hear; None: empty."""
    return _canonical(typed(text))


def typed(text: str) -> str:
    """The same text with a keyboard's dashes and quotes, and nothing invisible."""
    return text.translate(_TYPED)


def shown(text: str) -> str:
    """An answer in a few characters, in quotes."""
    return f'"{bounded(text.strip(), _SHOWN)}"'


def rejected(reason: str) -> Verdict:
    """The verdict on a wrong answer."""
    return Verdict(0.0, bounded(reason), accepted=False)


def accepted() -> Verdict:
    """The verdict on a right one."""
    return Verdict(1.0, accepted=True)


def answers(given: Any) -> tuple[str, ...]:
    """One answer, or several of which each is right.

    Raises:
        ValueError: none, or an empty one.
        TypeError: something that is no text and no number.
    """
    several = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
    texts = tuple(_text(each) for each in cast("Sequence[Any]", given if several else [given]))
    if not texts or any(normal(text) is None for text in texts):
        raise ValueError(f"an answer is at least one text that is not empty, not {given!r:.100}")
    return texts


def _text(answer: Any) -> str:
    if isinstance(answer, (int, float, Decimal, Fraction)) and not isinstance(answer, bool):
        return str(answer)
    if not isinstance(answer, str):
        raise TypeError(f"an answer is text or a number, not {answer!r:.100}")
    return answer
