"""A regular expression as the verifier of a short answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ttc_middleware._types import Verdict

from ._aside import Aside, Exhausted
from ._given import Given
from ._short import Unread, accepted, rejected, said, shown, stated

_ASIDE = Aside("_regex_worker.py", cpu_s=2.0, memory=256 << 20)
_STEPS = 1_000_000  # some 20 ms of matching


@dataclass(frozen=True, eq=False)
class Regex:
    r"""Accepts an answer that a regular expression of Python's `re` matches as a whole.

    As a whole: the text without spaces around it, or what its last `\boxed{}` holds or what follows "the answer is".
    With `search=True` it may match anywhere in the text.

    A pattern such as `(a+)+b` can backtrack for ever on a text made for it, and nothing can interrupt `re`. So only
    where the pattern and the text's length bound the work (no repetition of a group, and few of characters) it happens
    on the spot; else in a process of ours, which is killed after 2 s of CPU. Such an answer is rejected, so a bad
    pattern can reject a right answer, and never accepts a wrong one.

    Where it fails: a pattern says what an answer looks like, and a text that holds everything matches any search.

    Example:
        `Regex(r"\d{4}-\d{2}-\d{2}")`, or `Regex(lambda name: rf"Dear {re.escape(name)},", search=True)`

    Args:
        pattern: text for `re.compile`; or a function of the call's arguments, by name, that returns it. What comes
            from a user in it belongs in `re.escape`.
        flags: of `re`, such as `re.IGNORECASE`.
        search: find it anywhere in the text, instead of matching the whole answer.

    Raises:
        ValueError: the pattern does not compile.
        TypeError: the pattern is no text, or the function of the arguments is async or has positional-only parameters.
    """

    pattern: str | Callable[..., str]
    flags: int = field(default=0, kw_only=True)
    search: bool = field(default=False, kw_only=True)
    _given: Given[re.Pattern[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_given", Given.of("pattern", self.pattern, self._compiled))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that `pattern` cannot do without."""
        return self._given.parameters

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Match an output: score 1 or 0.

        Args:
            output: text or a number.
            arguments: the call's, for a function of them.

        Raises:
            TypeError: the output is neither.
            ValueError: the function of the arguments gives a pattern that does not compile.
            VerifierFailed: the process for long matches does not start.
        """
        pattern = self._given.value(arguments)
        try:
            text = said(output, None)
        except Unread as unread:
            return rejected(str(unread))
        texts = [text] if self.search else [*dict.fromkeys((text.strip(), stated(text).strip()))]
        try:
            matches = await self._matches(pattern, texts)
        except Exhausted as error:
            return rejected(f"Matching the answer {shown(texts[-1])} with the required form {error}.")
        return accepted() if matches else rejected(f"The answer {shown(texts[-1])} does not have the required form.")

    def _compiled(self, pattern: Any) -> re.Pattern[str]:
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern is text, not {pattern!r:.100}")
        try:
            return re.compile(pattern, self.flags)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"the pattern {pattern!r:.200} does not compile: {error}") from error

    async def _matches(self, pattern: re.Pattern[str], texts: list[str]) -> bool:
        if all(steps(pattern, len(text), search=self.search) <= _STEPS for text in texts):
            match = pattern.search if self.search else pattern.fullmatch
            return any(match(text) for text in texts)
        question = {"pattern": pattern.pattern, "flags": int(self.flags), "search": self.search, "texts": texts}
        return bool(await _ASIDE.ask(question))


def steps(pattern: re.Pattern[str], length: int, *, search: bool) -> float:
    """An upper bound for the work of backtracking: the number of ways through the pattern, times the length of each.

    It is read off the pattern's characters, and counts escaped ones too, so it can only be too high: a `|` doubles the
    ways, as does a `?`; each other repetition, of single characters, has as many ways as the text has characters. Where
    groups repeat, or spaces may stand before the repetition, there is no bound.
    """
    source = pattern.pattern
    if re.search(r"\)[*+{]|\(\?[A-Za-z-]*x", source) or pattern.flags & re.VERBOSE:
        return float("inf")
    repeats = sum(map(source.count, "*+{"))
    doubled = min(source.count("|") + source.count("?"), 64)
    if repeats > 64:  # noqa: PLR2004  # more than any bound allows
        return float("inf")
    return 2.0**doubled * (length + 1.0) ** (repeats + search) * (length + len(source) + 1)
