"""JSON in the one form that can be signed (RFC 8785, JCS): sorted names, no spaces, numbers as ECMAScript writes them.

Every number is an IEEE 754 double there, also an integer: what does not fit is rounded as a browser would.
"""

from __future__ import annotations

import json
from decimal import Decimal
from math import isfinite

from pydantic import JsonValue

from mcp_a2a.errors import RemoteProtocolError

MAX_DEPTH = 64
"""What is nested deeper is not signed, so that nobody's card can use up our stack."""


def canonical_json(value: JsonValue) -> bytes:
    """The canonical form of a JSON value.

    Raises:
        RemoteProtocolError: it has none: a lone surrogate, a number that is no double, or nested beyond `MAX_DEPTH`.
    """
    try:
        return _written(value, 0).encode()
    except UnicodeEncodeError as error:
        raise RemoteProtocolError("A text in it is not Unicode: it has half of a surrogate pair.") from error


def _written(value: JsonValue, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise RemoteProtocolError(f"It is nested deeper than {MAX_DEPTH} levels.")
    match value:
        case dict():
            # Names are sorted by their UTF-16 code units, not by code points (RFC 8785 3.2.3).
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return f"{{{','.join(f'{_text(name)}:{_written(value[name], depth + 1)}' for name in names)}}}"
        case list():
            return f"[{','.join(_written(item, depth + 1) for item in value)}]"
        case str():
            return _text(value)
        case None | bool():
            return json.dumps(value)
        case _:
            return _number(value)


def _text(value: str) -> str:
    # Python escapes exactly what ECMAScript does, in the same way: quote, backslash, and below U+0020.
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """As ECMAScript's Number::toString(10) does; Python's `repr` finds the same shortest digits."""
    number = _double(value)
    if number == 0:
        return "0"
    parts = Decimal(repr(abs(number))).normalize().as_tuple()
    digits, exponent = "".join(map(str, parts.digits)), int(parts.exponent)
    point = len(digits) + exponent  # the value is 0.DIGITS times 10^point
    sign = "-" if number < 0 else ""
    if not -6 < point <= 21:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def _double(value: float) -> float:
    try:
        number = float(value)
    except OverflowError as error:
        raise RemoteProtocolError("A number in it is too large for JSON.") from error
    if not isfinite(number):
        raise RemoteProtocolError("A number in it is not finite.")
    return number
