"""What goes over the wire in both bindings: JSON that is read strictly, and results written as bytes."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind, invalid_params
from mcp_a2a.a2a.params import ListParams
from mcp_a2a.a2a.service import Service
from mcp_a2a.api.a2a import A2AAnswer, A2ATaskPage
from mcp_a2a.protocol.model import TaskPushNotificationConfig
from mcp_a2a.protocol.strict_json import JsonLimitError, read_json

Json = dict[str, JsonValue]
ParamsT = TypeVar("ParamsT", bound=BaseModel)

Answer = Callable[[Dispatch, Json, Service], Awaitable[bytes]]
"""Answers a method with the JSON of its result."""
Stream = Callable[[Dispatch, Json, Service], AsyncIterator[bytes]]
"""The same for a method that streams."""

MAX_DEPTH = 100
"""How deep a request may nest."""


JSON = b"application/json"
A2A_JSON = b"application/a2a+json"


@dataclass(frozen=True)
class Reply:
    """What is answered: a body at once, events one by one, or nothing."""

    body: bytes | None = None
    events: AsyncIterator[bytes] | None = None
    first: bytes | None = None
    """The first event, which was waited for: what fails before it is an error and no stream."""
    media_type: bytes = JSON
    """Of the body."""
    fault: Kind | None = None
    """Which one it tells of; `status` of a binding says what that means to it."""


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
    """Whether every number in it is one: 1e400 is none to a computer."""
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


def sent(answer: A2AAnswer) -> bytes:
    """What a message is answered with."""
    if answer.reply is not None:
        return b'{"message":' + answer.reply.to_json().encode() + b"}"
    return b'{"task":' + answer.task.to_json().encode() + b"}"


def page(tasks: A2ATaskPage, params: ListParams) -> bytes:
    """A page of tasks; the token is always there (A2A 3.1.4)."""
    hidden = None if params.include_artifacts else {"artifacts"}
    listed = b",".join(
        task.model_dump_json(by_alias=True, exclude_none=True, exclude=hidden).encode() for task in tasks.tasks
    )
    rest = {
        "nextPageToken": tasks.next_page_token,
        "pageSize": params.size,
        "totalSize": tasks.total_size,
    }
    return b'{"tasks":[' + listed + b"]," + json.dumps(rest).encode()[1:]


def configs(listed: tuple[TaskPushNotificationConfig, ...]) -> bytes:
    """All push configurations of a task."""
    return b'{"configs":[' + b",".join(config.to_json().encode() for config in listed) + b'],"nextPageToken":""}'


async def extended_card(service: Service, missing: Kind = Kind.UNSUPPORTED_OPERATION) -> bytes:
    """The card for callers that have shown who they are.

    Raises:
        Fault: `missing`, there is none.
    """
    if not service.has_extended_card:
        raise Fault(missing, "This agent has no extended card.")
    return await service.show_extended()
