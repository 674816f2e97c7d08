"""JSON from anybody, bounded in depth and members, and made of what can be stored."""

from __future__ import annotations

import json

from pydantic import JsonValue

from mcp_a2a.protocol.strict_json import check_members
from mcp_a2a.protocol.unicode import unicode_text

Fields = dict[str, JsonValue]

MAX_DEPTH = 48
MAX_DIGITS = 4096
"""Of a whole number: to read one takes the square of its length."""


def parse(body: bytes) -> JsonValue:
    """JSON from anybody.

    Raises:
        ValueError: it is none, or nested beyond reason, or has too many members.
    """
    check_members(body)
    try:
        value: JsonValue = json.loads(
            body.decode("utf-8-sig", "replace"), parse_int=_whole, parse_constant=_refuse_constant
        )
        return _tidy(value, 0)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a number in it is too large")
    return int(digits)


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")


def _tidy(value: JsonValue, depth: int) -> JsonValue:
    """Without halves of characters, which nobody could store, and without depths in which programs drown."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    match value:
        case str():
            return unicode_text(value)
        case list():
            return [_tidy(item, depth + 1) for item in value]
        case dict():
            return {str(_tidy(name, depth)): _tidy(item, depth + 1) for name, item in value.items()}
        case float() if value in (float("inf"), float("-inf")):
            raise ValueError("a number in it is too large")
        case _:
            return value
