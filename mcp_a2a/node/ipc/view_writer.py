"""Views written down field by field, for a command that reads them without the models (`node.ipc.view_reader`)."""

from __future__ import annotations

from enum import Enum
from typing import cast

from pydantic import BaseModel, JsonValue

from mcp_a2a.node.ipc.view_reader import PLAIN


def written_down(view: BaseModel) -> dict[str, JsonValue]:
    """Every field of a view by its name, also those that were never set."""
    return {name: _written(getattr(view, name)) for name in type(view).model_fields}


def _written(value: object) -> JsonValue:
    match value:
        case BaseModel():
            return written_down(value)
        case Enum():
            return cast("JsonValue", value.value)
        case tuple():
            return [_written(inner) for inner in value]
        case dict() | list():
            return {PLAIN: cast("JsonValue", value)}
        case _:
            return cast("JsonValue", value)
