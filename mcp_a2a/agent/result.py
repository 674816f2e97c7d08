"""The result of a skill as the sender gets it: text for people and models, data for programs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from mimetypes import guess_type
from os import PathLike
from pathlib import Path, PurePath
from types import NoneType

from pydantic import JsonValue, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from mcp_a2a.api.files import FileArg
from mcp_a2a.node.worker.job import Outcome
from mcp_a2a.protocol.model import Artifact, Message, Part
from mcp_a2a.protocol.unicode import made_unicode, unicode_text

_KINDS = {
    "path": (str, PathLike, NoneType),
    "content": (bytes, bytearray, memoryview, NoneType),
    "name": (str, NoneType),
    "media_type": (str, NoneType),
}
"""The types that the fields of a File may have; a wrong one is told to its author before the file is sent."""

_WANTED = {"path": "a path", "content": "bytes", "name": "text", "media_type": "text"}


class File:
    """A file as a result: return it or yield it, alone or in a list with text, parts and other files.

    Args:
        path: a file on the disk, which must exist until the result was sent; or else
        content: the content in bytes.
        name: the name that the receiver sees; by default that of the path.
        media_type: of the content; by default guessed from the name.

    Raises:
        TypeError: both or neither of path and content are given, or a field has a wrong type.
    """

    # No dataclass: within other data it would be written as the JSON of its fields, and no file be sent.

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        content: bytes | None = None,
        name: str | None = None,
        media_type: str | None = None,
    ) -> None:
        if (path is None) == (content is None):
            raise TypeError("A File is either a path or its content: File(path) or File(content=…, name=…).")
        self.path, self.content, self.name, self.media_type = path, content, name, media_type
        for field, kinds in _KINDS.items():
            if not isinstance(given := getattr(self, field), kinds):
                raise TypeError(f"The {field} of a File must be {_WANTED[field]}, not {_kind(given)}.")

    @property
    def argument(self) -> FileArg | None:
        """The argument that names this file to the node; None if it is not on the disk.

        Raises:
            TypeError: its path, name or media type has a wrong type.
        """
        if self.path is None:
            return None
        path = str(Path(self.path).absolute())
        if path != unicode_text(path):
            raise TypeError(
                f"The skill returned a File whose path is not Unicode: {path!r}. Its author can return what is in it: "
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


class Results(list[object]):
    """Several results of one skill, each of which is sent."""


def outcome_of(value: object) -> Outcome:
    """The outcome a returned value stands for.

    `str` is text; `Part`, `Artifact`, lists of parts and `bytes` travel as they are; a `Message` answers
    without a task; None is an empty text; a `File`, or a list of text, parts and files, is those;
    everything else is a data part, with a readable text beside it.

    Raises:
        TypeError: it cannot travel.
    """
    if isinstance(value, Outcome):
        return value
    if isinstance(value, Message):
        return Outcome("completed", None, value.parts, direct=True)
    if value is None or isinstance(value, str):
        return Outcome("completed", value or "")
    if isinstance(value, Results) or _is_content(value):
        return _with_all(value)
    data = _jsonable(value)
    return Outcome("completed", readable(data), (Part(data=data, media_type="application/json"),))


_Content = File | Part | Artifact | Message | bytes | bytearray


NESTED = 3
"""Lists of lists of files are sent to this depth."""


def _is_content(value: object, depth: int = NESTED) -> bool:
    """True if it is content of ours or a list with some, in contrast to data."""
    if isinstance(value, list | tuple) and depth:
        return any(_is_content(one, depth - 1) for one in value)
    return isinstance(value, _Content)


def _with_all(value: object) -> Outcome:
    texts, data, parts, files = list[str](), list[JsonValue](), list[Part](), list[FileArg]()
    for one in _each(value):
        if isinstance(one, str):
            texts.append(one)
        elif isinstance(one, File) and one.argument is not None:
            files.append(one.argument)
        elif isinstance(one, _Content):
            parts.extend(_parts(one))
        else:
            data.append(_jsonable(one))
            parts.append(Part(data=data[-1], media_type="application/json"))
    if len(data) == len(parts) and not (texts or files):
        texts = [readable(one) for one in data]
    return Outcome("completed", "\n".join(texts) if texts else None, tuple(parts), files=tuple(files))


def _each(value: object, depth: int = NESTED) -> Iterator[object]:
    """The results in a value: those of lists with content one by one."""
    if isinstance(value, Results):
        for one in value:
            yield from _each(one)
    elif isinstance(value, list | tuple) and _is_content(value, depth):
        for one in value:
            yield from _each(one, depth - 1)
    elif value is not None:
        yield value


def _parts(value: _Content) -> tuple[Part, ...]:
    match value:
        case File() | Part():
            return (value.part if isinstance(value, File) else value,)
        case Artifact() | Message():
            return value.parts
        case _:
            raw = base64.b64encode(value).decode()
            return (Part(raw=raw, media_type="application/octet-stream"),)


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
    if "File" in why:
        why = "a File in it: return or yield Files alone or in a list"
    # The sender may be a model, and knows nothing of Python; the author reads the whole of it in the log.
    raise TypeError("The skill returned something that is neither text nor JSON, so it cannot be sent.") from TypeError(
        f"The skill returned {_kind(value)}, which cannot travel ({why}). "
        "Return text, numbers, lists, dicts, dataclasses or pydantic models."
    )


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else f"a value of the type {type(value).__name__}"
