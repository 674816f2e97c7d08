"""Between protobuf messages of A2A and our nouns, for who has the extra `grpc`.

Protobuf knows no whole numbers in data: they come as floats, and are made whole again where that loses nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from pydantic import BaseModel, JsonValue

from mcp_a2a.a2a.body import read
from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.protocol.model import StreamResponse
from mcp_a2a.protocol.strict_json import MAX_MEMBERS

if TYPE_CHECKING:
    from google.protobuf.message import Message

ParamsT = TypeVar("ParamsT", bound=BaseModel)
MessageT = TypeVar("MessageT", bound="Message")

Event: TypeAlias = pb.Message | pb.Task | pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent


def read_message(model: type[ParamsT], message: Message) -> ParamsT:
    """Parameters as they should be.

    Raises:
        Fault: INVALID_PARAMS; INVALID_REQUEST where there are more than a JSON text may have.
    """
    _check_members(message)
    return read(model, _whole(MessageToDict(message)))


def _check_members(message: Message) -> None:
    """Count what is in it, before Python makes something of each: a million are a third of a second of C."""
    members, waiting = 0, [message]
    while waiting:
        for field, value in waiting.pop().ListFields():
            is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
            inner = value.values() if is_map else value if field.is_repeated else (value,)
            members += len(inner) if field.is_repeated else 0  # one message in another is no member
            if members > MAX_MEMBERS:
                raise Fault(Kind.INVALID_REQUEST, f"The request has more than {MAX_MEMBERS:,} members.")
            waiting += (item for item in inner if hasattr(item, "ListFields"))


def _whole(value: JsonValue) -> JsonValue:
    """Numbers as they were before protobuf made floats of them."""
    match value:
        case dict():
            return {name: _whole(inner) for name, inner in value.items()}
        case list():
            return [_whole(inner) for inner in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case _:
            return value


def made(noun: BaseModel, message: MessageT) -> MessageT:
    """One of our nouns as the message that means it."""
    return parsed(noun.model_dump_json(by_alias=True, exclude_none=True), message)


def parsed(text: str | bytes, message: MessageT) -> MessageT:
    """JSON as the message that means it; what that does not know is left out."""
    return ParseDict(json.loads(text), message, ignore_unknown_fields=True)  # type: ignore[no-any-return]


def event_of(event: StreamResponse) -> Event:
    """The event itself; the SDK's handler puts it into its envelope."""
    if event.task is not None:
        return made(event.task, pb.Task())
    if event.message is not None:
        return made(event.message, pb.Message())
    if event.status_update is not None:
        return made(event.status_update, pb.TaskStatusUpdateEvent())
    if event.artifact_update is None:
        raise TypeError("an event is one of four")
    return made(event.artifact_update, pb.TaskArtifactUpdateEvent())
