"""The parts of what agents at URLs answer, of whatever version, read with goodwill."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

from pydantic import JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from mcp_a2a.a2a.legacy import FILE
from mcp_a2a.errors.web import WebAnswerError
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.strict_json import read_json
from mcp_a2a.protocol.text import preview

# JSON from any agent, bounded in depth and members, and made of what can be stored.

Fields = dict[str, JsonValue]

MAX_DEPTH = 48


def parse(body: bytes) -> JsonValue:
    """JSON from any agent; bytes that are not UTF-8 are read as U+FFFD.

    Raises:
        ValueError: it is none, or beyond the limits.
    """
    return read_json(body.decode("utf-8-sig", "replace"), max_depth=MAX_DEPTH, mend=True)


def read_parts(value: JsonValue) -> tuple[Part, ...]:
    """The parts in a list of parts, or in a single one; an empty text if there are none."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(part for item in items for part in _part(item)) or (Part(text=""),)


def _part(value: JsonValue) -> tuple[Part, ...]:
    """A part of either version, or more, where one has several contents; of no kind that we know, it is data."""
    if isinstance(value, str):
        return (Part(text=value),)
    if not isinstance(value, dict):
        return ()
    fields = camel_fields(value, "a part")
    inner = fields.get("file")
    file = camel_fields(inner, "a file") if isinstance(inner, dict) else {}
    named: Fields = {
        "filename": _first(fields, file, "filename", "name"),
        "mediaType": _first(fields, file, "mediaType", "mimeType"),
        "metadata": object_or_none(fields.get("metadata")),
    }
    rest: Fields = {name: item for name, item in named.items() if item is not None}
    contents = _contents(fields, file)
    if not contents and any(item for name, item in fields.items() if name not in _ABOUT_PARTS):
        return (Part(data=value),)
    return tuple(filter(None, (_made(content, rest) for content in contents)))


_ABOUT_PARTS = frozenset({"kind", "type", "metadata", "mediaType", "mimeType"})


def _made(content: Fields, rest: Fields) -> Part | None:
    raw = content.get("raw")
    if isinstance(raw, str) and not _is_base64(raw):
        name = preview(str(rest.get("filename", "")), 64)
        return Part(text=f"[A file{f' {name}' if name else ''} is damaged: the agent sent invalid base64.]")
    try:
        return Part.model_validate(rest | content)
    except ValidationError:
        return None


def _is_base64(text: str) -> bool:
    plain = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        return False
    return True


def _contents(fields: Fields, file: Fields) -> list[Fields]:
    """The contents of a part under the names of 1.0: the filled ones, as some agents print all; else one of them."""
    found = list(_named_contents(fields, file))
    filled = [content for content in found if all(item not in ("", None, {}, []) for item in content.values())]
    return filled or found[:1]


def _named_contents(fields: Fields, file: Fields) -> Iterator[Fields]:
    for holder, names in ((fields, ("text", "raw", "url")), (file, ("bytes", "fileWithBytes", "uri", "fileWithUri"))):
        for name in names:
            found = holder.get(name)
            if isinstance(found, str) and not found.startswith("blob:"):  # that is how we name files of our own
                yield {FILE.get(name, name): found}
    if "data" in fields:
        yield {"data": fields["data"]}
    elif "content" in fields and "text" not in fields:
        content = fields["content"]
        yield {"text": content} if isinstance(content, str) else {"data": content}


def _first(fields: Fields, file: Fields, *names: str) -> str | None:
    found: Iterable[JsonValue] = (holder.get(name) for name in names for holder in (fields, file))
    return next((item for item in found if isinstance(item, str)), None)


def camel_fields(value: JsonValue, what: str) -> Fields:
    """An object with its names as JSON has them in 1.0; what is null is not there."""
    if not isinstance(value, dict):
        raise WebAnswerError(f"{what} is {_kind(value)} and not an object")
    return dict(_named(value))


def _named(value: Fields) -> Iterator[tuple[str, JsonValue]]:
    for name, item in value.items():
        if item is not None or name == "data":
            yield (to_camel(name) if "_" in name else name), item


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return "a number" if not isinstance(value, bool) else "true or false"
        case str():
            return "a text"
        case _:
            return "a list"


def object_or_none(value: JsonValue) -> Fields | None:
    """An object; None for what is none."""
    return value if isinstance(value, dict) else None
