"""Python strings made Unicode: `json`, `os.fsdecode` and models yield half surrogate pairs, which no encoding takes."""

from __future__ import annotations

import codecs
import json
import re
from typing import TypeVar, cast

from pydantic import BaseModel

T = TypeVar("T")

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE = re.compile("[\ud800-\udfff]+")

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def unicode_text(text: str) -> str:
    """The text as Unicode: surrogate pairs joined, U+FFFD for each half without its other half. Never raises."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Not by a codec, which calls back for each: a second for the halves that a request has room for.
        return _LONE.sub(lambda found: "\ufffd" * len(found[0]), _PAIR.sub(_joined, text))
    return text


def _joined(pair: re.Match[str]) -> str:
    high, low = map(ord, pair[0])
    return chr(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def unicode_json(body: bytes) -> bytes:
    """JSON as Unicode: without a byte order mark (RFC 8259 8.1), and U+FFFD for each escaped half of a surrogate pair.

    Clients cut texts of models in the middle of a character, and write down what is left. The members are to be counted
    before. What is no JSON stays as it is.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not _HALF.search(body):
        return body
    try:
        return json.dumps(made_unicode(json.loads(body.decode()))).encode()
    except (ValueError, RecursionError):
        return body


def made_unicode(value: T) -> T:
    """The value with `unicode_text` applied to every string in it: models, lists, tuples and dictionaries, keys too."""
    return cast("T", _made(value))


def _made(value: object) -> object:
    match value:
        case str():
            return unicode_text(value)
        case BaseModel():
            changed = {name: made for name, old in value if (made := _made(old)) is not old}
            return value.model_copy(update=changed) if changed else value
        case list() | tuple():
            made = [_made(one) for one in value]
            if all(new is old for new, old in zip(made, value, strict=True)):
                return value
            return tuple(made) if isinstance(value, tuple) else made
        case dict():
            return {_made(key): _made(one) for key, one in value.items()}
        case _:
            return value
