"""An answer of a node as a command shows it, without the models that it was made of.

Importing those takes longer than all else that a short answer takes. The owner of the node writes a view down field by
field (`node.ipc.view_writer`), and here the fields are attributes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

PLAIN = ""
"""The only key of an object that stands for a value of plain JSON; a view has no field of that name."""


class Told:
    """One object of an answer. It has the attributes of its view; one that is missing is None."""

    def __init__(self, fields: Mapping[str, JsonValue]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        return _value(self._fields.get(name))


def fields_of(told: Told) -> dict[str, JsonValue]:
    """All of it as JSON."""
    return dict(told._fields)


def _value(value: JsonValue) -> object:
    match value:
        case {"": plain}:
            return plain
        case dict():
            return Told(value)
        case list():
            return tuple(map(_value, value))
        case _:
            return value
