"""JSON from others, and bytes inside it, read without ambiguity and within limits.

What is refused: anything but UTF-8, a duplicate key, NaN and infinities (also a number that
overflows to one), a lone surrogate, nesting beyond a depth, more than 10,000 members, an integer of more than
4,096 digits, a string beyond a length. Size, nesting and members are bounded before anything is built.

The standard parser with a hook reads a typical 660-byte payload in 5 µs. pydantic's own reads it in
2, but keeps the last of two equal keys and accepts NaN, so it would need a second pass; one strict
parse and validation of the result is the shorter way.
"""

from __future__ import annotations

import base64
import codecs
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError

from mcp_a2a.errors.delivery import UnsendableError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.unicode import made_unicode

MAX_DEPTH = 32
MAX_MEMBERS = 10_000
"""Of all objects and arrays together, themselves included."""

MAX_STRING_BYTES = 1_000_000
"""One text in a task or a result: a megabyte of ASCII travels, with its frame, in the largest envelope."""

MAX_DIGITS = 4096
"""Of a whole number: to read one takes the square of its length."""

Version1 = Annotated[int, Field(strict=True, ge=1, le=1)]
"""The one version there is. Not a `Literal`, which would take JSON true for 1."""

Model = TypeVar("Model", bound=BaseModel)

# Possessive, and ending at a quote or at the end of the text: linear for every input.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRING_BYTES = re.compile(_STRING.pattern.encode(), re.DOTALL)
_MARKS = (b"{", b"[", b",")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NESTS = re.compile(r"\s*[\[{]")
"""The beginning of a text that may nest; any other, such as a web page, is no JSON or a single value."""
_BRACKET = re.compile(r"[\[\]{}]")


class JsonLimitError(ValueError):
    """The text nests too deeply, has too many members, or has too long a string."""


def read_json(
    source: bytes | str, *, max_depth: int, max_string: int | None = None, mend: bool = False, infinite: bool = False
) -> JsonValue:
    """The JSON value in a text, whose size the caller has bounded.

    Args:
        source: The text, or its UTF-8.
        max_depth: Objects and arrays that may stand inside each other.
        max_string: Bytes of one string; None where the size of the whole is bound enough.
        mend: Drop a byte order mark (RFC 8259 8.1), and read U+FFFD for an escaped half of a surrogate pair, which is
            refused otherwise: clients cut texts of models in the middle of a character.
        infinite: Read 1e400 as infinity, for a caller that refuses it with more to say.

    Raises:
        JsonLimitError: The text is beyond the limits.
        ValueError: The text is no JSON, or has two members of one name.
    """
    data = source if isinstance(source, bytes) else source.encode(errors="surrogatepass")
    if mend:
        data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
        if not _is_simple(data, max_depth) and _NESTS.match(text):
            check_members(data)
            _check_depth(text, max_depth)
        value: JsonValue = (_INFINITE if infinite else _FINITE if len(text) > MAX_DIGITS else _SHORT).decode(text)
        if _SURROGATE_ESCAPE.search(text):
            if mend:
                return made_unicode(value)
            json.dumps(value, ensure_ascii=False).encode()  # a pair is one character by now; a lone half raises
    except UnicodeError:
        raise ValueError("not UTF-8") from None  # a codec's own message quotes the bytes
    if max_string is not None and len(text) > max_string // 4:
        _check_strings(value, max_string)
    return value


def read_untrusted(source: bytes | str, max_bytes: int) -> dict[str, JsonValue]:
    """The one JSON object that `source` is."""
    data = source if isinstance(source, bytes) else source.encode(errors="surrogatepass")
    if len(data) > max_bytes:
        raise RemoteProtocolError(f"{len(data):,} bytes of JSON; at most {max_bytes:,} are read here.")
    try:
        value = read_json(data, max_depth=MAX_DEPTH, max_string=MAX_STRING_BYTES)
    except ValueError as error:
        raise RemoteProtocolError(f"Not acceptable JSON: {error}.") from error
    if not isinstance(value, dict):
        raise RemoteProtocolError("Not acceptable JSON: not an object.")
    return value


def validate_untrusted(model: type[Model], fields: Mapping[str, object]) -> Model:
    """The model that these fields make."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or model.__name__
        raise RemoteProtocolError(f"Not acceptable at {where}: {first['msg']}.") from error


def check_limits(data: bytes) -> None:
    """Refuse, before it is sent, what the other side would refuse to read.

    Raises:
        UnsendableError: it is beyond the limits of `read_untrusted`; says which.
    """
    if len(data) <= MAX_STRING_BYTES and _is_simple(data, MAX_DEPTH):
        return
    try:
        read_untrusted(data, len(data))
    except RemoteProtocolError as error:
        raise UnsendableError(str(error.__cause__)) from error


def check_members(data: bytes) -> None:
    """Refuse JSON of more than `MAX_MEMBERS` before anything is built of it: 4 MiB of `{},{},` are 1.4 million objects.

    One scan of linear time, which ends where the limit is passed. JSON of any encoding but UTF-8 is not understood.

    Raises:
        JsonLimitError
    """
    if data.count(b"{") + data.count(b"[") + data.count(b",") <= MAX_MEMBERS:
        return  # also counted inside strings, so this only errs towards looking closer
    members = strings = end = 0
    for string in _STRING_BYTES.finditer(data):
        members += sum(data.count(mark, end, string.start()) for mark in _MARKS)
        strings, end = strings + 1, string.end()
        # A member has at most two strings, its name and its value.
        if members > MAX_MEMBERS or strings > 2 * MAX_MEMBERS + 1:
            break
    else:
        members += sum(data.count(mark, end) for mark in _MARKS)
    if members > MAX_MEMBERS or strings > 2 * MAX_MEMBERS + 1:
        raise JsonLimitError(f"more than {MAX_MEMBERS:,} members")


def check_depth(value: JsonValue, max_depth: int) -> None:
    """Refuse a value that nests deeper than `max_depth` objects and arrays, without recursion.

    Raises:
        ValueError: it is nested deeper.
    """
    level: list[JsonValue] = [value]
    for _ in range(max_depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {max_depth}")


def to_base64url(raw: bytes) -> str:
    """Bytes as they travel inside JSON."""
    return base64.urlsafe_b64encode(raw).decode()


def base64url_untrusted(text: str) -> bytes:
    """The bytes that were meant; anything but their one spelling is refused."""
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError as error:
        raise RemoteProtocolError("Not base64url.") from error
    if to_base64url(raw) != text:
        raise RemoteProtocolError("Not base64url in its one canonical form.")
    return raw


def _is_simple(data: bytes, max_depth: int) -> bool:
    # Counted inside strings too, so this only errs towards looking closer; and it runs at the speed
    # of memchr.
    openings = data.count(b"{") + data.count(b"[")
    return openings <= max_depth and openings + data.count(b",") <= MAX_MEMBERS


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > max_depth:
            raise JsonLimitError(f"nested deeper than {max_depth}")


def _check_strings(value: JsonValue, max_bytes: int) -> None:
    if any(len(string.encode()) > max_bytes for string in _strings(value)):
        raise JsonLimitError(f"a string longer than {max_bytes:,} bytes")


def _strings(value: JsonValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for key, item in value.items():
                yield key
                yield from _strings(item)
        case _:
            return


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice")
    return fields


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number in it is too large")
    return number


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a number in it is too large")
    return int(digits)


def _no_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")


_FINITE, _INFINITE, _SHORT = (
    json.JSONDecoder(object_pairs_hook=_object, parse_float=read, parse_int=whole, parse_constant=_no_constant)
    for read, whole in ((_float, _integer), (float, _integer), (_float, int))  # a short text has no integer too long
)
