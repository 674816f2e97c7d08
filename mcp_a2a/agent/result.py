"""What a skill returned, as the sender gets it: text for people and models, data for programs."""

from __future__ import annotations

import base64
import json
from pathlib import PurePath

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from mcp_a2a.node.job import Outcome
from mcp_a2a.protocol.model import Artifact, Message, Part


def outcome_of(value: object) -> Outcome:
    """The outcome a returned value stands for.

    `str` is text; `Part`, `Artifact`, lists of parts and `bytes` travel as they are; a `Message` answers
    without a task; None is an empty text; everything else is a data part, with a readable text beside it.
    """
    if isinstance(value, Outcome):
        return value
    if isinstance(value, Message):
        return Outcome("completed", None, value.parts, direct=True)
    if value is None or isinstance(value, str):
        return Outcome("completed", value or "")
    parts = _parts(value)
    if parts:
        return Outcome("completed", None, parts)
    data = _jsonable(value)
    return Outcome("completed", readable(data), (Part(data=data, media_type="application/json"),))


def _parts(value: object) -> tuple[Part, ...]:
    """The parts that a value already is, or none."""
    match value:
        case Part():
            return (value,)
        case Artifact():
            return value.parts
        case bytes() | bytearray():
            raw = base64.b64encode(value).decode()
            return (Part(raw=raw, media_type="application/octet-stream"),)
        case list() | tuple() if all(isinstance(one, Part) for one in value):
            return tuple(value)
        case _:
            return ()


def readable(data: JsonValue) -> str:
    """Data as a person reads it: a bare value by itself, the rest as indented JSON."""
    match data:
        case str():
            return data
        case dict() | list():
            return json.dumps(data, ensure_ascii=False, indent=2)
        case _:
            return json.dumps(data)


def _jsonable(value: object) -> JsonValue:
    if isinstance(value, PurePath):
        return str(value)
    try:
        return json.loads(json.dumps(to_jsonable_python(value), allow_nan=False))  # type: ignore[no-any-return]
    except (PydanticSerializationError, ValueError) as error:
        kind = type(value).__name__
        raise TypeError(
            f"The skill returned a {kind}, which cannot travel ({error}). "
            "Its author should return text, numbers, lists, dicts, dataclasses or pydantic models."
        ) from error
