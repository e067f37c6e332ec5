"""The published JSON Schemas of statements, and a validator for the part of draft 2020-12 that they use.

The light base has no JSON Schema package. A keyword that is not known here is an error and never passed
over, so a schema cannot ask for something that is not looked at. A test compares the answers with those of
the package jsonschema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from drl.errors import Falsified
from drl.record.statement import MODEL_SIGNATURE, NAMESPACE, SLSA_PROVENANCE

_PREFIX, _SUFFIX = f"{NAMESPACE}predicate:", ":v1"
_OF_OTHERS = {SLSA_PROVENANCE: "provenance", MODEL_SIGNATURE: "model_signature"}
"""Schemas of predicates that others specified: which of their fields a record has."""
_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "default"}


def check_predicate(statement: dict[str, Any], *, name: str) -> None:
    """Check the statement's frame, and its predicate against the published schema of its type.

    Raises:
        Falsified: an unknown type, or something that the schema does not allow; with the place.
    """
    kind = statement.get("predicateType")
    _check(statement, _schema("statement"), name)
    _check(statement["predicate"], _schema(_schema_name(kind, name)), f"{name}: predicate")


def _schema_name(kind: Any, name: str) -> str:
    if kind in _OF_OTHERS:
        return _OF_OTHERS[kind]
    found = re.fullmatch(rf"{re.escape(_PREFIX)}([a-z]+){re.escape(_SUFFIX)}", str(kind))
    if found is None or not files("drl.schemas").joinpath(f"predicates/{found[1]}.json").is_file():
        raise Falsified(
            f"{name}: unknown predicate type {kind!r}", remedy="use a newer verifier, or refuse it"
        )
    return found[1]


@cache
def _schema(name: str) -> dict[str, Any]:
    folder = "" if name in ("statement", *_OF_OTHERS.values()) else "predicates/"
    value: dict[str, Any] = json.loads(files("drl.schemas").joinpath(f"{folder}{name}.json").read_bytes())
    return value


def _check(value: Any, schema: dict[str, Any], where: str) -> None:
    problem = next(violations(value, schema, schema), None)
    if problem is not None:
        raise Falsified(f"{where}{problem}", remedy="compare it with the schema in drl/schemas")


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """What ``schema`` does not allow in ``value``, as `` .place: problem`` texts.

    Args:
        root: the whole schema, in which ``$ref`` is resolved.
    """
    for keyword, wanted in schema.items():
        if keyword in _ANNOTATIONS:
            continue
        if keyword == "$ref":
            yield from violations(value, root["$defs"][wanted.removeprefix("#/$defs/")], root)
        elif keyword in _APPLICATORS:
            yield from _APPLICATORS[keyword](value, wanted, schema, root)
        elif not _ASSERTIONS[keyword](value, wanted):
            yield f": {str(value)[:60]!r} against {keyword} {wanted!r}"


def _properties(value: Any, wanted: Any, schema: Any, root: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in wanted.items():
            if name in value:
                yield from (f".{name}{problem}" for problem in violations(value[name], part, root))


def _additional(value: Any, wanted: Any, schema: Any, root: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            if wanted is False:
                yield f": unknown field {name!r}"
            else:
                yield from (f".{name}{problem}" for problem in violations(value[name], wanted, root))


def _items(value: Any, wanted: Any, schema: Any, root: Any) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from (f"[{index}]{problem}" for problem in violations(item, wanted, root))


def _any_of(value: Any, wanted: Any, schema: Any, root: Any) -> Iterator[str]:
    if all(any(violations(value, part, root)) for part in wanted):
        yield f": {str(value)[:60]!r} fits none of {len(wanted)} forms"


def _one_of(value: Any, wanted: Any, schema: Any, root: Any) -> Iterator[str]:
    if sum(not any(violations(value, part, root)) for part in wanted) != 1:
        yield f": {str(value)[:60]!r} fits not exactly one of {len(wanted)} forms"


_APPLICATORS: dict[str, Callable[[Any, Any, Any, Any], Iterator[str]]] = {
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "oneOf": _one_of,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": _is_number,
    "integer": lambda v: _is_number(v) and float(v).is_integer(),
}


def _type(value: Any, wanted: Any) -> bool:
    return any(_TYPES[name](value) for name in ([wanted] if isinstance(wanted, str) else wanted))


def _pattern(value: Any, wanted: str) -> bool:
    # In Python `$` also matches before a final line break, in JSON Schema it does not.
    strict = wanted[:-1] + r"\Z" if wanted.endswith("$") else wanted
    return not isinstance(value, str) or re.search(strict, value, re.ASCII) is not None


def _same(value: Any, wanted: Any) -> bool:
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


_ASSERTIONS: dict[str, Callable[[Any, Any], bool]] = {
    "type": _type,
    "const": _same,
    "enum": lambda v, wanted: any(_same(v, one) for one in wanted),
    "pattern": _pattern,
    "minLength": lambda v, wanted: not isinstance(v, str) or len(v) >= wanted,
    "minimum": lambda v, wanted: not _is_number(v) or v >= wanted,
    "maximum": lambda v, wanted: not _is_number(v) or v <= wanted,
    "minItems": lambda v, wanted: not isinstance(v, list) or len(v) >= wanted,
    "uniqueItems": lambda v, wanted: not (wanted and isinstance(v, list)) or _distinct(v),
    "required": lambda v, wanted: not isinstance(v, dict) or all(name in v for name in wanted),
}


def _distinct(values: list[Any]) -> bool:
    return len({json.dumps(v, sort_keys=True) for v in values}) == len(values)
