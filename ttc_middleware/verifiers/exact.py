"""A known answer as the verifier of a short one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Union

from ttc_middleware._types import Verdict

from ._given import Given
from ._short import Unread, accepted, answers, normal, rejected, said, shown, stated

Answer: TypeAlias = Union[str, int, float]


@dataclass(frozen=True, eq=False)
class Exact:
    r"""Accepts the right answer, however it is typed: the exact match of Rajpurkar et al. 2016, but by Unicode's rules.

    What is compared is what the last `\boxed{}` holds or what follows the last "the answer is", "answer:" or "####" in
    its line; in a text without such, all of it. Case, spaces, the kind of dash or quote, Unicode's compatibility forms
    (full-width letters, ligatures), Markdown around and a final full stop do not count. Numbers count by value: 1,000
    is 1000.0, and 50 % is 0.5.

    Where it fails: "Paris, France" is not "Paris" (give both); 1.10 and 1.1 are one number (`Regex` tells apart the
    numbers of versions); formulas are for `MathAnswer`.

    Example:
        `Exact(["Paris", "Paris, France"])`, or `Exact(lambda question: question.answer)`

    Args:
        answer: what is right, or several answers of which each is; or a function of the call's arguments, by name,
            that returns it.
        extract: from the output to the answer's text, in place of looking for a stated answer. Where it raises, the
            answer is rejected.

    Raises:
        ValueError: no answer, or an empty one.
        TypeError: an answer is neither text nor a number, or the function of the arguments is async or has
            positional-only parameters.
    """

    answer: Answer | Sequence[Answer] | Callable[..., Answer | Sequence[Answer]] = field(repr=False)
    extract: Callable[[Any], Any] | None = field(default=None, kw_only=True, repr=False)
    _given: Given[frozenset[Hashable | None]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_given", Given.of("answer", self.answer, _normal))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `answer` cannot do without."""
        return self._given.parameters

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Compare an output with what is right: score 1 or 0.

        Args:
            output: text or a number, or whatever `extract` takes.
            arguments: the call's, for a function of them.

        Raises:
            TypeError: the output is neither, and there is no `extract`.
            ValueError: the function of the arguments gives no answer.
        """
        right = self._given.value(arguments)
        try:
            text = said(output, self.extract)
        except Unread as unread:
            return rejected(str(unread))
        answer = text if self.extract else stated(text)
        compared = normal(answer)
        if compared is None:
            return rejected("The answer is empty.")
        return accepted() if compared in right else rejected(f"The answer {shown(answer)} is wrong.")


def _normal(given: Any) -> frozenset[Hashable | None]:
    return frozenset(normal(each) for each in answers(given))
