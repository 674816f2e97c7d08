"""JSON Schemas as clients get them: no more of what pydantic derives than a model needs, which pays for every byte."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, JsonValue


@cache
def output_schema(view: type[BaseModel]) -> dict[str, JsonValue]:
    """The schema of a tool's structured content: an object, and which fields are always there.

    The types of all fields would be three quarters of the listing, which a client keeps in its model's context; the
    results say them.
    """
    required: list[JsonValue] = [name for name, field in view.model_fields.items() if field.is_required()]
    return {"type": "object", "required": required}


def without_titles(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema without `title`, which only repeats the names and costs a model a seventh of the listing."""
    slim: dict[str, JsonValue] = {}
    for keyword, value in schema.items():
        if keyword in {"properties", "$defs"} and isinstance(value, dict):
            slim[keyword] = {name: _slim(part) for name, part in value.items()}
        elif keyword != "title":
            slim[keyword] = _slim(value)
    return slim


def _slim(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return without_titles(value)
    return [_slim(item) for item in value] if isinstance(value, list) else value
