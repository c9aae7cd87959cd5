"""A schema as the verifier of structured output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import anyio.to_thread

from ttc_middleware._types import Verdict

from ._described import Described
from ._json import LONGEST, NotJson, Problems, json_in, not_json
from ._typed import Typed

_INLINE = 1 << 16  # characters that are validated in a few milliseconds, so on the event loop


class _Spec(Protocol):
    """What a value has to look like."""

    @property
    def slow(self) -> bool: ...  # checking belongs in a thread

    @property
    def rejects(self) -> tuple[type[Exception], ...]: ...  # what a function raises that checks its answer itself

    def of_json(self, text: str) -> Problems: ...

    def of_words(self, text: str) -> Problems | None: ...  # the text as the value itself; None: no text can be

    def of_value(self, value: Any) -> Problems: ...

    def of_error(self, error: Exception) -> Problems | None: ...  # None: it is none of `rejects`


@dataclass(frozen=True, eq=False)
class Schema:
    """Accepts output that fits a schema, and says for each field what is wrong with it.

    Text is read as JSON, by pydantic's JSON mode for a type, by draft 2020-12 (or the draft that `$schema` names) for a
    JSON Schema. A Markdown fence around all of it is ignored; so are words before and after an object or a list, as
    long as they contain no bracket: of two values in a text, nobody knows which is meant. Where the schema asks for a
    string, such as a `Literal["yes", "no"]`, the bare word is as good as the JSON string.

    A function that parses its answer itself is judged by what it returns: an instance of the type is accepted (and
    validated again if its `revalidate_instances` says so), data like a dict is validated. Where it raises pydantic's
    `ValidationError` or a `JSONDecodeError` instead, that sample is rejected with the same feedback, not failed.

    The score is 1 for output that fits, else 1 / (1 + number of problems), 0 for what is no JSON or another kind of
    value altogether; what does not fit is never accepted, whatever `accept=` says. The feedback names the first eight
    problems by path, in at most 2,600 characters.

    Rejected unread is text of more than 2,097,152 characters, or that nests deeper than 200 levels (some 150 in a JSON
    Schema that refers to itself), or with a number of more than 4,300 digits. A model whose union contains itself needs
    a discriminator: without one, pydantic tries each branch at each level, which a few hundred characters make last.

    A schema says what an answer looks like, not whether it is true: check values too, such as in the model's own
    validators.

    Args:
        spec: a pydantic model; a `TypeAdapter`, or anything that it takes, like a dataclass or `list[int]`; or a JSON
            Schema as a dict (needs the extra `schema`; `format` is not enforced, references are never fetched).
        strict: pydantic's strict mode: no "1" for 1. Says nothing to a JSON Schema, which is always strict.

    Raises:
        TypeError: pydantic knows no such type.
        ValueError: the JSON Schema is not valid, or refers to something outside of itself.
        ImportError: a JSON Schema without the package `jsonschema`.
    """

    spec: Any
    strict: bool = field(default=False, kw_only=True)
    _spec: _Spec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = self.spec
        described = isinstance(given, Mapping)
        spec = Described.of(cast("Mapping[str, Any]", given)) if described else Typed.of(given, strict=self.strict)
        object.__setattr__(self, "_spec", spec)

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        """What a function raises when its answer does not fit."""
        return (*self._spec.rejects, json.JSONDecodeError)

    def explain(self, error: Exception) -> str:
        """The feedback of such an exception."""
        if isinstance(error, json.JSONDecodeError):
            return not_json(f"{error.msg} at line {error.lineno} column {error.colno}", error.doc)
        problems = self._spec.of_error(error)
        return f"{error!s:.500}" if problems is None else problems.feedback or ""

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:  # noqa: ARG002  # the protocol's
        """Validate an output.

        Args:
            output: text that holds JSON, or a value.
            arguments: the call's; a schema does not depend on them.
        """
        long = isinstance(output, str) and len(output) > _INLINE
        if long or self._spec.slow:
            problems = await anyio.to_thread.run_sync(self._problems, output, abandon_on_cancel=True)
        else:
            problems = self._problems(output)
        if not problems.count:
            return Verdict(1.0, accepted=True)
        score = 0.0 if problems.whole else 1 / (1 + problems.count)
        return Verdict(score, problems.feedback, accepted=False)

    def _problems(self, output: Any) -> Problems:
        try:
            return self._of_text(output) if isinstance(output, str) else self._spec.of_value(output)
        except RecursionError:
            return Problems(1, "The answer is nested too deeply.", whole=True)

    def _of_text(self, text: str) -> Problems:
        if len(text) > LONGEST:
            long = f"The answer is {len(text):,} characters long, where {LONGEST:,} are allowed."
            return Problems(1, long, whole=True)
        try:
            problems = self._spec.of_json(json_in(text))
        except NotJson as error:
            return self._spec.of_words(text.strip()) or Problems(1, str(error), whole=True)
        if problems.count:  # a word can be JSON by accident, like the 1 of a Literal["1", "2"]
            words = self._spec.of_words(text.strip())
            if words is not None and not words.count:
                return words
        return problems
