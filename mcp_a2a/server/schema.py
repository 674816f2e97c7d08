"""JSON Schemas as clients get them: what pydantic derives, without the titles it makes up."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, JsonValue


@cache
def output_schema(view: type[BaseModel]) -> dict[str, JsonValue]:
    """The schema of a tool's structured content. Seven tools answer with a task: it is derived once."""
    return without_titles(view.model_json_schema())


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
