"""Bodies of both bindings: JSON that is read strictly, and results written as bytes."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from mcp_a2a.a2a.faults import Fault, Kind, invalid_params
from mcp_a2a.a2a.service import Service
from mcp_a2a.protocol.strict_json import JsonLimitError, read_json

Json = dict[str, JsonValue]
ParamsT = TypeVar("ParamsT", bound=BaseModel)

MAX_DEPTH = 100
"""The depth to which a request may nest."""


JSON = b"application/json"
A2A_JSON = b"application/a2a+json"


@dataclass(frozen=True)
class Reply:
    """A reply: a body at once, events one by one, or nothing."""

    body: bytes | None = None
    events: AsyncIterator[bytes] | None = None
    first: bytes | None = None
    """The first event, which was waited for: what fails before it is an error and no stream."""
    media_type: bytes = JSON
    """Of the body."""
    fault: Kind | None = None
    """The fault that it reports; `status` of a binding turns it into a code."""


def parse(body: bytes) -> JsonValue:
    """The JSON of a request.

    Raises:
        Fault: PARSE; INVALID_REQUEST where it is beyond the limits.
    """
    try:
        return read_json(body, max_depth=MAX_DEPTH, mend=True, infinite=True)
    except JsonLimitError as error:
        raise Fault(Kind.INVALID_REQUEST, f"The request is beyond the limits: {error}.") from None
    except ValueError as error:
        raise Fault(Kind.PARSE, f"The body is not JSON: {error}.") from None


def read(model: type[ParamsT], params: JsonValue) -> ParamsT:
    """Parameters as they should be.

    Raises:
        Fault: INVALID_PARAMS
    """
    if not _is_finite(params):
        raise Fault(Kind.INVALID_PARAMS, "A number in the parameters is too large.")
    try:
        return model.model_validate(params)
    except ValidationError as error:
        raise invalid_params(error) from None


def _is_finite(value: JsonValue) -> bool:
    """True if every number in it is one: 1e400 is none to a computer."""
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case _:
            return True


def dump(value: JsonValue) -> bytes:
    """JSON as it is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


async def extended_card(service: Service, missing: Kind = Kind.UNSUPPORTED_OPERATION) -> bytes:
    """The card for callers that have shown who they are.

    Raises:
        Fault: `missing`, there is none.
    """
    if not service.has_extended_card:
        raise Fault(missing, "This agent has no extended card.")
    return await service.show_extended()
