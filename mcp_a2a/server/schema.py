"""JSON Schemas as clients get them: no more of what pydantic derives than a model needs, which pays for every byte."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, JsonValue

Schema = dict[str, JsonValue]

_UNSAID: tuple[JsonValue, ...] = (None, "", [], {})
"""Defaults by which nothing is given: that an argument may be left out is said by `required`."""


@cache
def output_schema(view: type[BaseModel]) -> Schema:
    """The schema of a tool's structured content: an object, and which fields are always there.

    The types of all fields would be three quarters of the listing, which a client keeps in its model's context; the
    results say them.
    """
    required: list[JsonValue] = [name for name, field in view.model_fields.items() if field.is_required()]
    return {"type": "object", "required": required}


def input_schema(schema: Schema) -> Schema:
    """The schema of a tool's arguments without what says nothing, and without references.

    Titles only repeat the names. Null stands for an argument that is not given, which any call may say of any optional
    argument, so no type names it.
    """
    defined = schema.get("$defs")
    slim = _slim(schema, defined if isinstance(defined, dict) else {})
    assert isinstance(slim, dict)  # noqa: S101  a schema is an object
    return slim


def _slim(value: JsonValue, defined: Schema) -> JsonValue:
    if isinstance(value, list):
        return [_slim(item, defined) for item in value]
    if not isinstance(value, dict):
        return value
    if (found := _one_of(value, defined)) is not None:
        return _slim(found, defined)
    slim: Schema = {}
    for keyword, inner in value.items():
        if keyword == "properties" and isinstance(inner, dict):
            slim[keyword] = {name: _slim(part, defined) for name, part in inner.items()}
        elif not _says_nothing(keyword, inner):
            slim[keyword] = inner if keyword in ("enum", "const", "default") else _slim(inner, defined)
    return slim


def _says_nothing(keyword: str, value: JsonValue) -> bool:
    if keyword == "default":
        return value in _UNSAID
    return keyword in ("title", "$defs") or (keyword == "additionalProperties" and value is True)


def _one_of(value: Schema, defined: Schema) -> Schema | None:
    """A schema that stands for another: a reference, or a choice between one and null. What is beside it counts."""
    rest = {keyword: inner for keyword, inner in value.items() if keyword not in ("$ref", "anyOf")}
    reference, choices = value.get("$ref"), value.get("anyOf")
    if isinstance(reference, str):
        found = defined[reference.rpartition("/")[2]]
        if not isinstance(found, dict):
            return None
        # What a class is for is said by the argument, if it matters.
        return {keyword: inner for keyword, inner in found.items() if keyword != "description"} | rest
    if isinstance(choices, list):
        kinds = [kind for kind in choices if isinstance(kind, dict) and kind.get("type") != "null"]
        return kinds[0] | rest if len(kinds) == 1 else None
    return None
