"""What a skill returned, as the sender gets it: text for people and models, data for programs."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from os import PathLike
from pathlib import Path, PurePath
from types import NoneType

from pydantic import JsonValue, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from mcp_a2a.node.job import Outcome
from mcp_a2a.protocol.model import Artifact, Message, Part
from mcp_a2a.protocol.unicode import made_unicode, unicode_text
from mcp_a2a.views import FileArg

_KINDS = {
    "path": (str, PathLike, NoneType),
    "content": (bytes, bytearray, memoryview, NoneType),
    "name": (str, NoneType),
    "media_type": (str, NoneType),
}
"""What the fields of a File may be, said to its author before it is sent off."""


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
        for field, kinds in _KINDS.items():
            if not isinstance(given := getattr(self, field), kinds):
                raise TypeError(f"The {field} of a File cannot be {_kind(given)}.")

    @property
    def argument(self) -> FileArg | None:
        """How the node is told of it, where it is on the disk.

        Raises:
            TypeError: its path, name or media type cannot be told.
        """
        if self.path is None:
            return None
        path = str(Path(self.path).absolute())
        if path != unicode_text(path):
            raise TypeError(
                f"The skill returned a File whose path is no Unicode: {path!r}. Its author can return what is in it: "
                "File(content=…, name=…)."
            )
        try:
            return FileArg(path=path, name=unicode_text(self.name or "") or None, media_type=self.media_type)
        except ValidationError as error:
            too_long = error.errors()[0]["loc"][0]
            raise TypeError(f"The skill returned a File whose {too_long} is too long.") from None

    @property
    def part(self) -> Part:
        """The part that it is, where its content is here."""
        raw = base64.b64encode(self.content or b"").decode()
        kind = self.media_type or guess_type(self.name or "")[0] or "application/octet-stream"
        return Part(raw=raw, filename=unicode_text(self.name or "") or None, media_type=kind)


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
        return unicode_text(str(value))
    try:
        return json.loads(json.dumps(to_jsonable_python(made_unicode(value)), allow_nan=False))  # type: ignore[no-any-return]
    except RecursionError:
        why = "it contains itself, or is nested too deep"
    except (PydanticSerializationError, ValueError) as error:
        why = str(error)
    raise TypeError(
        f"The skill returned {_kind(value)}, which cannot travel ({why}). "
        "Its author should return text, numbers, lists, dicts, dataclasses or pydantic models."
    )


def _kind(value: object) -> str:
    return f"a value of the type {type(value).__name__}"
