"""The right label as the verifier of a multiple-choice answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ttc_middleware._types import Verdict

from ._given import Given
from ._short import Unread, accepted, rejected, said, shown, stated, typed

_TAIL = 4_000  # characters of a text in which a label is looked for: it comes last
_OPENING, _CLOSING = r"[\s*_`$\"'(\[{<]*", r"[*_`$\"')\]}>]*"
_HEDGED = re.compile(r"\b(?:not|neither|nor|except|either|isn't|none)\b")
_OTHER = re.compile(r"\s*(?:[,;/&|]|or\b|and\b)")


@dataclass(frozen=True, eq=False)
class Choice:
    r"""Accepts the answer to a multiple-choice question that chooses the right label.

    The label is looked for in what the text states as its answer, in its last `\boxed{}` or after the last "the answer
    is", "answer:" or "####"; in a text without such, the whole text may be a label ("B", "(b)", "**B.** 42"), or its
    last line, or it names exactly one label in a way that means one: "(B)", "B)", "**B**", "option B"; or, a label of
    several characters such as "yes", as a word. Case does not count.

    Where two labels could be meant ("A or B", "not B"), the answer is rejected, and the feedback says that. Who guesses
    is right once in as many times as there are labels: agreement of several samples says more.

    Where it fails: an answer that spells out the option's text instead of its label names no label.

    Example:
        `Choice("ABCD", lambda question: question.key)`, `Choice(["yes", "no", "maybe"], "no")`

    Args:
        labels: two or more, in any order; a text means its characters. Or a function of the call's arguments, by name.
        answer: the right label; or a function of the call's arguments, by name.

    Raises:
        ValueError: fewer than two labels, an empty one, two that differ by case only, or an answer that is none of
            them.
        TypeError: a label is no text, or a function is async or has positional-only parameters.
    """

    labels: Sequence[str] | Callable[..., Sequence[str]]
    answer: str | Callable[..., str] = field(repr=False)
    _labels: Given[dict[str, str]] = field(init=False, repr=False)
    _answer: Given[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_labels", Given.of("labels", self.labels, _labels))
        object.__setattr__(self, "_answer", Given.of("answer", self.answer, _label))
        if not callable(self.labels) and not callable(self.answer):
            _one_of(self._answer.value(None), self._labels.value(None))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `labels` and `answer` cannot do without."""
        return self._labels.parameters | self._answer.parameters

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Find the label that an output chooses: score 1 or 0.

        Args:
            output: text.
            arguments: the call's, for functions of them.

        Raises:
            TypeError: the output is no text.
            ValueError: the functions of the arguments give no labels, or an answer that is none of them.
        """
        labels = self._labels.value(arguments)
        right = _one_of(self._answer.value(arguments), labels)
        try:
            text = said(output, None)
        except Unread as unread:
            return rejected(str(unread))
        found = chosen(text, labels)
        names = ", ".join(labels.values())
        if not found:
            return rejected(f"The answer chooses none of the labels {names}. End with: The answer is (label).")
        if len(found) > 1:
            which = ", ".join(labels[each] for each in labels if each in found)
            return rejected(f"It is not clear which label is meant: {which}. End with: The answer is (one label).")
        label = found.pop()
        return accepted() if label == right else rejected(f"The answer chosen, {shown(labels[label])}, is wrong.")


def chosen(text: str, labels: Mapping[str, str]) -> set[str]:
    """The labels, by their normal form, that a text may mean: one, or none, or several where nobody knows."""
    given = typed(text)
    answer = stated(given)
    if answer != given:
        return _in_answer(unicodedata.normalize("NFKC", answer), labels)
    tail = unicodedata.normalize("NFKC", given[-_TAIL:]).strip()
    last = tail.rsplit("\n", 1)[-1]
    for part in (tail, last):
        label = _whole(part, labels)
        if label is not None:
            return {label}
    return _meant(tail, labels)


def _in_answer(answer: str, labels: Mapping[str, str]) -> set[str]:
    """The labels in the words after "the answer is"."""
    whole = _whole(answer, labels)
    if whole is not None:
        return {whole}
    mentions = [match for match in _mentions(answer, labels) if not _article(match)]
    found = {_key(match[1]) for match in mentions}
    if len(found) == 1 and _HEDGED.search(answer.casefold()[: mentions[0].start()]):
        return set(labels)  # "not B" may be any other
    if len(found) > 1:
        first = mentions[0]
        leads = not answer[: first.start()].strip(" *_`$\"'([{<:")
        if leads and not _OTHER.match(answer[first.end() :]):  # "B because A is wrong"
            return {_key(first[1])}
    return found


def _whole(text: str, labels: Mapping[str, str]) -> str | None:
    """The label that is all there is, or that a text begins with as a list's item does: "(B) 42", "B. 42", "**B**"."""
    match = re.match(rf"{_OPENING}({_any(labels)})(?!\w){_CLOSING}(.*)", text.strip(), re.IGNORECASE | re.DOTALL)
    if match is None:
        return None
    rest, closed = match[2].strip(" *_`$\"'.!)]}>"), text.strip()[match.end(1) :].lstrip("*_`$\"'")[:1]
    others = {_key(each[1]) for each in _mentions(rest, labels) if not _article(each)} - {_key(match[1])}
    if not rest or (closed and closed in ").:]}" and not others):
        return _key(match[1])
    return None


def _meant(text: str, labels: Mapping[str, str]) -> set[str]:
    """The labels that a text without a stated answer names in a way that can only mean a label."""
    any_label = _any(labels)
    marked = re.compile(
        rf"[(\[]({any_label})[)\]]|\*\*\(?({any_label})\)?[.:]?\*\*|\b(?:option|choice|choose|select)\s+(?:is\s+)?\(?"
        rf"({any_label})(?!\w)|(?<!\w)({any_label})\)",
        re.IGNORECASE,
    )
    found = {_key(next(filter(None, match.groups()))) for match in marked.finditer(text)}
    return found or {_key(match[1]) for match in _mentions(text, labels) if len(match[1]) > 1}


def _mentions(text: str, labels: Mapping[str, str]) -> list[re.Match[str]]:
    return list(re.finditer(rf"(?<!\w)({_any(labels)})(?!\w)", text, re.IGNORECASE))


def _article(match: re.Match[str]) -> bool:
    """The word "a" in a sentence, as it seems."""
    return match[1] == "a" and re.match(r"\s+[A-Za-z]", match.string[match.end() : match.end() + 9]) is not None


def _any(labels: Mapping[str, str]) -> str:
    """A pattern for any label, the longest first: "New York" is not "York"."""
    return "|".join(re.escape(label).replace(r"\ ", r"\s+") for label in sorted(labels, key=len, reverse=True))


def _key(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", typed(label)).casefold().split())


def _label(label: Any) -> str:
    if not isinstance(label, str):
        raise TypeError(f"a label is text, not {label!r:.100}")
    return label


def _labels(given: Any) -> dict[str, str]:
    """The labels as given, by their normal form."""
    if not _is_sequence(given):
        raise TypeError(f"labels are a sequence of texts, not {given!r:.100}")
    several = [_label(each) for each in cast("Sequence[Any]", given)]
    labels = {_key(each): each for each in several}
    if len(labels) < len(several) or "" in labels or len(labels) < 2:  # noqa: PLR2004  # a choice
        raise ValueError(f"labels are two or more different texts, none of them empty, not {given!r:.200}")
    return labels


def _one_of(answer: str, labels: Mapping[str, str]) -> str:
    if _key(answer) not in labels:
        raise ValueError(f"the answer is one of the labels {', '.join(labels.values())}, not {answer!r:.100}")
    return _key(answer)


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence)
