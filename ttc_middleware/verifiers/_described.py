"""What a value looks like, said by a JSON Schema."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any, cast

from ._json import Problems, line, shown

_COUNTED = 100  # errors that are looked for: each costs some time
_seen: ContextVar[dict[tuple[int, int], bool]] = ContextVar("ttc_schema_seen")


@dataclass(frozen=True)
class Described:
    """A JSON Schema."""

    validator: Any
    strings: bool
    """Whether it asks for a string."""
    slow: bool = True  # plain Python, keyword by keyword

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Described:
        """Check the schema, and that it refers to nothing outside of itself: no reference is ever fetched.

        Raises:
            ValueError: it is no valid schema, of an unknown dialect, or refers to what is not there.
            ImportError: the package jsonschema is missing.
        """
        package = _jsonschema()
        schema = copy.deepcopy(dict(given))
        latest = package.Draft202012Validator
        draft = package.validators.validator_for(schema, default=None if "$schema" in schema else latest)
        if draft is None:
            raise ValueError(f"Schema(): no such dialect of JSON Schema: {schema['$schema']!r:.200}")
        try:
            draft.check_schema(schema)
        except package.SchemaError as error:
            raise ValueError(f"Schema(): not a valid JSON Schema:\n{_line(error)}") from None
        dynamic = _refers(schema)
        # Met again by way of a reference, it would bring back the package's own keywords.
        schema.pop("$schema", None)
        kinds = schema.get("type", [])
        named = [schema.get("const"), *schema.get("enum", [])]
        strings = "string" in ([kinds] if isinstance(kinds, str) else kinds)
        strings = strings or any(isinstance(each, str) for each in named)
        return cls(_bounded(draft, dynamic=dynamic)(schema, registry=_registry()), strings)

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        return (_jsonschema().ValidationError,)

    def of_json(self, text: str) -> Problems:
        from pydantic_core import from_json  # noqa: PLC0415  # slow to import

        return self._of(from_json(text))

    def of_words(self, text: str) -> Problems | None:
        return self._of(text) if self.strings else None

    def of_value(self, value: Any) -> Problems:
        from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415  # slow to import

        try:
            plain = to_jsonable_python(value)
        except (PydanticSerializationError, ValueError) as error:
            return Problems.of([line((), f"not JSON data: {error}", shown(value))], 1, whole=True)
        return self._of(plain)

    def of_error(self, error: Exception) -> Problems | None:
        return Problems.of([_line(error)], 1) if isinstance(error, self.rejects) else None

    def _of(self, value: Any) -> Problems:
        token = _seen.set({})
        try:
            found = _some(self.validator.iter_errors(value))
        except (ArithmeticError, ValueError) as error:  # such as infinity, which is a multiple of nothing
            return Problems.of([line((), f"cannot be checked: {error}", None)], 1, whole=True)
        finally:
            _seen.reset(token)
        whole = any(each.validator == "type" and not each.absolute_path for each in found)
        best = _jsonschema().exceptions.best_match
        # Where all alternatives fail, the one that gets furthest says most.
        lines = (_line(best([each]) or each) for each in found)
        return Problems.of(lines, len(found), whole=whole) if found else Problems()


def _some(errors: Iterator[Any]) -> list[Any]:
    return list(islice(errors, _COUNTED))


def _line(error: Any) -> str:
    said, value = str(error.message), cast("object", error.instance)
    written = repr(value)
    inside = isinstance(value, (dict, list)) and error.validator != "type"
    message = said[len(written) :].strip() if said.startswith(written) else said
    return line(error.absolute_path, message, None if inside else shown(value))


# The package takes exponential time for alternatives that nest, and quadratic time or memory for some other keywords:
# a few hundred characters would hold up a program. These take their places.


def _bounded(draft: Any, *, dynamic: bool) -> Any:
    """A draft's validator that looks at each value once for each reference to a schema."""
    keywords = {"anyOf": _any_of, "oneOf": _one_of, "uniqueItems": _unique}
    once = {} if dynamic else {"$ref": _once(draft.VALIDATORS["$ref"])}
    kept = {name: keyword for name, keyword in {**keywords, **once}.items() if name in draft.VALIDATORS}
    return _jsonschema().validators.extend(draft, kept)


def _once(keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def ref(validator: Any, target: str, value: Any, schema: Any) -> Iterator[Any]:
        seen, key = _seen.get(), (id(schema), id(value))
        if key not in seen:
            found = _some(keyword(validator, target, value, schema))
            seen[key] = not found
            yield from found
        elif not seen[key]:
            yield _error(f"does not fit {target}")

    return ref


def _any_of(validator: Any, alternatives: list[Any], value: Any, _schema: object) -> Iterator[Any]:
    for _, misfits in _fitting(validator, alternatives, value):
        if misfits is None:
            return
        yield _error("fits none of the alternatives", context=misfits)


def _one_of(validator: Any, alternatives: list[Any], value: Any, _schema: object) -> Iterator[Any]:
    for place, misfits in _fitting(validator, alternatives, value):
        if misfits is not None:
            yield _error("fits none of the alternatives", context=misfits)
        elif any(validator.evolve(schema=each).is_valid(value) for each in alternatives[place + 1 :]):
            yield _error("fits more than one of the alternatives")


def _fitting(validator: Any, alternatives: list[Any], value: Any) -> Iterator[tuple[int, list[Any] | None]]:
    """The place of the first alternative that fits; else what is wrong in each."""
    misfits: list[Any] = []
    for place, each in enumerate(alternatives):
        found = _some(validator.descend(value, each, schema_path=place))
        if not found:
            yield place, None
            return
        misfits += found
    yield len(alternatives), misfits


def _unique(validator: Any, wanted: object, value: Any, _schema: object) -> Iterator[Any]:
    if wanted and validator.is_type(value, "array") and len({_key(each) for each in value}) < len(value):
        yield _error("holds the same item twice")


def _key(value: Any) -> Hashable:
    """Equal for equal JSON: 1 is 1.0, and not true."""
    if isinstance(value, dict):
        return frozenset((name, _key(each)) for name, each in cast("dict[str, Any]", value).items())
    if isinstance(value, list):
        return tuple(map(_key, cast("list[object]", value)))
    return (type(value), value) if isinstance(value, (bool, str)) else value


def _error(message: str, *, context: list[Any] | None = None) -> Any:
    return _jsonschema().ValidationError(message, context=context or ())


def _refers(schema: Mapping[str, Any]) -> bool:
    """Raise unless every reference leads somewhere in the schema, or to a standard's own.

    Returns:
        Whether what one of them leads to depends on the way there.
    """
    referencing: Any = import_module("referencing")  # comes with jsonschema, like the next two
    unresolvable: type[Exception] = import_module("referencing.exceptions").Unresolvable
    draft = import_module("referencing.jsonschema").DRAFT202012
    root = referencing.Resource.from_contents(schema, default_specification=draft)
    waiting: list[tuple[Any, Any]] = [(root, _registry().resolver_with_root(root))]
    dynamic = False
    while waiting:
        resource, resolver = waiting.pop()
        contents = cast("Mapping[str, object]", resource.contents if isinstance(resource.contents, Mapping) else {})
        dynamic = dynamic or "$dynamicRef" in contents or "$recursiveRef" in contents
        for key in ("$ref", "$dynamicRef"):
            ref = contents.get(key)
            try:
                if isinstance(ref, str):
                    resolver.lookup(ref)
            except (unresolvable, ValueError):
                raise ValueError(
                    f"Schema(): {key} {ref!r:.200} leads nowhere in the schema, and references are never fetched"
                ) from None
        waiting += [(sub, resolver.in_subresource(sub)) for sub in resource.subresources()]
    return dynamic


def _registry() -> Any:
    """The standards' own schemas. The package's default has them too, but fetches whatever else is referred to."""
    return import_module("jsonschema_specifications").REGISTRY


def _jsonschema() -> Any:
    try:
        return import_module("jsonschema")
    except ImportError as error:
        raise ImportError('a JSON Schema needs jsonschema: pip install "ttc-middleware[schema]"') from error
