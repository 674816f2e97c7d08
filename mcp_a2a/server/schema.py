"""JSON Schemas as clients get them: what pydantic derives, without the titles it makes up."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import cache

from pydantic import BaseModel, JsonValue


@cache
def output_schema(view: type[BaseModel]) -> dict[str, JsonValue]:
    """The schema of a tool's structured content. Seven tools answer with a task: it is derived once.

    Where a peer's words are fenced, a `notice` stands first (`outgoing`).
    """
    schema = without_titles(view.model_json_schema(), frozenset({"title", "default"}))
    properties = schema["properties"]
    assert isinstance(properties, dict)  # noqa: S101  a view is an object
    return {**schema, "properties": {"notice": {"type": "string"}, **properties}}


def without_titles(
    schema: dict[str, JsonValue], unwanted: AbstractSet[str] = frozenset({"title"})
) -> dict[str, JsonValue]:
    """The schema without `title`, which only repeats the names and costs a model a seventh of the listing."""
    slim: dict[str, JsonValue] = {}
    for keyword, value in schema.items():
        if keyword in {"properties", "$defs"} and isinstance(value, dict):
            slim[keyword] = {name: _slim(part, unwanted) for name, part in value.items()}
        elif keyword not in unwanted:
            slim[keyword] = _slim(value, unwanted)
    return slim


def _slim(value: JsonValue, unwanted: AbstractSet[str]) -> JsonValue:
    if isinstance(value, dict):
        return without_titles(value, unwanted)
    return [_slim(item, unwanted) for item in value] if isinstance(value, list) else value
