"""What a skill returned, as the sender gets it: text for people and models, data for programs."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from os import PathLike
from pathlib import Path, PurePath

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from mcp_a2a.node.job import Outcome
from mcp_a2a.protocol.model import Artifact, Message, Part
from mcp_a2a.protocol.unicode import made_unicode
from mcp_a2a.views import FileArg


@dataclass(frozen=True)
class File:
    """A file as a result: return it, alone or in a list with text and parts.

    Either the `path` of one, which must be there until the result was sent, or its `content`.
    """

    path: str | PathLike[str] | None = None
    content: bytes | None = None
    name: str | None = None
    """What its receiver sees; without it that of the path."""
    media_type: str | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.content is None):
            raise TypeError("A File is either a path or its content: File(path) or File(content=…, name=…).")

    @property
    def argument(self) -> FileArg | None:
        """How the node is told of it, where it is on the disk."""
        if self.path is None:
            return None
        return FileArg(path=str(Path(self.path).absolute()), name=self.name, media_type=self.media_type)

    @property
    def part(self) -> Part:
        """The part that it is, where its content is here."""
        raw = base64.b64encode(self.content or b"").decode()
        kind = self.media_type or guess_type(self.name or "")[0] or "application/octet-stream"
        return Part(raw=raw, filename=self.name, media_type=kind)


def outcome_of(value: object) -> Outcome:
    """The outcome a returned value stands for.

    `str` is text; `Part`, `Artifact`, lists of parts and `bytes` travel as they are; a `Message` answers
    without a task; None is an empty text; a `File`, or a list of text, parts and files, is those;
    everything else is a data part, with a readable text beside it.
    """
    if isinstance(value, Outcome):
        return value
    if isinstance(value, Message):
        return Outcome("completed", None, value.parts, direct=True)
    if value is None or isinstance(value, str):
        return Outcome("completed", value or "")
    if isinstance(value, File):
        value = [value]
    parts = _parts(value)
    if not parts and isinstance(value, list | tuple) and any(isinstance(one, File | Part) for one in value):
        return _with_files(value)
    if parts:
        return Outcome("completed", None, parts)
    data = _jsonable(value)
    return Outcome("completed", readable(data), (Part(data=data, media_type="application/json"),))


def _with_files(values: Sequence[object]) -> Outcome:
    texts = [one for one in values if isinstance(one, str)]
    parts, files = list[Part](), list[FileArg]()
    for one in values:
        if isinstance(one, File) and one.argument is not None:
            files.append(one.argument)
        elif isinstance(one, File):
            parts.append(one.part)
        elif not isinstance(one, str):
            parts.extend(_parts(one) or (Part(data=_jsonable(one), media_type="application/json"),))
    return Outcome("completed", "\n".join(texts) if texts else None, tuple(parts), files=tuple(files))


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
        return json.loads(json.dumps(to_jsonable_python(made_unicode(value)), allow_nan=False))  # type: ignore[no-any-return]
    except (PydanticSerializationError, ValueError) as error:
        kind = type(value).__name__
        raise TypeError(
            f"The skill returned a {kind}, which cannot travel ({error}). "
            "Its author should return text, numbers, lists, dicts, dataclasses or pydantic models."
        ) from error
