"""What a value looks like, said by a type that pydantic knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._json import Problems, line, not_json, shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

_ENUMERATED = 10_000  # errors become a dict each: beyond so many they are only counted


@dataclass(frozen=True)
class Typed:
    """A type."""

    adapter: TypeAdapter[Any]
    strict: bool | None
    slow: bool = False

    @classmethod
    def of(cls, spec: Any, *, strict: bool) -> Typed:
        """Build the validator.

        Raises:
            TypeError: pydantic knows no such type.
        """
        from pydantic import PydanticUserError, TypeAdapter  # noqa: PLC0415  # slow to import

        wanted = "Schema() takes a pydantic model, a type, a TypeAdapter or a JSON Schema as a dict"
        if spec is None or isinstance(spec, str):  # both mean a type to pydantic
            raise TypeError(f"{wanted}; got {spec!r:.200}")
        given: object = spec
        if isinstance(given, TypeAdapter):
            return cls(spec, strict or None)
        try:
            return cls(TypeAdapter[Any](spec), strict or None)
        except PydanticUserError as error:
            raise TypeError(f"{wanted}; got {spec!r:.200}") from error

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        from pydantic import ValidationError  # noqa: PLC0415  # slow to import

        return (ValidationError,)

    def of_json(self, text: str) -> Problems:
        from pydantic import ValidationError  # noqa: PLC0415  # slow to import

        try:
            self.adapter.validate_json(text, strict=self.strict)
        except ValidationError as error:
            return _problems(error)
        return Problems()

    def of_words(self, text: str) -> Problems | None:
        problems = self.of_json(json.dumps(text))
        return None if problems.whole else problems

    def of_value(self, value: Any) -> Problems:
        from pydantic import ValidationError  # noqa: PLC0415  # slow to import

        try:
            self.adapter.validate_python(value, strict=self.strict)
        except ValidationError as error:
            return _problems(error)
        return Problems()

    def of_error(self, error: Exception) -> Problems | None:
        from pydantic import ValidationError  # noqa: PLC0415  # slow to import

        return _problems(error) if isinstance(error, ValidationError) else None


def _problems(error: ValidationError) -> Problems:
    count = error.error_count()
    if count > _ENUMERATED:
        return Problems.of([], count)
    found = error.errors(include_url=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return Problems(1, not_json(found[0]["msg"], str(found[0]["input"])), whole=True)
    whole = any(not each["loc"] and each["type"].endswith("_type") for each in found)
    lines = (line(each["loc"], each["msg"], _got(each["type"], each["input"])) for each in found)
    return Problems.of(lines, count, whole=whole)


def _got(kind: str, value: Any) -> str | None:
    # Of what is missing nothing was got; and what is wrong within an object is not that it is one.
    inside = isinstance(value, (dict, list)) and not kind.endswith("_type")
    return None if kind == "missing" or inside else shown(value)
